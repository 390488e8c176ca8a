//! Signals at any moment: during the start, a worker restart and a shutdown. The program always ends soon, logs the reason, and
//! leaves no processes or files behind.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::kafka::{Topic, brokers};
use crate::harness::program::{Ended, Running, is_alive, kafka_actors, shell};
use crate::harness::wait_for;

/// Waits for the end; asserts that it came soon and that the log states the reason.
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

/// Milliseconds after the handlers are installed, that is, after the program is loaded.
const MOMENTS: [u64; 8] = [0, 20, 60, 100, 160, 230, 380, 700];

fn is_ended_at_any_moment(command: impl Fn() -> Running, name: &str) {
    for moment in MOMENTS {
        let running = command();
        wait_for("its handlers", || {
            // Reads the log first: these lines were written before the handlers were installed.
            let logged = running.stderr();
            let handles = handles_signals(running.id());
            assert!(handles || logged.is_empty(), "{name}: it logs something before it has handlers: {logged}");
            handles
        });
        std::thread::sleep(Duration::from_millis(moment));
        running.signal(Signal::SIGTERM);
        ends(running, 8_000, &format!("{name}, {moment} ms after its start"));
    }
}

/// Whether SIGTERM has a handler. Before the program's `main` blocks the signal, it kills the process. (A blocked SIGTERM alone
/// proves nothing: a library that creates a thread may block it.)
#[cfg(target_os = "linux")]
fn handles_signals(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    // Between fork and exec the process is a copy of this test, with the test's handlers.
    let name = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    name.file_name().is_some_and(|name| name == "kafka-actors")
        && u64::from_str_radix(caught.trim(), 16).unwrap() >> (Signal::SIGTERM as u32 - 1) & 1 == 1
}

/// Other systems have no `/proc`; the program is loaded within this time.
#[cfg(not(target_os = "linux"))]
fn handles_signals(_: u32) -> bool {
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

/// A program that shuts down slowly.
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
        if second != Signal::SIGQUIT {
            // Within the first second, the program takes it for a duplicate of the first signal.
            std::thread::sleep(Duration::from_millis(1_050));
        }
        running.signal(second);
        ends(running, 1_500, &format!("{first}, {second}")).expect(3);
    }
    let running = hanging(&topic);
    running.signal(Signal::SIGQUIT);
    ends(running, 1_500, "SIGQUIT alone").expect(3);
}

/// Like `timeout`, which signals the process and then its group.
fn signalled_twice(running: Running, command: &str) {
    wait_for("its first line", || running.stderr().contains("INFO"));
    for signal in [Signal::SIGTERM, Signal::SIGTERM, Signal::SIGCONT, Signal::SIGINT] {
        running.signal(signal);
    }
    let ended = running.end();
    assert_ne!(ended.status.code(), Some(3), "{command}: {}", ended.reason());
    assert!(ended.status.code().is_some(), "{command}");
}

#[test]
fn two_signals_within_a_second_are_one() {
    for _ in 0..3 {
        signalled_twice(kafka_actors("demo --rate 100 --messages-per-thread 0").start(), "demo");
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn two_signals_within_a_second_are_one_for_every_command() {
    let topic = Topic::new(2);
    topic.fill(40);
    signalled_twice(topic.consume("--processor count").start(), "consume");
    signalled_twice(topic.produce("--rate 100 --messages-per-thread 0").start(), "produce");
    let arguments = format!("verify --brokers {} --rate 100 --messages-per-thread 0", brokers());
    signalled_twice(kafka_actors(&arguments).start(), "verify");
}

/// The command changes nothing, and the report states that.
#[test]
fn a_command_that_only_asks_or_shows_ends_by_a_signal_with_its_report() {
    let commands = ["topics describe", "topics create t:1:1", "dlq list", "dlq replay", "consume", "produce", "verify"];
    for command in commands {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let program = kafka_actors(command).args("--brokers 127.0.0.1:1 --set shutdown.timeout=500ms");
            let running = program.without_terminal().start();
            wait_for("its handlers", || handles_signals(running.id()));
            running.signal(signal);
            if signal == Signal::SIGHUP && ["consume", "verify"].contains(&command) {
                // Without a terminal, SIGHUP restarts the workers, which do not exist yet.
                std::thread::sleep(Duration::from_millis(300));
                running.signal(Signal::SIGTERM);
            }
            let ended = ends(running, 3_000, &format!("{command}, {signal}"));
            assert_eq!(ended.report["command"], command.split(' ').next().unwrap(), "{}", ended.report);
            assert!(command == "consume" || ended.status.code() == Some(1), "{command}, {signal}: {}", ended.report);
        }
    }
}

/// For example, a settings file that is a pipe.
#[test]
fn a_command_that_waits_for_its_settings_ends_by_a_signal() {
    let running = shell("mkfifo settings; exec $PROGRAM --config settings consume").start_plain();
    wait_for("its handlers", || running.has_file("settings") && handles_signals(running.id()));
    running.signal(Signal::SIGTERM);
    let ended = running.end_within(Duration::from_secs(20));
    assert_eq!(ended.status.code(), Some(3), "{}", ended.status);
    assert!(ended.stderr.contains("stopped by a signal during its start"), "{}", ended.stderr);
}

/// Users or terminals send these signals; none of them ends a shutdown or restarts it.
#[test]
#[ignore = "needs a real Kafka"]
fn other_signals_do_not_disturb_a_shutdown() {
    let topic = Topic::new(2);
    topic.fill(40);
    let arguments = "--processes 1 --set shutdown.timeout=3s";
    let running = topic.consume_with(arguments, "open('got', 'w'); time.sleep(1000)").without_terminal().start();
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
