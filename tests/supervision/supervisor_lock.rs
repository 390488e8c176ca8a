//! Two supervisors of one group with manual assignment: one at a time processes the group, whatever happens to the other.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::harness::kafka::{Topic, tool};
use crate::harness::program::{Program, Running, is_alive, printed};
use crate::harness::wait_for;

/// The maximum time until an expired lock is free: its session timeout, and some time for a loaded machine.
const EXPIRY: Duration = Duration::from_secs(20);

fn print(topic: &Topic, arguments: &str) -> Program {
    topic.consume(&format!("--processor print {arguments}"))
}

fn has_begun(running: &Running) {
    wait_for("it to begin", || running.stderr().contains("INFO consuming"));
}

fn waits(running: &Running) {
    wait_for("it to wait", || running.stderr().contains("INFO waiting: the group"));
}

/// Starts a producer that runs until it is stopped.
fn flowing(topic: &Topic) -> Running {
    topic.produce("--key round_robin --threads 2 --rate 500 --messages-per-thread 0").start()
}

fn stop(running: Running) -> String {
    running.signal(Signal::SIGTERM);
    running.end().expect(0).expect_committed().stdout
}

/// Partitions and offsets of whole lines: a process that is killed may leave an incomplete line.
fn places(stdout: &str) -> Vec<(i64, i64)> {
    printed(stdout.rfind('\n').map_or("", |end| &stdout[..=end]))
}

/// Stops the producer, reads the rest, and asserts that every message was processed exactly once.
fn expect_exact_union(topic: &Topic, producer: Running, outputs: &[String]) {
    producer.signal(Signal::SIGTERM);
    producer.end().expect(0);
    let rest = print(topic, "--until-end").run().expect(0).expect_committed();
    let mut all: Vec<_> = outputs.iter().chain([&rest.stdout]).flat_map(|stdout| places(stdout)).collect();
    let processed = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(processed - all.len(), 0, "so many were processed twice");
    assert_eq!(all.len() as i64, topic.end(), "all of them were processed");
    assert_eq!(topic.committed_and_lag(), (topic.end(), 0));
}

