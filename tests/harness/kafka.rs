//! The real Kafka of a test run, and Kafka's own tools as independent checkers.
//!
//! `scripts/test` starts the brokers and passes their addresses: TEST_KAFKA_BROKERS, TEST_KAFKA_LIBS (the jars), for TLS and SASL
//! TEST_KAFKA_SASL_*, for the broker with ZooKeeper TEST_KAFKA_ZOOKEEPER_BROKERS. (The names do not start with the prefix of the
//! program's variables, because the program rejects unknown variables with that prefix.)

use std::io::Write;
use std::process::{Command, Stdio};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, TopicPartitionList};

use super::program::{Program, kafka_actors};
use super::{DEADLINE, unique};

/// A variable of the test run.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test, or see scripts/kafka env"))
}

pub fn brokers() -> String {
    variable("TEST_KAFKA_BROKERS")
}

/// A dedicated topic of a test.
pub struct Topic {
    pub name: String,
    pub brokers: String,
}

impl Topic {
    /// Creates a topic with this number of partitions on the shared broker.
    pub fn new(partitions: u32) -> Self {
        Self::on(brokers(), partitions)
    }

    pub fn on(brokers: String, partitions: u32) -> Self {
        Self::replicated(brokers, partitions, 1)
    }

    /// Creates a topic with this replication factor.
    pub fn replicated(brokers: String, partitions: u32, replication: u32) -> Self {
        let name = unique("test");
        kafka_actors(&format!("topics create {name}:{partitions}:{replication} --brokers {brokers}")).run().expect(0);
        Self { name, brokers }
    }

    /// `produce` to this topic.
    pub fn produce(&self, arguments: &str) -> Program {
        kafka_actors(&format!("produce --brokers {} --topic {} {arguments}", self.brokers, self.name))
    }

    /// `consume` from this topic, in the group with the topic's name.
    pub fn consume(&self, arguments: &str) -> Program {
        kafka_actors(&format!(
            "consume --brokers {} --topic {} --group {} {arguments}",
            self.brokers, self.name, self.name
        ))
    }

    /// `consume` with a Python program as its processor, which runs `body` for each message `m`, and replies with `answer(m)`.
    pub fn consume_with(&self, arguments: &str, body: &str) -> Program {
        let text = format!(
            "import sys, json, os, time, signal\n\
             def answer(m, **more): print(json.dumps(dict(id=m['id'], **more)), flush=True)\n\
             for line in sys.stdin:\n    m = json.loads(line)\n    {body}\n"
        );
        self.consume(arguments).arg("--command").arg("python3 work.py").file("work.py", &text)
    }

    /// Writes this number of messages from four threads, with keys: a small number of messages without keys may all be in one
    /// partition.
    pub fn fill(&self, messages: u64) {
        let done = self.produce(&format!("--key round_robin --messages-per-thread {}", messages / 4)).run().expect(0);
        assert_eq!(done.acknowledged(), messages);
    }

    /// Sets properties of the topic with Kafka's own tool: `name=value,…`.
    pub fn alter(&self, properties: &str) {
        let mut arguments = vec!["--bootstrap-server", &self.brokers, "--entity-type", "topics", "--entity-name"];
        arguments.extend([&self.name, "--alter", "--add-config", properties]);
        tool("kafka.admin.ConfigCommand", &arguments, "");
    }

    /// The sum of the high watermarks of its partitions, from Kafka's own tool.
    pub fn end(&self) -> i64 {
        self.ends().into_iter().map(|(_, end)| end).sum()
    }

    /// Its partitions and their high watermarks.
    pub fn ends(&self) -> Vec<(i64, i64)> {
        let arguments = ["--bootstrap-server", &self.brokers, "--topic", &self.name];
        let output = tool("org.apache.kafka.tools.GetOffsetShell", &arguments, "");
        let row = |line: &str| {
            let mut fields = line.rsplit(':');
            let (end, partition) = (fields.next()?, fields.next()?);
            Some((partition.parse().ok()?, end.parse().ok()?))
        };
        output.lines().filter_map(row).collect()
    }

    /// The committed offsets of the topic's group and its lag, each summed over the partitions, from Kafka's own tool.
    pub fn committed_and_lag(&self) -> (i64, i64) {
        let arguments = ["--bootstrap-server", &self.brokers, "--describe", "--group", &self.name];
        let output = tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &arguments, "");
        let mut sums = (0, 0);
        for line in output.lines().filter(|line| line.contains(&self.name)) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let at = fields.iter().position(|field| *field == self.name).unwrap() + 1;
            let topic_at = if fields.get(at) == Some(&self.name.as_str()) { at } else { at - 1 };
            if let (Some(Ok(committed)), Some(Ok(lag))) = (
                fields.get(topic_at + 2).map(|text| text.parse::<i64>()),
                fields.get(topic_at + 4).map(|text| text.parse::<i64>()),
            ) {
                sums = (sums.0 + committed, sums.1 + lag);
            }
        }
        sums
    }

    /// Runs `kafka-consumer-groups` for the topic's group.
    pub fn group_tool(&self, arguments: &[&str]) -> String {
        let own = ["--bootstrap-server", &self.brokers, "--group", &self.name];
        tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &[&own[..], arguments].concat(), "")
    }

    /// Sets the committed offset of all its partitions, as an operator does.
    pub fn reset_offsets(&self, offset: i64) {
        let to = offset.to_string();
        let output = self.group_tool(&["--reset-offsets", "--to-offset", &to, "--execute", "--topic", &self.name]);
        assert!(output.contains(&self.name) && !output.contains("Error"), "{output}");
    }

    /// Commits this offset in all its partitions for the topic's group, and keeps the existing metadata.
    pub fn commit_as_the_run_does(&self, offset: i64) {
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).set("group.id", &self.name).create().unwrap();
        let mut list = TopicPartitionList::new();
        self.ends().iter().for_each(|(partition, _)| _ = list.add_partition(&self.name, *partition as i32));
        let committed = client.committed_offsets(list, DEADLINE).unwrap();
        for mut element in committed.elements() {
            assert!(element.metadata().starts_with("kafka-actors run="), "{:?}", element.metadata());
            element.set_offset(rdkafka::Offset::Offset(offset)).unwrap();
        }
        client.commit(&committed, CommitMode::Sync).unwrap();
    }

    /// Writes messages with Kafka's own console producer: `key<TAB>value` lines, `NULL` is null.
    pub fn write_lines(&self, lines: &str) {
        let arguments = [
            "--bootstrap-server",
            &self.brokers,
            "--topic",
            &self.name,
            "--reader-property",
            "parse.key=true",
            "--reader-property",
            "null.marker=NULL",
        ];
        tool("org.apache.kafka.tools.ConsoleProducer", &arguments, lines);
    }
}

/// Runs one of Kafka's own tools and returns its stdout.
pub fn tool(class: &str, arguments: &[&str], stdin: &str) -> String {
    // Arguments are UTF-8, whatever the locale of the tests is.
    let mut child = Command::new("java")
        .env("LC_ALL", "C.UTF-8")
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"])
        .arg(format!("{}/*", variable("TEST_KAFKA_LIBS")))
        .arg(class)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{class}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
