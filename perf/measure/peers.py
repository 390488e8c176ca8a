"""The other programs: where they are found, and their commands.

Each gets the settings that the comparison is about (acks=all, idempotence where it has it, lz4, linger 5 ms) and
otherwise its defaults, and writes or reads in the fastest way that its own documentation shows.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import Failed, process
from .kafka import ROOT
from .table import Sample

NAMES = ("kcat", "java", "confluent-kafka", "kafka-python", "streamconsumer")
HERE = Path(__file__).resolve().parents[1] / "peers"
LINGER_MS = 5
DURABLE = {"acks": "all", "enable.idempotence": "true", "linger.ms": LINGER_MS}


class Peers:
    """What is found is remembered, and so is why something was not."""

    def __init__(self, ours, kafka, lines):
        self.ours, self.kafka, self.lines, self.known = ours, kafka, lines, {}

    def run(self, messages, argv, **options):
        """Runs a peer to its end."""
        cost = process.run(argv, self.ours.folder, **options)
        return Sample.of(cost, messages), cost

    def counted(self, messages, argv):
        """Runs a peer of perf/peers, which prints how many messages it has dealt with."""
        _, cost = self.run(messages, argv, capture=True)
        done = cost.stdout.strip()
        if not done.isdecimal() or int(done) < messages:
            raise Failed(f"it dealt with {done or 'no'} messages of {messages}")
        return Sample.of(cost, int(done))

    # ---- kcat

    def kcat(self):
        if not shutil.which("kcat"):
            raise Failed("kcat is not installed (Debian: apt-get install kcat)")
        return "kcat"

    def kcat_produce(self, topic, messages):
        properties = DURABLE | {"compression.codec": "lz4"}
        flags = [word for name, value in properties.items() for word in ("-X", f"{name}={value}")]
        return self.run(
            messages,
            [self.kcat(), "-P", "-b", self.kafka.brokers, "-t", topic, *flags, "-l", self.lines.file(messages)],
        )[0]

    def kcat_consume(self, topic, messages):
        # An empty format: it writes nothing at all, which costs it less than writing to /dev/null.
        return self.run(
            messages,
            [self.kcat(), "-C", "-b", self.kafka.brokers, "-t", topic, "-o", "beginning", "-e", "-q", "-f", ""],
        )[0]

    # ---- Kafka's own

    def java_properties(self, **more):
        properties = DURABLE | {"compression.type": "lz4"} | more
        return ["--command-property", *(f"{name}={value}" for name, value in properties.items())]

    def java_producer(self, topic, messages, *more, **properties):
        return self.kafka.java(
            "org.apache.kafka.tools.ProducerPerformance",
            "--bootstrap-server",
            self.kafka.brokers,
            "--topic",
            topic,
            "--num-records",
            str(messages),
            "--payload-file",
            self.lines.file(min(messages, 10_000)),
            *more,
            *self.java_properties(**properties),
        )

    def java_produce(self, topic, messages):
        return self.run(messages, self.java_producer(topic, messages, "--throughput", "-1"))[0]

    def java_latency(self, topic, messages, per_second, warm_up):
        """Percentiles in milliseconds from send() to acknowledgement, without the first `warm_up` messages."""
        argv = self.java_producer(
            topic, messages, "--throughput", str(per_second), "--warmup-records", str(warm_up), **{"linger.ms": 0}
        )
        _, cost = self.run(messages, argv, capture=True)
        found = re.findall(r"(\d+) ms (50|95|99|99\.9)th", cost.stdout.splitlines()[-1] if cost.stdout else "")
        if len(found) != 4:
            raise Failed(f"ProducerPerformance printed no percentiles: {cost.stdout[-200:]!r}")
        return {f"p{name.replace('.', '_')}": float(value) for value, name in found}

    def java_consume(self, topic, messages):
        argv = self.kafka.java(
            "org.apache.kafka.tools.ConsumerPerformance",
            "--bootstrap-server",
            self.kafka.brokers,
            "--topic",
            topic,
            "--num-records",
            str(messages),
            "--group",
            self.ours.unique("group"),
        )
        sample, cost = self.run(messages, argv, capture=True)
        if "WARNING: Exiting before consuming" in cost.stdout + cost.stderr:
            raise Failed("ConsumerPerformance ended before it had read all")
        return sample

    # ---- Python

    def python(self, package, modules):
        """An interpreter that has these modules: this one, or that of a virtual environment below target/."""
        if package not in self.known:
            try:
                self.known[package] = find_python(package, modules)
            except Failed as failed:
                self.known[package] = failed
        if isinstance(self.known[package], Failed):
            raise self.known[package]
        return self.known[package]

    def script(self, name, package, modules):
        def act(what, topic, messages):
            argv = [self.python(package, modules), HERE / name, what, self.kafka.brokers, topic, str(messages)]
            if what == "produce":
                argv.append(self.lines.file(messages))
            return self.counted(messages, argv)

        return act

    def confluent(self, *arguments):
        return self.script("confluent.py", "confluent-kafka", ["confluent_kafka"])(*arguments)

    def kafka_python(self, *arguments):
        return self.script("kafka_python.py", "kafka-python", ["kafka", "lz4"])(*arguments)

    # ---- Rust

    def stream_consumer(self, topic, messages):
        return self.counted(messages, [self.ours.example("stream_consumer"), self.kafka.brokers, topic, messages])

    # ---- versions, for the description of the machine

    def versions(self, chosen):
        """Of those that were found; Java's is Kafka's."""
        found = {}
        if "kcat" in chosen and shutil.which("kcat"):
            printed = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout
            found["kcat"] = ", ".join(re.findall(r"(?<=Version )[\d.]+|librdkafka [\d.]+", printed))
        for package, python in self.known.items():
            if not isinstance(python, Failed):
                code = f"import importlib.metadata as m; print(m.version({package!r}))"
                found[package] = subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()
        return found


def find_python(package, modules):
    if all(importlib.util.find_spec(module) for module in modules):
        return sys.executable
    folder = ROOT / "target" / "bench-python"
    python = folder / "bin" / "python"
    steps = [] if python.exists() else [[sys.executable, "-m", "venv", str(folder)]]
    wanted = [package, *(module for module in modules if module == "lz4")]
    steps.append([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise Failed(f"{package} is not installed, and {' '.join(step[1:4])} failed: {' '.join(last)}")
    return python
