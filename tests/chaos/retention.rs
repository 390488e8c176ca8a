//! Committed offsets that expire.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::broker::Broker;
use crate::harness::kafka::Topic;
use crate::harness::wait_for;

/// The shortest offset retention that brokers accept is one minute.
const RETENTION: Duration = Duration::from_secs(60);

/// Runs all cases at the same time, each with a dedicated topic: partitions that are read and get no new messages, or never had
/// one; paused partitions; stopped partitions. A group without members shows that offsets do expire.
#[test]
#[ignore = "needs a real Kafka"]
fn positions_of_an_idle_run_do_not_expire() {
    let broker = Broker::with(&["offsets.retention.minutes=1", "offsets.retention.check.interval.ms=2000"]);
    let topics = [(); 4].map(|()| Topic::on(broker.brokers.clone(), 2));
    topics.iter().for_each(|topic| topic.fill(40));
    let [idle, paused, stopped, left] = &topics;
    let empty = Topic::on(broker.brokers.clone(), 2);
    left.consume("--until-end").run().expect(0);
    let running = [idle, paused, &empty].map(|topic| topic.consume("--processor count").start());
    // The first message of one partition fails, so that the worker stops this partition.
    let body = "answer(m, error='no') if m['partition'] == 0 else answer(m)";
    let breaker =
        "--set consumer.on_failure=skip --set consumer.retry.attempts=0 --set consumer.circuit_breaker.consecutive=1";
    let stopped_run = stopped.consume_with(breaker, body).start();
    wait_for("all of them", || [idle, paused].iter().all(|topic| topic.committed_and_lag() == (40, 0)));
    wait_for("a stopped partition", || stopped_run.stderr().contains("is read no further"));
    running[1].signal(Signal::SIGUSR2);
    let before = stopped.committed_and_lag();
    let begun = Instant::now();
    while begun.elapsed() < RETENTION + Duration::from_secs(10) || left.committed_and_lag() != (0, 0) {
        assert!(begun.elapsed() < 3 * RETENTION, "offsets do not expire here: nothing was tested");
        std::thread::sleep(Duration::from_secs(2));
    }
    assert_eq!([idle, paused].map(|topic| topic.committed_and_lag()), [(40, 0); 2]);
    assert_eq!(empty.group_tool(&["--describe"]).matches(" 0               0               0").count(), 2);
    assert_eq!(stopped.committed_and_lag(), before);
    running.into_iter().for_each(|running| _ = running.kill());
    stopped_run.signal(Signal::SIGTERM);
    stopped_run.end_within(super::PATIENCE);
    assert_eq!(idle.consume("--until-end").run().expect(0).processed(), 0, "nothing comes again");
}
