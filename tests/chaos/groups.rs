//! Kafka's consumer groups: members that join, leave and freeze, and a coordinator that is killed.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Chance, PATIENCE, Union};
use crate::harness::broker::Broker;
use crate::harness::kafka::{Topic, tool};
use crate::harness::program::Running;
use crate::harness::wait_for;

/// Short timeouts, so that the partitions of a member that left move to another member soon.
const SESSION: &str = "--set consumer.membership.session_timeout=6s --set consumer.membership.revoke_timeout=3s";

/// Starts a supervisor with two members of the group.
fn member(topic: &Topic, host: &str, arguments: &str) -> Running {
    let group = format!("--assignment group --processes 2 --set consumer.membership.instance_id_prefix={host}");
    topic.consume(&format!("--processor print {group} {arguments}")).start()
}

/// Reads the rest of the topic with one more supervisor. Asserts that all supervisors together printed every message.
fn read_the_rest(topic: &Topic, union: &mut Union) {
    // Static members that have exited keep their partitions until their session expires.
    let rest =
        member(topic, "rest", &format!("{SESSION} --idle-exit 10")).end_within(PATIENCE).expect(0).expect_committed();
    union.add(&rest.stdout);
    union.expect_all_of(topic);
    assert_eq!(topic.committed_and_lag(), (topic.end(), 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn two_supervisors_come_and_go_for_a_minute_and_process_each_message_once() {
    for protocol in ["classic", "consumer"] {
        let (mut chance, mut union) = (Chance::new(), Union::default());
        let topic = Topic::new(8);
        let producer = topic.produce("--key round_robin --rate 1000 --messages-per-thread 0").start();
        // Members leave the group when they stop: their partitions move at once.
        let arguments = format!(
            "--set consumer.membership.group_protocol={protocol} --set consumer.membership.static_membership=false"
        );
        let mut members = [Some(member(&topic, "a", &arguments)), None];
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(45) {
            // One of the two supervisors always runs, so that partitions move between live members, too.
            let which = if members[0].is_some() && members[1].is_some() { chance.below(2) } else { 2 };
            match members.get_mut(which) {
                Some(leaving) => {
                    let leaving = leaving.take().unwrap();
                    // The module `signals` tests signals during the start.
                    wait_for("it to begin", || leaving.stderr().contains("INFO consuming"));
                    leaving.signal(Signal::SIGTERM);
                    union.add(&leaving.end().expect(0).stdout);
                }
                None => {
                    let gone = usize::from(members[0].is_some());
                    members[gone] = Some(member(&topic, ["a", "b"][gone], &arguments));
                }
            }
            chance.pause(6_000);
        }
        producer.signal(Signal::SIGTERM);
        producer.end().expect(0);
        for running in members.into_iter().flatten() {
            running.signal(Signal::SIGTERM);
            union.add(&running.end_within(PATIENCE).expect(0).stdout);
        }
        read_the_rest(&topic, &mut union);
        assert_eq!(union.again(), 0, "{protocol}: whoever leaves has committed");
    }
}

/// Partitions that stay with their member pause briefly while others move, and continue at their position.
#[test]
#[ignore = "needs a real Kafka"]
fn partitions_that_a_member_keeps_lose_nothing_while_others_move() {
    let mut union = Union::default();
    let topic = Topic::new(4);
    let producer = topic.produce("--key round_robin --threads 2 --rate 1000 --messages-per-thread 0").start();
    let mut members = vec![member(&topic, "a", SESSION)];
    members[0].wait_for_lines(100);
    for host in ["b", "c", "d"] {
        let next = member(&topic, host, SESSION);
        let is_in = || next.stderr().contains("INFO reading") || next.stderr().contains("this worker: standby");
        wait_for("its partitions, or none", is_in);
        members.push(next);
        let lines = || members.iter().map(|member| member.stdout().lines().count()).sum::<usize>();
        let before = lines();
        wait_for("messages", || lines() > before + 2_000);
    }
    producer.signal(Signal::SIGTERM);
    producer.end_within(PATIENCE).expect(0);
    for running in members {
        running.signal(Signal::SIGTERM);
        union.add(&running.end_within(PATIENCE).expect(0).stdout);
    }
    read_the_rest(&topic, &mut union);
    assert_eq!(union.again(), 0, "nothing comes twice");
}

/// Its partitions move to other members. When it resumes, it may finish one message in each of them, and must not commit.
#[test]
#[ignore = "needs a real Kafka"]
fn a_member_frozen_past_its_session_commits_nothing_that_is_not_its_own() {
    let mut union = Union::default();
    let topic = Topic::new(4);
    let producer = topic.produce("--key round_robin --threads 2 --rate 500 --messages-per-thread 0").start();
    let timeouts = format!("{SESSION} --set consumer.watchdog.heartbeat_timeout=1m");
    let (one, other) = (member(&topic, "a", &timeouts), member(&topic, "b", &timeouts));
    one.wait_for_lines(100);
    other.wait_for_lines(100);
    let frozen = Pid::from_raw(one.workers()[0]);
    kill(frozen, Signal::SIGSTOP).unwrap();
    let group_is_smaller = || {
        let arguments = ["--bootstrap-server", &topic.brokers, "--describe", "--group", &topic.name, "--members"];
        let output = tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &arguments, "");
        output.lines().filter(|line| line.starts_with(&topic.name)).count() == 3
    };
    wait_for("its session's end", group_is_smaller);
    let before = topic.committed_and_lag().0;
    wait_for("its partitions to be processed elsewhere", || topic.committed_and_lag().1 < 1_000);
    kill(frozen, Signal::SIGCONT).unwrap();
    let awake = topic.committed_and_lag().0;
    assert!(awake >= before, "no commit goes back: {before}, {awake}");
    wait_for("it to go on", || one.stderr().contains("lost"));
    wait_for("more", || topic.committed_and_lag().0 > awake + 1_000);
    producer.signal(Signal::SIGTERM);
    producer.end_within(PATIENCE).expect(0);
    for running in [one, other] {
        running.signal(Signal::SIGTERM);
        let ended = running.end_within(PATIENCE).expect(0);
        union.add(&ended.stdout);
    }
    read_the_rest(&topic, &mut union);
    // Messages since its last commit, one second before it froze, are processed again: 125 messages a second and partition.
    assert!(union.again() < 750, "{} were processed again", union.again());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_killed_coordinator_costs_no_message() {
    let broker = Broker::cluster();
    let topic = Topic::replicated(broker.brokers.clone(), 6, 3);
    let permanent = "--set producer.message_timeout=120s --set producer.flush_timeout=125s";
    let producer =
        topic.produce(&format!("--key round_robin --threads 2 --rate 500 --messages-per-thread 0 {permanent}")).start();
    let (one, other) = (member(&topic, "a", ""), member(&topic, "b", ""));
    one.wait_for_lines(200);
    other.wait_for_lines(200);
    let coordinator = coordinator(&topic);
    broker.call_on("kill-broker", coordinator);
    let lines = || one.stdout().lines().count() + other.stdout().lines().count();
    let before = lines();
    wait_for("messages", || lines() > before + 15_000);
    broker.call_on("restart-broker", coordinator);
    producer.signal(Signal::SIGTERM);
    producer.end_within(PATIENCE).expect(0);
    let mut union = Union::default();
    for running in [one, other] {
        running.signal(Signal::SIGTERM);
        let ended = running.end_within(PATIENCE).expect(0);
        assert_eq!(ended.restarts(), Vec::<String>::new());
        union.add(&ended.stdout);
    }
    read_the_rest(&topic, &mut union);
    assert_eq!(union.again(), 0, "static members keep their partitions meanwhile");
}

/// The number of the broker that coordinates the group.
fn coordinator(topic: &Topic) -> u32 {
    let arguments = ["--bootstrap-server", &topic.brokers, "--describe", "--group", &topic.name, "--state"];
    let output = tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &arguments, "");
    // The tool prints `127.0.0.1:9092  (1)`.
    output
        .split('(')
        .filter_map(|rest| rest.split_once(')')?.0.parse().ok())
        .next()
        .unwrap_or_else(|| panic!("{output}"))
}
