//! `dlq replay` on Apache Kafka: a record that was replayed is not replayed again, whatever the result of the others.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::kafka::Topic;
use crate::harness::program::{Ended, Program, kafka_actors};
use crate::harness::{unique, wait_for};

/// A topic and its dead-letter topic.
struct Pair {
    topic: Topic,
    letters: Topic,
}

impl Pair {
    fn new() -> Self {
        let topic = Topic::new(1);
        let letters = Topic { name: format!("{}.dlq", topic.name), brokers: topic.brokers.clone() };
        kafka_actors(&format!("topics create {}:1:1 --brokers {}", letters.name, letters.brokers)).run().expect(0);
        Self { topic, letters }
    }

    /// Writes dead-letter records with headers that name this topic as their origin.
    fn write(&self, origin: &str, count: u64, size: u64) {
        let values = ["error=no", "attempts=1", &format!("topic={origin}"), "partition=0", "offset=0", "timestamp="];
        let values = values.into_iter().chain(["time=2026-01-31T12:00:00Z", "worker=0"]);
        let headers: Vec<_> = values.map(|value| format!("kafka-actors.{value}")).collect();
        let arguments = format!("--threads 1 --messages-per-thread {count} --size {size} --compression none");
        let arguments = format!("{arguments} --set producer.headers={}", headers.join(","));
        self.letters.produce(&arguments).run().expect(0);
    }

    fn dlq(&self, arguments: &str) -> Program {
        let Self { topic, letters } = self;
        kafka_actors(&format!("dlq {arguments} {} --brokers {} --group {}", letters.name, letters.brokers, topic.name))
    }

    fn replay(&self, arguments: &str) -> Ended {
        self.dlq(&format!("replay {arguments}")).run()
    }

    /// The offsets of the dead-letter records that are not yet replayed.
    fn open(&self) -> Vec<i64> {
        let listed = self.dlq("list --json").run().expect(0).stdout;
        let rows = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.filter(|row| row["done"] == false).map(|row| row["offset"].as_i64().unwrap()).collect()
    }
}

/// Fields of the replay section of the report.
fn counts<const N: usize>(ended: &Ended, fields: [&str; N]) -> [u64; N] {
    let sum = |value: &Value| match value {
        Value::Object(counts) => counts.values().map(|count| count.as_u64().unwrap()).sum(),
        count => count.as_u64().unwrap(),
    };
    fields.map(|field| sum(&ended.report["replay"][field]))
}

