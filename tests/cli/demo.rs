//! The original demonstration, on Apache Kafka.

use crate::harness::kafka::{Topic, brokers, variable};
use crate::harness::program::kafka_actors;
use crate::harness::{unique, wait_for};

fn produce_and_consume(topic: &Topic) {
    let produced = topic.produce("").run().expect(0);
    assert_eq!(produced.acknowledged(), 400, "four threads of a hundred messages");
    let latency = &produced.report["produce"]["latency_us"];
    assert!(latency["p50"].as_u64() > Some(0) && latency["max"].as_u64() >= latency["p99_9"].as_u64(), "{latency}");
    assert_eq!(topic.end(), 400, "Kafka's own tool finds them");
    let consumed = topic.consume("--until-end").run().expect(0).expect_committed();
    assert_eq!(consumed.processed(), 400);
    assert_eq!(consumed.stderr.matches("INFO message").count(), 400, "the log processor shows each");
    assert_eq!(topic.committed_and_lag(), (400, 0), "Kafka's own tool agrees");
}

#[test]
#[ignore = "needs a real Kafka"]
fn producing_and_consuming_with_the_defaults_loses_nothing() {
    produce_and_consume(&Topic::new(3));
}

#[test]
#[ignore = "needs a real Kafka"]
fn the_same_with_zookeeper_and_kafka_3_9() {
    let brokers = variable("TEST_KAFKA_ZOOKEEPER_BROKERS");
    produce_and_consume(&Topic::on(brokers, 3));
}

#[test]
#[ignore = "needs a real Kafka"]
fn the_demo_runs_on_brokers_that_are_named_and_makes_its_topic() {
    let topic = unique("demo");
    let arguments = format!("demo --rate 0 --brokers {} --topic {topic} --partitions 4", brokers());
    let ended = kafka_actors(&arguments).run().expect(0).reports("every message is accounted for").expect_committed();
    assert_eq!((ended.acknowledged(), ended.processed()), (400, 400));
    assert_eq!(ended.partitions().len(), 4);
    assert!(!ended.stderr.contains("embedded"), "{}", ended.stderr);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_demo_on_brokers_that_are_named_has_a_topic_of_its_own_and_deletes_it() {
    let others = Topic::new(1);
    let demo = kafka_actors(&format!("demo --rate 0 --brokers {} --messages-per-thread 10", brokers()));
    let ended = demo
        .env("KAFKA_ACTORS__KAFKA__TOPIC", &others.name)
        .run()
        .expect(0)
        .reports("the topic of this run is deleted");
    let name = ended.partitions()[0]["topic"].as_str().unwrap();
    assert!(name.starts_with("kafka-actors-demo-"), "{name}");
    assert_eq!((ended.processed(), others.end()), (40, 0));
    let described = || kafka_actors(&format!("topics describe {name} --brokers {}", brokers())).run();
    wait_for("the topic to be gone", || described().status.code() == Some(1));
}

#[test]
#[ignore = "needs a real Kafka"]
fn topics_are_made_described_and_deleted() {
    let topic = Topic::new(5);
    let describe = || kafka_actors(&format!("topics describe {} --brokers {}", topic.name, topic.brokers));
    assert_eq!(describe().run().expect(0).stdout.lines().count(), 1 + 5);
    let create = format!("topics create {}:9:1 --brokers {}", topic.name, topic.brokers);
    kafka_actors(&create).run().expect(1).reports("exists already, with 5 partitions and not 9");
    kafka_actors(&create.replace(":9:", ":5:")).run().expect(0);
    assert_eq!(describe().run().expect(0).stdout.lines().count(), 1 + 5, "it stays as it is");
    kafka_actors(&format!("topics delete {} --brokers {}", topic.name, topic.brokers)).run().expect(0);
    describe().run().expect(1).reports("topics create");
    kafka_actors(&format!("topics create {}:1:7 --brokers {}", topic.name, topic.brokers))
        .run()
        .expect(1)
        .reports("Invalid replication factor");
}
