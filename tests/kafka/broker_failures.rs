//! A broker that fails in the middle of work: dedicated brokers of the test.

use kafka_actors::internal::protocol::{WorkerCommand, WorkerEvent};

use crate::harness::broker::Broker;
use crate::harness::kafka::Topic;
use crate::harness::program::{Ended, printed};
use crate::harness::proxy::Proxy;
use crate::harness::site::{LISTEN, Site};
use crate::harness::wait_for;
use crate::harness::worker::{Worker, from_the_beginning, start_of};

#[test]
#[ignore = "needs a real Kafka"]
fn a_broker_that_comes_back_has_cost_no_message() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 3);
    let consumer = topic.consume("--processor print").start();
    let producer = topic.produce("--rate 500 --messages-per-thread 500").start();
    consumer.wait_for_lines(200);
    broker.call("kill-broker");
    broker.call("restart-broker");
    let produced = producer.end().expect(0);
    assert_eq!(produced.acknowledged(), 2_000);
    consumer.wait_for_lines(2_000);
    consumer.signal(nix::sys::signal::Signal::SIGTERM);
    let consumed = consumer.end().expect(0).expect_committed();
    let places = crate::harness::program::printed(&consumed.stdout);
    assert_eq!(crate::harness::program::distinct(&places), 2_000, "all of them, and none twice");
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_a_lost_broker_has_not_taken_is_reported() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 3);
    let producer = topic.produce("--rate 200 --duration 6 --set producer.message_timeout=3s").start();
    wait_for("producing", || producer.stderr().contains("producing"));
    producer.wait_for_acknowledgements();
    broker.call("kill-broker");
    let ended = producer.end().expect(1);
    let sent: u64 = ended.report["produce"]["threads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|thread| thread["sent"].as_u64().unwrap())
        .sum();
    let failed: u64 =
        ended.report["produce"]["failed"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert!(ended.acknowledged() > 0 && failed > 0, "{}", ended.report);
    assert_eq!(ended.acknowledged() + failed, sent, "every message is acknowledged or reported: {}", ended.report);
    assert!(ended.reason().contains("not acknowledged"), "{}", ended.reason());
    // The number of status requests depends on this test.
    let lines = ended.stderr.lines().filter(|line| !line.contains("INFO status"));
    assert!(lines.count() < 40, "not librdkafka's noise:\n{}", ended.stderr);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_shutdown_without_brokers_ends_by_its_deadline() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 2);
    topic.fill(40);
    let consumer =
        topic.consume("--processor print --set shutdown.timeout=3s --set consumer.commit_interval=1h").start();
    consumer.wait_for_lines(40);
    broker.call("kill-broker");
    consumer.signal(nix::sys::signal::Signal::SIGTERM);
    let asked = std::time::Instant::now();
    let ended = consumer.end();
    assert!(asked.elapsed().as_secs() < 8, "{:?}", asked.elapsed());
    assert!(matches!(ended.status.code(), Some(1 | 3)), "{}: {}", ended.status, ended.stderr);
    assert!(!ended.reason().is_empty());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_producer_that_is_stopped_without_brokers_ends_at_the_deadline() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 1);
    let producer = topic.produce("--rate 200 --messages-per-thread 0 --set shutdown.timeout=2s").start();
    producer.wait_for_acknowledgements();
    broker.call("kill-broker");
    let sent = |status: String| status.matches("\"failed\":0").count();
    wait_for("messages that nobody takes", || {
        sent(producer.status()) == 4 && producer.stderr().contains("brokers are down")
    });
    let asked = std::time::Instant::now();
    producer.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = producer.end().expect(3);
    assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
    assert!(ended.reason().contains("shutdown.timeout"), "{}", ended.reason());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_worker_that_dies_while_the_brokers_are_away_has_died_once() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 2);
    let running = topic.consume("--processor print --set consumer.watchdog.heartbeat_timeout=2s").start();
    topic.fill(200);
    running.wait_for_lines(200);
    broker.call("kill-broker");
    let killed = running.workers()[0];
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(killed), nix::sys::signal::Signal::SIGKILL).unwrap();
    // The successor cannot fetch its start offset. The outage lasts several times longer than `heartbeat_timeout`.
    let lines = || running.stderr().matches("waits for the brokers").count();
    wait_for("questions without an answer", || lines() >= 2);
    broker.call("restart-broker");
    topic.fill(200);
    running.wait_for_lines(400);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(ended.restarts(), ["SIGKILL"], "{}", ended.stderr);
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Consumes from a broker that comes back at another address; new connections find it there.
fn consumed_from_a_broker_that_moves(assignment: &str) -> Ended {
    let proxy = Proxy::start();
    let mut broker = Broker::start();
    let stand_before = |broker: &Broker| proxy.stand_before(broker.brokers.parse().unwrap());
    stand_before(&broker);
    let topic = Topic::on(proxy.address.to_string(), 2);
    topic.fill(40);
    let settings = "--processor print --set consumer.commit_interval=200ms --set consumer.watchdog.stall_timeout=3s \
        --set consumer.watchdog.kill_grace=500ms --set consumer.membership.session_timeout=6s \
        --set consumer.membership.revoke_timeout=2s --set monitoring.readiness_stall_timeout=1s";
    let running = topic.consume(&format!("{settings} --set consumer.assignment={assignment} {LISTEN}")).start();
    let site = Site::of(&running);
    let committed = || site.rows("partitions").iter().map(|row| row["committed"].as_i64().unwrap_or(0)).sum::<i64>();
    wait_for("commits", || committed() == 40);
    broker.call("kill-broker");
    broker.restart_at(free_port());
    stand_before(&broker);
    site.wait_until_ready_is(503, "the group coordinator has been unreachable for");
    topic.fill(40);
    wait_for("what came later to be committed", || committed() == 80);
    site.wait_until_ready_is(200, "ready");
    assert_eq!(topic.committed_and_lag(), (80, 0));
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    let places: std::collections::BTreeSet<_> = printed(&ended.stdout).into_iter().collect();
    assert_eq!(places.len(), 80);
    assert!(
        ended.restarts().iter().any(|cause| cause.contains("a new client reaches the cluster")),
        "{}",
        ended.stderr
    );
    ended
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_broker_that_comes_back_at_another_address_costs_new_processes_and_no_message() {
    let ended = consumed_from_a_broker_that_moves("manual");
    assert!(!ended.stderr.contains("quarantined"), "{}", ended.stderr);
}

/// The stop comes before any action of the watchdog.
#[test]
#[ignore = "needs a real Kafka"]
fn a_stop_after_the_broker_has_come_back_at_another_address_commits_by_a_new_client() {
    let proxy = Proxy::start();
    let mut broker = Broker::start();
    proxy.stand_before(broker.brokers.parse().unwrap());
    let topic = Topic::on(proxy.address.to_string(), 2);
    let running = topic.consume(&format!("--processor print {LISTEN}")).start();
    let site = Site::of(&running);
    topic.fill(40);
    running.wait_for_lines(40);
    broker.call("kill-broker");
    broker.restart_at(free_port());
    proxy.stand_before(broker.brokers.parse().unwrap());
    topic.fill(40);
    running.wait_for_lines(80);
    let lost = "kafka_actors_consumer_client_coordinator_unavailable_seconds";
    wait_for("its client to be without a coordinator", || site.scrape().sum(lost) > 6.0);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let asked = std::time::Instant::now();
    let ended = running.end().expect(0).expect_committed();
    assert!(asked.elapsed().as_secs() < 8, "{:?}", asked.elapsed());
    assert_eq!((ended.processed(), topic.committed_and_lag()), (80, (80, 0)));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_group_whose_broker_comes_back_at_another_address_has_its_partitions_again() {
    consumed_from_a_broker_that_moves("group");
}

/// A worker that processed the last of 40 messages during an outage of its broker, and could not commit them. The broker is back.
fn with_commits_that_could_not_be_made() -> (Broker, Topic, Worker) {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 1);
    topic.fill(40);
    // librdkafka checks commits that wait for their coordinator only at the next commit.
    let mut start = start_of(&topic, &["consumer.commit_interval=1s"], from_the_beginning(&topic, 0..1), None);
    // Such commits wait for this timeout; the default is 45 s.
    start.settings.consumer.properties.insert("session.timeout.ms".to_owned(), "6000".to_owned());
    let mut worker = Worker::faulty("slow", start);
    worker.receive_progress("a message", |progress| progress.next > 0);
    broker.call("kill-broker");
    let read = worker.receive_progress("what there is", |progress| progress.next == 40);
    assert!(read.committed < Some(40), "{read:?}");
    worker.receive("commits that are overdue", |frame| match frame {
        WorkerEvent::Health(health) => (health.uncommitted_ms > 3_000).then_some(()),
        _ => None,
    });
    broker.call("restart-broker");
    (broker, topic, worker)
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_could_not_be_committed_without_a_broker_is_committed_at_the_end() {
    let (_broker, topic, mut worker) = with_commits_that_could_not_be_made();
    worker.say(&WorkerCommand::StopForRestart);
    let last = worker.receive_progress("the last words", |progress| progress.committed == Some(40));
    assert_eq!(last.counts.processed, 40, "and nothing twice");
    assert_eq!(topic.committed_and_lag(), (40, 0), "what it reports is true");
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_could_not_be_committed_without_a_broker_is_committed_when_it_is_back() {
    let (_broker, topic, mut worker) = with_commits_that_could_not_be_made();
    worker.receive_progress("a commit", |progress| progress.committed == Some(40));
    assert_eq!(topic.committed_and_lag(), (40, 0));
}

/// The coordinator does not know the group yet, and returns an error. This happens most of the time, hence three brokers.
#[test]
#[ignore = "needs a real Kafka"]
fn a_broker_that_has_just_started_is_waited_for() {
    for _ in 0..3 {
        let broker = Broker::start();
        let arguments = "--topic test-topic --processor count --until-end";
        crate::harness::program::kafka_actors(&format!("consume --brokers {} {arguments}", broker.brokers))
            .run()
            .expect(0);
    }
}

/// As if an earlier commit of the same run had arrived late: without group members, Kafka accepts any commit.
#[test]
#[ignore = "needs a real Kafka"]
fn a_commit_that_another_one_has_undone_is_made_again_at_the_end() {
    let topic = Topic::new(2);
    topic.fill(40);
    let running = topic.consume("--processor count").start();
    wait_for("the commit", || topic.committed_and_lag() == (40, 0));
    // A worker that has read nothing of a partition does not commit its offset at the end.
    running.signal(nix::sys::signal::Signal::SIGTTOU);
    wait_for("one worker for both", || running.stderr().matches("INFO reading").count() == 3);
    topic.commit_as_the_run_does(3);
    assert_eq!(topic.committed_and_lag(), (6, 34));
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed().reports("which is committed once more");
    assert_eq!((ended.processed(), topic.committed_and_lag()), (40, (40, 0)));
}
