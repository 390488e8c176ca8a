"""Runs a command and says what it cost, with all processes that it started.

Time is wall-clock time of the whole process, from before its start until it is reaped: start-up of an interpreter or a
virtual machine counts. CPU time is user and system time, as the kernel has added it up at the end (wait4), which
includes the children that a process has waited for. Memory is resident memory, read every 50 ms: the peak of each
process is the kernel's own (VmHWM), so that nothing is missed between two readings; the peak of the sum is sampled, and
counts a page that several processes share once for each.
"""

import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import Failed

SAMPLE = 0.05
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """What a command cost. Memory in MB (1,000,000 bytes); workers are all processes but the first."""

    seconds: float
    cpu: float
    largest: float
    together: float
    largest_worker: float
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)


class Tree(threading.Thread):
    """Reads the memory of a process and its descendants until the process has ended."""

    def __init__(self, root, limit):
        super().__init__(daemon=True)
        self.root, self.limit, self.began = root, limit, time.monotonic()
        self.over, self.timed_out = threading.Event(), False
        self.peaks, self.cpu, self.together, self.now = {}, {}, 0.0, {}

    def run(self):
        while not self.over.wait(SAMPLE):
            self.sample()
            if time.monotonic() - self.began > self.limit:
                self.timed_out = True
                self.kill()

    def sample(self):
        now = {}
        for pid in descendants(self.root):
            try:
                memory = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
                times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended in the meantime
            if "VmRSS" not in memory:
                continue  # a zombie
            now[pid] = megabytes(memory["VmRSS"])
            self.peaks[pid] = max(megabytes(memory["VmHWM"]), self.peaks.get(pid, 0.0))
            self.cpu[pid] = (int(times[11]) + int(times[12])) / TICKS
        self.now = now
        self.together = max(self.together, sum(now.values()))

    def kill(self):
        # Parents first: a supervisor would start a killed worker again.
        for pid in descendants(self.root):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def megabytes(kibibytes):
    return int(kibibytes.split()[0]) * 1024 / 1e6


def descendants(root):
    """The process and all below it, parents first."""
    found = [root]
    for pid in found:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                pass  # the thread has ended
    return found


class Running:
    """A command under way. Used with `with`: whatever happens, nothing of it is left running."""

    def __init__(self, argv, cwd, limit=600, capture=False):
        self.argv = [str(word) for word in argv]
        self.out = tempfile.TemporaryFile() if capture else None
        self.errors = tempfile.TemporaryFile()
        # A setting of the caller's would change what is measured.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_ACTORS__")}
        self.began = time.monotonic()
        try:
            self.process = subprocess.Popen(
                self.argv,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=self.errors,
                stdout=self.out or subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Failed(f"{self.argv[0]} could not be started: {error.strerror}") from error
        self.tree = Tree(self.process.pid, limit)
        self.tree.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            self.tree.kill()
            self.reap()
        for file in filter(None, (self.out, self.errors)):
            file.close()

    def signal(self, number):
        self.process.send_signal(number)

    def written(self):
        """How many bytes are on its stdout by now."""
        return os.fstat(self.out.fileno()).st_size

    def reap(self):
        """Waits for its end; the kernel's sum of CPU seconds."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.tree.over.set()
        self.tree.join()
        return usage.ru_utime + usage.ru_stime

    def wait(self):
        """Waits for its end and says what it cost; raises `Failed` unless it ended with exit code 0."""
        cpu = self.reap()
        seconds = time.monotonic() - self.began
        tree = self.tree
        if tree.timed_out:
            raise Failed(f"{self.name()} was not done after {tree.limit} s, and was killed")
        stderr = text(self.errors)
        if self.process.returncode:
            last = "; ".join([line.strip() for line in stderr.splitlines() if line.strip()][-4:])
            raise Failed(f"{self.name()} ended with {self.process.returncode}: {last or 'no word on stderr'}")
        workers = [peak for pid, peak in tree.peaks.items() if pid != tree.root]
        largest = max(tree.peaks.values(), default=0.0)
        return Cost(
            seconds=seconds,
            # What nobody has waited for is in the readings only.
            cpu=max(cpu, sum(tree.cpu.values())),
            largest=largest,
            together=max(tree.together, largest),
            largest_worker=max(workers, default=0.0),
            stdout=text(self.out) if self.out else "",
            stderr=stderr,
        )

    def name(self):
        words = [word for word in self.argv if not word.startswith("-")]
        return " ".join([os.path.basename(words[0]), *words[1:2]])


def text(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def run(argv, cwd, **options):
    """Runs a command to its end."""
    with Running(argv, cwd, **options) as running:
        return running.wait()
