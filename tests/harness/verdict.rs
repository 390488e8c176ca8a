//! The verdicts of `verify`, and the topics that it checks. Kafka's own tools read and change the messages of these topics.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use tempfile::TempDir;

use super::kafka::{Topic, brokers, tool};
use super::program::{Ended, Program, kafka_actors};
use super::{unique, wait_for};

/// All anomalies, by their names in the report.
const FINDINGS: [&str; 13] = [
    "lost",
    "unread",
    "duplicated",
    "redelivered_unexplained",
    "reordered",
    "skipped",
    "went_back",
    "failed_but_present",
    "offset_mismatch",
    "corrupt",
    "misplaced",
    "foreign",
    "gaps",
];

impl Ended {
    /// A count of the verdict.
    pub fn count(&self, field: &str) -> u64 {
        self.report["verify"][field].as_u64().unwrap_or_else(|| panic!("no {field} in {}", self.report))
    }

    /// Asserts that exactly these anomalies are found, that each has examples, and that the exit reports them.
    pub fn expect_found(self, anomalies: &[(&str, u64)]) -> Self {
        let verdict = &self.report["verify"];
        let found: Vec<_> = FINDINGS
            .into_iter()
            .map(|name| (name, verdict[name].as_u64().unwrap_or_default()))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(found, anomalies, "{verdict:#}\n{}", self.stderr);
        assert_eq!(verdict["holds"], anomalies.is_empty());
        for (name, count) in anomalies {
            assert_eq!(self.examples(name).len() as u64, (*count).min(10), "{verdict:#}");
            let line = self.stderr.lines().find(|line| line.trim_start().starts_with(name));
            let reported =
                line.is_some_and(|line| line.replace(',', "").contains(&count.to_string()) && line.contains("such as"));
            assert!(reported, "{name} is not shown with an example:\n{}", self.stderr);
        }
        assert_eq!(verdict["examples"].as_array().unwrap().is_empty(), anomalies.is_empty(), "{verdict:#}");
        if anomalies.is_empty() {
            return self.expect(0);
        }
        let reported: Vec<_> = anomalies.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        assert_eq!(self.reason(), format!("the verdict does not hold: {}", reported.join(", ")));
        self.expect(1)
    }

    /// The examples of an anomaly.
    pub fn examples(&self, anomaly: &str) -> Vec<&Value> {
        let examples = self.report["verify"]["examples"].as_array().unwrap();
        examples.iter().filter(|example| example["anomaly"] == anomaly).collect()
    }

    /// Asserts that the examples of an anomaly name these messages with their offsets.
    pub fn expect_named<'a>(self, anomaly: &str, messages: impl IntoIterator<Item = &'a Message>) -> Self {
        let named: Vec<_> = self.examples(anomaly).into_iter().map(place).collect();
        let expected: Vec<_> = messages.into_iter().map(Message::place).collect();
        assert_eq!(named, expected, "{:#}", self.report["verify"]["examples"]);
        self
    }

    /// Whether all examples of an anomaly are among these messages with their offsets.
    pub fn names_only<'a>(&self, anomaly: &str, messages: impl IntoIterator<Item = &'a Message>) -> bool {
        let places: Vec<_> = messages.into_iter().map(Message::place).collect();
        self.examples(anomaly).into_iter().all(|example| places.contains(&place(example)))
    }
}

/// Partition, offset, producer, sequence.
type Place = [Option<i64>; 4];

fn place(example: &Value) -> Place {
    ["partition", "offset", "producer", "sequence"].map(|field| example[field].as_i64())
}

/// A message, as Kafka's own consumer prints it.
#[derive(Clone, Debug)]
pub struct Message {
    pub partition: i64,
    pub offset: i64,
    pub key: String,
    pub value: String,
}

impl Message {
    /// Parses partition, offset, key and value from a line of the tool.
    fn of_line(line: &str) -> Self {
        let mut fields = line.splitn(4, '\t');
        let mut next = || fields.next().unwrap_or_else(|| panic!("{line:?}"));
        let number = |field: &str| field.rsplit(':').next().unwrap().parse().unwrap();
        let (partition, offset) = (number(next()), number(next()));
        Self { partition, offset, key: next().to_owned(), value: next().to_owned() }
    }

    /// The bytes of its stamp.
    fn stamp(&self) -> Vec<u8> {
        let value: Value = serde_json::from_str(&self.value).unwrap();
        BASE64_URL_SAFE_NO_PAD.decode(value["_stamp"].as_str().unwrap()).unwrap()
    }

    pub fn producer(&self) -> i64 {
        i64::from(u16::from_be_bytes(self.stamp()[7..9].try_into().unwrap()))
    }

