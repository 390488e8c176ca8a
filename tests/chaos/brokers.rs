//! Brokers that are killed under load: one of three, or all of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, leaders};
use crate::harness::broker::Broker;
use crate::harness::kafka::{Topic, tool};
use crate::harness::program::{Ended, Running, printed};
use crate::harness::wait_for;

/// The numbers of messages that are acknowledged and processed so far.
fn moved(running: &Running) -> (u64, u64) {
    (running.in_status("produce", "acknowledged"), running.in_status("consume", "processed"))
}

/// The message timeout is longer than the longest outage. With a shorter one, a message that timed out may still be written
/// (docs/VERIFY.md).
const LASTING: &str = "--set producer.message_timeout=120s --set producer.flush_timeout=125s --timeout 120";

/// Stops the load. Asserts that every message was processed exactly once, by the workers that were started first.
fn expect_all_of_it(running: Running) -> Ended {
    running.signal(Signal::SIGTERM);
    let ended = running.end_within(PATIENCE).expect_found(&[]);
    assert_eq!(ended.count("acknowledged"), ended.count("processed"));
    assert_eq!((ended.restarts(), ended.count("redelivered")), (Vec::new(), 0));
    ended
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_leader_that_is_killed_and_comes_back_costs_no_message_and_no_worker() {
    let broker = Broker::cluster();
    let topic = Topic::replicated(broker.brokers.clone(), 6, 3);
    let load = "--threads 2 --messages-per-thread 0 --rate 1500 --processes 3";
    // The default `stall_timeout` of one minute would hide a stall. 15 s is the smallest value that the settings recommend.
    let running = topic.verify(&format!("{load} {LASTING} --set consumer.watchdog.stall_timeout=15s")).start();
    wait_for("messages", || running.stderr().contains("INFO producing") && moved(&running).1 > 3_000);
    for number in [2, 3] {
        wait_for("it to lead", || leaders(&topic).contains(&number));
        broker.call_on("kill-broker", number);
        wait_for("another leader", || !leaders(&topic).contains(&number));
        let then = moved(&running);
        wait_for("messages", || moved(&running).1 > then.1 + 3_000);
        broker.call_on("restart-broker", number);
    }
    expect_all_of_it(running);
}

#[test]
#[ignore = "needs a real Kafka"]
fn brokers_that_are_gone_for_half_a_minute_cost_no_message_and_no_worker() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 4);
    let load = "--threads 2 --messages-per-thread 0 --rate 1000 --processes 2";
    let running = topic.verify(&format!("{load} {LASTING} --set consumer.watchdog.stall_timeout=15s")).start();
    wait_for("messages", || running.stderr().contains("INFO producing") && moved(&running).1 > 2_000);
    // The workers are kept behind: a worker at the known high watermark is never stalled.
    let workers = running.workers();
    let all = |signal| workers.iter().for_each(|pid| kill(Pid::from_raw(*pid), signal).unwrap());
    all(Signal::SIGSTOP);
    let written = moved(&running).0;
    wait_for("more to read", || moved(&running).0 > written + 3_000);
    broker.call("kill-broker");
    all(Signal::SIGCONT);
    std::thread::sleep(Duration::from_secs(30));
    broker.call("restart-broker");
    let then = moved(&running);
    wait_for("messages", || moved(&running).1 > then.1 + 2_000);
    let ended = expect_all_of_it(running);
    // Without a broker no worker can make progress on the partition; a new process does not help.
    assert!(!ended.stderr.contains("has stood still"), "{}", ended.stderr);
    let lines = ended.stderr.lines().filter(|line| !line.contains("INFO status"));
    assert!(lines.count() < 120, "not librdkafka's noise:\n{}", ended.stderr);
}

