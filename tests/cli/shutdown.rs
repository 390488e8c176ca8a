//! Shutdowns in the middle of work.

use nix::sys::signal::Signal;

use crate::harness::kafka::Topic;
use crate::harness::program::{children, distinct, is_alive, printed, shell};
use crate::harness::wait_for;

#[test]
#[ignore = "needs a real Kafka"]
fn two_runs_with_a_signal_in_between_process_each_message_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let topic = Topic::new(3);
        topic.fill(60_000);
        let first = topic.consume("--processor print").start();
        first.wait_for_lines(2_000);
        first.signal(signal);
        let first = first.end().expect(0).expect_committed();
        let mut places = printed(&first.stdout);
        assert!(places.len() < 60_000, "the signal came in the middle of the backlog");
        assert_eq!(places.len() as u64, first.processed());
        let (committed, _) = topic.committed_and_lag();
        assert_eq!(committed, places.len() as i64, "Kafka's own tool agrees");
        let second = topic.consume("--processor print --until-end").run().expect(0).expect_committed();
        places.extend(printed(&second.stdout));
        assert_eq!(distinct(&places), 60_000, "{signal}: nothing twice, nothing missed");
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_does_not_end_by_the_deadline_is_killed_and_named() {
    let topic = Topic::new(1);
    topic.fill(4);
    let arguments = "--processes 1 --set shutdown.timeout=1s";
    let hanging = topic.consume_with(arguments, "open('got', 'w'); time.sleep(1000)").start();
    wait_for("a message in the program's hands", || hanging.has_file("got"));
    let workers = hanging.workers();
    let programs = children(workers[0]);
    assert_eq!(programs.len(), 1);
    hanging.signal(Signal::SIGTERM);
    let ended = hanging.end().expect(3).reports("has not ended by the deadline");
    assert_eq!((ended.processed(), ended.sum("abandoned")), (0, 1), "{}", ended.report);
    assert!(!workers.into_iter().chain(programs).any(is_alive));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_second_signal_ends_it_at_once() {
    let topic = Topic::new(1);
    topic.fill(4);
    let hanging = topic.consume("--processes 1").arg("--command").arg("sleep 1000").start();
    wait_for("reading", || hanging.stderr().contains("reading"));
    let workers = hanging.workers();
    hanging.signal(Signal::SIGTERM);
    wait_for("the first signal to be felt", || hanging.stderr().contains("stopping"));
    // Within the first second, the program takes it for a duplicate of the first signal.
    std::thread::sleep(std::time::Duration::from_millis(1_050));
    hanging.signal(Signal::SIGTERM);
    let ended = hanging.end().expect(3);
    assert!(ended.took.as_secs() < 9, "{:?}", ended.took);
    assert!(!workers.into_iter().any(is_alive));
}

#[test]
#[ignore = "needs a real Kafka"]
fn usr1_writes_the_status() {
    let topic = Topic::new(2);
    topic.fill(40);
    let running = topic.consume("--processor count").start();
    // Before its handler is installed, the signal kills the process.
    wait_for("reading", || running.stderr().contains("reading"));
    wait_for("everything to be processed", || running.status().contains("\"processed\":40"));
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
}

#[test]
#[ignore = "needs a real Kafka"]
#[cfg(target_os = "linux")]
fn a_log_that_nobody_reads_does_not_keep_it_from_ending() {
    let topic = Topic::new(2);
    topic.fill(80_000);
    let line = format!(
        "mkfifo log; exec 9<>log; exec $PROGRAM consume --brokers {} --topic {} --group {} --set shutdown.timeout=2s \
         --report report.json 2>log",
        topic.brokers, topic.name, topic.name
    );
    let running = shell(&line).start_plain();
    let written = || {
        let counts = std::fs::read_to_string(format!("/proc/{}/io", running.id())).unwrap_or_default();
        counts.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse::<u64>().ok()).unwrap_or(0)
    };
    // A pipe holds 64 KiB, and accepts lines in pieces of up to 8 KiB; the lines of these messages are 15 MB.
    wait_for("the pipe to be full", || written() > 50_000);
    let workers = running.workers();
    assert_eq!(workers.len(), 2);
    let asked = std::time::Instant::now();
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert!(asked.elapsed().as_secs() < 10, "{:?}", asked.elapsed());
    assert!(ended.report["exit"]["reason"].is_string(), "{}", ended.report);
    assert!(!workers.into_iter().any(is_alive));
}
