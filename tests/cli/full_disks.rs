//! No disk space for a log, a report or a histogram; closed stdout and stderr. Offsets of processed messages are committed
//! nevertheless.
#![cfg(target_os = "linux")]

use crate::harness::kafka::Topic;
use crate::harness::program::{Ended, shell};

/// Runs `consume` of 400 messages with `--until-end` in a shell, with these redirections.
fn consume(topic: &Topic, arguments: &str, redirections: &str) -> Ended {
    let line = format!(
        "$PROGRAM consume --brokers {} --topic {} --group {} --until-end {arguments} {redirections}",
        topic.brokers, topic.name, topic.name
    );
    shell(&line).run_plain()
}

fn filled() -> Topic {
    let topic = Topic::new(3);
    topic.fill(400);
    topic
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_log_on_a_full_disk_costs_the_log_alone() {
    for processor in ["count", "log"] {
        let topic = filled();
        consume(&topic, &format!("--processor {processor}"), "2>/dev/full").expect(0);
        assert_eq!(topic.committed_and_lag(), (400, 0), "{processor}");
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_report_on_a_full_disk_is_a_failure_that_is_reported() {
    let topic = filled();
    let ended = consume(&topic, "--processor count --report /dev/full", "").expect(1);
    let said = ended.stderr.lines().any(|line| line.contains("--report") && line.contains("No space left"));
    assert!(said, "{}", ended.stderr);
    assert_eq!(topic.committed_and_lag(), (400, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_histogram_on_a_full_disk_is_a_failure_that_is_reported() {
    let topic = Topic::new(3);
    let ended = topic.produce("--messages-per-thread 100 --latency-file /dev/full").run().expect(1);
    assert_eq!(ended.acknowledged(), 400, "and everything was done");
    let reason = ended.reason();
    assert!(reason.contains("/dev/full") && reason.contains("No space left"), "{reason}");
    let ended = topic.consume("--processor count --until-end --set latency.hdr_file=/dev/full").run().expect(1);
    assert!(ended.reason().contains("No space left"), "{}", ended.reason());
    assert_eq!(topic.committed_and_lag(), (400, 0));
}

/// A message that the processor could not write is not processed; it stays the next message to read. The workers exit because of
/// it, repeatedly at the same offsets, and no message is treated as a poison message.
#[test]
#[ignore = "needs a real Kafka"]
fn messages_that_a_full_disk_did_not_take_are_not_committed() {
    let topic = filled();
    let restarts =
        "--set consumer.restart.max_restarts=4 --set consumer.restart.backoff=20ms --set consumer.on_failure=skip";
    let ended = consume(&topic, &format!("--processor print {restarts}"), ">/dev/full").expect(1);
    assert!(ended.stderr.contains("No space left"), "{}", ended.stderr);
    let (committed, _) = topic.committed_and_lag();
    assert_eq!(committed, 0, "nothing was written");
    let again = consume(&topic, "--processor print", "").expect(0);
    assert_eq!(again.stdout.lines().count(), 400);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_closed_stdout_or_stderr_is_nobodys_concern() {
    for closed in [">&-", "2>&-", "<&-", "<&- >&- 2>&-"] {
        let topic = filled();
        consume(&topic, "--processor count", closed).expect(0);
        assert_eq!(topic.committed_and_lag(), (400, 0), "{closed}");
    }
    let topic = filled();
    let ended = consume(&topic, "--processor print", "2>&-").expect(0);
    assert_eq!(ended.stdout.lines().count(), 400);
}

/// The checker's run file: a verdict that is based on an incomplete history is not clean.
#[test]
#[ignore = "needs a real Kafka"]
fn a_run_file_on_a_full_disk_is_a_failure_that_is_reported() {
    let topic = Topic::unmade();
    let ended = topic.verify("--messages-per-thread 100 --partitions 2 --run-file /dev/full").run().expect(1);
    assert!(ended.reason().contains("/dev/full") || ended.stderr.contains("/dev/full"), "{}", ended.stderr);
}
