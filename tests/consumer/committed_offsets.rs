//! The committed offsets of a group without members: their ownership, and that they always exist.

use nix::sys::signal::Signal;

use crate::harness::kafka::Topic;
use crate::harness::program::{Ended, Running};
use crate::harness::wait_for;

/// Asserts that the run ended without a signal, named both offsets of the group, and did not overwrite the other client's offset.
fn ended_at_reset(running: Running, topic: &Topic, offset: i64) -> Ended {
    let ended = running.end().expect(1).reports("--reset-offsets");
    let reason = ended.reason();
    assert!(reason.contains(&format!("\"{}\" (consumer.group_id) is {offset}", topic.name)), "{reason}");
    assert!(reason.contains(&format!("{}/", topic.name)) && reason.contains("this run had committed"), "{reason}");
    let partitions = topic.ends().len() as i64;
    assert_eq!(topic.committed_and_lag().0, offset * partitions, "the operator's offsets hold");
    ended
}

#[test]
#[ignore = "needs a real Kafka"]
fn offsets_that_are_reset_under_load_end_the_run_and_hold() {
    let topic = Topic::new(2);
    topic.fill(400);
    let running = topic.consume("--processor count --set consumer.commit_interval=200ms").start();
    let producer = topic.produce("--key round_robin --rate 1000 --messages-per-thread 0").start();
    wait_for("commits", || topic.committed_and_lag().0 > 400);
    topic.reset_offsets(3);
    ended_at_reset(running, &topic, 3);
    producer.signal(Signal::SIGTERM);
    producer.end().expect(0);
    let again = topic.consume("--until-end").run().expect(0).expect_committed();
    assert_eq!(
        (again.sum("start_offset"), again.processed()),
        (6, topic.end() as u64 - 6),
        "and the next start goes on there"
    );
}

#[test]
#[ignore = "needs a real Kafka"]
fn offsets_that_are_reset_while_nothing_comes_end_the_run_and_hold() {
    for signal in [None, Some(Signal::SIGUSR2)] {
        let topic = Topic::new(2);
        topic.fill(40);
        let running = topic.consume("--processor count").start();
        wait_for("the commit", || topic.committed_and_lag() == (40, 0));
        if let Some(signal) = signal {
            running.signal(signal);
        }
        topic.reset_offsets(2);
        ended_at_reset(running, &topic, 2);
    }
}

/// The run detects the reset either before the end or at the end.
#[test]
#[ignore = "needs a real Kafka"]
fn offsets_that_are_reset_right_before_a_stop_hold() {
    let topic = Topic::new(2);
    topic.fill(40);
    let running = topic.consume("--processor print --set consumer.commit_interval=1h").start();
    running.wait_for_lines(40);
    topic.reset_offsets(1);
    running.signal(Signal::SIGTERM);
    ended_at_reset(running, &topic, 1);
}

#[test]
#[ignore = "needs a real Kafka"]
fn offsets_that_are_deleted_are_committed_again() {
    let topic = Topic::new(2);
    topic.fill(40);
    let running = topic.consume("--processor count").start();
    wait_for("the commit", || topic.committed_and_lag() == (40, 0));
    topic.group_tool(&["--delete-offsets", "--topic", &topic.name]);
    wait_for("the commit again", || topic.committed_and_lag() == (40, 0));
    running.signal(Signal::SIGTERM);
    running.end().expect(0).expect_committed().reports("is gone: another client has deleted it");
}

/// The high watermark at the next start is another offset; messages that arrive in between must not be skipped.
#[test]
#[ignore = "needs a real Kafka"]
fn a_start_at_the_end_is_committed_although_nothing_comes() {
    for assignment in ["manual", "group"] {
        let topic = Topic::new(2);
        topic.fill(40);
        let arguments = format!("--processor count --set consumer.auto_offset_reset=latest --assignment {assignment}");
        let running = topic.consume(&arguments).start();
        wait_for("the commit", || topic.committed_and_lag() == (40, 0));
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end().expect(0).processed(), 0);
        topic.fill(20);
        assert_eq!(topic.consume(&format!("{arguments} --until-end")).run().expect(0).processed(), 20, "{assignment}");
    }
}