    pub fn sequence(&self) -> i64 {
        i64::from_be_bytes(self.stamp()[9..17].try_into().unwrap())
    }

    fn place(&self) -> Place {
        [self.partition, self.offset, self.producer(), self.sequence()].map(Some)
    }

    /// The same message at another offset.
    pub fn at(&self, offset: i64) -> Self {
        Self { offset, ..self.clone() }
    }
}

/// The number of messages after a message of the same producer with a higher sequence. The messages are of one partition, in order.
pub fn behind_a_later_one(messages: &[Message]) -> u64 {
    let is_behind = |at: usize| {
        let message = &messages[at];
        let before = messages[..at].iter().filter(|before| before.producer() == message.producer());
        before.map(Message::sequence).any(|sequence| sequence > message.sequence())
    };
    (0..messages.len()).filter(|at| is_behind(*at)).count() as u64
}

impl Topic {
    /// A topic on the shared broker that does not exist yet.
    pub fn unmade() -> Self {
        Self { name: unique("verify"), brokers: brokers() }
    }

    /// `verify` with this topic.
    pub fn verify(&self, arguments: &str) -> Program {
        kafka_actors(&format!("verify --brokers {} --topic {} {arguments}", self.brokers, self.name))
    }

    /// All messages of the topic by partition and offset; `count` is their number.
    pub fn messages(&self, count: usize) -> Vec<Message> {
        let (count_text, brokers) = (count.to_string(), self.brokers.as_str());
        let mut arguments = vec!["--bootstrap-server", brokers, "--topic", &self.name, "--from-beginning"];
        arguments.extend(["--max-messages", &count_text]);
        for part in ["print.partition=true", "print.offset=true", "print.key=true"] {
            arguments.extend(["--formatter-property", part]);
        }
        let output = tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments, "");
        let mut messages: Vec<_> = output.lines().map(Message::of_line).collect();
        assert_eq!(messages.len(), count);
        messages.sort_by_key(|message| (message.partition, message.offset));
        messages
    }

    /// Writes messages without keys with Kafka's own console producer, in this order.
    pub fn write<'a>(&self, values: impl IntoIterator<Item = &'a str>) {
        let lines: String = values.into_iter().map(|value| format!("{value}\n")).collect();
        let arguments = ["--bootstrap-server", &self.brokers, "--topic", &self.name];
        tool("org.apache.kafka.tools.ConsoleProducer", &arguments, &lines);
    }

    /// Deletes the topic and creates it again, with one partition that contains these values.
    pub fn rewrite<'a>(&self, values: impl IntoIterator<Item = &'a str>) {
        let Self { name, brokers } = self;
        kafka_actors(&format!("topics delete {name} --brokers {brokers}")).run().expect(0);
        let create = || kafka_actors(&format!("topics create {name}:1:1 --brokers {brokers}")).run();
        wait_for("the topic to be made again", || create().status.success());
        self.write(values);
    }

    /// Deletes everything below an offset of a partition.
    pub fn delete_below(&self, partition: i64, offset: i64) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("offsets.json");
        let to = serde_json::json!({"topic": self.name, "partition": partition, "offset": offset});
        std::fs::write(&file, serde_json::json!({"version": 1, "partitions": [to]}).to_string()).unwrap();
        let arguments = ["--bootstrap-server", &self.brokers, "--offset-json-file", file.to_str().unwrap()];
        tool("org.apache.kafka.tools.DeleteRecordsCommand", &arguments, "");
    }
}

/// The output of `verify --produce-only`: a topic and a run file.
pub struct Run {
    pub topic: Topic,
    folder: TempDir,
}

impl Run {
    /// Creates a topic and produces to it.
    pub fn of(arguments: &str) -> Self {
        let run = Self::to(Topic::unmade());
        run.produce(arguments).run().expect(0);
        run
    }

    /// A run to this topic that has not produced yet.
    pub fn to(topic: Topic) -> Self {
        Self { topic, folder: TempDir::new().unwrap() }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// `verify --produce-only`.
    pub fn produce(&self, arguments: &str) -> Program {
        self.with_file(&format!("--produce-only {arguments}"))
    }

    /// `verify --consume-only` with the run file.
    pub fn consume(&self, arguments: &str) -> Program {
        self.with_file(&format!("--consume-only {arguments}"))
    }

    fn with_file(&self, arguments: &str) -> Program {
        self.topic.verify(arguments).arg("--run-file").arg(self.file().to_str().unwrap())
    }

    /// The verdict with the run file.
    pub fn verified(&self) -> Ended {
        self.consume("").run()
    }
}
