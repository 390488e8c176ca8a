//! Consuming from Apache Kafka: who reads what, from where to where.

use crate::harness::kafka::Topic;
use crate::harness::program::{distinct, printed, shell};

#[test]
#[ignore = "needs a real Kafka"]
fn two_workers_share_three_partitions() {
    let topic = Topic::new(3);
    topic.fill(400);
    let workers = |strategy: &str| {
        let ended = topic.consume(&format!("--from-beginning --until-end --strategy {strategy}")).run().expect(0);
        assert_eq!(ended.processed(), 400);
        ended.partitions().iter().map(|partition| partition["worker"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(workers("range"), [0, 0, 1]);
    assert_eq!(workers("round_robin"), [0, 1, 0]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn one_partition_and_two_workers_is_said_plainly() {
    let topic = Topic::new(1);
    topic.fill(100);
    let ended = topic.consume("--until-end").run().expect(0).says("1 partition(s) for 2 workers").says("standing by");
    assert_eq!(ended.processed(), 100);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_restart_continues_at_the_commit() {
    let topic = Topic::new(3);
    topic.fill(100);
    assert_eq!(topic.consume("--until-end").run().expect(0).expect_committed().processed(), 100);
    topic.fill(40);
    let again = topic.consume("--until-end").run().expect(0).expect_committed();
    assert_eq!((again.processed(), again.sum("first")), (40, 100));
    assert_eq!(topic.consume("--until-end").run().expect(0).processed(), 0);
    assert_eq!(topic.committed_and_lag(), (140, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn starts_other_than_the_commit() {
    let topic = Topic::new(2);
    topic.fill(100);
    topic.consume("--until-end").run().expect(0);
    // Messages carry their producer's clock, which is this one; the next ones come in a later millisecond, since a
    // process has to be started for them.
    let now = 1 + std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    topic.fill(60);
    let processed = |arguments: &str| topic.consume(arguments).run().expect(0).processed();
    assert_eq!(processed("--from-beginning --until-end"), 160);
    assert_eq!(processed(&format!("--start {now} --until-end")), 60);
    assert_eq!(processed("--start end --idle-exit 1"), 0);
    assert_eq!(processed("--group another --set consumer.without_commit=end --idle-exit 1"), 0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn max_messages_is_exact_and_what_is_left_comes_next_time() {
    let topic = Topic::new(3);
    topic.fill(1_000);
    let mut places = Vec::new();
    for messages in [1, 299] {
        let ended =
            topic.consume(&format!("--processor print --max-messages {messages}")).run().expect(0).expect_committed();
        assert_eq!(ended.processed(), messages);
        places.extend(printed(&ended.stdout));
    }
    places.extend(printed(&topic.consume("--processor print --until-end").run().expect(0).stdout));
    assert_eq!(distinct(&places), 1_000);
}

#[test]
#[ignore = "needs a real Kafka"]
fn idle_exit_ends_it_when_nothing_comes() {
    let topic = Topic::new(2);
    topic.fill(40);
    let ended = topic.consume("--idle-exit 1").run().expect(0).expect_committed();
    assert_eq!(ended.processed(), 40);
    assert!(ended.reason().contains("idle"), "{}", ended.reason());
}

#[test]
#[ignore = "needs a real Kafka"]
fn several_topics_are_read_together() {
    let (one, other) = (Topic::new(2), Topic::new(1));
    one.fill(40);
    other.fill(20);
    let topics = format!("--until-end --set consumer.topics={},{}", one.name, other.name);
    // The flag would win over the setting.
    let line =
        format!("$PROGRAM consume --brokers {} --group {} --report report.json -q {topics}", one.brokers, one.name);
    let ended = shell(&format!("{line}; code=$?; cat report.json; exit $code")).run_plain().expect(0);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["consume"]["processed"], 60);
    assert_eq!(report["consume"]["partitions"].as_array().unwrap().len(), 3);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_closed_stdout_ends_it_cleanly() {
    let topic = Topic::new(3);
    topic.fill(10_000);
    let Topic { name, brokers } = &topic;
    let consume = format!("consume --processor print --brokers {brokers} --topic {name} --group {name}");
    let ended = shell(&format!("set -o pipefail; $PROGRAM {consume} | head -1")).run_plain().expect(0);
    assert_eq!(ended.stdout.lines().count(), 1);
    let lines = ended.stderr.lines().filter(|line| line.contains("INFO")).count();
    assert!(lines < 10, "not a line for each message:\n{}", ended.stderr);
}

#[test]
#[ignore = "needs a real Kafka"]
fn offsets_that_are_gone_are_not_skipped_silently() {
    let topic = Topic::new(1);
    topic.fill(100);
    topic.consume("--until-end --max-messages 10").run().expect(0);
    let file = tempfile::NamedTempFile::new().unwrap();
    let content =
        format!("{{\"partitions\":[{{\"topic\":\"{}\",\"partition\":0,\"offset\":30}}],\"version\":1}}", topic.name);
    std::fs::write(file.path(), content).unwrap();
    let arguments = ["--bootstrap-server", &topic.brokers, "--offset-json-file", file.path().to_str().unwrap()];
    crate::harness::kafka::tool("org.apache.kafka.tools.DeleteRecordsCommand", &arguments, "");
    let refused = topic.consume("--until-end").run().expect(1);
    assert!(refused.reason().contains("20 messages are gone") && refused.reason().contains("offset_out_of_range"));
    let latest = topic.consume("--until-end --set consumer.offset_out_of_range=latest").run().expect(0);
    assert_eq!(latest.says("20 messages are gone").processed(), 0);
    let ended = topic.consume("--until-end --set consumer.offset_out_of_range=earliest").run().expect(0);
    assert_eq!(ended.says("20 messages are gone").processed(), 70);
}
