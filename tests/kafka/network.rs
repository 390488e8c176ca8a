//! A network between the program and its broker that is slow, breaks connections, or truncates responses. Longer tests are in
//! `chaos`.

use std::time::{Duration, Instant};

use kafka_actors::internal::protocol::{WorkerCommand, WorkerEvent};
use nix::sys::signal::Signal;

use crate::harness::broker::Broker;
use crate::harness::kafka::Topic;
use crate::harness::program::{Running, distinct, is_alive, printed};
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::wait_for;
use crate::harness::worker::{Worker, from_the_beginning, start_of};

/// A broker behind a proxy, and `verify` with that broker under a load that lasts until it is stopped.
fn under_load() -> (Proxy, Broker, Running) {
    let proxy = Proxy::start();
    let broker = Broker::behind(&proxy);
    let topic = Topic::on(proxy.address.to_string(), 4);
    let load = "--threads 2 --messages-per-thread 0 --rate 1000 --processes 2";
    let running = topic.verify(load).start();
    wait_for("reading", || running.stderr().contains("INFO producing"));
    flows(&running, 500);
    (proxy, broker, running)
}

/// Waits until this number of further messages is processed.
fn flows(running: &Running, messages: u64) {
    let processed = || running.in_status("consume", "processed");
    let before = processed();
    wait_for("messages", || processed() >= before + messages);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_network_that_is_slow_breaks_and_garbles_costs_no_message_and_no_worker() {
    let (proxy, _broker, running) = under_load();
    proxy.set(Fault::Latency(Duration::from_millis(150)));
    flows(&running, 500);
    proxy.set(Fault::Throttle(100_000));
    flows(&running, 500);
    proxy.set(Fault::None);
    for _ in 0..5 {
        let connections = proxy.accepted();
        assert!(proxy.cut() > 2, "two producers, two workers, one supervisor");
        wait_for("new connections", || proxy.accepted() > connections + 2);
        flows(&running, 100);
    }
    for _ in 0..5 {
        let truncated = proxy.truncated();
        // Repeated, because some connections have no response to truncate.
        wait_for("answers that end in their middle", || {
            proxy.truncate();
            proxy.truncated() > truncated + 2
        });
        flows(&running, 100);
    }
    proxy.set(Fault::Refuse);
    proxy.cut();
    std::thread::sleep(Duration::from_secs(2));
    proxy.set(Fault::None);
    flows(&running, 500);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect_found(&[]);
    assert!(ended.count("processed") > 3_000, "{}", ended.report);
    assert_eq!(ended.count("processed"), ended.count("acknowledged"));
    assert_eq!((ended.restarts(), ended.count("redelivered")), (Vec::new(), 0));
}

/// A topic behind a proxy, with workers that receive no more messages, and messages that wait for them. `later` is the fault of
/// connections that are accepted from then on.
fn starving(partitions: u32, processes: u32, later: Fault) -> (Proxy, Broker, Topic, Running) {
    let proxy = Proxy::start();
    let broker = Broker::behind(&proxy);
    let topic = Topic::on(proxy.address.to_string(), partitions);
    let settings =
        "--processor print --set consumer.watchdog.stall_timeout=2s --set consumer.watchdog.kill_grace=500ms";
    let running = topic.consume(&format!("{settings} --processes {processes}")).start();
    topic.fill(40);
    running.wait_for_lines(40);
    // This comes first, because a worker on standby may be about to connect.
    proxy.set(later);
    proxy.starve();
    topic.fill(40);
    (proxy, broker, topic, running)
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_partition_to_which_no_messages_come_any_more_gets_a_new_process_and_goes_on() {
    let (_proxy, _broker, _topic, running) = starving(1, 1, Fault::None);
    running.wait_for_lines(80);
    assert!(running.stderr().contains("has stood still"), "{}", running.stderr());
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!((ended.processed(), distinct(&printed(&ended.stdout)), ended.restarts().len()), (80, 80, 1));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_partition_that_no_new_process_and_no_other_worker_helps_is_quarantined_and_nothing_of_it_lost() {
    let (proxy, _broker, topic, running) = starving(1, 2, Fault::Starve);
    let ended = running.end().expect(1);
    let log = &ended.stderr;
    for (at, step) in ["asked to end", "worker 1 gets it", "is quarantined"].iter().enumerate() {
        assert!(log.contains(step), "step {at}: {log}");
    }
    assert!(ended.reason().contains("quarantined") && ended.reason().contains("stood still"), "{}", ended.reason());
    assert_eq!(ended.restarts().len(), 1, "{log}");
    assert_eq!(topic.committed_and_lag(), (40, 40));
    proxy.set(Fault::None);
    let ended = topic.consume("--until-end --processor print").run().expect(0).expect_committed();
    assert_eq!((ended.processed(), distinct(&printed(&ended.stdout))), (40, 40), "from where it was");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_stop_over_a_dead_network_ends_by_its_deadline() {
    let proxy = Proxy::start();
    let _broker = Broker::behind(&proxy);
    let topic = Topic::on(proxy.address.to_string(), 2);
    topic.fill(40);
    let deadline = "--processor print --set shutdown.timeout=3s --set consumer.commit_interval=1h";
    let running = topic.consume(deadline).start();
    running.wait_for_lines(40);
    let workers = running.workers();
    proxy.set(Fault::HalfOpen);
    let asked = Instant::now();
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert!(asked.elapsed().as_secs() < 7, "{:?}", asked.elapsed());
    assert!(matches!(ended.status.code(), Some(1 | 3)), "{}: {}", ended.status, ended.stderr);
    assert!(!ended.reason().is_empty() && !workers.into_iter().any(is_alive), "{}", ended.report);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_network_that_is_dead_from_the_start_is_reported_in_time() {
    let proxy = Proxy::start();
    let broker = Broker::behind(&proxy);
    let topic = Topic::on(broker.brokers.clone(), 2);
    proxy.set(Fault::HalfOpen);
    for command in ["consume", "produce", "verify"] {
        let address = proxy.address;
        let arguments = format!("{command} --brokers {address} --topic {} --set kafka.connect_timeout=2s", topic.name);
        let ended = crate::harness::program::kafka_actors(&arguments).run().expect(1);
        assert!(ended.took.as_secs() < 8, "{command}: {:?}", ended.took);
        assert!(ended.reason().contains(&address.to_string()), "{command}: {}", ended.reason());
        assert!(ended.reason().contains("kafka.connect_timeout"), "{command}: {}", ended.reason());
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_partition_that_is_being_revoked_is_not_at_its_end() {
    let proxy = Proxy::start();
    let _broker = Broker::behind(&proxy);
    let topic = Topic::on(proxy.address.to_string(), 2);
    topic.fill(200);
    let mut starts = from_the_beginning(&topic, 0..2);
    starts[1].until = Some(40);
    let (going, staying) = (starts[0].partition.clone(), starts[1].partition.clone());
    let mut worker = Worker::faulty("slow", start_of(&topic, &["consumer.commit_interval=1h"], starts, None));
    worker.receive_progress("messages", |progress| progress.partition == going && progress.next > 0);
    worker.receive_progress("messages", |progress| progress.partition == staying && progress.next > 0);
    // The worker stops reading the partition, and the commit takes a long time.
    proxy.set(Fault::HalfOpen);
    worker.say(&WorkerCommand::Revoke(vec![going]));
    let too_early = |frame: &WorkerEvent| assert!(!matches!(frame, WorkerEvent::EndReached), "one is not read");
    worker.receive("the other one's end", |frame| {
        too_early(frame);
        let WorkerEvent::Progress(list) = frame else { return None };
        list.iter().any(|progress| progress.partition == staying && progress.next == 40).then_some(())
    });
    // Longer than the interval of the progress frames.
    worker.receive("a sign of life", |frame| {
        too_early(frame);
        matches!(frame, WorkerEvent::Progress(_)).then_some(())
    });
    proxy.set(Fault::None);
    worker.receive("Revoked", |frame| {
        too_early(frame);
        matches!(frame, WorkerEvent::Revoked { .. }).then_some(())
    });
    worker.receive("the end of what it has", |frame| matches!(frame, WorkerEvent::EndReached).then_some(()));
}
