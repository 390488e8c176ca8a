"""What a run of the scripts has at hand: the broker, the program, the peers, and how much is to be done."""

import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from . import machine
from .data import Lines
from .kafka import ROOT, Kafka
from .ours import PARTITIONS, SIZE, Ours
from .peers import Peers


class Bench:
    """Everything that a measurement needs."""

    size = SIZE

    def __init__(self, options, stack, kafka, ours):
        self.stack, self.kafka, self.ours = stack, kafka, ours
        self.peers = Peers(ours, kafka, Lines(ours))
        self.messages = getattr(options, "messages", 0)
        self.pairs = getattr(options, "pairs", 1)
        self.smoke = getattr(options, "smoke", False)
        self.warm_ups = 0 if self.smoke else 1
        self.full = None

    def seconds(self, usual):
        """How long something takes that is measured by time."""
        return min(usual, 2) if self.smoke else usual

    def filled(self):
        """The topic that all consumers read, filled once, by as many threads as the producers of the table have."""
        if not self.full:
            topic = self.stack.enter_context(self.ours.topic(PARTITIONS))
            self.ours.produce(topic, self.messages)
            self.ours.check_filled(topic, self.messages)
            self.full = topic
        return self.full

    @staticmethod
    def say(text):
        print(text, file=sys.stderr, flush=True)

    def warn_if_busy(self):
        if warning := machine.busy():
            self.say(warning)


def arguments(parser):
    """The options that both scripts have, and the command line."""
    parser.add_argument(
        "--brokers", metavar="HOST:PORT", help="use this cluster (default: start one with scripts/kafka, and stop it)"
    )
    parser.add_argument(
        "--binary", type=Path, metavar="PATH", help="the program, built, with examples/ beside it (default: build it)"
    )
    parser.add_argument("--no-build", action="store_true", help="take target/release as it is")
    return parser.parse_args()


@contextmanager
def opened(options):
    """The bench; whatever happens, its topics, its broker and its folder are gone afterwards."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    binary = built(options)
    (ROOT / "target").mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "target")))
        kafka = stack.enter_context(Kafka(folder, options.brokers))
        ours = Ours(binary, binary.parent / "examples", folder, kafka)
        yield Bench(options, stack, kafka, ours)


def built(options):
    if options.binary:
        binary = options.binary.resolve()
    else:
        binary = ROOT / "target" / "release" / "kafka-actors"
        if not options.no_build:
            command = [
                "cargo",
                "build",
                "--release",
                "--locked",
                "--bin",
                "kafka-actors",
                "--example",
                "parse",
                "--example",
                "stream_consumer",
            ]
            if subprocess.run(command, cwd=ROOT).returncode:
                raise SystemExit("the program could not be built, see above")
    if not binary.exists():
        raise SystemExit(f"{binary} is not there: leave --no-build away, or name it with --binary")
    return binary
