//! Workers that are killed, stopped and restarted many times.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Chance, PATIENCE, verify};
use crate::harness::kafka::{Topic, brokers};
use crate::harness::program::{Running, is_alive};
use crate::harness::wait_for;

/// The default restart limit would not allow this number of restarts.
const ANY_NUMBER: &str = "--set consumer.restart.max_restarts=0 --set consumer.restart.backoff=10ms \
    --set consumer.restart.backoff_max=100ms";

#[test]
#[ignore = "needs a real Kafka"]
fn fifty_killed_workers_and_a_million_messages() {
    let mut chance = Chance::new();
    let load = "--threads 2 --messages-per-thread 500000 --rate 12500 --partitions 8 --processes 4";
    let running = verify(&brokers(), &format!("{load} {ANY_NUMBER} --timeout 120"));
    for _ in 0..50 {
        wait_for("four workers", || running.workers().len() == 4);
        chance.pause(1_000);
        let workers = running.workers();
        signal(workers[chance.below(workers.len())], Signal::SIGKILL);
    }
    assert!(!running.stderr().contains("INFO produced:"), "the messages were still flowing");
    let ended = running.end_within(PATIENCE).expect_found(&[]);
    assert_eq!((ended.count("acknowledged"), ended.count("processed")), (1_000_000, 1_000_000));
    assert_eq!(ended.restarts(), vec!["SIGKILL"; 50]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_stopped_worker_goes_on_if_it_was_short_and_is_replaced_if_it_was_long() {
    let watchdog = "--set consumer.watchdog.heartbeat_timeout=4s --set consumer.watchdog.kill_grace=1s";
    let load = "--threads 2 --messages-per-thread 25000 --rate 2000 --partitions 4 --processes 2";
    let running = verify(&brokers(), &format!("{load} {watchdog}"));
    wait_for("messages", || reads(&running));
    let workers = running.workers();
    signal(workers[0], Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(2));
    signal(workers[0], Signal::SIGCONT);
    let before = running.in_status("consume", "processed");
    wait_for("messages", || running.in_status("consume", "processed") > before + 2_000);
    assert_eq!(running.workers(), workers, "half of heartbeat_timeout is no reason");

    let stopped = Instant::now();
    signal(workers[0], Signal::SIGSTOP);
    wait_for("its end", || !is_alive(workers[0]));
    // SIGTERM follows `heartbeat_timeout`, SIGKILL follows `kill_grace`; one second is for the machine.
    assert!((4..7).contains(&stopped.elapsed().as_secs()), "{:?}", stopped.elapsed());
    wait_for("its successor", || running.workers().len() == 2);
    assert!(running.workers().contains(&workers[1]), "the other one goes on");
    let ended = running.end_within(PATIENCE).expect_found(&[]);
    assert_eq!((ended.count("processed"), ended.restarts().len()), (50_000, 1));
    assert!(ended.restarts()[0].contains("heartbeat_timeout"), "{:?}", ended.restarts());
}

/// Like a suspended machine or a debugger: the elapsed time is no fault of any worker.
#[test]
#[ignore = "needs a real Kafka"]
fn a_stopped_family_goes_on_as_it_was() {
    let watchdog = "--set consumer.watchdog.heartbeat_timeout=2s --set consumer.watchdog.stall_timeout=3s \
                    --set consumer.watchdog.kill_grace=1s";
    let load = "--threads 2 --messages-per-thread 10000 --rate 2000 --partitions 4 --processes 2";
    let running = verify(&brokers(), &format!("{load} {watchdog} --set producer.message_timeout=60s"));
    wait_for("messages", || reads(&running));
    let workers = running.workers();
    let family: Vec<_> = workers.iter().copied().chain([running.id() as i32]).collect();
    family.iter().rev().for_each(|pid| signal(*pid, Signal::SIGSTOP));
    std::thread::sleep(Duration::from_secs(8));
    // The supervisor first: on resume it finds workers without a heartbeat for as long as it was stopped.
    signal(running.id() as i32, Signal::SIGCONT);
    std::thread::sleep(Duration::from_millis(500));
    workers.iter().for_each(|pid| signal(*pid, Signal::SIGCONT));
    let ended = running.end_within(PATIENCE).expect_found(&[]);
    assert_eq!((ended.count("processed"), ended.restarts()), (20_000, Vec::new()));
}

#[test]
#[ignore = "needs a real Kafka"]
#[cfg(target_os = "linux")]
fn five_hundred_restarts_leave_nothing_behind() {
    let topic = Topic::new(4);
    topic.fill(400);
    let quick = "--set consumer.restart.max_restarts=0 --set consumer.restart.backoff=1ms \
                 --set consumer.restart.backoff_max=1ms";
    let running = topic.consume(&format!("--processor count --processes 4 {quick}")).start();
    wait_for("everything to be processed", || reads(&running) && running.in_status("consume", "processed") >= 400);
    let restarts = || running.stderr().lines().filter(|line| line.contains(" died: ")).count();
    // Waits until each exit is processed: descriptors and threads of a worker that has just died may be in transit.
    let restarted = |times: usize| {
        while restarts() < times {
            running.workers().into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
            let begun = Instant::now();
            wait_for("a worker", || !running.workers().is_empty());
            assert!(begun.elapsed().as_secs() < 10, "{:?} for a restart", begun.elapsed());
        }
        wait_for("four workers", || running.workers().len() == 4);
        wait_for("quiet", || {
            let now = Held::of(running.id());
            std::thread::sleep(Duration::from_millis(1_500));
            now.same_as(&Held::of(running.id()))
        });
        Held::of(running.id())
    };
    let early = restarted(50);
    let late = restarted(500);
    println!("after 50: {early:?}; after 500: {late:?}");
    assert!(early.same_as(&late), "after 50: {early:?}, after 500: {late:?}");
    // The supervisor keeps records of 450 worker exits for the report.
    assert!(late.resident_kb < early.resident_kb + 8_192, "after 50: {early:?}, after 500: {late:?}");
    running.signal(Signal::SIGTERM);
    let ended = running.end_within(PATIENCE).expect(0).expect_committed();
    assert!(ended.restarts().len() >= 500, "all of them are in the report");
}

fn reads(running: &Running) -> bool {
    running.stderr().contains("INFO reading") && running.in_status("consume", "processed") > 0
}

/// Sends a signal to a worker; a worker that has just exited is ignored.
fn signal(pid: i32, signal: Signal) {
    let _ended = kill(Pid::from_raw(pid), signal);
}

/// The resources of a process.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    resident_kb: u64,
}

impl Held {
    fn of(pid: u32) -> Self {
        let count = |folder: &str| std::fs::read_dir(format!("/proc/{pid}/{folder}")).unwrap().count();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident_kb = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Self { descriptors: count("fd"), threads: count("task"), resident_kb }
    }

    /// Compares everything except the memory, which always differs.
    fn same_as(&self, other: &Self) -> bool {
        (self.descriptors, self.threads) == (other.descriptors, other.threads)
    }
}
