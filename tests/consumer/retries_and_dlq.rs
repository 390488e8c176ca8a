//! Messages that fail: retried, skipped, dead-lettered, replayed; partitions that are stopped.
//!
//! The program is tests/programs/faulty.rs: the value of a message selects its fault.

use std::time::{Duration, Instant};

use kafka_actors::internal::TopicPartition;
use kafka_actors::internal::murmur2_partition;
use kafka_actors::internal::protocol::{PoisonMessage, WorkerCommand, WorkerConfig, WorkerEvent};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::kafka::{Topic, brokers, tool};
use crate::harness::program::{Program, Running, example, kafka_actors};
use crate::harness::wait_for;
use crate::harness::worker::{Worker, from_the_beginning, start_of};

/// `consume` with the picky processor and one worker.
fn picky(topic: &Topic, arguments: &str) -> Program {
    let Topic { name, brokers } = topic;
    let own = format!("consume --brokers {brokers} --topic {name} --group {name} --processes 1");
    example("faulty", &format!("{own} {arguments}")).env("FAULT", "picky")
}

/// A key that maps to this partition of two.
fn key_of(partition: u32) -> String {
    (0..)
        .map(|number| format!("k{number}"))
        .find(|key| murmur2_partition(key.as_bytes(), 2) == partition as i32)
        .unwrap()
}

/// Writes these values to a partition of two.
fn write(topic: &Topic, partition: u32, values: &[&str]) {
    let key = key_of(partition);
    topic.write_lines(&values.iter().map(|value| format!("{key}\t{value}\n")).collect::<String>());
}

/// The attempts so far in one partition: value, attempt.
fn attempts(stdout: &str, partition: u32) -> Vec<(String, u32)> {
    let attempt = |line: &str| {
        let fields: Vec<_> = line.splitn(4, ' ').collect();
        let [found, _, attempt, value] = fields[..] else { return None };
        (found == partition.to_string()).then(|| (value.to_owned(), attempt.parse().unwrap()))
    };
    stdout.lines().filter_map(attempt).collect()
}

fn listed<'a>(attempts: impl IntoIterator<Item = (&'a str, u32)>) -> Vec<(String, u32)> {
    attempts.into_iter().map(|(value, attempt)| (value.to_owned(), attempt)).collect()
}

/// Creates the topic's dead-letter topic, with one partition.
fn with_dead_letters(topic: &Topic) -> Topic {
    let Topic { name, brokers } = topic;
    kafka_actors(&format!("topics create {name}.dlq:1:1 --brokers {brokers}")).run().expect(0);
    Topic { name: format!("{name}.dlq"), brokers: brokers.clone() }
}

/// The records of a topic with one partition: headers, key and value, as Kafka's own consumer prints them.
fn with_headers(topic: &Topic, from: u32, count: u32) -> Vec<String> {
    let (from, count) = (from.to_string(), count.to_string());
    let mut arguments = vec!["--bootstrap-server", &topic.brokers, "--topic", &topic.name, "--partition", "0"];
    arguments.extend(["--offset", &from, "--max-messages", &count, "--timeout-ms", "30000"]);
    for part in ["print.headers=true", "print.key=true", "null.literal=NULL"] {
        arguments.extend(["--formatter-property", part]);
    }
    tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments, "").lines().map(str::to_owned).collect()
}

fn stopped(running: Running) -> crate::harness::program::Ended {
    running.signal(Signal::SIGTERM);
    running.end()
}

