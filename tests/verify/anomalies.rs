//! Tests of the verifier: each anomaly of a log is created on a real Kafka, and the checker has to name it with the right count and
//! the right offsets. Anomalies of consumers are in `runs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::harness::broker::Broker;
use crate::harness::kafka::{Topic, tool, variable};
use crate::harness::verdict::{Message, Run, behind_a_later_one};
use crate::harness::wait_for;

fn values(messages: &[Message]) -> impl Iterator<Item = &str> {
    messages.iter().map(|message| message.value.as_str())
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_is_deleted_before_it_is_read_is_lost() {
    let run = Run::of("--threads 2 --messages-per-thread 150 --partitions 3 --key round_robin");
    let messages = run.topic.messages(300);
    run.topic.delete_below(1, 7);
    let gone: Vec<_> = messages.iter().filter(|it| it.partition == 1 && it.offset < 7).collect();
    assert_eq!(gone.len(), 7);
    let verified = run.verified().expect_found(&[("lost", 7)]).expect_named("lost", gone);
    assert_eq!((verified.count("acknowledged"), verified.count("processed"), verified.count("removed")), (300, 293, 7));
    verified.reports("7 of the lost messages are below the log start offset");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_partition_that_is_deleted_to_its_end_is_lost_whole() {
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 2 --key round_robin");
    let messages = run.topic.messages(200);
    let gone: Vec<_> = messages.iter().filter(|it| it.partition == 0).collect();
    run.topic.delete_below(0, gone.len() as i64);
    let verified = run.verified().expect_found(&[("lost", gone.len() as u64)]);
    verified.expect_named("lost", gone.into_iter().take(10));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_that_stands_twice_is_duplicated() {
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 1");
    let messages = run.topic.messages(200);
    let again: Vec<_> = (200..).zip([3, 50, 50, 199]).map(|(at, of)| messages[of as usize].at(at)).collect();
    run.topic.write(values(&again));
    let found = [("duplicated", 4)];
    run.verified().expect_found(&found).expect_named("duplicated", &again);
    run.topic.verify("--consume-only").run().expect_found(&found).expect_named("duplicated", &again);
}

#[test]
#[ignore = "needs a real Kafka"]
fn without_a_run_file_order_and_gaps_are_checked_by_the_sequences() {
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 1");
    let mut messages = run.topic.messages(200);
    // Of each producer: its first message, and two in the middle. Without a run file, the loss of the last one cannot be detected.
    let is_left_out = |message: &Message| matches!(message.sequence(), 0 | 41 | 42);
    let (left_out, kept): (Vec<_>, Vec<_>) = messages.iter().cloned().partition(is_left_out);
    let copy = Topic::new(1);
    copy.write(values(&kept));
    let verified = copy.verify("--consume-only").run().expect_found(&[("gaps", 6)]);
    let place = |of: &dyn Fn(&str) -> Option<i64>| (of("producer"), of("sequence"));
    let named: BTreeSet<_> =
        verified.examples("gaps").into_iter().map(|it| place(&|field| it[field].as_i64())).collect();
    assert_eq!(named, left_out.iter().map(|it| (Some(it.producer()), Some(it.sequence()))).collect());

    // Every tenth message moves 1 to 8 offsets back.
    for at in (0..190).step_by(10) {
        messages[at..=at + 1 + at / 10 % 8].rotate_left(1);
    }
    let behind = behind_a_later_one(&messages);
    assert!((10..=19).contains(&behind), "{behind} of the 19 that came later are behind one of their own producer");
    let copy = Topic::new(1);
    copy.write(values(&messages));
    let verified = copy.verify("--consume-only").run().expect_found(&[("reordered", behind)]);
    let first = (1..).find(|to| behind_a_later_one(&messages[..*to]) == 1).unwrap() - 1;
    let example = verified.examples("reordered")[0];
    assert_eq!(example["offset"], first);
    assert_eq!(example["sequence"], messages[first].sequence());
    assert!(example["pid"].is_u64() && example["worker"].is_u64() && example["time"].is_string(), "{example}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn messages_at_other_offsets_than_acknowledged_are_mismatches() {
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 1");
    let before = run.topic.messages(200);
    let mut messages = before.clone();
    // Adjacent messages of different producers are swapped, which the order of no single producer shows.
    let (mut at, mut moved) = (0, Vec::new());
    while at + 1 < messages.len() {
        if messages[at].producer() == messages[at + 1].producer() {
            at += 1;
            continue;
        }
        messages.swap(at, at + 1);
        moved.extend(&before[at..at + 2]);
        at += 2;
    }
    assert!(!moved.is_empty());
    run.topic.rewrite(values(&messages));
    let count = moved.len() as u64;
    run.verified()
        .expect_found(&[("offset_mismatch", count)])
        .expect_named("offset_mismatch", moved.into_iter().take(10));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_changed_message_is_corrupt_and_not_lost() {
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 1");
    let mut messages = run.topic.messages(200);
    for at in [0, 77, 199] {
        let message = &mut messages[at];
        let changed = message.value.replacen("message", "massage", 1);
        assert!(changed != message.value && serde_json::from_str::<serde_json::Value>(&changed).is_ok());
        message.value = changed;
    }
    run.topic.rewrite(values(&messages));
    let (found, named) = ([("corrupt", 3)], || [0, 77, 199].map(|at: usize| messages[at].clone()));
    run.verified().expect_found(&found).expect_named("corrupt", &named());
    run.topic.verify("--consume-only").run().expect_found(&found).expect_named("corrupt", &named());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_key_in_another_partition_than_kafkas_own_is_misplaced() {
    let run = Run::of(
        "--threads 2 --messages-per-thread 150 --partitions 4 --key round_robin --set producer.key_cardinality=60 \
         --set producer.properties.partitioner=consistent",
    );
    let messages = run.topic.messages(300);
    // Kafka's own producer determines the partition of each key.
    let keys: BTreeSet<_> = messages.iter().map(|message| message.key.as_str()).collect();
    let other = Topic::new(4);
    other.write_lines(&keys.iter().map(|key| format!("{key}\tx\n")).collect::<String>());
    let home: BTreeMap<_, _> = other.messages(60).into_iter().map(|it| (it.key, it.partition)).collect();
    let misplaced: Vec<_> = messages.iter().filter(|message| home[&message.key] != message.partition).collect();
    assert!((1..300).contains(&misplaced.len()), "{}", misplaced.len());
    let verified = run.verified().expect_found(&[("misplaced", misplaced.len() as u64)]);
    assert!(verified.names_only("misplaced", misplaced), "{:#}", verified.report["verify"]);
    // With the other partitioner, the checker finds no anomaly.
    run.consume("--set producer.properties.partitioner=consistent").run().expect_found(&[]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_others_have_written_is_foreign() {
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 1");
    run.topic.write(["{\"a\":1}", "no JSON", "{\"_stamp\":\"none\"}"]);
    run.topic.produce("--threads 2 --messages-per-thread 10 --set producer.stamp=true").run().expect(0);
    let verified = run.verified().expect_found(&[("foreign", 23)]);
    let offsets: Vec<_> = verified.examples("foreign").iter().map(|it| it["offset"].as_i64().unwrap()).collect();
    assert_eq!(offsets, (200..210).collect::<Vec<_>>());
    let details: Vec<_> = verified.examples("foreign").iter().map(|it| it["detail"].clone()).collect();
    assert!(details[..3].iter().all(|detail| detail == "without a stamp"), "{details:?}");
    assert!(details[3..].iter().all(|detail| detail == "of another run"), "{details:?}");
    // Without a run file, each run is checked separately.
    let verified = run.topic.verify("--consume-only").run().expect_found(&[("foreign", 3)]);
    assert_eq!(verified.count("processed"), 223);
}

/// The offsets in a broker's files, as Kafka's own tool reads them.
fn offsets_in(segments: &[PathBuf]) -> BTreeSet<i64> {
    let files: Vec<_> = segments.iter().map(|path| path.to_str().unwrap()).collect();
    let output = tool("org.apache.kafka.tools.DumpLogSegments", &["--print-data-log", "--files", &files.join(",")], "");
    let offset = |line: &str| line.strip_prefix("| offset: ")?.split(' ').next()?.parse().ok();
    output.lines().filter_map(offset).collect()
}

/// A partition's segments, in order; empty while the partition does not exist.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    logs.sort();
    logs
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_compaction_has_removed_before_a_topic_was_no_longer_compacted_is_lost_and_skipped() {
    // By default the cleaner checks for work every 15 s. The setting applies to the whole broker, and affects no other test.
    let (topic, backoff) = (Topic::unmade(), "log.cleaner.backoff.ms=100");
    let to = ["--bootstrap-server", &topic.brokers];
    let cleaner = ["--entity-type", "brokers", "--entity-default", "--alter", "--add-config", backoff];
    tool("kafka.admin.ConfigCommand", &[&to[..], &cleaner].concat(), "");
    let mut create = vec!["--create", "--topic", &topic.name, "--partitions", "1"];
    for config in ["segment.ms=200", "min.cleanable.dirty.ratio=0.001"] {
        create.extend(["--config", config]);
    }
    tool("org.apache.kafka.tools.TopicCommand", &[&to[..], &create].concat(), "");
    let run = Run::to(topic);
    // With these keys and at this rate, each segment contains each key a few times.
    let produced = run.produce(
        "--threads 1 --messages-per-thread 600 --rate 400 --key round_robin --set producer.key_cardinality=20",
    );
    produced.run().expect(0);
    // `verify` refuses a topic with this policy; the log stays as it is when the policy changes back.
    let set_policy = |policy: &str| {
        let topic = ["--entity-type", "topics", "--entity-name", &run.topic.name];
        let change = ["--bootstrap-server", &run.topic.brokers, "--alter", "--add-config", policy];
        tool("kafka.admin.ConfigCommand", &[&change[..], &topic].concat(), "");
    };
    set_policy("cleanup.policy=compact");
    let data = Path::new(&variable("TEST_KAFKA_DATA")).join("broker-1.data");
    let folder = data.join(format!("{}-0", run.topic.name));
    // The last segment is never cleaned; all others are clean when the cleaner's checkpoint has reached it.
    wait_for("the cleaner to have done everything", || {
        let last = segments(&folder).pop().unwrap();
        let base: i64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let done = std::fs::read_to_string(data.join("cleaner-offset-checkpoint")).unwrap_or_default();
        base > 0 && done.lines().any(|line| line == format!("{} 0 {base}", run.topic.name))
    });
    let stands = offsets_in(&segments(&folder));
    let dropped: Vec<_> = (0..600).filter(|offset| !stands.contains(offset)).collect();
    assert!(dropped.len() > 100, "{dropped:?}");
    let count = dropped.len() as u64;
    set_policy("cleanup.policy=delete");
    let verified = run.verified().expect_found(&[("lost", count), ("skipped", count)]);
    for anomaly in ["lost", "skipped"] {
        let named: Vec<_> = verified.examples(anomaly).iter().map(|it| it["offset"].as_i64().unwrap()).collect();
        assert_eq!(named, dropped[..10], "{anomaly}");
    }
    let skipped = verified.examples("skipped");
    let is_known = |field: &&str| skipped.iter().all(|it| !it[field].is_null());
    let fields = ["producer", "sequence", "partition", "offset", "worker", "pid", "time"];
    assert!(fields.iter().all(is_known), "{skipped:#?}");
    assert_eq!(verified.count("processed"), 600 - count);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_that_was_reported_as_failed_and_is_in_the_log_is_found() {
    let broker = Broker::start();
    let run = Run::to(Topic::on(broker.brokers.clone(), 2));
    // Each message is sent once, in as many requests as necessary, and no connection is closed for a timeout: when the broker
    // resumes, it stores everything that was sent while it was stopped.
    let once = "--set producer.properties.enable.idempotence=false \
                --set producer.properties.message.send.max.retries=0 --set kafka.properties.socket.max.fails=0";
    let timing = "--duration 4 --rate 1000 --set producer.message_timeout=1s --set producer.linger=2ms";
    let producing = run.produce(&format!("--threads 4 {timing} {once}")).start();
    wait_for("producing", || producing.stderr().contains("INFO producing"));
    producing.wait_for_acknowledgements();
    // Messages that are sent from now on reach the broker, which does not respond.
    broker.signal(Signal::SIGSTOP);
    wait_for("failures", || !producing.status().contains("\"failed\":{}"));
    broker.signal(Signal::SIGCONT);
    let produced = producing.end().expect(1);
    let failed: u64 =
        produced.report["produce"]["failed"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    let messages = run.topic.messages(run.topic.end() as usize);
    let present = messages.len() as u64 - produced.acknowledged();
    assert!((1..=failed).contains(&present), "{present} of {failed}");
    let verified = run.verified().expect_found(&[("failed_but_present", present)]);
    assert_eq!(verified.count("failed"), failed);
    assert!(verified.names_only("failed_but_present", &messages), "{:#}", verified.report["verify"]);
}
