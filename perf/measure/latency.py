"""How long a message takes at a rate that is no burden: 20,000 a second, after a warm-up, for low latency."""

from .numbers import Target
from .ours import field
from .table import Row, Sample

PER_SECOND = 20_000
WARM_UP = 5  # seconds, both sides: a JVM compiles by then
LOW_LATENCY = ("--set", "kafka.preset=low_latency", "--rate", str(PER_SECOND))
WARM = ("--set", f"latency.warm_up={WARM_UP}s")
PERCENTILES = ("p50", "p95", "p99", "p99_9")


class Acknowledgement:
    """From the moment that a message was due to its acknowledgement, against Java's from its send() to the same."""

    name, needs = "latency", "java"
    what = f"due → acknowledged at {PER_SECOND} msg/s, against Java's ProducerPerformance"

    def measure(self, bench):
        seconds = bench.seconds(20) + WARM_UP
        total = PER_SECOND * seconds
        rows = {
            name: Row(
                f"{self.name}-{name}", f"{self.what}, {shown(name)}", unit="ms", targets=[Target("ratio", "≤", 1.0)]
            )
            for name in PERCENTILES
        }
        for _ in range(bench.pairs):
            with bench.ours.topic() as topic:
                _, report = bench.ours.run(
                    "produce",
                    "--topic",
                    topic,
                    "--threads",
                    1,
                    "--messages-per-thread",
                    total,
                    "--set",
                    f"producer.message_size={bench.size}",
                    *LOW_LATENCY,
                    *WARM,
                )
            with bench.ours.topic() as topic:
                peer = bench.peers.java_latency(topic, total, PER_SECOND, PER_SECOND * WARM_UP)
            for name, row in rows.items():
                row.ours.append(Sample(field(report, f"produce.latency_us.{name}") / 1000))
                # Java counts whole milliseconds: its 0 is less than one.
                row.peer.append(Sample(max(peer[name], 1.0)))
        return list(rows.values())


class EndToEnd:
    """From the moment that a message was due until a worker had processed it."""

    name, needs = "end-to-end", ""
    what = f"due → processed at {PER_SECOND} msg/s, 1 thread, 2 workers"
    bounds = {"p50": 2.0, "p99": 8.0}

    def measure(self, bench):
        total = PER_SECOND * (bench.seconds(20) + WARM_UP)
        rows = {
            name: Row(
                f"{self.name}-{name}",
                f"{self.what}, {shown(name)}",
                unit="ms",
                targets=[Target("value", "≤", bound, " ms")],
            )
            for name, bound in self.bounds.items()
        }
        for _ in range(bench.pairs):
            with bench.ours.topic() as topic:
                _, report = bench.ours.run(
                    "verify",
                    "--topic",
                    topic,
                    "--threads",
                    1,
                    "--messages-per-thread",
                    total,
                    "--processes",
                    2,
                    "--set",
                    f"producer.message_size={bench.size}",
                    *LOW_LATENCY,
                    *WARM,
                )
            for name, row in rows.items():
                row.ours.append(Sample(field(report, f"consume.latency_us.{name}") / 1000))
        return list(rows.values())


class RateKept:
    """Whether an open-loop schedule is kept."""

    name, needs = "rate", ""
    what = f"produce --rate {PER_SECOND}: rate reached, off from the wanted one"

    def measure(self, bench):
        total = PER_SECOND * bench.seconds(10)
        off = Row(self.name, self.what, unit="%", targets=[Target("value", "≤", 0.5, " %")])
        late = Row(f"{self.name}-delay", f"produce --rate {PER_SECOND}: worst delay of the schedule", unit="ms")
        for _ in range(bench.pairs):
            with bench.ours.topic() as topic:
                _, report = bench.ours.run(
                    "produce",
                    "--topic",
                    topic,
                    "--threads",
                    4,
                    "--messages-per-thread",
                    total // 4,
                    "--set",
                    f"producer.message_size={bench.size}",
                    "--rate",
                    PER_SECOND,
                )
            reached = field(report, "produce.schedule.actual_rate") / field(report, "produce.schedule.target_rate")
            off.ours.append(Sample(abs(reached - 1) * 100))
            late.ours.append(Sample(field(report, "produce.schedule.worst_delay_us") / 1000))
        return [off, late]


def shown(name):
    return name.replace("_", ".")