fn fails_twice_while_siblings_flow(fault: &str) {
    let topic = Topic::new(2);
    write(&topic, 0, &["a", "twice", "b"]);
    // The first backoff takes at least 6 s.
    let retry = "--set consumer.retry.attempts=2 --set consumer.retry.backoff=8s --set consumer.retry.backoff_max=8s";
    let running = picky(&topic, retry).env("FAULT", fault).start();
    wait_for("the first failure", || attempts(&running.stdout(), 0).len() == 2);
    let line = format!("{{\"id\":\"{}\"}}", key_of(1));
    let others = topic.produce("--key message --threads 1 --messages-per-thread 3 --lines-file lines");
    others.file("lines", &line).run().expect(0);
    wait_for("the other partition", || attempts(&running.stdout(), 1).len() == 3);
    assert_eq!(attempts(&running.stdout(), 0).len(), 2, "the other partition did not wait");
    wait_for("the last message", || attempts(&running.stdout(), 0).len() == 5);
    let ended = stopped(running).expect(0).expect_committed();
    let expected = listed([("a", 1), ("twice", 1), ("twice", 2), ("twice", 3), ("b", 1)]);
    assert_eq!(attempts(&ended.stdout, 0), expected, "in order, and processed once");
    assert_eq!(ended.stderr.matches("message failed, attempt").count(), 2, "a line for each: {}", ended.stderr);
    assert_eq!((ended.processed(), topic.committed_and_lag()), (6, (6, 0)));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_that_fails_twice_is_processed_once_and_in_order_and_its_siblings_do_not_wait() {
    fails_twice_while_siblings_flow("picky");
}

#[test]
#[ignore = "needs a real Kafka"]
fn the_same_holds_for_a_processor_that_answers_later() {
    fails_twice_while_siblings_flow("picky_later");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_stop_does_not_wait_for_a_long_pause_and_the_message_is_the_next_one() {
    let topic = Topic::new(1);
    topic.write_lines("k\ta\nk\tbad\nk\tb\n");
    let retry = "--set consumer.retry.backoff=1h --set consumer.retry.backoff_max=1h --set consumer.commit_interval=1h";
    let running = picky(&topic, retry).start();
    wait_for("the failure", || running.stderr().contains("message failed, attempt 1 of 3"));
    let asked = Instant::now();
    let ended = stopped(running);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let ended = ended.expect(0).expect_committed();
    assert_eq!(attempts(&ended.stdout, 0), listed([("a", 1), ("bad", 1)]));
    assert_eq!(ended.partitions()[0]["position"], 1);
    assert_eq!(topic.committed_and_lag(), (1, 2), "what came before is committed, and nothing else");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_that_fails_for_good_stops_the_program_after_its_last_attempt() {
    let topic = Topic::new(1);
    topic.write_lines("k\ta\nk\tpanic\nk\tb\n");
    let ended = picky(&topic, "--set consumer.retry.attempts=1 --set consumer.retry.backoff=10ms").run().expect(1);
    assert!(ended.reason().contains("@1 could not be processed: panicked at"), "{}", ended.reason());
    assert!(ended.reason().contains("cannot digest this"), "{}", ended.reason());
    assert_eq!(attempts(&ended.stdout, 0), listed([("a", 1), ("panic", 1), ("panic", 2)]));
    assert_eq!(topic.committed_and_lag(), (1, 2));
}

#[test]
#[ignore = "needs a real Kafka"]
fn skipped_messages_are_counted_and_committed() {
    let topic = Topic::new(1);
    topic.write_lines("k\ta\nk\tbad 1\nk\tpanic\nk\tb\nk\tbad 2\n");
    let settings = "--on-failure skip --set consumer.retry.attempts=0 --until-end";
    let ended = picky(&topic, settings).run().expect(0).expect_committed().reports("message failed, skipped");
    assert_eq!((ended.processed(), &ended.report["consume"]["failed"]), (2, &json!(3)));
    assert_eq!(attempts(&ended.stdout, 0).len(), 5);
    assert_eq!(topic.committed_and_lag(), (5, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn dead_letters_have_everything_and_go_back_where_they_came_from() {
    let topic = Topic::new(1);
    let letters = with_dead_letters(&topic);
    let arguments = ["--bootstrap-server", &topic.brokers, "--topic", &topic.name];
    let properties = ["parse.key=true", "parse.headers=true", "null.marker=NULL"];
    let properties = properties.iter().flat_map(|property| ["--reader-property", property]);
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let own = format!("x:1,y:NULL,x:2,traceparent:00-{trace}-{span}-01");
    let lines = &format!("{own}\tk\tbad\nNULL\tNULL\tpanic\nz:3\tk\tfine\nx:4\tk\ttwice\n");
    let arguments: Vec<_> = arguments.into_iter().chain(properties).collect();
    tool("org.apache.kafka.tools.ConsoleProducer", &arguments, lines);
    let settings =
        "--on-failure dead_letter --set consumer.retry.attempts=1 --set consumer.retry.backoff=10ms --until-end";
    let ended = picky(&topic, settings).run().expect(0).expect_committed();
    assert_eq!(topic.committed_and_lag(), (4, 0));
    assert!(ended.stderr.contains("a copy is in the topic"), "{}", ended.stderr);
    let traced =
        |line: &&str| line.contains(&format!("span_id: {span}")) && line.contains(&format!("trace_id: {trace}"));
    let lines: Vec<_> = ended.stderr.lines().filter(traced).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("offset: 0")), "{lines:?}");

    // Kafka's own consumer prints headers, key, value.
    let found = with_headers(&letters, 0, 3);
    assert_eq!(letters.end(), 3);
    let expected =
        [(format!("{own},"), 0, "k\tbad"), (String::new(), 1, "NULL\tpanic"), ("x:4,".to_owned(), 3, "k\ttwice")];
    for (line, (own, offset, message)) in found.iter().zip(expected) {
        assert!(line.starts_with(&format!("{own}kafka-actors.error:")), "{line}");
        assert!(line.ends_with(&format!(",kafka-actors.worker:0\t{message}")), "{line}");
        let place = format!(
            ",kafka-actors.attempts:2,kafka-actors.topic:{},kafka-actors.partition:0,kafka-actors.offset:{offset},",
            topic.name
        );
        assert!(line.contains(&place), "{line}");
    }
    assert!(
        found[1].contains("kafka-actors.error:panicked at") && found[1].contains("cannot digest this"),
        "{}",
        found[1]
    );
    let time = found[0].split("kafka-actors.time:").nth(1).unwrap().split(',').next().unwrap();
    let age = std::time::SystemTime::now().duration_since(humantime::parse_rfc3339(time).unwrap()).unwrap();
    assert!(age < Duration::from_secs(120), "{time}");

    let dlq = |arguments: &str| {
        kafka_actors(&format!("dlq {arguments} --brokers {} --group {}", topic.brokers, topic.name)).run().expect(0)
    };
    let rows = |done: &[bool]| {
        let ended = dlq(&format!("list {} --json", letters.name));
        let rows: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.iter().map(|row| row["done"].as_bool().unwrap()).collect::<Vec<_>>(), done);
        rows
    };
    let row = &rows(&[false, false, false])[0];
    assert_eq!(row["origin"], json!({"topic": topic.name, "partition": 0, "offset": 0}));
    assert_eq!((&row["error"], &row["attempts"]), (&json!("not to my taste"), &json!(2)));
    assert_eq!(row["trace_id"], trace);
    assert_eq!((&row["key"], &row["value_text"], &row["value_bytes"]), (&json!("k"), &json!("bad"), &json!(3)));
    let table = dlq(&format!("list {}", letters.name)).stdout;
    assert!(table.lines().count() == 4 && table.contains("not to my taste"), "{table}");

    let shown = dlq(&format!("replay {} --dry-run", letters.name));
    assert_eq!((&shown.report["replay"]["read"], &shown.report["replay"]["acknowledged"]), (&json!(3), &json!(0)));
    assert_eq!(topic.end(), 4, "a dry run sends nothing");
    let acknowledged = |arguments: &str| {
        let ended = dlq(&format!("replay {} {arguments}", letters.name));
        ended.report["replay"]["acknowledged"].as_u64().unwrap()
    };
    assert_eq!(acknowledged("--max 1"), 1);
    rows(&[true, false, false]);
    assert_eq!((acknowledged(""), acknowledged("")), (2, 0), "no message twice");
    let back = with_headers(&topic, 4, 3);
    let expected = [
        format!("{own},kafka-actors.replays:1\tk\tbad"),
        "kafka-actors.replays:1\tNULL\tpanic".to_owned(),
        "x:4,kafka-actors.replays:1\tk\ttwice".to_owned(),
    ];
    assert_eq!((back, topic.end()), (expected.to_vec(), 7));

    let describe = format!("topics describe --brokers {} --set kafka.topic={}", topic.brokers, topic.name);
    let describe = |more: &str| kafka_actors(&format!("{describe} {more}")).run().expect(0).stdout;
    assert!(describe("--set consumer.on_failure=dead_letter").contains(&letters.name));
    assert!(!describe("").contains(&letters.name));
}

#[test]
#[ignore = "needs a real Kafka"]
fn copies_keep_to_the_limits_of_the_topics_that_they_go_to() {
    let topic = Topic::new(4);
    let letters = with_dead_letters(&topic);
    letters.alter("max.message.bytes=1200");
    topic.fill(400);
    let fails = "--on-failure dead_letter --until-end --set consumer.retry.attempts=0 \
        --set consumer.circuit_breaker.consecutive=0";
    topic.consume_with(fails, "answer(m, error='no')").run().expect(0).expect_committed();
    assert_eq!(letters.end(), 400);
    topic.alter("max.message.bytes=1000");
    let replay = || kafka_actors(&format!("dlq replay {} --brokers {}", letters.name, letters.brokers)).run();
    assert_eq!(replay().expect(0).report["replay"]["acknowledged"], 400);
    assert_eq!(topic.end(), 800);

    topic.write_lines("k\tlarge\n");
    topic.consume_with(fails, "answer(m, error='no')").run().expect(0);
    topic.alter("max.message.bytes=10");
    let failed = replay().expect(1);
    let reason = failed.report["replay"]["failed"].as_object().unwrap().keys().next().unwrap().clone();
    assert!(reason.contains(&topic.name) && reason.contains("larger than this topic's max.message.bytes"), "{reason}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn read_only_writes_no_dead_letters() {
    let topic = Topic::new(1);
    topic.write_lines("k\ta\nk\tbad\nk\tb\n");
    // The dead-letter topic does not exist either.
    let looks = "--read-only --on-failure dead_letter --until-end --set consumer.retry.attempts=0";
    let ended = picky(&topic, looks).run().expect(0).reports("message failed, skipped");
    assert_eq!((ended.processed(), &ended.report["consume"]["failed"]), (2, &json!(1)));
    assert_eq!(topic.committed_and_lag(), (0, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_missing_dead_letter_topic_is_found_at_the_start() {
    let topic = Topic::new(1);
    let ended = picky(&topic, "--on-failure dead_letter").run().expect(1);
    let reported = format!("topics create {}.dlq:", topic.name);
    assert!(ended.reason().contains(&reported), "{}", ended.reason());
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
}

#[test]
#[ignore = "needs a real Kafka"]
fn nothing_is_stored_before_its_copy_is_delivered() {
    let topic = Topic::new(2);
    let letters = with_dead_letters(&topic);
    let settings = "--on-failure dead_letter --set consumer.retry.attempts=0 --set consumer.commit_interval=50ms";
    let running = picky(&topic, settings).start();
    wait_for("reading", || running.stderr().contains("reading"));
    let Topic { name, brokers } = &letters;
    kafka_actors(&format!("topics delete {name} --brokers {brokers}")).run().expect(0);
    write(&topic, 0, &["a", "bad", "b"]);
    write(&topic, 1, &["c"]);
    wait_for("the error", || running.stderr().contains("could not be delivered to the dead-letter topic"));
    wait_for("the other partition", || !attempts(&running.stdout(), 1).is_empty());
    wait_for("the commit of what is done", || topic.committed_and_lag() == (2, 2));
    let reported = running.stderr();
    assert!(reported.contains(&format!("topics create {name}:")), "{reported}");
    assert_eq!(attempts(&running.stdout(), 0), listed([("a", 1), ("bad", 1)]));
    // A stop in this state does not commit the offset of the failed message.
    let ended = stopped(running).expect(0).expect_committed();
    assert_eq!((ended.partitions()[0]["position"].as_i64(), topic.committed_and_lag()), (Some(1), (2, 2)));

    let again = Topic { name: name.clone(), brokers: brokers.clone() };
    let create = || kafka_actors(&format!("topics create {name}:1:1 --brokers {brokers}")).run();
    wait_for("the topic to be made again", || create().status.success());
    let running = picky(&topic, settings).start();
    wait_for("the message behind it", || attempts(&running.stdout(), 0).len() == 2);
    stopped(running).expect(0).expect_committed();
    assert_eq!((again.end(), topic.committed_and_lag()), (1, (4, 0)));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_dead_letter_topic_that_comes_back_is_noticed() {
    let topic = Topic::new(1);
    let letters = with_dead_letters(&topic);
    let running = picky(&topic, "--on-failure dead_letter --set consumer.retry.attempts=0").start();
    wait_for("reading", || running.stderr().contains("reading"));
    // No dead-letter record is below the limit until the limit is raised again.
    let limit = |limit: &str| letters.alter(&format!("max.message.bytes={limit}"));
    limit("100");
    topic.write_lines("k\tbad\nk\ta\n");
    wait_for("the error", || running.stderr().contains("Message size too large"));
    assert_eq!(letters.end(), 0);
    limit("1000000");
    wait_for("the next one", || attempts(&running.stdout(), 0).len() == 2);
    let ended = stopped(running).expect(0).expect_committed();
    assert_eq!((letters.end(), topic.committed_and_lag()), (1, (2, 0)));
    assert_eq!(attempts(&ended.stdout, 0), listed([("bad", 1), ("a", 1)]), "only the copy is tried again");

    let Topic { name, brokers } = &letters;
    let running = picky(&topic, "--on-failure dead_letter --set consumer.retry.attempts=0").start();
    wait_for("reading", || running.stderr().contains("reading"));
    kafka_actors(&format!("topics delete {name} --brokers {brokers}")).run().expect(0);
    topic.write_lines("k\tbad\n");
    wait_for("the error", || running.stderr().contains("does not exist"));
    let create = || kafka_actors(&format!("topics create {name}:1:1 --brokers {brokers}")).run();
    wait_for("the topic to be made again", || create().status.success());
    wait_for("its copy", || running.stderr().contains("a copy is in the topic"));
    stopped(running).expect(0).expect_committed();
    assert_eq!((letters.end(), topic.committed_and_lag()), (1, (3, 0)));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_partition_in_which_too_much_fails_is_stopped_and_the_others_are_not() {
    let topic = Topic::new(2);
    write(&topic, 0, &["a", "bad 1", "bad 2", "bad 3", "b"]);
    write(&topic, 1, &["bad 1", "bad 2", "c", "bad 3", "d"]);
    let settings =
        "--on-failure skip --until-end --set consumer.retry.attempts=0 --set consumer.circuit_breaker.consecutive=3";
    let ended = picky(&topic, settings).run().expect_committed();
    assert!(
        ended.stderr.contains("3 messages failed, one after the other (consumer.circuit_breaker.consecutive)"),
        "{}",
        ended.stderr
    );
    let next = |partition: usize| ended.partitions()[partition]["position"].as_i64().unwrap();
    assert_eq!((next(0), next(1)), (3, 5), "the third message stays the next one");
    assert_eq!(attempts(&ended.stdout, 0).last().unwrap().0, "bad 3");
    assert_eq!(topic.committed_and_lag(), (8, 2));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_partition_that_is_stopped_stays_so_when_its_group_assigns_it_again() {
    let topic = Topic::new(2);
    write(&topic, 0, &["a", "bad 1", "bad 2", "bad 3", "b"]);
    let settings = "--assignment group --on-failure skip --set consumer.retry.attempts=0 \
        --set consumer.circuit_breaker.consecutive=2";
    let running = picky(&topic, settings).without_terminal().start();
    wait_for("the breaker", || running.stderr().contains("2 messages failed, one after the other"));
    running.signal(Signal::SIGHUP);
    wait_for("its next worker", || running.stderr().contains("0: assigned again, it stays stopped"));
    write(&topic, 1, &["c"]);
    wait_for("the other partition", || attempts(&running.stdout(), 1).len() == 1);
    let ended = stopped(running).expect_committed();
    assert_eq!(attempts(&ended.stdout, 0), listed([("a", 1), ("bad 1", 1), ("bad 2", 1)]));
    assert_eq!(ended.report["consume"]["partitions"][0]["position"], 2, "the second message stays the next one");
}

#[test]
#[ignore = "needs a real Kafka"]
fn many_failures_are_few_lines() {
    let topic = Topic::new(1);
    topic.write_lines(&"k\tbad\n".repeat(5_000));
    let settings =
        "--on-failure skip --until-end --set consumer.retry.attempts=0 --set consumer.circuit_breaker.consecutive=0";
    let ended = picky(&topic, settings).run().expect(0);
    assert_eq!(ended.report["consume"]["failed"], 5_000);
    let lines = ended.stderr.matches("message failed, skipped").count();
    assert!((1..1_000).contains(&lines), "{lines} lines in {:?}", ended.took);
}

#[test]
#[ignore = "needs a real Kafka"]
fn the_verdict_holds_when_messages_are_tried_again_and_dead_lettered() {
    let topic = Topic::new(4);
    let letters = with_dead_letters(&topic);
    let retry =
        "--set consumer.retry.attempts=2 --set consumer.retry.backoff=1ms --set consumer.circuit_breaker.consecutive=0";
    let ended = example(
        "faulty",
        &format!(
            "verify --brokers {} --topic {} --threads 4 --messages-per-thread 250 --processes 2 --set consumer.on_failure=dead_letter {retry}",
            topic.brokers, topic.name
        ),
    );
    let template = r#"{"number": {"$sequence": {}}, "is": {"$choice": ["fine", "twice", "bad", "panic"], "weights": [90, 4, 3, 3]}}"#;
    let ended = ended.env("FAULT", "picky").env("KAFKA_ACTORS__PRODUCER__TEMPLATE", template).run().expect_found(&[]);
    let failed = ended.count("processing_failed");
    assert!(failed > 20, "{}", ended.report);
    assert_eq!((ended.count("processed"), letters.end() as u64), (1_000, failed));
}

/// The configuration of a worker of a topic with this number of partitions.
fn start(topic: &Topic, partitions: i32, settings: &[&str]) -> WorkerConfig {
    start_of(topic, settings, from_the_beginning(topic, 0..partitions), None)
}

fn one_at_a_time(fault: &str) {
    let topic = Topic::new(2);
    write(&topic, 0, &["a", "twice", "b"]);
    write(&topic, 1, &["c", "d", "e"]);
    let mut start = start(&topic, 2, &["consumer.retry.backoff=1ms"]);
    start.isolated = true;
    let mut worker = Worker::faulty(fault, start);
    let mut places = Vec::new();
    // Six messages, one of which has three attempts; the worker requests permission for each attempt.
    for done in 0..8 {
        let (partition, offset) = worker.receive_request();
        assert_eq!(worker.stdout().lines().filter(|line| line.ends_with(char::is_alphabetic)).count(), done);
        let further = worker.unheard().into_iter().find(|frame| matches!(frame, WorkerEvent::RequestProcess { .. }));
        assert!(further.is_none(), "nobody else is announced meanwhile: {further:?}");
        if done == 0 {
            // Permission for another message does not count: heartbeats, which come once a second, arrive without an attempt.
            worker.say(&WorkerCommand::AllowProcess(partition.clone(), offset + 1));
            for _ in 0..2 {
                worker.receive("a heartbeat", |frame| matches!(frame, WorkerEvent::Progress(_)).then_some(()));
            }
            assert_eq!(worker.stdout(), "");
        }
        worker.say(&WorkerCommand::AllowProcess(partition.clone(), offset));
        places.push((partition.partition, offset));
    }
    wait_for("the last attempt", || attempts(&worker.stdout(), 0).len() + attempts(&worker.stdout(), 1).len() == 8);
    let in_order = |partition| {
        places.iter().filter(|(found, _)| *found == partition).map(|(_, offset)| *offset).collect::<Vec<_>>()
    };
    assert_eq!((in_order(0), in_order(1)), (vec![0, 1, 1, 1, 2], vec![0, 1, 2]));
    assert!(places[..5].iter().any(|(partition, _)| *partition == 1), "both have their turns: {places:?}");

    // Isolation mode ends while a message waits for permission.
    write(&topic, 0, &["f", "g"]);
    write(&topic, 1, &["h", "i"]);
    worker.receive_request();
    worker.say(&WorkerCommand::SetIsolation(false));
    wait_for("everything", || worker.stdout().contains(" 1 g") && worker.stdout().contains(" 1 i"));
    let stdout = worker.finish(&WorkerCommand::Stop);
    assert_eq!(attempts(&stdout, 0).len() + attempts(&stdout, 1).len(), 12);
    assert_eq!(topic.committed_and_lag(), (10, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_cautious_worker_announces_each_message_and_waits() {
    one_at_a_time("picky");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_cautious_worker_whose_processor_answers_later_has_one_message_at_a_time() {
    one_at_a_time("picky_later");
}

#[test]
#[ignore = "needs a real Kafka"]
fn an_announced_message_does_not_hold_up_a_stop() {
    let topic = Topic::new(1);
    topic.write_lines("k\ta\n");
    let mut start = start(&topic, 1, &[]);
    start.isolated = true;
    let mut worker = Worker::faulty("picky", start);
    worker.receive_request();
    let asked = Instant::now();
    assert_eq!(worker.finish(&WorkerCommand::Stop), "");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
#[ignore = "needs a real Kafka"]
fn condemned_messages_are_not_processed_and_have_failed() {
    let topic = Topic::new(1);
    let letters = with_dead_letters(&topic);
    topic.write_lines("k\ta\nk\tb\nk\tc\n");
    let mut start = start(&topic, 1, &["consumer.on_failure=dead_letter"]);
    let partition = TopicPartition::new(topic.name.clone(), 0);
    start.poison_messages = vec![PoisonMessage { partition, offset: 1, reason: "it has killed its worker".to_owned() }];
    let mut worker = Worker::faulty("picky", start);
    let progress = worker.receive_progress("the end", |progress| progress.next == 3);
    assert_eq!((progress.counts.processed, progress.counts.failed, progress.counts.dead_lettered), (2, 0, 1));
    assert_eq!(attempts(&worker.finish(&WorkerCommand::Stop), 0), listed([("a", 1), ("c", 1)]));
    let found = with_headers(&letters, 0, 1);
    assert!(found[0].starts_with("kafka-actors.error:it has killed its worker,kafka-actors.attempts:0,"), "{found:?}");
    assert_eq!(topic.committed_and_lag(), (3, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_quiet_worker_takes_no_more_messages_until_it_may() {
    let topic = Topic::new(2);
    write(&topic, 0, &["twice", "a"]);
    let mut worker = Worker::faulty("picky", start(&topic, 2, &["consumer.retry.backoff=2s"]));
    let retrying = worker.receive_progress("a failure", |progress| progress.retrying);
    assert_eq!(retrying.in_flight.map(|in_hand| in_hand.offset), Some(0));
    worker.say(&WorkerCommand::Pause(true));
    write(&topic, 1, &["b"]);
    // Long enough for the backoff to end and for the message to arrive: the loop counts heartbeats, which come at least once a
    // second.
    for _ in 0..4 {
        worker.receive("a heartbeat", |frame| matches!(frame, WorkerEvent::Progress(_)).then_some(()));
    }
    assert_eq!(attempts(&worker.stdout(), 0), listed([("twice", 1)]), "the retry waits, too");
    assert!(attempts(&worker.stdout(), 1).is_empty());
    worker.say(&WorkerCommand::Pause(false));
    wait_for("all of them", || worker.stdout().contains(" 1 a") && worker.stdout().contains(" 1 b"));
    assert_eq!(
        attempts(&worker.finish(&WorkerCommand::Stop), 0),
        listed([("twice", 1), ("twice", 2), ("twice", 3), ("a", 1)])
    );
    assert_eq!(topic.committed_and_lag(), (3, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_is_no_dead_letter_is_shown_and_stays_until_it_is_passed_over() {
    let letters = Topic::on(brokers(), 1);
    letters.write_lines("k\t\u{1b}[31mhostile\nk\tother\n");
    let dlq = |arguments: &str| {
        kafka_actors(&format!("dlq {arguments} {} --brokers {}", letters.name, letters.brokers)).run()
    };
    let table = dlq("list").expect(0).stdout;
    assert!(table.contains("\\u{1b}[31mhostile") && !table.contains('\u{1b}'), "{table:?}");
    let ended = dlq("replay").expect(1);
    assert_eq!((&ended.report["replay"]["foreign"], &ended.report["replay"]["acknowledged"]), (&json!(2), &json!(0)));
    assert!(ended.reason().contains("2 do not say where they came from"), "{}", ended.reason());
    assert_eq!(dlq("replay --skip-unsendable").expect(1).report["replay"]["skipped"], 2);
    assert_eq!(dlq("replay").expect(0).report["replay"]["read"], 0);
}
