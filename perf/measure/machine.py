"""What the figures were measured on."""

import os
import platform
import re
import subprocess
from pathlib import Path

from .kafka import ROOT


def describe(kafka, peers, chosen):
    """Name and value of everything that can change a figure."""
    facts = {
        "measured": first_line("date", "-u", "+%Y-%m-%d %H:%M UTC"),
        "version": first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "Kafka": kafka.version() + (", one node on the same machine" if kafka.own else f", at {kafka.brokers}"),
        "Java": first_line("java", "-version"),
        "rustc": first_line("rustc", "--version"),
        "librdkafka of this program": librdkafka(),
    }
    return facts | peers.versions(chosen)


def busy():
    """A warning if others are at work; empty if not. One minute's mean, so what has just ended still shows."""
    load = os.getloadavg()[0]
    return f"others use this machine (load {load:.1f}): the figures are worth little" if load > 0.5 else ""


def first_line(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except OSError:
        return "not known"
    return next(iter((done.stdout or done.stderr).splitlines()), "not known")


def cpu_model():
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def librdkafka():
    """Part of the version of rdkafka-sys, after the plus sign."""
    found = re.search(r'name = "rdkafka-sys"\nversion = "[^+"]*\+([^"]*)"', (ROOT / "Cargo.lock").read_text())
    return found[1] if found else "not known"
