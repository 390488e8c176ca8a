"""The commands of this project, and the numbers of their reports.

All settings are the program's defaults unless they stand here: what is measured is what users get.
"""

import json
import signal
import time
from contextlib import contextmanager, suppress
from itertools import count

from . import Failed, process
from .table import Sample

PARTITIONS = 12
SIZE = 200
# About SIZE bytes with its stamp; examples/parse.rs knows its members.
TEMPLATE = (
    '{"id":{"$sequence":{}},"producer":{"$integer":[0,3]},"sequence":{"$integer":[0,999999]},'
    '"timestamp_ms":{"$timestamp":"ms"},"text":"the text of a message that is as long as many are: fifty-five bytes in all"}'
)
GENERATED = ("--set", f"producer.template={TEMPLATE}", "--set", "producer.stamp=true")
THREADS = 4
SERVED_WITHIN = 30


class Ours:
    """The program, in a folder without a Settings.toml of its own."""

    def __init__(self, binary, examples, folder, kafka):
        self.binary, self.examples, self.folder, self.kafka = binary, examples, folder, kafka
        self.numbers = count(1)

    def unique(self, what):
        return f"bench-{what}-{time.time_ns() % 10**12}-{next(self.numbers)}"

    # ---- topics

    @contextmanager
    def topic(self, partitions=PARTITIONS):
        """A fresh topic, deleted afterwards."""
        name = self.unique("topic")
        self.call("topics", "create", f"{name}:{partitions}:1")
        try:
            self.wait_served(name)
            yield name
        finally:
            # One that stays is no reason to lose the figures.
            with suppress(Failed):
                self.call("topics", "delete", name)

    def wait_served(self, topic):
        """A broker has a topic of many partitions a moment before all of them have their leader."""
        end = time.monotonic() + SERVED_WITHIN
        while True:
            try:
                return self.call("topics", "describe", topic)
            except Failed:
                if time.monotonic() > end:
                    raise

    def check_filled(self, topic, messages):
        """Raises `Failed` unless the topic holds so many messages: whoever wrote them has no say in it."""
        lines = self.call("topics", "describe", topic).stdout.splitlines()
        held = sum(int(line.split()[3]) - int(line.split()[2]) for line in lines if line.startswith(topic))
        if held != messages:
            raise Failed(f"{messages} messages were to be written, and the topic holds {held}")

    # ---- commands

    def argv(self, *words, program=None):
        return [program or self.binary, *words, "--set", f"kafka.brokers={self.kafka.brokers}", "-q"]

    def call(self, *words, **options):
        return process.run(self.argv(*words), self.folder, capture=True, **options)

    def start(self, *words, program=None, **options):
        """A command under way, whose report can be read at its end."""
        report = self.folder / f"{self.unique('report')}.json"
        running = process.Running([*self.argv(*words, program=program), "--report", report], self.folder, **options)
        running.report = report
        return running

    def run(self, *words, **options):
        """A command to its end: what it cost, and its report."""
        with self.start(*words, **options) as running:
            cost = running.wait()
        return cost, report_of(running)

    def produce(self, topic, messages, *more, threads=THREADS, size=None):
        """So many messages by so many threads: from the template, or the program's own of this size."""
        cost, report = self.run(
            "produce",
            "--topic",
            topic,
            "--threads",
            threads,
            "--messages-per-thread",
            messages // threads,
            *(GENERATED if size is None else ("--set", f"producer.message_size={size}")),
            *more,
        )
        check("acknowledged", field(report, "produce.acknowledged"), messages // threads * threads)
        return Sample.of(cost, messages // threads * threads)

    def consume(self, topic, messages, *more, processes=2, program=None):
        """The whole topic from its beginning, in a fresh group."""
        cost, report = self.run(
            "consume",
            "--topic",
            topic,
            "--group",
            self.unique("group"),
            "--processes",
            processes,
            "--from-beginning",
            "--until-end",
            *more,
            program=program,
        )
        check("processed", field(report, "consume.processed"), messages)
        return Sample.of(cost, messages)

    def example(self, name):
        """A program of examples/."""
        path = self.examples / name
        if not path.exists():
            raise Failed(f"{path} is not there: cargo build --release --example {name}")
        return path

    def stop(self, running):
        """Seconds from SIGTERM to the end, and the report."""
        asked = time.monotonic()
        running.signal(signal.SIGTERM)
        running.wait()
        return time.monotonic() - asked, report_of(running)


def report_of(running):
    try:
        return json.loads(running.report.read_text())
    except (OSError, ValueError) as error:
        raise Failed(f"{running.name()} left no report: {error}") from error


def field(report, path):
    """A field of a report, such as `produce.latency_us.p50`."""
    value = report
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        raise Failed(f"the report has no {path}")
    return value


def check(what, found, wanted):
    if found != wanted:
        raise Failed(f"{wanted} messages were to be {what}, and {found} were")
