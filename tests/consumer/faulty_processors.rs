//! Processors that damage their worker: the program ends as specified, and only the poison message is missing. Messages that merely
//! fail are in `retries_and_dlq`.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::harness::kafka::Topic;
use crate::harness::program::{Ended, Program, example, shell};
use crate::harness::verdict::Run;
use crate::harness::wait_for;

/// Four partitions of 50 messages each, read by the hostile program with this fault.
struct Victim {
    run: Run,
    /// The program appends a line for each fault.
    mischief: tempfile::NamedTempFile,
}

impl Victim {
    fn new() -> Self {
        let run = Run::of(&format!("--threads 2 --messages-per-thread 100 --partitions 4 {SPREAD}"));
        Self { run, mischief: tempfile::NamedTempFile::new().unwrap() }
    }

    /// A run with a verdict at its end.
    fn read(&self, fault: &str, arguments: &str) -> Program {
        self.with(example("hostile", &format!("{} {arguments}", self.command_line())), fault)
    }

    fn command_line(&self) -> String {
        let (brokers, file) = (&self.run.topic.brokers, self.run.file());
        format!("verify --brokers {brokers} --consume-only --processor own --run-file {}", file.display())
    }

    fn with(&self, program: Program, fault: &str) -> Program {
        program.env("FAULT", fault).env("MISCHIEF", self.mischief.path().to_str().unwrap())
    }

    fn times(&self) -> usize {
        std::fs::read_to_string(self.mischief.path()).unwrap().lines().count()
    }

    /// The poison message killed its workers and was handled as `consumer.on_failure = "skip"` specifies; every other message was
    /// processed. Two worker exits start isolation mode, two more identify the message.
    fn expect_poison(&self, ended: Ended, signal: &str) {
        let ended = ended.expect_found(&[]);
        assert_eq!((ended.count("processed"), ended.count("processing_failed")), (200, 1), "{}", ended.report);
        assert_eq!(ended.restarts().len(), 4, "{:?}\n{}", ended.restarts(), ended.stderr);
        assert!(ended.restarts().iter().all(|cause| cause.contains(signal)), "{:?}", ended.restarts());
        assert_eq!(self.times(), 4);
        let named = format!("{}/0@5", self.run.topic.name);
        assert!(ended.stderr.contains(&named), "{named} is not named:\n{}", ended.stderr);
    }
}

