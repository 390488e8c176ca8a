//! Producing to Apache Kafka.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::harness::broker::Broker;
use crate::harness::kafka::{Topic, brokers};
use crate::harness::program::{Ended, example, kafka_actors};
use crate::harness::{unique, wait_for};

#[test]
#[ignore = "needs a real Kafka"]
fn a_missing_topic_is_an_error_with_the_command_that_creates_it() {
    let topic = unique("missing");
    for command in ["produce", "consume"] {
        let ended = kafka_actors(&format!("{command} --brokers {} --topic {topic}", brokers())).run().expect(1);
        assert!(ended.reason().contains(&format!("kafka-actors topics create {topic}:3:1")), "{}", ended.reason());
    }
    let ended = kafka_actors(&format!("topics describe {topic} --brokers {}", brokers())).run();
    ended.expect(1).reports("does not exist");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_that_is_too_large_is_reported_with_its_reason() {
    let topic = Topic::new(1);
    topic.alter("max.message.bytes=100");
    let ended = topic.produce("--threads 2 --messages-per-thread 10").run().expect(1);
    assert_eq!(ended.acknowledged(), 0);
    let (reason, count) = only_failure(&ended);
    assert!(reason.starts_with("Broker: Message size too large: ") && count == 20, "{count}: {reason}");
    let limit = format!("max.message.bytes of the topic {:?} was 100 when this run began", topic.name);
    assert!(reason.contains(&limit) && reason.contains("batch.size of this client is 100"), "{reason}");
    assert!(ended.reason().contains(reason), "{}", ended.reason());
    assert_eq!(topic.end(), 0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_number_of_messages_that_equals_the_default_holds_beside_a_duration() {
    let topic = Topic::new(1);
    let settings = "[producer]\nmessages_per_thread = 100\nduration = \"30s\"\n";
    let ended = topic.produce("--threads 2").file("Settings.toml", settings).run().expect(0);
    assert_eq!((ended.acknowledged(), topic.end()), (200, 200));
    let ended =
        topic.produce("--threads 2 --duration 30s").file("Settings.toml", "[producer]\nmessages_per_thread = 100\n");
    assert_eq!((ended.run().expect(0).acknowledged(), topic.end()), (200, 400));
}

/// The reason and count of a run in which all failed messages have the same reason.
fn only_failure(ended: &Ended) -> (&str, u64) {
    let failed = ended.report["produce"]["failed"].as_object().unwrap();
    assert_eq!(failed.len(), 1, "{failed:?}");
    let (reason, count) = failed.iter().next().unwrap();
    (reason, count.as_u64().unwrap())
}

#[test]
#[ignore = "needs a real Kafka"]
fn batches_keep_to_the_topics_own_limit() {
    // The brokers check the size of the batch that was sent; if the topic has a different compression, the size that they write.
    for (compression, own) in [("none", "producer"), ("lz4", "producer"), ("lz4", "uncompressed")] {
        let topic = Topic::new(1);
        topic.alter(&format!("max.message.bytes=3000,compression.type={own}"));
        let arguments = format!("--threads 2 --messages-per-thread 2000 --set producer.compression={compression}");
        assert_eq!(topic.produce(&arguments).run().expect(0).acknowledged(), 4_000);
        assert_eq!(topic.end(), 4_000);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_limit_of_the_topic_that_is_lowered_during_a_run_is_named() {
    let topic = Topic::new(1);
    let running = topic.produce("--threads 1 --messages-per-thread 0 --rate 1000 --set producer.linger=100ms").start();
    running.wait_for_acknowledgements();
    topic.alter("max.message.bytes=1000");
    wait_for("a refusal", || running.status().contains("Message size too large"));
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(1);
    let (reason, failed) = only_failure(&ended);
    assert!(reason.contains("was 1048588 when this run began") && reason.contains("the limit was lowered"), "{reason}");
    let sent = ended.report["produce"]["threads"][0]["sent"].as_u64().unwrap();
    assert_eq!((ended.acknowledged() + failed, topic.end() as u64), (sent, ended.acknowledged()));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_topic_that_is_deleted_under_its_producers_is_named_and_the_run_ends() {
    for arguments in ["--rate 2000", "--rate 0 --size 200"] {
        let topic = Topic::new(3);
        let running = topic.produce(&format!("--messages-per-thread 0 {arguments}")).start();
        running.wait_for_acknowledgements();
        kafka_actors(&format!("topics delete {} --brokers {}", topic.name, topic.brokers)).run().expect(0);
        let deleted = Instant::now();
        let ended = running.end().expect(1);
        assert!(deleted.elapsed().as_secs() < 10, "{:?}", deleted.elapsed());
        let reported = format!("the topic {:?} was deleted while messages were written to it: ", topic.name);
        assert!(ended.reason().starts_with(&reported), "{}", ended.reason());
        let failed = &ended.report["produce"]["failed"];
        let failed: u64 = failed.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        let threads = ended.report["produce"]["threads"].as_array().unwrap();
        let sent: u64 = threads.iter().map(|thread| thread["sent"].as_u64().unwrap()).sum();
        assert!(ended.acknowledged() > 0 && ended.acknowledged() + failed == sent, "{}", ended.report["produce"]);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn with_acks_0_nothing_is_called_acknowledged() {
    let topic = Topic::new(1);
    // The broker rejects all of them, and with `acks=0` it reports no error.
    topic.alter("max.message.bytes=100");
    let idempotence = "--set producer.properties.enable.idempotence=false";
    for acks in ["producer.properties.acks=0", "kafka.properties.request.required.acks=0"] {
        let ended = topic.produce(&format!("--messages-per-thread 10 {idempotence} --set {acks}")).run().expect(0);
        let produced = &ended.report["produce"];
        assert_eq!((&produced["acks"], ended.acknowledged()), (&"0".into(), 0), "{produced}");
        assert_eq!((&produced["unacknowledged"], &produced["threads"][0]["unacknowledged"]), (&40.into(), &10.into()));
        assert!(produced.get("latency_us").is_none() && produced.get("sent_latency_us").is_none(), "{produced}");
        assert!(
            ended.reason().starts_with("all 40 messages were sent, not acknowledged (acks=0)"),
            "{}",
            ended.reason()
        );
        let claims = ended.stderr.replace("no message is acknowledged", "").replace("not acknowledged", "");
        assert!(!claims.contains("acknowledged"), "{}", ended.stderr);
        for command in ["verify", "demo"] {
            let refused =
                kafka_actors(&format!("{command} --brokers {} {idempotence} --set {acks}", topic.brokers)).run();
            let name = acks.strip_suffix("=0").unwrap();
            assert!(refused.expect(2).reason().starts_with(&format!("{name} = 0 (--set): with acks=0")));
        }
    }
    assert_eq!(topic.end(), 0);
    let leader = Topic::new(1);
    let arguments = format!("--messages-per-thread 10 {idempotence} --set producer.properties.acks=1");
    let ended = leader.produce(&arguments).run().expect(0);
    assert_eq!((&ended.report["produce"]["acks"], ended.acknowledged()), (&"1".into(), 40));
    assert!(ended.reason().contains("by their partitions' leaders only (acks=1)"), "{}", ended.reason());
    kafka_actors("produce --set producer.properties.acks=0 --set producer.properties.request.required.acks=1")
        .run()
        .expect(2)
        .reports("another name of acks");
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
fn a_run_that_is_cut_short_is_marked() {
    let topic = Topic::new(1);
    let running = topic.produce("--messages-per-thread 100000 --rate 100").start();
    wait_for("producing to have begun", || running.stderr().contains("producing"));
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(1);
    assert!(ended.reason().contains("of 400,000"), "{}", ended.reason());
    assert_eq!(topic.end() as u64, ended.acknowledged());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_duration_and_a_rate_are_kept() {
    let topic = Topic::new(3);
    let ended = topic.produce("--duration 2 --rate 500").run().expect(0);
    // Never more than scheduled; fewer if this machine had other work at the end of the two seconds.
    assert!((900..=1_001).contains(&ended.acknowledged()), "{} messages in 2 s at 500/s", ended.acknowledged());
}

/// The partitions of each key.
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
        running.wait_for_acknowledgements();
        let asked = Instant::now();
        running.signal(Signal::SIGTERM);
        wait_for("the producers' ends", || running.stderr().matches("producer finished").count() == 4);
        // A slice takes 20 ms, the acknowledgements of messages in flight take their time, and this machine has other work.
        assert!(asked.elapsed().as_millis() < 1_000, "{:?}", asked.elapsed());
        running.end().expect(0).reports("producer finished, producer: 3, sent: ");
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
    let (reason, count) = only_failure(&large);
    assert!(reason.contains("producer.properties.message.max.bytes = 1000000") && count == 5, "{count}: {reason}");
    assert_eq!(topic.end(), 5);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_generator_that_hangs_does_not_hold_up_a_stop() {
    let topic = Topic::new(1);
    let arguments = format!("produce --brokers {} --topic {} --messages-per-thread 10", topic.brokers, topic.name);
    let program = example("faulty", &format!("{arguments} --set shutdown.timeout=1s")).env("FAULT", "hang");
    let running = program.start();
    wait_for("the others' ends", || running.stderr().matches("producer finished").count() == 3);
    let asked = Instant::now();
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(3);
    assert!(asked.elapsed().as_secs() < 6, "{:?}", asked.elapsed());
    let reported = "producer 1 did not finish within the 1s that shutdown.timeout leaves it";
    assert!(ended.reason().starts_with(reported), "{}", ended.reason());
}

#[test]
#[ignore = "needs a real Kafka"]
fn messages_that_were_due_and_never_made_are_in_the_schedules_report() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 1);
    let full = "--set producer.properties.queue.buffering.max.messages=20";
    let running = topic.produce(&format!("--threads 2 --duration 6 --rate 200 {full}")).start();
    let begun = Instant::now();
    running.wait_for_acknowledgements();
    broker.signal(Signal::SIGSTOP);
    wait_for("the schedule's end", || begun.elapsed().as_secs() >= 8);
    broker.signal(Signal::SIGCONT);
    let ended = running.end().expect(0);
    let schedule = &ended.report["produce"]["schedule"];
    let (target, actual) = (schedule["target_rate"].as_f64().unwrap(), schedule["actual_rate"].as_f64().unwrap());
    // Every message that was sent is acknowledged: no other field counts those that were not.
    assert!((ended.acknowledged() as f64 - actual * 6.0).abs() < 2.0, "{}", ended.report["produce"]);
    assert!(target == 200.0 && actual < 150.0, "{schedule}");
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
    running.wait_for_acknowledgements();
    broker.signal(Signal::SIGSTOP);
    let ended = running.end().expect(1);
    let produced = &ended.report["produce"];
    let failed: u64 = produced["failed"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert!(failed > 0 && ended.acknowledged() + failed == 400, "{produced}");
    let reported = format!("{failed} of 400 messages were not acknowledged within producer.flush_timeout = 1s");
    assert!(ended.reason().starts_with(&reported), "{}", ended.reason());
}
