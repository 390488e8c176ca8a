//! The assignment of a worker changes while it runs; the test sends the commands of a supervisor.

use std::collections::{BTreeMap, BTreeSet};

use kafka_actors::internal::TopicPartition;
use kafka_actors::internal::protocol::{GroupMember, PartitionAssignment, WorkerCommand, WorkerEvent};

use crate::harness::kafka::Topic;
use crate::harness::program::distinct;
use crate::harness::wait_for;
use crate::harness::worker::{Worker, from_the_beginning};

fn named(topic: &Topic, partition: i32) -> TopicPartition {
    TopicPartition::new(&topic.name, partition)
}

fn at(topic: &Topic, partition: i32, start: i64) -> PartitionAssignment {
    PartitionAssignment { partition: named(topic, partition), start, until: None, topic_id: None }
}

#[test]
#[ignore = "needs a real Kafka"]
fn partitions_that_change_hands_while_messages_flow_are_read_once() {
    let topic = Topic::new(6);
    let producing = topic.produce("--key round_robin --rate 4000 --duration 8").start();
    // One worker reads everything, the other one is a standby.
    let mut workers = [
        Worker::start(&topic, &[], from_the_beginning(&topic, 0..6), None),
        Worker::start(&topic, &[], Vec::new(), None),
    ];
    for worker in &mut workers {
        worker.receive("Ready", |frame| matches!(frame, WorkerEvent::Ready { .. }).then_some(()));
    }
    let mut owner = [0; 6];
    for turn in 0..60 {
        let moving = [turn % 6, (turn * 5 + 1) % 6];
        for partition in moving {
            let from = owner[partition];
            let name = named(&topic, partition as i32);
            workers[from].say(&WorkerCommand::Revoke(vec![name.clone()]));
            assert_eq!(workers[from].receive_revoked(), (vec![name.clone()], false));
            let last = workers[from].last.iter().find(|last| last.partition == name).cloned();
            let next = last.as_ref().map_or(0, |last| last.next);
            if next > 0 && last.as_ref().is_some_and(|last| last.counts.processed > 0) {
                assert_eq!(last.unwrap().committed, Some(next), "it is committed when it is revoked");
            }
            owner[partition] = 1 - from;
            workers[1 - from].say(&WorkerCommand::Assign(vec![at(&topic, partition as i32, next)]));
            assert_eq!(workers[1 - from].receive_assigned(), [at(&topic, partition as i32, next)]);
        }
    }
    let written = producing.end().expect(0).acknowledged() as usize;
    assert!(written > 30_000, "{written}");
    wait_for("everything to be read", || workers.iter().map(|worker| worker.printed().len()).sum::<usize>() >= written);
    let (both, counts) =
        workers.map(Worker::end).into_iter().fold((Vec::new(), Vec::new()), |(mut all, mut n), read| {
            n.push(read.len());
            all.extend(read);
            (all, n)
        });
    assert_eq!(distinct(&both), written, "nothing twice, nothing missed");
    assert!(counts.iter().all(|count| *count > 5_000), "{counts:?}");
    assert_eq!(topic.committed_and_lag(), (written as i64, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_is_asked_at_the_wrong_time_is_answered() {
    let topic = Topic::new(3);
    topic.fill(1_200);
    let mut worker = Worker::start(&topic, &[], from_the_beginning(&topic, 0..1), None);
    // Sent before the worker is ready: the replies come in order, and a partition that it never owned is revoked at once.
    worker.say(&WorkerCommand::Revoke(vec![named(&topic, 2), named(&topic, 0)]));
    // It takes no message before it receives the stop offset: its position could pass it.
    worker.say(&WorkerCommand::Pause(true));
    worker.say(&WorkerCommand::Assign(from_the_beginning(&topic, 1..2)));
    assert_eq!(worker.receive_revoked(), (vec![named(&topic, 2)], false));
    assert_eq!(worker.receive_revoked(), (vec![named(&topic, 0)], false));
    assert_eq!(worker.receive_assigned(), from_the_beginning(&topic, 1..2));
    // An assigned partition is not added twice; a stop offset that was sent before its partition was assigned applies.
    let end = |partition| (named(&topic, partition), 50);
    worker.say(&WorkerCommand::ReadUntil(vec![end(1), end(2)]));
    worker.say(&WorkerCommand::Pause(false));
    worker.receive("the end of what it has", |frame| matches!(frame, WorkerEvent::EndReached).then_some(()));
    worker.say(&WorkerCommand::Assign(from_the_beginning(&topic, 1..3)));
    assert_eq!(worker.receive_assigned(), from_the_beginning(&topic, 2..3).map_until(50));
    worker.receive("the end, reported again", |frame| matches!(frame, WorkerEvent::EndReached).then_some(()));
    // A stop directly after an assignment.
    worker.say(&WorkerCommand::Assign(from_the_beginning(&topic, 0..1)));
    let read = worker.end();
    let of = |partition| read.iter().filter(|(of, _)| *of == partition).map(|(_, at)| *at).collect::<BTreeSet<_>>();
    assert_eq!((of(1), of(2)), ((0..50).collect(), (0..50).collect()));
}

/// Assignments with a stop offset.
trait Until {
    fn map_until(self, until: i64) -> Self;
}

impl Until for Vec<PartitionAssignment> {
    fn map_until(mut self, until: i64) -> Self {
        self.iter_mut().for_each(|start| start.until = Some(until));
        self
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_handler_that_hangs_keeps_its_partition_until_its_worker_exits() {
    let topic = Topic::new(2);
    topic.fill(400);
    let (hangs, settings) = ("import time\ntime.sleep(1000)\n", ["consumer.membership.revoke_timeout=1s"]);
    let mut worker = Worker::start_with(hangs, &topic, &settings, from_the_beginning(&topic, 0..2), None);
    worker.receive_progress("a message in hand", |progress| progress.in_flight.is_some());
    worker.say(&WorkerCommand::Revoke(vec![named(&topic, 0), named(&topic, 1)]));
    let (reason, permanent) = worker.receive_fatal();
    assert!(reason.contains("could not be revoked") && reason.contains("revoke_timeout"), "{reason}");
    assert!(!permanent, "a new process may do better");
}

/// The processor takes longer for each message than `revoke_timeout`.
const SLOW: &str = "import sys, json, time\nfor line in sys.stdin:\n    m = json.loads(line)\n    time.sleep(4)\n    \
                    print(json.dumps({'id': m['id']}), flush=True)\n";

#[test]
#[ignore = "needs a real Kafka"]
fn a_partition_is_not_revoked_while_a_message_of_it_is_processed() {
    let topic = Topic::new(1);
    topic.fill(4);
    let settings = ["consumer.membership.revoke_timeout=1s"];
    let mut worker = Worker::start_with(SLOW, &topic, &settings, from_the_beginning(&topic, 0..1), None);
    worker.receive_progress("a message in hand", |progress| progress.in_flight.is_some());
    worker.say(&WorkerCommand::Revoke(vec![named(&topic, 0)]));
    let (reason, _) = worker.receive_fatal();
    assert!(reason.contains("could not be revoked"), "{reason}");
    worker.receive("its end", |frame| {
        assert!(!matches!(frame, WorkerEvent::Revoked { .. }), "somebody else would read it, too: {frame:?}");
        matches!(frame, WorkerEvent::Finished).then_some(())
    });
    let last = worker.last_of(&named(&topic, 0));
    assert_eq!((last.next, last.committed), (1, Some(1)), "the message in flight is handled and committed");
    assert_eq!(topic.committed_and_lag(), (1, 3));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_group_does_not_reassign_a_partition_while_a_message_of_it_is_processed() {
    for protocol in ["classic", "consumer"] {
        let topic = Topic::new(2);
        topic.fill(8);
        let protocol = format!("consumer.membership.group_protocol={protocol}");
        let settings = ["consumer.membership.revoke_timeout=1s", protocol.as_str()];
        let member = || Some(GroupMember { id: None, partitions: 2, partitions_at_start: BTreeMap::new() });
        let mut first = Worker::start_with(SLOW, &topic, &settings, Vec::new(), member());
        first.receive_progress("a message in hand", |progress| progress.in_flight.is_some());
        let mut second = Worker::start_with(SLOW, &topic, &settings, Vec::new(), member());
        let (reason, _) = first.receive_fatal();
        assert!(reason.contains("could not be revoked"), "{reason}");
        let starts = second.receive("what it is assigned", |frame| match frame {
            WorkerEvent::Assigned(starts) => Some(starts.clone()).filter(|starts| !starts.is_empty()),
            _ => None,
        });
        first.receive("its end", |frame| matches!(frame, WorkerEvent::Finished).then_some(()));
        for start in starts {
            let last = first.last_of(&start.partition);
            assert_eq!((start.start, last.committed), (last.next, Some(last.next)), "{protocol}: {}", start.partition);
            assert!(last.next > 0, "{protocol}: what was in flight is handled");
        }
    }
}

/// A worker in the middle of a partition with messages that are deleted before they are fetched: it prefetches little and processes
/// slowly.
fn behind(policy: &str, group: Option<&str>) -> (Topic, Worker, i64) {
    let topic = Topic::new(1);
    topic
        .produce(
            "--threads 1 --messages-per-thread 3000 --set producer.message_size=20000 --set producer.compression=none",
        )
        .run()
        .expect(0);
    let work = "import sys, json, time\nfor line in sys.stdin:\n    m = json.loads(line)\n    time.sleep(0.002)\n    \
                print(json.dumps({'id': m['id']}), flush=True)\n    print(m['offset'], file=sys.stderr, flush=True)\n";
    let policy = format!("consumer.offset_out_of_range={policy}");
    let protocol = format!("consumer.membership.group_protocol={}", group.unwrap_or("classic"));
    let settings = ["consumer.memory_budget_mb=1", policy.as_str(), protocol.as_str()];
    let member = group.map(|_| GroupMember { id: None, partitions: 1, partitions_at_start: BTreeMap::new() });
    let starts = from_the_beginning(&topic, 0..i32::from(member.is_none()));
    let mut worker = Worker::start_with(work, &topic, &settings, starts, member);
    worker.receive_progress("progress", |progress| progress.next > 50);
    topic.delete_below(0, 2_500);
    (topic, worker, 2_500)
}

fn offsets(log: &str) -> Vec<i64> {
    log.lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
#[ignore = "needs a real Kafka"]
fn messages_that_are_gone_from_the_log_end_a_worker_with_what_would_go_on() {
    let (_topic, mut worker, beginning) = behind("stop", None);
    let (reason, permanent) = worker.receive_fatal();
    assert!(permanent, "{reason}");
    for part in ["are gone from the log", &format!("{beginning} to 3000"), "consumer.offset_out_of_range"] {
        assert!(reason.contains(part), "{part:?} is not in {reason:?}");
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn messages_that_are_gone_from_the_log_are_left_out_if_that_is_wanted() {
    left_out(None);
}

#[test]
#[ignore = "needs a real Kafka"]
fn messages_that_are_gone_from_the_log_are_left_out_by_members_too() {
    left_out(Some("classic"));
    left_out(Some("consumer"));
}

fn left_out(group: Option<&str>) {
    let (topic, mut worker, beginning) = behind("earliest", group);
    let name = named(&topic, 0);
    worker.receive_progress("the end", |progress| progress.next == 3_000);
    let log = worker.log();
    let read = offsets(&log);
    let last_before = *read.iter().filter(|offset| **offset < beginning).max().unwrap();
    let reported = format!("{} messages from offset {} on are gone", beginning - last_before - 1, last_before + 1);
    // Numbers have separators for thousands.
    assert!(log.replace(',', "").contains(&reported), "{reported:?} is not in:\n{log}");
    let expected: Vec<_> = (0..=last_before).chain(beginning..3_000).collect();
    assert_eq!(read, expected, "each of the others once");
    let processed = worker.last_of(&name).counts.processed;
    assert_eq!(processed as usize, expected.len(), "the count goes on over the gap");
    worker.end();
    assert_eq!(topic.committed_and_lag(), (3_000, 0));
}
