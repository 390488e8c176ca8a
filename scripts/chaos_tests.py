"""Tests of scripts/chaos that need no broker: its verdict, and what it does not blame the program for."""

import importlib.util
import io
import subprocess
import sys
import unittest
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

LOADER = SourceFileLoader("chaos", str(Path(__file__).with_name("chaos")))
chaos = importlib.util.module_from_spec(importlib.util.spec_from_loader("chaos", LOADER))
# A dataclass looks its module up.
sys.modules["chaos"] = chaos
LOADER.exec_module(chaos)

KILL = (5.0, "broker-kill", 7, 12.3)
ROLL = (9.0, "roll", 7, 0)


def report(holds=True, **found):
    return {"verify": {"holds": holds, **found}, "exit": {"code": 0 if holds else 1, "reason": ""}}


def made(*lasted):
    return [chaos.Made(KILL, each) for each in lasted]


class Judging(unittest.TestCase):
    def assert_exit(self, code, words, *arguments):
        found, reason = chaos.exit_code_and_reason(*arguments)
        self.assertEqual((found, words in reason), (code, True), reason)

    def test_all_faults_and_a_verdict_that_holds(self):
        self.assert_exit(chaos.HOLDS, "every fault was made", 0, report(), made(12.3, 14), 0)

    def test_a_verdict_that_does_not_hold_is_the_programs_failure(self):
        self.assert_exit(chaos.PROGRAM_FAILED, "exit code 1", 1, report(False, unread=3), made(12.3), 0)
        self.assert_exit(chaos.PROGRAM_FAILED, "does not hold", 0, report(False), made(12.3), 0)
        self.assert_exit(chaos.PROGRAM_FAILED, "left no report", 0, None, made(12.3), 0)

    def test_a_broker_that_comes_back_late_is_no_failure_of_the_program(self):
        late = made(12.3, chaos.MESSAGE_TIMEOUT + 40)
        self.assert_exit(chaos.NOT_EXECUTED, "lasted 160.0 s instead of 12.3 s", 1, report(False, failed=9), late, 0)
        # A verdict that holds all the same counts.
        self.assert_exit(chaos.HOLDS, "holds", 0, report(), late, 0)

    def test_no_outage_excuses_an_anomaly(self):
        for anomaly in chaos.ANOMALIES:
            late = made(chaos.MESSAGE_TIMEOUT + 40)
            self.assert_exit(chaos.PROGRAM_FAILED, f"{anomaly} 1", 1, report(False, **{anomaly: 1}), late, 2)

    def test_faults_that_were_left_out_leave_the_question_open(self):
        self.assert_exit(chaos.NOT_EXECUTED, "2 of 3 faults were not made", 0, report(), made(80), 2)
        self.assert_exit(chaos.PROGRAM_FAILED, "exit code 1", 1, report(False), made(80), 2)


class Executing(unittest.TestCase):
    def load(self, *ended):
        answers = iter(ended)
        process = SimpleNamespace(poll=lambda: next(answers), pid=1)
        return SimpleNamespace(process=process, text=lambda: "", workers=lambda: [])

    def execute(self, load, kafka, duration):
        with mock.patch.object(chaos, "send"), mock.patch.object(chaos.time, "sleep"), redirect_stdout(io.StringIO()):
            return chaos.execute([KILL, ROLL], load, kafka, chaos.time.monotonic() - 20, duration)

    def test_a_load_that_has_ended_in_time_leaves_the_other_faults_out(self):
        calls = []
        kafka = SimpleNamespace(run=lambda *call: calls.append(call))
        done = self.execute(self.load(None, 0), kafka, 15)
        self.assertEqual([each.fault for each in done], [KILL])
        self.assertEqual(calls, [("kill-broker", "2"), ("restart-broker", "2")])

    def test_a_load_that_has_ended_too_early_is_the_programs_failure(self):
        with self.assertRaisesRegex(chaos.ProgramFailed, "has ended before the fault at 5.0 s"):
            self.execute(self.load(1), None, 60)

    def test_a_script_that_fails_or_hangs_is_not_the_programs_failure(self):
        kafka = chaos.Kafka(Path("/no/such"))
        failed = subprocess.CompletedProcess([], 1, "", "kafka: broker-2 was not up after 300 s")
        hung = subprocess.TimeoutExpired("kafka", 360)
        for outcome, words in [({"return_value": failed}, "was not up"), ({"side_effect": hung}, "has not ended within")]:
            with mock.patch.object(chaos.subprocess, "run", **outcome), self.assertRaisesRegex(chaos.NotExecuted, words):
                self.execute(self.load(None, None), kafka, 60)


class ExitCodes(unittest.TestCase):
    def test_each_kind_of_failure_has_its_own(self):
        cases = [(chaos.ProgramFailed("x"), 1), (chaos.NotExecuted("x"), 2), (FileNotFoundError("ps"), 2)]
        for failed, code in cases:
            arguments = ["chaos", "--seed", "1", "--binary", sys.executable]
            with mock.patch.object(chaos, "run", side_effect=failed), mock.patch.object(sys, "argv", arguments):
                with mock.patch.object(chaos.signal, "signal"), redirect_stdout(io.StringIO()):
                    with redirect_stderr(io.StringIO()) as printed:
                        self.assertEqual(chaos.main(), code)
            self.assertEqual("says nothing about the program" in printed.getvalue(), code == 2, printed.getvalue())

    def test_the_same_seed_makes_the_same_plan(self):
        names = list(chaos.FAULTS)
        self.assertEqual(chaos.plan(7, 3, names), chaos.plan(7, 3, names))
        self.assertNotEqual(chaos.plan(7, 3, names), chaos.plan(8, 3, names))


if __name__ == "__main__":
    unittest.main()