/// A member of the companion group, like a supervisor of another host. It sends heartbeats. Since it is not polled, it leaves after
/// six seconds, like a member with an expired session.
fn supervisor_elsewhere(topic: &Topic) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &topic.brokers)
        .set("group.id", format!("{}.supervisor", topic.name))
        .set("client.id", "kafka-actors-supervisor/elsewhere/4711/1795725296/0a1b2c3d.1.1/00000001")
        .set("session.timeout.ms", "6000")
        .set("max.poll.interval.ms", "6000");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[&topic.name]).unwrap();
    wait_for("the other supervisor's membership", || {
        let _nothing_is_read = consumer.poll(Duration::from_millis(20));
        consumer.assignment().unwrap().count() > 0
    });
    consumer
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_second_supervisor_is_refused_with_the_host_and_pid_of_the_first() {
    let topic = Topic::new(2);
    let first = print(&topic, "").start();
    has_begun(&first);
    for assignment in ["manual", "group"] {
        let refused = print(&topic, &format!("--assignment {assignment}")).run().expect(1);
        let host = String::from_utf8(std::process::Command::new("hostname").output().unwrap().stdout).unwrap();
        let holder = format!("is already processed by a supervisor on host {:?}, pid {},", host.trim(), first.id());
        assert!(refused.reason().contains(&holder), "{assignment}: {}", refused.reason());
        assert_eq!(refused.stdout, "");
        assert!(refused.took < Duration::from_secs(8), "at once: {:?}", refused.took);
    }
    // Kafka's own tool names the lock's holder, too.
    let group = format!("{}.supervisor", topic.name);
    let arguments = ["--bootstrap-server", &topic.brokers, "--describe", "--members", "--group", &group];
    let members = tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &arguments, "");
    assert!(members.contains(&format!("/{}/", first.id())), "{members}");
    assert_eq!(stop(first), "");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_supervisor_is_refused_while_members_share_the_group_by_either_protocol() {
    for protocol in ["classic", "consumer"] {
        let topic = Topic::new(2);
        topic.fill(8);
        let member =
            print(&topic, &format!("--assignment group --set consumer.membership.group_protocol={protocol}")).start();
        member.wait_for_lines(8);
        let refused = print(&topic, "").run().expect(1);
        assert!(refused.reason().contains("is in use by other consumers"), "{protocol}: {}", refused.reason());
        stop(member);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn of_supervisors_that_start_at_the_same_moment_exactly_one_processes_the_group() {
    for _round in 0..4 {
        let topic = Topic::new(2);
        topic.fill(40);
        let start = |_| print(&topic, "").start();
        let all: Vec<_> = (0..3).map(start).collect();
        let begins = |running: &&Running| running.stderr().contains("INFO consuming");
        let refused = |running: &&Running| running.stderr().contains("is already processed by");
        wait_for("one of them, and the others' end", || {
            all.iter().filter(begins).count() >= 1 && all.iter().filter(refused).count() >= 2
        });
        for running in all {
            if begins(&&running) {
                running.wait_for_lines(40);
                assert_eq!(places(&stop(running)).len(), 40);
            } else {
                assert_eq!(running.end().expect(1).stdout, "");
            }
        }
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn one_that_waits_takes_over_after_the_final_commit_of_the_first_and_nothing_comes_twice() {
    let topic = Topic::new(4);
    let producer = flowing(&topic);
    let first = print(&topic, "--set consumer.commit_interval=1h").start();
    first.wait_for_lines(50);
    let second = print(&topic, "--wait --set monitoring.listen=127.0.0.1:0").start();
    waits(&second);
    let outputs = [stop(first), {
        second.wait_for_lines(50);
        stop(second)
    }];
    expect_exact_union(&topic, producer, &outputs);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_waiting_supervisor_handles_signals() {
    let topic = Topic::new(1);
    let first = print(&topic, "").start();
    has_begun(&first);
    let second = print(&topic, "--wait").start();
    waits(&second);
    second.signal(Signal::SIGTERM);
    let ended = second.end().expect(0);
    assert_eq!(ended.reason(), "stopped by a signal");
    stop(first);
}

#[test]
#[ignore = "needs a real Kafka"]
fn after_a_sigkill_another_one_takes_over_at_once_on_the_same_host_and_nothing_comes_twice() {
    for arguments in ["", "--wait"] {
        let topic = Topic::new(4);
        let producer = flowing(&topic);
        let first = print(&topic, "--set consumer.commit_interval=1h").start();
        first.wait_for_lines(50);
        let waiting = (arguments == "--wait").then(|| print(&topic, arguments).start());
        waiting.iter().for_each(waits);
        let (folder, _) = first.kill();
        let begun = Instant::now();
        // It waits for the workers of the first supervisor, which finish and commit.
        let second = waiting.unwrap_or_else(|| print(&topic, arguments).start());
        second.wait_for_lines(50);
        assert!(begun.elapsed() < Duration::from_secs(9), "sooner than the session ends: {:?}", begun.elapsed());
        let outputs = [std::fs::read_to_string(folder.path().join("stdout")).unwrap(), stop(second)];
        expect_exact_union(&topic, producer, &outputs);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn the_lock_of_another_host_is_respected_until_it_expires() {
    let topic = Topic::new(2);
    topic.fill(40);
    let elsewhere = supervisor_elsewhere(&topic);
    let refused = print(&topic, "").run().expect(1);
    assert!(refused.reason().contains("a supervisor on host \"elsewhere\", pid 4711"), "{}", refused.reason());
    let second = print(&topic, "--wait").start();
    waits(&second);
    let begun = Instant::now();
    second.wait_for_lines(40);
    assert!(begun.elapsed() < EXPIRY, "{:?}", begun.elapsed());
    drop(elsewhere);
    stop(second);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_supervisor_frozen_past_its_session_stops_and_commits_nothing_that_is_not_its_own() {
    let topic = Topic::new(4);
    let producer = flowing(&topic);
    let first = print(&topic, "--set consumer.commit_interval=1h").start();
    first.wait_for_lines(50);
    let second = print(&topic, "--wait").start();
    waits(&second);
    let workers = first.workers();
    first.signal(Signal::SIGSTOP);
    // The workers of the first supervisor continue for a while, then commit and take no more messages; the second one continues
    // there.
    has_begun(&second);
    let frozen = first.stdout();
    assert!(frozen == first.stdout() && workers.iter().all(|pid| is_alive(*pid)));
    second.wait_for_lines(500);
    let committed = topic.committed_and_lag().0;
    first.signal(Signal::SIGCONT);
    let lost = first.end().expect(1);
    assert!(lost.reason().contains("was lost: it is held by a supervisor on host"), "{}", lost.reason());
    assert!(lost.reason().contains(&format!("pid {},", second.id())), "{}", lost.reason());
    assert_eq!(lost.stdout, frozen, "it has processed nothing more");
    assert!(topic.committed_and_lag().0 >= committed, "nothing was committed backwards");
    let outputs = [lost.stdout, stop(second)];
    expect_exact_union(&topic, producer, &outputs);
}

#[test]
#[ignore = "needs a real Kafka"]
fn without_the_lock_nobody_is_refused() {
    let topic = Topic::new(1);
    topic.fill(8);
    let unlocked = "--set consumer.supervisor_lock=false";
    let first = print(&topic, unlocked).start();
    first.wait_for_lines(8);
    print(&topic, &format!("{unlocked} --until-end")).run().expect(0);
    // The exit of the first supervisor is not part of this test: it finds commits of another client.
    drop(first);
}