#[test]
#[ignore = "needs a real Kafka"]
fn one_record_that_cannot_be_sent_holds_up_and_repeats_no_other() {
    let pair = Pair::new();
    let own = pair.topic.name.clone();
    pair.write(&own, 10, 150);
    pair.write(&own, 1, 3_000);
    pair.write(&own, 9, 150);
    // The limit is below the sum of all records: Kafka rejects a whole batch for its size.
    pair.topic.alter("max.message.bytes=1000");
    let ended = pair.replay("").expect(1);
    assert_eq!(counts(&ended, ["read", "acknowledged", "failed", "foreign"]), [20, 19, 1, 0]);
    let named = format!("{}/0@10 cannot be sent back: ", pair.letters.name);
    assert!(ended.stderr.contains(&named), "{}", ended.stderr);
    assert!(ended.reason().contains("Message size too large"), "{}", ended.reason());
    assert_eq!(pair.open(), [10]);
    for _ in 0..2 {
        assert_eq!(counts(&pair.replay("").expect(1), ["read", "acknowledged", "failed"]), [1, 0, 1]);
    }
    assert_eq!(pair.topic.end(), 19, "nothing came twice");
    // New records do not wait for the rejected one, which is replayed when the topic accepts it.
    pair.write(&own, 2, 150);
    assert_eq!(counts(&pair.replay("--max 1").expect(1), ["acknowledged", "failed"]), [1, 1]);
    pair.topic.alter("max.message.bytes=100000");
    assert_eq!(counts(&pair.replay("").expect(0), ["read", "acknowledged"]), [2, 2]);
    assert_eq!(counts(&pair.replay("").expect(0), ["read", "acknowledged"]), [0, 0]);
    assert_eq!((pair.topic.end(), pair.open()), (22, vec![]));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_forged_dead_letter_reaches_no_topic_that_the_operator_did_not_name() {
    let (pair, victim) = (Pair::new(), Topic::new(1));
    pair.write(&victim.name, 2, 100);
    pair.write(&pair.topic.name, 3, 100);
    let shown = pair.replay("--dry-run").expect(1);
    assert_eq!(counts(&shown, ["read", "acknowledged", "refused"]), [5, 0, 2]);
    let ended = pair.replay("").expect(1);
    assert_eq!(counts(&ended, ["acknowledged", "refused", "failed"]), [3, 2, 0]);
    assert_eq!(ended.report["replay"]["refused"], json!({ victim.name.clone(): 2 }));
    assert!(ended.reason().contains(&format!("--allow-topic {}", victim.name)), "{}", ended.reason());
    assert_eq!((victim.end(), pair.topic.end()), (0, 3));
    let allowed = pair.replay(&format!("--allow-topic {}", victim.name)).expect(0);
    assert_eq!(counts(&allowed, ["read", "acknowledged"]), [2, 2]);
    assert_eq!((victim.end(), pair.topic.end()), (2, 3));
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_cannot_be_sent_is_parked_or_skipped_on_request() {
    let (pair, parked) = (Pair::new(), Topic::new(1));
    let (forbidden, missing) = (unique("forbidden"), unique("missing"));
    pair.write(&forbidden, 2, 100);
    pair.write(&pair.topic.name, 1, 100);
    let refused = pair.replay(&format!("--park {}", pair.letters.name)).expect(2);
    assert!(refused.reason().contains("is replayed"), "{}", refused.reason());
    let ended = pair.replay(&format!("--park {}", parked.name)).expect(1);
    assert_eq!(counts(&ended, ["acknowledged", "refused", "parked", "skipped"]), [1, 2, 2, 0]);
    assert_eq!((parked.end(), pair.open()), (2, vec![]));
    // A record that was moved to the parking topic is still a complete dead-letter record.
    let listed = kafka_actors(&format!("dlq list {} --json --brokers {}", parked.name, parked.brokers)).run().expect(0);
    let row: Value = serde_json::from_str(listed.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(row["origin"]["topic"], json!(forbidden));

    pair.write(&missing, 1, 100);
    let ended = pair.replay(&format!("--skip-unsendable --allow-topic {missing}")).expect(1);
    assert_eq!(counts(&ended, ["read", "failed", "skipped"]), [1, 1, 1]);
    assert!(ended.reason().contains(&format!("topics create {missing}")), "{}", ended.reason());
    assert_eq!(counts(&pair.replay("").expect(0), ["read"]), [0]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_replay_that_is_killed_repeats_at_most_one_batch() {
    let pair = Pair::new();
    pair.write(&pair.topic.name, 60_000, 100);
    let running = pair.dlq("replay").start();
    let describe = || kafka_actors(&format!("topics describe {} --brokers {}", pair.topic.name, pair.topic.brokers));
    wait_for("a part to be sent", || {
        let shown = describe().run().expect(0).stdout;
        shown.lines().nth(1).unwrap().split_whitespace().nth(3).unwrap().parse::<i64>().unwrap() > 1_000
    });
    running.signal(Signal::SIGKILL);
    drop(running);
    let before = pair.topic.end();
    let again = pair.replay("").expect(0);
    let (sent, all) = (counts(&again, ["acknowledged"])[0] as i64, pair.topic.end());
    assert!(before < 60_000 && sent > 0, "it was killed in the middle: {before}");
    assert!((60_000..=60_500).contains(&all), "{all} of 60000, {sent} of them by the second run");
}
