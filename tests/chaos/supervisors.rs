//! Supervisors that are killed, stopped and started again, one after the other in the same group.

use std::collections::BTreeMap;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Chance, PATIENCE, Union};
use crate::harness::kafka::{Topic, tool};
use crate::harness::program::{Ended, Running, is_alive};
use crate::harness::wait_for;

/// Starts a producer that runs until it is stopped.
fn flowing(topic: &Topic) -> Running {
    topic.produce("--key round_robin --threads 2 --rate 2000 --messages-per-thread 0").start()
}

/// Stops the producer and reads the rest in the same group. Asserts that every message was processed.
fn read_the_rest(topic: &Topic, producer: Running, union: &mut Union, arguments: &str) -> Ended {
    producer.signal(Signal::SIGTERM);
    let produced = producer.end_within(PATIENCE).expect(0);
    assert_eq!(produced.acknowledged() as i64, topic.end());
    let rest = topic.consume(&format!("--processor print {arguments}")).start().end_within(PATIENCE).expect(0);
    union.add(&rest.stdout);
    union.expect_all_of(topic);
    assert_eq!(topic.committed_and_lag(), (topic.end(), 0));
    rest
}

/// 20 runs, each stopped at a random moment.
fn twenty_stops(arguments: &str, to_the_end: &str) {
    let (mut chance, mut union) = (Chance::new(), Union::default());
    let topic = Topic::new(4);
    let producer = flowing(&topic);
    for run in 0..20 {
        let running = topic.consume(&format!("--processor print {arguments}")).start();
        running.wait_for_lines(1);
        chance.pause(1_200);
        running.signal(Signal::SIGTERM);
        let ended = running.end().expect(0).expect_committed();
        assert_eq!(union.add(&ended.stdout) as u64, ended.processed(), "run {run}");
        assert_eq!(union.again(), 0, "run {run}: nothing is processed twice");
    }
    read_the_rest(&topic, producer, &mut union, &format!("{arguments} {to_the_end}"));
    assert_eq!(union.again(), 0, "nothing is processed twice");
}

#[test]
#[ignore = "needs a real Kafka"]
fn twenty_stops_under_load_process_nothing_twice() {
    twenty_stops("", "--until-end");
}

#[test]
#[ignore = "needs a real Kafka"]
fn twenty_stops_of_a_group_under_load_process_nothing_twice() {
    twenty_stops("--assignment group", "--idle-exit 2");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_killed_supervisor_and_a_new_start_lose_and_repeat_nothing() {
    let (mut chance, mut union) = (Chance::new(), Union::default());
    let topic = Topic::new(4);
    let producer = flowing(&topic);
    for run in 0..6 {
        let running = topic.consume("--processor print --set consumer.commit_interval=1h").start();
        running.wait_for_lines(100);
        chance.pause(1_000);
        let (folder, workers) = running.kill();
        // The workers detect that their supervisor has exited, commit and exit, too. The next supervisor may start only after that.
        wait_for("the workers' end", || !workers.iter().any(|pid| is_alive(*pid)));
        union.add(&std::fs::read_to_string(folder.path().join("stdout")).unwrap());
        assert_eq!(union.again(), 0, "run {run}");
    }
    read_the_rest(&topic, producer, &mut union, "--until-end");
    assert_eq!(union.again(), 0, "nothing is processed twice");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_supervisor_killed_with_all_its_workers_repeats_only_what_was_not_committed() {
    let (mut chance, mut union) = (Chance::new(), Union::default());
    let topic = Topic::new(4);
    let producer = flowing(&topic);
    for run in 0..6 {
        let running = topic.consume("--processor print --set consumer.commit_interval=200ms").start();
        running.wait_for_lines(100);
        chance.pause(1_000);
        // Like a power failure. The supervisor is stopped first, because it would restart the workers.
        running.signal(Signal::SIGSTOP);
        for worker in running.workers() {
            kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
        }
        let (folder, _) = running.kill();
        union.add(&std::fs::read_to_string(folder.path().join("stdout")).unwrap());
        let next = committed(&topic);
        let gone_on: Vec<_> =
            next.iter().map(|(partition, offset)| union.expect_all_below(*partition, *offset)).collect();
        println!("run {run}: committed {next:?}, processed beyond that {gone_on:?}");
        union.forget_beyond(&next);
    }
    read_the_rest(&topic, producer, &mut union, "--until-end");
    assert_eq!(union.again(), 0, "what was committed is not processed again");
}

/// The partitions and the offsets that the group has committed, from Kafka's own tool.
fn committed(topic: &Topic) -> BTreeMap<i64, i64> {
    let arguments = ["--bootstrap-server", &topic.brokers, "--describe", "--group", &topic.name];
    let output = tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &arguments, "");
    let row = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    output.lines().filter(|line| line.starts_with(&topic.name)).filter_map(row).collect()
}
