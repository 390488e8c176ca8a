"""How many messages a second: pairs of runs, ours and the peer's in turn."""

from dataclasses import dataclass
from typing import Callable

from .numbers import Target
from .ours import GENERATED, check, field
from .table import Row, Sample
from .watched import watched

SLOW = 50  # kafka-python gets so many times fewer messages: all of them would take it minutes


@dataclass
class Comparison:
    """A row: two ways to do the same work. Each is called with the bench and a topic, and returns a `Sample`.

    `needs` is the peer without which there is nothing to compare with.
    """

    name: str
    what: str
    needs: str
    ours: Callable
    peer: Callable | None
    targets: list
    produces: bool = False

    def measure(self, bench):
        """One run of each that does not count, then pair by pair."""
        row = Row(self.name, self.what, targets=self.targets)
        sides = [(self.ours, row.ours)] + ([(self.peer, row.peer)] if self.peer else [])
        for pair in range(-bench.warm_ups, bench.pairs):
            for act, samples in sides:
                sample = self.once(bench, act)
                if pair >= 0:
                    samples.append(sample)
        return [row]

    def once(self, bench, act):
        """A producer gets a fresh topic, and what the topic holds afterwards is looked at; consumers share one."""
        if not self.produces:
            return act(bench, bench.filled())
        with bench.ours.topic() as topic:
            sample = act(bench, topic)
            bench.ours.check_filled(topic, sample.messages)
            return sample


# ---- ours


def produce(bench, topic):
    return bench.ours.produce(topic, bench.messages)


def produce_unstamped(bench, topic):
    return bench.ours.produce(topic, bench.messages, "--set", "producer.stamp=false")


def count(bench, topic):
    return bench.ours.consume(topic, bench.messages, "--processor", "count")


def produce_watched(bench, topic):
    with watched() as settings:
        return bench.ours.produce(topic, bench.messages, *settings)


def count_watched(bench, topic):
    with watched() as settings:
        return bench.ours.consume(topic, bench.messages, "--processor", "count", *settings)


def parse(bench, topic):
    return bench.ours.consume(topic, bench.messages, program=bench.ours.example("parse"))


def verify(bench, topic):
    each = bench.messages // 2
    cost, report = bench.ours.run(
        "verify",
        "--topic",
        topic,
        "--threads",
        2,
        "--messages-per-thread",
        each,
        "--processes",
        2,
        *GENERATED,
    )
    check("processed", field(report, "consume.processed"), each * 2)
    return Sample.of(cost, each * 2)


# ---- peers: called by the name of a method of `Peers`


def peer(name, *words, fewer=1):
    """All messages, or so many times fewer."""
    return lambda bench, topic: getattr(bench.peers, name)(*words, topic, max(bench.messages // fewer, 1))


COMPARISONS = [
    Comparison(
        "produce",
        "produce, 4 threads, generated and stamped, against kcat -P -l of ready-made lines",
        "kcat",
        produce,
        peer("kcat_produce"),
        [Target("ratio", "≥", 1.0), Target("CPU ratio", "≤", 1.25), Target("RSS", "≤", 200, " MB")],
        produces=True,
    ),
    Comparison(
        "stamp",
        "produce, stamped, against the same without the stamp",
        "",
        produce,
        produce_unstamped,
        [Target("ratio", "≥", 0.95)],
        produces=True,
    ),
    Comparison(
        "watched-produce",
        "produce, with its page open and scraped every second, against the same unwatched",
        "",
        produce_watched,
        produce,
        [Target("ratio", "≥", 0.97)],
        produces=True,
    ),
    Comparison(
        "watched-consume",
        "consume, count, with its page open and scraped every second, against the same unwatched",
        "",
        count_watched,
        count,
        [Target("ratio", "≥", 0.97)],
    ),
    Comparison(
        "consume",
        "consume, 2 workers, count, against kcat -C",
        "kcat",
        count,
        peer("kcat_consume"),
        [Target("ratio", "≥", 1.2), Target("CPU ratio", "≤", 0.8)],
    ),
    Comparison(
        "consume-parsed",
        "consume, 2 workers, parsed into a struct, against kcat -C, which parses nothing",
        "kcat",
        parse,
        peer("kcat_consume"),
        [Target("ratio", "≥", 1.0)],
    ),
    Comparison(
        "consume-stream",
        "consume, 2 workers, parsed, against rdkafka's StreamConsumer, parsed",
        "streamconsumer",
        parse,
        peer("stream_consumer"),
        [Target("ratio", "≥", 6)],
    ),
    Comparison(
        "verify",
        "verify: produced, consumed and judged at once, 2 threads, 2 workers",
        "",
        verify,
        None,
        [Target("value", "≥", 300_000, " msg/s")],
        produces=True,
    ),
    Comparison(
        "java-produce",
        "produce, against Java's ProducerPerformance of ready-made lines",
        "java",
        produce,
        peer("java_produce"),
        [],
        produces=True,
    ),
    Comparison(
        "java-consume", "consume, count, against Java's ConsumerPerformance", "java", count, peer("java_consume"), []
    ),
    Comparison(
        "confluent-produce",
        "produce, against confluent-kafka (Python) of ready-made lines",
        "confluent-kafka",
        produce,
        peer("confluent", "produce"),
        [],
        produces=True,
    ),
    Comparison(
        "confluent-consume",
        "consume, count, against confluent-kafka (Python)",
        "confluent-kafka",
        count,
        peer("confluent", "consume"),
        [],
    ),
    Comparison(
        "kafka-python-produce",
        f"produce, against kafka-python of {SLOW} times fewer ready-made lines",
        "kafka-python",
        produce,
        peer("kafka_python", "produce", fewer=SLOW),
        [],
        produces=True,
    ),
    Comparison(
        "kafka-python-consume",
        f"consume, count, against kafka-python of {SLOW} times fewer",
        "kafka-python",
        count,
        peer("kafka_python", "consume", fewer=SLOW),
        [],
    ),
]
