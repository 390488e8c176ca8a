"""How long a start and a stop take, and how much memory a worker has."""

import time

from . import Failed
from .numbers import Target
from .ours import field
from .table import Row, Sample

SECOND = [Target("value", "≤", 1.0, " s")]
POLL = 0.002


class Start:
    """From the start of `consume` to the first message on its stdout: supervisor, worker, assignment, first fetch."""

    name, what, needs = "start", "consume: from its start to the first message processed", ""

    def measure(self, bench):
        row = Row(self.name, self.what, unit="s", targets=SECOND)
        topic = bench.filled()
        for _ in range(bench.pairs):
            with bench.ours.start(
                "consume",
                "--topic",
                topic,
                "--group",
                bench.ours.unique("group"),
                "--from-beginning",
                "--processor",
                "print",
                "--max-messages",
                1000,
                capture=True,
                limit=60,
            ) as running:
                wait_until(lambda: running.written() > 0, running, "no message was printed")
                row.ours.append(Sample(time.monotonic() - running.began))
                running.wait()
        return [row]


class Stop:
    """From SIGTERM to the end while messages come as fast as they can be produced; both are stopped in turn."""

    name, what, needs = "stop", "consume: from SIGTERM under load to its end", ""

    def measure(self, bench):
        consumer = Row(self.name, self.what, unit="s", targets=SECOND)
        producer = Row("stop-produce", "produce: from SIGTERM under load to its end", unit="s")
        for _ in range(bench.pairs):
            with bench.ours.topic() as topic, bench.ours.start(
                "produce", "--topic", topic, "--duration", "60s", "--set", f"producer.message_size={bench.size}"
            ) as produce, bench.ours.start(
                "consume", "--topic", topic, "--group", bench.ours.unique("group"), "--processor", "count"
            ) as consume:
                time.sleep(bench.seconds(4))
                seconds, report = bench.ours.stop(consume)
                if not field(report, "consume.processed"):
                    raise Failed("the consumer had processed nothing when it was stopped")
                consumer.ours.append(Sample(seconds))
                producer.ours.append(Sample(bench.ours.stop(produce)[0]))
        return [consumer, producer]


class Memory:
    """The largest worker, idle on an empty topic and at full speed."""

    name, what, needs = "memory", "a worker's RSS", ""

    def measure(self, bench):
        idle = Row(
            "memory-idle",
            f"{self.what}, idle, 6 empty partitions",
            unit="MB",
            targets=[Target("value", "≤", 15, " MB")],
        )
        full = Row(
            "memory-full",
            f"{self.what}, at full speed, default memory budget",
            unit="MB",
            targets=[Target("value", "≤", 160, " MB")],
        )
        for _ in range(bench.pairs):
            with bench.ours.topic() as topic, bench.ours.start(
                "consume", "--topic", topic, "--group", bench.ours.unique("group"), "--processor", "count"
            ) as running:
                time.sleep(bench.seconds(5))
                workers = [size for pid, size in running.tree.now.items() if pid != running.tree.root]
                if len(workers) != 2:
                    raise Failed(f"2 workers were expected, and {len(workers)} were there")
                bench.ours.stop(running)
            idle.ours.append(Sample(max(workers)))
            full.ours.append(
                Sample(bench.ours.consume(bench.filled(), bench.messages, "--processor", "count").largest_worker)
            )
        return [idle, full]


def wait_until(true, running, otherwise):
    """Looks every 2 ms; a command that ends before is reported as what it is."""
    while not true():
        if not running.tree.is_alive() or running.tree.timed_out:
            raise Failed(otherwise)
        time.sleep(POLL)
