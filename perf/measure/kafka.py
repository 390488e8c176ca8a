"""The broker that everything runs against, and Kafka's own Java programs."""

import os
import shlex
import subprocess
from pathlib import Path

from . import Failed, process

ROOT = Path(__file__).resolve().parents[2]
# As in Kafka's own start scripts; scripts/kafka's flags are for a quick start, and slower afterwards.
JVM = [
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
]
BROKER_HEAP = "-Xms1g -Xmx1g"
TOOL_HEAP = "-Xmx512M"


class Kafka:
    """A broker of its own in `folder`, or the one that `brokers` names. Used with `with`, which stops its own."""

    def __init__(self, folder, brokers=None):
        self.data, self.own, self.brokers = folder / "kafka", brokers is None, brokers
        self.libs = os.environ.get("TEST_KAFKA_LIBS", "")

    def __enter__(self):
        if self.own:
            self.start()
        return self

    def start(self):
        environment = os.environ | {"KAFKA_HEAP_OPTS": BROKER_HEAP, "KAFKA_JVM_PERFORMANCE_OPTS": " ".join(JVM)}
        try:
            up = subprocess.run(
                [self.script(), "up", "--port", "0", "--topics", "", "--data", self.data],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
        except BaseException:
            self.__exit__()  # interrupted: what has been started by then must not stay
            raise
        if up.returncode:
            raise SystemExit("scripts/kafka could not start a broker, see above; --brokers HOST:PORT uses another one")
        printed = dict(word.split("=", 1) for word in shlex.split(up.stdout))
        self.brokers, self.libs = printed["TEST_KAFKA_BROKERS"], printed["TEST_KAFKA_LIBS"]

    def __exit__(self, *_):
        if self.own:
            subprocess.run([self.script(), "down", "--data", self.data], stdout=subprocess.DEVNULL)

    @staticmethod
    def script():
        return ROOT / "scripts" / "kafka"

    def java(self, name, *arguments):
        """The command line of a Java program of Kafka's."""
        if not self.libs:
            raise Failed("Kafka's jars are not known: set TEST_KAFKA_LIBS to their folder (scripts/kafka env)")
        log = ROOT / "scripts" / "kafka.d" / "log4j2.properties"
        return [
            "java",
            TOOL_HEAP,
            *JVM,
            "-Dkafka.log.level=WARN",
            f"-Dlog4j2.configurationFile={log}",
            "-cp",
            f"{self.libs}/*",
            name,
            *arguments,
        ]

    def raise_message_limit(self, topic, size):
        """Lets a topic take messages of this many bytes, with what surrounds them."""
        change = (
            "--alter",
            "--entity-type",
            "topics",
            "--entity-name",
            topic,
            "--add-config",
            f"max.message.bytes={size + 100_000}",
        )
        process.run(self.java("kafka.admin.ConfigCommand", "--bootstrap-server", self.brokers, *change), ROOT)

    def version(self):
        for jar in sorted(Path(self.libs or "/nowhere").glob("kafka-clients-*.jar")):
            return jar.stem.removeprefix("kafka-clients-")
        return "not known"
