//! The real Kafka of a test run, and Kafka's own tools as independent judges.
//!
//! `scripts/test` starts the brokers and tells where they are: TEST_KAFKA_BROKERS, TEST_KAFKA_LIBS (the jars), for TLS and
//! SASL TEST_KAFKA_SASL_*, for the one with ZooKeeper TEST_KAFKA_ZOOKEEPER_BROKERS. (No name begins with the prefix of the
//! program's own variables, which refuses what it does not know.)

use std::io::Write;
use std::process::{Command, Stdio};

use super::program::{Program, kafka_actors};
use super::unique;

/// A variable of the test run.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test, or see scripts/kafka env"))
}

pub fn brokers() -> String {
    variable("TEST_KAFKA_BROKERS")
}

/// A topic of a test's own.
pub struct Topic {
    pub name: String,
    pub brokers: String,
}

impl Topic {
    /// With so many partitions, on the shared broker.
    pub fn new(partitions: u32) -> Self {
        Self::on(brokers(), partitions)
    }

    pub fn on(brokers: String, partitions: u32) -> Self {
        Self::replicated(brokers, partitions, 1)
    }

    /// Of which so many brokers have each partition.
    pub fn replicated(brokers: String, partitions: u32, replication: u32) -> Self {
        let name = unique("test");
        kafka_actors(&format!("topics create {name}:{partitions}:{replication} --brokers {brokers}")).run().expect(0);
        Self { name, brokers }
    }

    /// `produce` to it.
    pub fn produce(&self, arguments: &str) -> Program {
        kafka_actors(&format!("produce --brokers {} --topic {} {arguments}", self.brokers, self.name))
    }

    /// `consume` from it, in a group that is named after it.
    pub fn consume(&self, arguments: &str) -> Program {
        kafka_actors(&format!(
            "consume --brokers {} --topic {} --group {} {arguments}",
            self.brokers, self.name, self.name
        ))
    }

    /// `consume` with a Python program as its processor, which does this with each message `m`, and answers with
    /// `answer(m)`.
    pub fn consume_with(&self, arguments: &str, body: &str) -> Program {
        let text = format!(
            "import sys, json, os, time, signal\n\
             def answer(m, **more): print(json.dumps(dict(id=m['id'], **more)), flush=True)\n\
             for line in sys.stdin:\n    m = json.loads(line)\n    {body}\n"
        );
        self.consume(arguments).arg("--command").arg("python3 work.py").file("work.py", &text)
    }

    /// So many messages in it, from four threads, keyed: few messages without keys may all stand in one partition.
    pub fn fill(&self, messages: u64) {
        let done = self.produce(&format!("--key round_robin --messages-per-thread {}", messages / 4)).run().expect(0);
        assert_eq!(done.acknowledged(), messages);
    }

    /// The sum of its partitions' ends, as Kafka's own tool says.
    pub fn end(&self) -> i64 {
        self.ends().into_iter().map(|(_, end)| end).sum()
    }

    /// Its partitions and their ends.
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

    /// What the group named after it has committed, and its lag, as Kafka's own tool says.
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

    /// Messages from Kafka's own console producer: `key<TAB>value` lines, `NULL` is null.
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

/// Runs one of Kafka's own tools; its stdout.
pub fn tool(class: &str, arguments: &[&str], stdin: &str) -> String {
    let mut child = Command::new("java")
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
