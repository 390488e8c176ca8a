//! Brokers that are unreachable when a command starts.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::broker::Broker;
use crate::harness::program::kafka_actors;
use crate::harness::wait_for;

const COMMANDS: [&str; 9] = [
    "topics describe t",
    "topics create t:1:1",
    "topics delete t",
    "dlq list",
    "dlq replay",
    "produce",
    "consume",
    "verify",
    "demo --partitions 2",
];

/// The message appears after one second, and before the command ends.
#[test]
fn every_command_logs_what_it_waits_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    for (number, command) in COMMANDS.into_iter().enumerate() {
        let brokers = if number % 2 == 0 { "127.0.0.1:1" } else { &silent };
        let running = kafka_actors(&format!("{command} --brokers {brokers} --set kafka.connect_timeout=1m")).start();
        let begun = Instant::now();
        wait_for("a line", || running.stderr().contains("kafka.connect_timeout"));
        assert!(begun.elapsed() < Duration::from_secs(5), "{command}: {:?}", begun.elapsed());
        let line = running.stderr();
        assert!(line.contains(brokers) && line.contains("waiting for up to 60s"), "{command}: {line}");
        running.signal(Signal::SIGTERM);
        running.end();
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn without_a_limit_a_run_waits_until_the_brokers_are_there() {
    let broker = Broker::start();
    let topic = crate::harness::kafka::Topic::on(broker.brokers.clone(), 2);
    topic.fill(40);
    broker.signal(Signal::SIGSTOP);
    let unlimited = "--set kafka.connect_timeout=0s";
    let consume = topic.consume(&format!("--processor count {unlimited} --until-end")).start();
    let produce = topic.produce(&format!("{unlimited} --messages-per-thread 10")).start();
    let verify = kafka_actors(&format!("verify --brokers {} {unlimited}", topic.brokers)).start();
    let runs = [&consume, &produce, &verify];
    // The default timeout is 10 s.
    let begun = Instant::now();
    wait_for("lines", || runs.iter().all(|run| run.stderr().contains("waiting as long as that takes")));
    std::thread::sleep(Duration::from_secs(12).saturating_sub(begun.elapsed()));
    broker.signal(Signal::SIGCONT);
    assert!(consume.end().expect(0).processed() >= 40);
    produce.end().expect(0);
    verify.end().expect(0);
}
