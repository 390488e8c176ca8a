//! Producing to Apache Kafka.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::harness::broker::Broker;
use crate::harness::kafka::{Topic, brokers, tool};
use crate::harness::program::{example, kafka_actors};
use crate::harness::{unique, wait_for};

#[test]
#[ignore = "needs a real Kafka"]
fn a_missing_topic_is_an_error_that_says_how_to_create_it() {
    let topic = unique("missing");
    for command in ["produce", "consume"] {
        let ended = kafka_actors(&format!("{command} --brokers {} --topic {topic}", brokers())).run().expect(1);
        assert!(ended.reason().contains(&format!("kafka-actors topics create {topic}:3:1")), "{}", ended.reason());
    }
    let ended = kafka_actors(&format!("topics describe {topic} --brokers {}", brokers())).run();
    ended.expect(1).says("does not exist");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_that_is_too_large_is_reported_with_its_reason() {
    let topic = Topic::new(1);
    let change = [
        "--bootstrap-server",
        &topic.brokers,
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        &topic.name,
        "--add-config",
        "max.message.bytes=100",
    ];
    tool("kafka.admin.ConfigCommand", &change, "");
    let ended = topic.produce("--threads 2 --messages-per-thread 10").run().expect(1);
    assert_eq!(ended.acknowledged(), 0);
    assert_eq!(ended.report["produce"]["failed"]["Broker: Message size too large"], 20, "{}", ended.report);
    assert!(ended.reason().contains("Message size too large: 20"), "{}", ended.reason());
    assert_eq!(topic.end(), 0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn an_endless_run_ends_at_a_signal_with_everything_acknowledged() {
    let topic = Topic::new(3);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let running = topic.produce("--messages-per-thread 0 --rate 2000").start();
        wait_for("producing to have begun", || running.stderr().contains("producing"));
        running.signal(signal);
        let ended = running.end().expect(0);
        assert_eq!(ended.report["produce"]["requested"], serde_json::Value::Null);
        let threads = ended.report["produce"]["threads"].as_array().unwrap();
        let sent: u64 = threads.iter().map(|thread| thread["sent"].as_u64().unwrap()).sum();
        assert_eq!(ended.acknowledged(), sent);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_run_that_is_cut_short_says_so() {
    let topic = Topic::new(1);
    let running = topic.produce("--messages-per-thread 100000 --rate 100").start();
    wait_for("producing to have begun", || running.stderr().contains("producing"));
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(1);
    assert!(ended.reason().contains("of 400000"), "{}", ended.reason());
    assert_eq!(topic.end() as u64, ended.acknowledged());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_duration_and_a_rate_are_kept() {
    let topic = Topic::new(3);
    let ended = topic.produce("--duration 2 --rate 500").run().expect(0);
    // Never more than is due; fewer if this machine had other work at the end of the two seconds.
    assert!((900..=1_001).contains(&ended.acknowledged()), "{} messages in 2 s at 500/s", ended.acknowledged());
}

/// Partitions of each key.
fn partitions_of_keys(topic: &Topic) -> BTreeMap<String, Vec<i64>> {
    let printed = topic.consume("--processor print --until-end --from-beginning").run().expect(0).stdout;
    let mut keys: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for line in printed.lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        let partition = message["partition"].as_i64().unwrap();
        let partitions = keys.entry(message["key"].as_str().unwrap_or("none").to_owned()).or_default();
        if !partitions.contains(&partition) {
            partitions.push(partition);
        }
    }
    keys
}

#[test]
#[ignore = "needs a real Kafka"]
fn keys_come_round_robin_or_from_the_message() {
    let topic = Topic::new(3);
    topic.produce("--key round_robin --set producer.key_cardinality=5").run().expect(0);
    let keys = partitions_of_keys(&topic);
    assert_eq!(keys.keys().collect::<Vec<_>>(), ["key-0", "key-1", "key-2", "key-3", "key-4"]);
    assert!(keys.values().all(|partitions| partitions.len() == 1), "{keys:?}");

    let topic = Topic::new(3);
    topic.produce("--key message --set producer.key_field=producer").run().expect(0);
    let keys = partitions_of_keys(&topic);
    assert_eq!(keys.keys().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    assert!(keys.values().all(|partitions| partitions.len() == 1), "{keys:?}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_key_lands_where_kafkas_own_producer_puts_it() {
    let topic = Topic::new(3);
    let lines: String = (0..20).map(|number| format!("key-{number}\tx\n")).collect();
    topic.write_lines(&lines);
    topic.produce("--key round_robin --set producer.key_cardinality=20").run().expect(0);
    let keys = partitions_of_keys(&topic);
    assert_eq!(keys.len(), 20);
    assert!(keys.values().all(|partitions| partitions.len() == 1), "{keys:?}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_stop_is_felt_at_once_also_by_a_full_queue() {
    let topic = Topic::new(3);
    for arguments in ["--rate 1000", "--set producer.properties.queue.buffering.max.messages=100"] {
        let running = topic.produce(&format!("--messages-per-thread 0 {arguments}")).start();
        wait_for("messages", || !running.status().contains("\"acknowledged\":0,\"failed\":{}"));
        let asked = Instant::now();
        running.signal(Signal::SIGTERM);
        wait_for("the producers' ends", || running.stderr().matches(" is done").count() == 4);
        // A slice takes 20 ms, the acknowledgements of what is under way their time, and this machine has other work.
        assert!(asked.elapsed().as_millis() < 1_000, "{:?}", asked.elapsed());
        running.end().expect(0).says("producer 3 is done, sent: ");
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_full_queue_is_backpressure() {
    let topic = Topic::new(3);
    let arguments = "--messages-per-thread 5000 --set producer.properties.queue.buffering.max.messages=10";
    assert_eq!(topic.produce(arguments).run().expect(0).acknowledged(), 20_000);
    assert_eq!(topic.end(), 20_000);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_beyond_the_clients_own_limit_is_reported() {
    let topic = Topic::new(1);
    let ended = topic
        .produce("--threads 1 --messages-per-thread 5 --set kafka.properties.message.max.bytes=1000")
        .run()
        .expect(0);
    assert_eq!(ended.acknowledged(), 5, "these are small enough");
    let arguments =
        format!("produce --brokers {} --topic {} --threads 1 --messages-per-thread 5", topic.brokers, topic.name);
    let large = example("faulty", &arguments).env("FAULT", "large").run().expect(1);
    assert_eq!(large.report["produce"]["failed"]["Broker: Message size too large"], 5, "{}", large.report);
    assert_eq!(topic.end(), 5);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_generator_that_hangs_does_not_hold_up_a_stop() {
    let topic = Topic::new(1);
    let arguments = format!("produce --brokers {} --topic {} --messages-per-thread 10", topic.brokers, topic.name);
    let program = example("faulty", &format!("{arguments} --set shutdown.deadline=1s")).env("FAULT", "hang");
    let running = program.start();
    wait_for("the others' ends", || running.stderr().matches(" is done").count() == 3);
    let asked = Instant::now();
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(3);
    assert!(asked.elapsed().as_secs() < 6, "{:?}", asked.elapsed());
    let told = "producer 1 had not come back within the 1s that shutdown.deadline leaves it";
    assert!(ended.reason().starts_with(told), "{}", ended.reason());
}

#[test]
#[ignore = "needs a real Kafka"]
fn messages_that_were_due_and_never_made_are_in_the_schedules_report() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 1);
    let full = "--set producer.properties.queue.buffering.max.messages=20";
    let running = topic.produce(&format!("--threads 2 --duration 6 --rate 200 {full}")).start();
    let begun = Instant::now();
    wait_for("acknowledgements", || !running.status().contains("\"acknowledged\":0,\"failed\":{}"));
    broker.signal(Signal::SIGSTOP);
    wait_for("the schedule's end", || begun.elapsed().as_secs() >= 8);
    broker.signal(Signal::SIGCONT);
    let ended = running.end().expect(0);
    let schedule = &ended.report["produce"]["schedule"];
    let (wanted, reached) = (schedule["wanted"].as_f64().unwrap(), schedule["reached"].as_f64().unwrap());
    // Every message that was sent is acknowledged: nothing else tells of those that were not.
    assert!((ended.acknowledged() as f64 - reached * 6.0).abs() < 2.0, "{}", ended.report["produce"]);
    assert!(wanted == 200.0 && reached < 150.0, "{schedule}");
    assert!(schedule["worst_delay_us"].as_u64() > Some(1_000_000), "{schedule}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn the_deadline_that_has_ended_the_waiting_is_named_and_each_message_counted_once() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 1);
    let arguments = "--threads 2 --rate 200 --messages-per-thread 200 --set producer.flush_timeout=1s \
                     --set producer.message_timeout=60s";
    let running = topic.produce(arguments).start();
    wait_for("acknowledgements", || !running.status().contains("\"acknowledged\":0,\"failed\":{}"));
    broker.signal(Signal::SIGSTOP);
    let ended = running.end().expect(1);
    let produced = &ended.report["produce"];
    let failed: u64 = produced["failed"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert!(failed > 0 && ended.acknowledged() + failed == 400, "{produced}");
    let told = format!("{failed} of 400 messages were not acknowledged within producer.flush_timeout = 1s");
    assert!(ended.reason().starts_with(&told), "{}", ended.reason());
}
