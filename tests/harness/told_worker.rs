//! A worker process whose supervisor is the test: it says what a supervisor says, and hears what a worker answers.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use kafka_actors::consumer::control::{FromWorker, Start, StartPartition, ToWorker, VERSION};
use kafka_actors::logging::Style;
use kafka_actors::record::TopicPartition;
use kafka_actors::settings::{self, Inputs};
use tempfile::TempDir;

use super::DEADLINE;
use super::kafka::Topic;

/// What a worker is started with, for all of a topic's partitions from their beginnings.
pub fn start_of(topic: &Topic, partitions: i32, sets: &[&str]) -> Start {
    let own = [
        format!("kafka.brokers={}", topic.brokers),
        format!("kafka.topic={}", topic.name),
        format!("consumer.group={}", topic.name),
        "consumer.processor=own".to_owned(),
    ];
    let sets = own.into_iter().chain(sets.iter().map(|set| (*set).to_owned())).collect();
    let inputs =
        Inputs { config_file: Some("/dev/null".into()), sets, processors: vec!["own".to_owned()], ..Inputs::default() };
    let settings = settings::load(inputs).unwrap().settings;
    let start =
        |number| StartPartition { partition: TopicPartition::new(topic.name.clone(), number), start: 0, until: None };
    Start {
        version: VERSION,
        slot: 0,
        partitions: (0..partitions).map(start).collect(),
        member: None,
        cautious: false,
        quiet: false,
        condemned: Vec::new(),
        finite: false,
        limited: false,
        style: Style::new(&settings.logging),
        log_messages: true,
        journal: None,
        output_lock: None,
        settings,
    }
}

/// It is killed when its test ends.
pub struct Worker {
    child: Child,
    socket: UnixStream,
    heard: Receiver<FromWorker>,
    folder: TempDir,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Worker {
    /// Of tests/programs/faulty.rs.
    pub fn start(fault: &str, start: Start) -> Self {
        let folder = TempDir::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_kafka-actors")).parent().unwrap().join("examples/faulty");
        let file = |name| std::fs::File::create(folder.path().join(name)).unwrap();
        let child = Command::new(program)
            .args(["worker", "--slot", "0"])
            .env("FAULT", fault)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        let (tell, heard) = channel();
        let lines = BufReader::new(ours.try_clone().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _test_over = tell.send(serde_json::from_str(&line).unwrap());
            }
        });
        let worker = Self { child, socket: ours, heard, folder };
        worker.say(&ToWorker::Start(Box::new(start)));
        worker
    }

    pub fn say(&self, frame: &ToWorker) {
        let mut line = serde_json::to_vec(frame).unwrap();
        line.push(b'\n');
        (&self.socket).write_all(&line).unwrap();
    }

    /// The next thing it says that is meant; what comes before is passed over.
    pub fn hear<T>(&self, what: &str, meant: impl Fn(FromWorker) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(begun.elapsed());
            let frame = self.heard.recv_timeout(left);
            let frame = frame.unwrap_or_else(|error| panic!("{what}: {error}\n{}", self.output("stderr")));
            if let Some(found) = meant(frame) {
                return found;
            }
        }
    }

    /// What it has said and nobody has heard.
    pub fn unheard(&self) -> Vec<FromWorker> {
        self.heard.try_iter().collect()
    }

    /// `stdout` or `stderr` so far.
    pub fn output(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Asks it to stop; waits for its last word and its end.
    pub fn stop(mut self) -> String {
        self.say(&ToWorker::Stop);
        self.hear("its end", |frame| matches!(frame, FromWorker::Finished).then_some(()));
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.output("stderr"));
        self.output("stdout")
    }
}
