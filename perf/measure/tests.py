"""Tests of what needs no broker; `scripts/test` runs them."""

import sys
import tempfile
import time
import unittest

from . import Failed, process
from .data import payload
from .numbers import Spread, Target, ratios
from .table import HEAD, Row, Sample, markdown

BURN = "import time\nwhile time.process_time() < 0.3: pass"
HOLD = "data = bytearray(60_000_000)\nimport time\ntime.sleep(0.3)"


def python(*code):
    return [sys.executable, "-c", *code]


def parent(child):
    """A process that waits for two of these."""
    return python(
        "import subprocess, sys\n"
        f"both = [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in range(2)]\n"
        "for each in both: each.wait()"
    )


class Processes(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.gettempdir()

    def test_the_time_of_children_counts(self):
        self.assertGreater(process.run(parent(BURN), self.folder).cpu, 0.55)

    def test_memory_is_told_of_the_largest_and_of_all_together(self):
        cost = process.run(parent(HOLD), self.folder)
        self.assertGreater(cost.largest, 60)
        self.assertLess(cost.largest, 110)
        self.assertGreater(cost.together, 120)
        self.assertEqual(cost.largest, cost.largest_worker)

    def test_a_failure_is_told_with_the_last_words(self):
        with self.assertRaisesRegex(Failed, "ended with 7: so it ends"):
            process.run(python("import sys; print('so it ends', file=sys.stderr); sys.exit(7)"), self.folder)

    def test_what_takes_too_long_is_killed_with_its_children(self):
        began = time.monotonic()
        with self.assertRaisesRegex(Failed, "not done after 0.5 s"):
            process.run(parent("import time; time.sleep(60)"), self.folder, limit=0.5)
        self.assertLess(time.monotonic() - began, 30)

    def test_nothing_is_left_running(self):
        with process.Running(python("import time; time.sleep(60)"), self.folder) as running:
            pass
        self.assertEqual(running.process.returncode, -9)


class Figures(unittest.TestCase):
    def test_ratios_are_those_of_pairs(self):
        self.assertEqual(ratios([10, 40, 90], [10, 20, 30]), Spread(2, 1, 3))

    def test_a_target_is_held_against_the_median(self):
        figures = {"ratio": Spread(1.0, 0.2, 3.0)}
        self.assertTrue(Target("ratio", "≥", 1.0).met(figures))
        self.assertFalse(Target("ratio", "≥", 1.1).met(figures))
        self.assertTrue(Target("ratio", "≤", 1.0).met(figures))

    def test_a_figure_that_is_not_there_meets_no_target(self):
        row = Row("a", "b", ours=[Sample(1.0)], targets=[Target("CPU ratio", "≤", 1.0)])
        self.assertEqual(row.met(), "**no**")

    def test_the_targets_that_were_missed_are_named(self):
        ours, peer = Sample(200, 100, 0.5, 3.0, 50, 90), Sample(100, 100, 1.0, 2.0, 20, 20)
        row = Row(
            "a", "b", ours=[ours], peer=[peer], targets=[Target("ratio", "≥", 1.0), Target("CPU ratio", "≤", 1.25)]
        )
        self.assertEqual(row.met(), "**no**: CPU ratio ≤ 1.25")

    def test_a_failure_is_a_row(self):
        cells = Row("a", "what", failed="no | broker").cells()
        self.assertEqual(len(cells), len(HEAD))
        self.assertIn("could not be measured: no \\| broker", markdown(HEAD, [cells]))

    def test_the_peers_get_the_bytes_that_the_program_makes(self):
        line = b'{"producer":0,"sequence":7,"key":null,"value":{"id":7,"_stamp":"x"}}\n'
        self.assertEqual(payload(line), b'{"id":7,"_stamp":"x"}\n')


if __name__ == "__main__":
    unittest.main()
