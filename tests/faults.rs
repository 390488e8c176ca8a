//! A broker that goes away in the middle of work: brokers of the test's own.

use kafka_actors::consumer::control::ToWorker;

use crate::harness::broker::Broker;
use crate::harness::kafka::{Topic, tool};
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
    wait_for("acknowledgements", || !producer.status().contains("\"acknowledged\":0,\"failed\":{}"));
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
    // How often the status was asked for is this test's doing.
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
        topic.consume("--processor print --set shutdown.deadline=3s --set consumer.commit_interval=1h").start();
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
fn a_producer_that_is_stopped_without_brokers_gives_up_at_the_deadline() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 1);
    let producer = topic.produce("--rate 200 --messages-per-thread 0 --set shutdown.deadline=2s").start();
    wait_for("acknowledgements", || !producer.status().contains("\"acknowledged\":0,\"failed\":{}"));
    broker.call("kill-broker");
    let sent = |status: String| status.matches("\"failed\":0").count();
    wait_for("messages that nobody takes", || {
        sent(producer.status()) == 4 && producer.stderr().contains("brokers are down")
    });
    let asked = std::time::Instant::now();
    producer.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = producer.end().expect(3);
    assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
    assert!(ended.reason().contains("shutdown.deadline"), "{}", ended.reason());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_worker_that_dies_while_the_brokers_are_away_has_died_once() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 2);
    let running = topic.consume("--processor print --set consumer.watchdog.silence_timeout=2s").start();
    topic.fill(200);
    running.wait_for_lines(200);
    broker.call("kill-broker");
    let killed = running.workers()[0];
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(killed), nix::sys::signal::Signal::SIGKILL).unwrap();
    // Nobody knows where its successor has to start: several times longer than a worker may be silent.
    let lines = || running.stderr().matches("waits for the brokers").count();
    wait_for("questions without an answer", || lines() >= 2);
    broker.call("restart-broker");
    topic.fill(200);
    running.wait_for_lines(400);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(ended.restarts(), ["SIGKILL"], "{}", ended.stderr);
}

/// A worker whose broker was away when it processed the last ones of 40 messages and when its client was replaced; it is back.
fn with_a_client_that_could_not_commit() -> (Broker, Topic, Worker) {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 1);
    topic.fill(40);
    // librdkafka looks after commits that wait for their coordinator when it is to commit something.
    let mut start = start_of(&topic, &["consumer.commit_interval=1s"], from_the_beginning(&topic, 0..1), None);
    // They wait for so long; the default is 45 s.
    start.settings.consumer.properties.insert("session.timeout.ms".to_owned(), "6000".to_owned());
    let mut worker = Worker::faulty("slow", start);
    worker.hear_progress("a message", |progress| progress.next > 0);
    broker.call("kill-broker");
    let read = worker.hear_progress("what there is", |progress| progress.next == 40);
    assert!(read.committed < Some(40), "{read:?}");
    worker.say(&ToWorker::Rebuild);
    wait_for("the commit to fail", || worker.log().contains("the commit before failed"));
    broker.call("restart-broker");
    (broker, topic, worker)
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_the_old_client_could_not_commit_is_committed_at_the_end() {
    let (_broker, topic, mut worker) = with_a_client_that_could_not_commit();
    worker.say(&ToWorker::Retire);
    let last = worker.hear_progress("the last words", |progress| progress.committed == Some(40));
    assert_eq!(last.processed, 40, "and nothing twice");
    assert_eq!(topic.committed_and_lag(), (40, 0), "what it tells is true");
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_the_old_client_could_not_commit_is_committed_by_the_new_one() {
    let (_broker, topic, mut worker) = with_a_client_that_could_not_commit();
    worker.hear_progress("a commit", |progress| progress.committed == Some(40));
    assert_eq!(topic.committed_and_lag(), (40, 0));
}

/// Its coordinator does not know the group yet, and says so; most of the time, hence three of them.
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

/// As if an earlier commit had come late: without a group Kafka takes any.
#[test]
#[ignore = "needs a real Kafka"]
fn a_commit_that_another_one_has_undone_is_made_again_at_the_end() {
    let topic = Topic::new(2);
    topic.fill(40);
    let running = topic.consume("--processor count").start();
    wait_for("the commit", || topic.committed_and_lag() == (40, 0));
    // Who has a partition without having read anything of it commits nothing of it at its end.
    running.signal(nix::sys::signal::Signal::SIGTTOU);
    wait_for("one worker for both", || running.stderr().matches("INFO reading").count() == 3);
    let reset = ["--reset-offsets", "--to-offset", "3", "--execute", "--topic", &topic.name, "--group", &topic.name];
    let server = ["--bootstrap-server", &topic.brokers];
    tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &[&server[..], &reset].concat(), "");
    assert_eq!(topic.committed_and_lag(), (6, 34));
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed().says("which is committed once more");
    assert_eq!((ended.processed(), topic.committed_and_lag()), (40, (40, 0)));
}
