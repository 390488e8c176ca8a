//! The representation of messages, and the handling of messages that cannot be processed.

use serde_json::{Value, json};

use crate::harness::kafka::Topic;
use crate::harness::wait_for;

/// Five stamped messages from the file `lines`.
const STAMPED: &str = "--threads 1 --messages-per-thread 5 --set producer.stamp=true --lines-file lines";

/// A topic with a tombstone, an empty value, text, JSON and a value that is not UTF-8, in one partition.
fn strange_messages() -> Topic {
    let topic = Topic::new(1);
    topic.write_lines("tombstone\tNULL\nempty\t\ntext\tnot { json\njson\t{\"a\": 1.50}\n");
    topic
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_is_not_json_is_handed_on_as_it_is() {
    let topic = strange_messages();
    let ended = topic.consume("--processor print --until-end").run().expect(0).expect_committed();
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!((lines[0]["key"].as_str(), &lines[0]["value"]), (Some("tombstone"), &Value::Null));
    assert_eq!(lines[1]["value_text"], "");
    assert_eq!(lines[2]["value_text"], "not { json");
    assert_eq!(lines[3]["value"], json!({"a": 1.5}));
    assert!(ended.stdout.contains("{\"a\": 1.50}"), "JSON keeps its letters");
    for processor in ["log", "count"] {
        let again = topic.consume(&format!("--processor {processor} --from-beginning --until-end")).run().expect(0);
        assert_eq!(again.processed(), 4);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_stamp_in_a_header_is_timed_as_one_in_the_payload_is() {
    let topic = Topic::new(1);
    let consumer = topic.consume("--processor count --max-messages 11").start();
    wait_for("the worker", || consumer.stderr().contains("INFO reading"));
    for lines in ["plain text\n", "{\"a\": 1}\n"] {
        topic.produce(STAMPED).file("lines", lines).run().expect(0);
    }
    topic.write(["without a stamp"]);
    let ended = consumer.end().expect(0);
    assert_eq!((ended.processed(), &ended.report["consume"]["latency_us"]["count"]), (11, &json!(10)));
    assert!(ended.report["consume"].get("latency_excluded").is_none(), "{}", ended.report["consume"]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn latencies_count_no_forged_stamp_and_no_message_from_before_the_start() {
    let topic = Topic::new(1);
    topic.produce(STAMPED).file("lines", "{\"a\": 1}\n").run().expect(0);
    // The stamp is scheduled for 1970 and has a wrong checksum.
    let forged = format!("{{\"a\":1,\"_stamp\":\"{}\"}}", "A".repeat(40));
    topic.write([forged.as_str(), forged.as_str()]);
    let consumer = topic.consume("--processor count --max-messages 12").start();
    wait_for("the worker", || consumer.stderr().contains("INFO reading"));
    topic.produce(STAMPED).file("lines", "{\"a\": 1}\n").run().expect(0);
    let ended = consumer.end().expect(0);
    let consume = &ended.report["consume"];
    assert_eq!(consume["latency_excluded"], json!({"older": 5, "other_run": 0, "corrupt": 2}));
    assert_eq!(consume["latency_us"]["count"], 5);
    assert!(consume["latency_us"]["max"].as_u64() < Some(30_000_000), "{consume}");
    ended.reports("not counted: 5 messages were stamped before this process was started, 2 messages have a stamp");
}

#[test]
#[ignore = "needs a real Kafka"]
fn an_external_program_gets_every_message_and_answers() {
    let topic = Topic::new(3);
    topic.fill(200);
    let body = "open(f'got-{os.environ[\"KAFKA_WORKER_SLOT\"]}', 'a').write(line); answer(m)";
    let ended = topic.consume_with("--until-end", body).run().expect(0).expect_committed();
    assert_eq!(ended.processed(), 200);
    assert_eq!(topic.committed_and_lag(), (200, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn the_programs_no_is_the_messages_failure() {
    let topic = Topic::new(1);
    topic.fill(20);
    let body = "answer(m, error='no thanks') if m['offset'] == 7 else answer(m)";
    let stopped = topic.consume_with("--until-end", body).run().expect(1);
    assert!(stopped.reason().contains("@7") && stopped.reason().contains("no thanks"), "{}", stopped.reason());
    assert_eq!((stopped.processed(), stopped.sum("committed")), (7, 7), "the failed one is the next to be read");
    let skipped = topic.consume_with("--until-end --on-failure skip", body).run().expect(0).expect_committed();
    assert_eq!(skipped.report["consume"]["failed"], 1);
    assert_eq!((skipped.processed(), skipped.sum("committed")), (12, 20));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_program_that_dies_takes_its_worker_along_and_loses_nothing() {
    let topic = Topic::new(2);
    topic.fill(100);
    let body = "os.path.exists('died') or ((m['partition'], m['offset']) == (0, 5) and (open('died', 'w'), os.kill(os.getpid(), signal.SIGKILL))); answer(m)";
    let ended = topic.consume_with("--until-end", body).run().expect(0).expect_committed();
    assert!(ended.processed() >= 100, "{}", ended.processed());
    assert_eq!(ended.sum("position"), 100);
    let restarts = ended.restarts();
    assert!(restarts.len() == 1 && restarts[0].contains("signal: 9"), "{restarts:?}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_program_that_answers_nonsense_is_named() {
    let topic = Topic::new(1);
    topic.fill(4);
    let running = topic.consume_with("", "print('hello', flush=True)").start();
    crate::harness::wait_for("the complaint", || running.stderr().contains("answered \"hello\""));
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.end().processed(), 0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_program_that_cannot_be_started_ends_it_all() {
    let topic = Topic::new(1);
    let ended = topic.consume("--command /no/such/program").run().expect(1);
    assert!(ended.reason().contains("/no/such/program"), "{}", ended.reason());
}