/// Without keys, a small number of messages may all be in one partition.
const SPREAD: &str = "--key round_robin --set producer.key_cardinality=200";
/// Restarts with short backoffs: the tests do not test the backoff.
const QUICK: &str = "--set consumer.restart.backoff=50ms --set consumer.restart.backoff_max=50ms";

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_that_aborts_its_worker_is_found_and_skipped() {
    let victim = Victim::new();
    let ended = victim.read("abort", &format!("{QUICK} --set consumer.on_failure=skip")).run();
    victim.expect_poison(ended, "SIGABRT");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_that_ends_its_worker_with_code_0_is_found_and_skipped() {
    let victim = Victim::new();
    let ended = victim.read("exit", &format!("{QUICK} --set consumer.on_failure=skip")).run();
    victim.expect_poison(ended, "exit code 0");
}

/// The limit simulates a container; without a limit the whole machine would run out of memory.
#[test]
#[ignore = "needs a real Kafka"]
#[cfg(target_os = "linux")]
fn a_message_that_takes_all_memory_is_found_and_skipped() {
    let victim = Victim::new();
    let hostile = std::path::Path::new(env!("CARGO_BIN_EXE_kafka-actors")).with_file_name("examples").join("hostile");
    let line = format!(
        "ulimit -v 2000000; exec {} {} {QUICK} --set consumer.on_failure=skip \"$@\"",
        hostile.display(),
        victim.command_line()
    );
    // The arguments after `hostile` are the arguments of the shell line: `--report FILE`.
    let ended = victim.with(shell(&line).arg("hostile"), "allocate").run();
    victim.expect_poison(ended, "SIGABRT");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_panic_is_tried_again_and_then_its_messages_failure() {
    let victim = Victim::new();
    let retry = "--set consumer.retry.attempts=2 --set consumer.retry.backoff=10ms";
    let ended = victim.read("panic", &format!("{retry} --set consumer.on_failure=skip")).run().expect_found(&[]);
    assert_eq!((ended.count("processed"), ended.count("processing_failed")), (200, 1), "it was read, and has failed");
    assert_eq!((victim.times(), ended.restarts()), (3, Vec::new()), "three tries, and no worker died of it");
    ended.reports("this message is too much");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_handler_that_hangs_once_costs_its_worker_and_no_message() {
    let victim = Victim::new();
    let begun = Instant::now();
    let watchdog = "--set consumer.watchdog.stall_timeout=2s --set consumer.watchdog.kill_grace=500ms";
    let running = victim.read("hang_once", &format!("{QUICK} {watchdog}")).start();
    wait_for("it to hang", || victim.times() == 1);
    let hung = Instant::now();
    wait_for("it to be found", || running.stderr().contains("stall_timeout"));
    let found = hung.elapsed().as_millis();
    assert!((1_900..3_100).contains(&found), "found after {found} ms: within stall_timeout and a second");
    let ended = running.end().expect_found(&[]);
    assert_eq!((ended.count("processed"), ended.restarts().len()), (200, 1), "{:?}", ended.restarts());
    println!("{:?} from start to end", begun.elapsed());
}

/// The supervisor sees the message in processing each time, so that the second worker exit is sufficient.
#[test]
#[ignore = "needs a real Kafka"]
fn a_message_whose_handler_always_hangs_is_found_and_skipped() {
    let victim = Victim::new();
    let watchdog = "--set consumer.watchdog.stall_timeout=1s --set consumer.watchdog.kill_grace=200ms";
    let ended = victim.read("hang", &format!("{QUICK} {watchdog} --set consumer.on_failure=skip")).run();
    let ended = ended.expect_found(&[]).reports("stall_timeout");
    assert_eq!((ended.count("processed"), ended.count("processing_failed")), (200, 1), "{}", ended.report);
    assert!((2..=3).contains(&ended.restarts().len()) && victim.times() <= 3, "{:?}", ended.restarts());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_slow_handler_that_moves_is_left_alone() {
    // In five times `stall_timeout` it processes a dozen messages per partition.
    is_left_alone(4, 48);
}

/// A partition waits for three others before it is processed, which takes longer than `stall_timeout`.
#[test]
#[ignore = "needs a real Kafka"]
fn partitions_that_wait_for_their_turn_behind_a_slow_handler_are_left_alone() {
    is_left_alone(1, 20);
}

fn is_left_alone(processes: u64, messages: u64) {
    let victim = Victim::new();
    // 50 messages per partition take 20 s in sequence, which is too long for this test; it processes a part of them.
    let watchdog = "--set consumer.watchdog.stall_timeout=1s --set consumer.watchdog.kill_grace=200ms";
    let running = victim.read("dawdle", &format!("{watchdog} --processes {processes}")).start();
    wait_for("reading", || running.stderr().contains("INFO reading"));
    wait_for("messages", || running.in_status("consume", "processed") >= messages);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(1);
    assert_eq!((ended.restarts(), ended.count("lost")), (Vec::new(), 0), "{}", ended.report);
    assert!(!ended.stderr.contains("stall_timeout"), "{}", ended.stderr);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_handler_that_leaks_is_recycled_before_it_is_too_large() {
    let victim = Victim::new();
    let ended = victim.read("leak", &format!("{QUICK} --set consumer.recycle.max_rss_mb=64")).run().expect_found(&[]);
    assert_eq!((ended.count("processed"), ended.count("redelivered")), (200, 0), "it commits before it goes");
    assert!(!ended.restarts().is_empty(), "100 MiB a worker");
    assert!(ended.restarts().iter().all(|cause| cause.contains("rss_mb")), "{:?}", ended.restarts());
}

#[test]
#[ignore = "needs a real Kafka"]
#[cfg(target_os = "linux")]
fn what_a_handler_has_forked_ends_with_its_worker() {
    let victim = Victim::new();
    victim.read("fork", "").run().expect_found(&[]);
    let marker = victim.mischief.path().to_str().unwrap();
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|process| {
        std::fs::read(process.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(marker))
    });
    assert_eq!(left.count(), 0, "of 200");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_handler_that_closes_its_stdout_harms_nobody() {
    let victim = Victim::new();
    let ended = victim.read("close_stdout", "").run().expect_found(&[]);
    assert_eq!((ended.count("processed"), victim.times(), ended.restarts()), (200, 1, Vec::new()));
}

/// Each fault happens once: the supervisor restarts the worker, and no message is missing.
#[allow(clippy::print_stdout, reason = "shown with a failure")]
fn in_an_external_program(faults: &[&str], arguments: &str) {
    for fault in faults {
        let work = format!(
            "import sys, json, os, time, signal\nfor line in sys.stdin:\n    m = json.loads(line)\n    \
             if m['partition'] == 0 and m['offset'] == 5 and not os.path.exists('done'):\n        \
             open('done', 'w').close()\n        {fault}\n    print(json.dumps({{'id': m['id']}}), flush=True)\n"
        );
        let load = format!("--threads 2 --messages-per-thread 100 --partitions 4 {SPREAD} {QUICK} {arguments}");
        let verify = Topic::unmade().verify(&load).arg("--command").arg("python3 work.py").file("work.py", &work);
        println!("{fault}");
        let ended = verify.run().expect_found(&[]);
        assert_eq!((ended.count("processed"), ended.restarts().len()), (200, 1), "{fault}: {:?}", ended.restarts());
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn an_external_program_that_ends_or_talks_nonsense_costs_its_worker_and_no_message() {
    let faults = ["os.abort()", "os._exit(0)", "os.close(1); time.sleep(1000)", "print('{no JSON', flush=True)"];
    in_an_external_program(&faults, "");
}

#[test]
#[ignore = "needs a real Kafka"]
fn an_external_program_that_hangs_or_is_stopped_costs_its_worker_and_no_message() {
    let faults = ["time.sleep(1000)", "os.kill(os.getpid(), signal.SIGSTOP)"];
    in_an_external_program(
        &faults,
        "--set consumer.watchdog.stall_timeout=2s --set consumer.watchdog.kill_grace=500ms",
    );
}