#[test]
#[ignore = "needs a real Kafka"]
fn both_sides_end_by_the_deadline_when_the_brokers_are_gone_for_ever() {
    for assignment in ["manual", "group"] {
        let broker = Broker::start();
        let topic = Topic::on(broker.brokers.clone(), 4);
        let arguments = format!("--processor print --assignment {assignment} --set shutdown.timeout=4s");
        let consumer = topic.consume(&arguments).start();
        let verifying = topic.verify("--rate 1000 --messages-per-thread 0 --set shutdown.timeout=4s").start();
        consumer.wait_for_lines(500);
        wait_for("messages", || moved(&verifying).1 > 500);
        let family = [consumer.workers(), verifying.workers()].concat();
        broker.call("kill-broker");
        wait_for("them to notice", || verifying.stderr().contains("down"));
        let asked = Instant::now();
        consumer.signal(Signal::SIGTERM);
        verifying.signal(Signal::SIGTERM);
        for ended in [consumer.end(), verifying.end()] {
            assert!(matches!(ended.status.code(), Some(1 | 3)), "{assignment}: {}: {}", ended.status, ended.stderr);
            assert!(!ended.reason().is_empty(), "{assignment}: it says how it ended");
        }
        assert!(asked.elapsed().as_secs() < 9, "{assignment}: {:?}", asked.elapsed());
        assert!(!family.into_iter().any(crate::harness::program::is_alive), "{assignment}");
    }
}

/// The number of the broker that coordinates the topic's group.
fn coordinator(topic: &Topic) -> u32 {
    let arguments = ["--bootstrap-server", &topic.brokers, "--describe", "--state", "--group", &topic.name];
    let output = tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &arguments, "");
    let number = output.split('(').find_map(|text| text.split(')').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{output}"))
}

/// The partitions that a worker reads, from its log line.
fn read_by(running: &Running, worker: usize) -> BTreeSet<i64> {
    let (log, mut read) = (running.stderr(), BTreeSet::new());
    for line in log.lines().filter(|line| line.contains(&format!("worker: {worker}"))) {
        let names = line.split("partitions: ").nth(1).unwrap_or_default().split(", ");
        let numbers = names.filter_map(|name| name.rsplit('/').next()?.parse::<i64>().ok());
        if line.contains("INFO reading") {
            read.extend(numbers);
        } else if line.contains("INFO partitions revoked") {
            numbers.for_each(|number| _ = read.remove(&number));
        }
    }
    read
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_partition_whose_leader_is_away_keeps_no_worker_from_the_others() {
    leader_is_away("manual", Duration::from_secs(5));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_partition_whose_leader_is_away_keeps_no_member_from_the_others() {
    // The coordinator has to write the new process of a static member to its log, and waits for the lost broker: about 9 s.
    leader_is_away("group", Duration::from_secs(15));
}

fn leader_is_away(assignment: &str, most: Duration) {
    let broker = Broker::cluster();
    // Each partition has one replica, and the range of each worker has partitions on all three brokers.
    let topic = Topic::replicated(broker.brokers.clone(), 6, 1);
    topic.fill(600);
    // Creates the group and its commits for all partitions.
    topic.consume("--processor count --until-end").run().expect(0);
    topic.fill(600);
    // Commits become visible when all replicas have them. A commit that is in flight waits for the lost broker, too.
    let settings = "--set consumer.commit_interval=1h --set shutdown.timeout=30s";
    let consume = format!("--processor print --processes 2 --assignment {assignment} {settings}");
    let running = topic.consume(&consume).start();
    running.wait_for_lines(600);
    let own = read_by(&running, 0);
    let (led_by, coordinator) = (leaders(&topic), coordinator(&topic));
    let leads = |number: u32, partition: &i64| led_by[*partition as usize] == number;
    let away = (1..=3).find(|number| *number != coordinator && own.iter().any(|own| leads(*number, own))).unwrap();
    // Messages without a key go to partitions that have a leader.
    let load = "--key none --rate 200 --messages-per-thread 0 --set producer.message_timeout=5s";
    let producing = topic.produce(load).start();
    running.wait_for_lines(700);
    broker.call_on("kill-broker", away);
    // The other brokers regard it as the leader for about 9 s.
    kill(Pid::from_raw(running.workers()[0]), Signal::SIGKILL).unwrap();
    let asked = Instant::now();
    wait_for("its death", || running.stderr().contains("died: SIGKILL"));
    let of_the_killed = || {
        let stdout = running.stdout();
        let whole = &stdout[..stdout.rfind('\n').map_or(0, |end| end + 1)];
        printed(whole).iter().filter(|(partition, _)| own.contains(partition) && !leads(away, partition)).count()
    };
    let then = of_the_killed();
    wait_for("messages of its other partitions", || of_the_killed() > then + 20);
    let asking = asked.elapsed();
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert!(asking < most, "{asking:?}\n{}", ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "all is committed: {}\n{}", ended.reason(), ended.stderr);
    assert_eq!(ended.restarts(), ["SIGKILL"]);
    producing.signal(Signal::SIGTERM);
    producing.end();
}
