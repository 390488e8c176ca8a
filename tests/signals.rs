//! Signals at any moment: while it starts, while a worker is started again, while it shuts down. It always ends soon, says how,
//! and leaves nothing behind.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::kafka::{Topic, brokers};
use crate::harness::program::{Ended, Running, is_alive, kafka_actors};
use crate::harness::wait_for;

/// Ends it, and asserts that it was soon and that it says so.
fn ends(running: Running, within: u64, what: &str) -> Ended {
    let workers = running.workers();
    let asked = Instant::now();
    let ended = running.end();
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(within), "{what}: {took:?}\n{}", ended.stderr);
    assert!(ended.status.code().is_some(), "{what}: it was ended by the signal, not by itself: {}", ended.status);
    assert_eq!(ended.report["exit"]["code"], ended.status.code().unwrap(), "{what}: {}", ended.report);
    assert!(!ended.reason().is_empty(), "{what}: it says how it ended");
    assert!(!workers.into_iter().any(is_alive), "{what}: no worker is left");
    ended
}

/// Milliseconds after the first moment at which the program itself, and not its loading, can be met.
const MOMENTS: [u64; 8] = [0, 20, 60, 100, 160, 230, 380, 700];

fn is_ended_at_any_moment(command: impl Fn() -> Running, name: &str) {
    for moment in MOMENTS {
        let running = command();
        wait_for("it to hear signals", || {
            // In this order: what it had said before it heard.
            let said = running.stderr();
            let hears = hears_signals(running.id());
            assert!(hears || said.is_empty(), "{name}: it says something before it hears: {said}");
            hears
        });
        std::thread::sleep(Duration::from_millis(moment));
        running.signal(Signal::SIGTERM);
        ends(running, 8_000, &format!("{name}, {moment} ms after its start"));
    }
}

/// Whether SIGTERM is caught, or held back until it is; before a program's `main` it ends the process.
#[cfg(target_os = "linux")]
fn hears_signals(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let has = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() >> (Signal::SIGTERM as u32 - 1) & 1 == 1
    };
    // Between fork and exec it is this test that has handlers or none.
    let name = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    name.file_name().is_some_and(|name| name == "kafka-actors") && (has("SigCgt:") || has("SigBlk:"))
}

/// Elsewhere there is nobody to ask; it is loaded in this time.
#[cfg(not(target_os = "linux"))]
fn hears_signals(_: u32) -> bool {
    std::thread::sleep(Duration::from_millis(300));
    true
}

#[test]
#[ignore = "needs a real Kafka"]
fn consume_is_stopped_while_it_starts() {
    let topic = Topic::new(2);
    topic.fill(40);
    is_ended_at_any_moment(|| topic.consume("--processor count").start(), "consume");
}

#[test]
#[ignore = "needs a real Kafka"]
fn produce_is_stopped_while_it_starts() {
    let topic = Topic::new(2);
    is_ended_at_any_moment(|| topic.produce("--rate 100 --messages-per-thread 0").start(), "produce");
}

#[test]
#[ignore = "needs a real Kafka"]
fn verify_is_stopped_while_it_starts() {
    let arguments = format!("verify --brokers {} --rate 100 --messages-per-thread 0", brokers());
    is_ended_at_any_moment(|| kafka_actors(&arguments).start(), "verify");
}

#[test]
fn demo_is_stopped_while_it_starts() {
    is_ended_at_any_moment(|| kafka_actors("demo --rate 100 --messages-per-thread 0").start(), "demo");
}

#[test]
#[ignore = "needs a real Kafka"]
fn it_is_stopped_while_a_worker_waits_to_be_started_again() {
    let topic = Topic::new(2);
    topic.fill(40);
    let slow = "--processor count --set consumer.restart.backoff=1m --set consumer.restart.backoff_max=1m";
    let running = topic.consume(slow).start();
    wait_for("everything to be committed", || topic.committed_and_lag() == (40, 0));
    kill(Pid::from_raw(running.workers()[0]), Signal::SIGKILL).unwrap();
    wait_for("its death to be seen", || running.stderr().contains(" died: "));
    running.signal(Signal::SIGTERM);
    ends(running, 3_000, "a pause of a minute").expect(0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn it_is_stopped_while_a_worker_is_started_again() {
    let topic = Topic::new(2);
    topic.fill(40);
    for moment in [0, 20, 50, 100, 200] {
        let quick = "--processor count --set consumer.restart.backoff=1ms --set consumer.restart.backoff_max=1ms";
        let running = topic.consume(quick).start();
        wait_for("two workers", || running.stderr().matches("INFO reading").count() == 2);
        kill(Pid::from_raw(running.workers()[0]), Signal::SIGKILL).unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        running.signal(Signal::SIGTERM);
        ends(running, 8_000, &format!("{moment} ms after a worker's death"));
    }
}

/// A program that takes its time to end.
fn hanging(topic: &Topic) -> Running {
    let running = topic.consume("--processes 2").arg("--command").arg("sleep 1000").start();
    wait_for("reading", || running.stderr().contains("INFO reading"));
    running
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_second_signal_of_any_kind_ends_a_shutdown_at_once() {
    let topic = Topic::new(2);
    topic.fill(40);
    let pairs = [
        (Signal::SIGTERM, Signal::SIGTERM),
        (Signal::SIGINT, Signal::SIGTERM),
        (Signal::SIGTERM, Signal::SIGINT),
        (Signal::SIGINT, Signal::SIGINT),
        (Signal::SIGTERM, Signal::SIGQUIT),
    ];
    for (first, second) in pairs {
        let running = hanging(&topic);
        running.signal(first);
        wait_for("the first to be felt", || running.stderr().contains("stopping"));
        running.signal(second);
        ends(running, 1_500, &format!("{first}, {second}")).expect(3);
    }
    let running = hanging(&topic);
    running.signal(Signal::SIGQUIT);
    ends(running, 1_500, "SIGQUIT alone").expect(3);
}

/// They are somebody's habit, or a terminal's; none of them ends a shutdown, or makes it begin anew.
#[test]
#[ignore = "needs a real Kafka"]
fn other_signals_do_not_disturb_a_shutdown() {
    let topic = Topic::new(2);
    topic.fill(40);
    let arguments = "--processes 1 --set shutdown.deadline=3s";
    let running = topic.consume_with(arguments, "open('got', 'w'); time.sleep(1000)").start();
    wait_for("a message in the program's hands", || running.has_file("got"));
    running.signal(Signal::SIGTERM);
    wait_for("the first to be felt", || running.stderr().contains("stopping"));
    for signal in [Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGUSR2, Signal::SIGCONT]
    {
        running.signal(signal);
    }
    let ended = ends(running, 6_000, "other signals").expect(3);
    assert!(ended.reason().contains("deadline"), "{}", ended.reason());
}
