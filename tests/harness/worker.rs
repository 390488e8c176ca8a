//! A worker process, told by a test what a supervisor would tell it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use kafka_actors::consumer::control::{
    FromWorker, Member, PartitionProgress, Start, StartPartition, ToWorker, VERSION,
};
use kafka_actors::logging::Style;
use kafka_actors::record::TopicPartition;
use kafka_actors::settings::{Inputs, load};
use tempfile::TempDir;

use super::DEADLINE;
use super::kafka::Topic;
use super::program::{example_path, printed};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kafka-actors");

/// It reads what the test wants; it is killed if its test ends before it.
pub struct Worker {
    child: Child,
    control: UnixStream,
    frames: Receiver<FromWorker>,
    /// Where each partition was when it was heard of last.
    pub last: Vec<PartitionProgress>,
    folder: TempDir,
}

/// These partitions of a topic.
pub fn from_the_beginning(topic: &Topic, partitions: Range<i32>) -> Vec<StartPartition> {
    let named = |number| TopicPartition::new(&topic.name, number);
    partitions.map(|number| StartPartition { partition: named(number), start: 0, until: None }).collect()
}

/// What a worker of this topic is started with, in the group of its name, with the `print` processor unless the settings
/// have another.
pub fn start_of(topic: &Topic, settings: &[&str], partitions: Vec<StartPartition>, member: Option<Member>) -> Start {
    let mut sets = vec![
        format!("kafka.brokers={}", topic.brokers),
        format!("kafka.topic={}", topic.name),
        format!("consumer.group={}", topic.name),
        "consumer.processor=print".to_owned(),
    ];
    if member.is_some() {
        sets.push("consumer.assignment=group".to_owned());
    }
    sets.extend(settings.iter().map(|set| (*set).to_owned()));
    let processors = ["print", "count", "log", "command", "own"].map(str::to_owned).to_vec();
    let inputs = Inputs { config_file: Some("/dev/null".into()), sets, processors, ..Inputs::default() };
    let settings = load(inputs).unwrap().settings;
    Start {
        version: VERSION,
        slot: 0,
        partitions,
        member,
        cautious: false,
        quiet: false,
        condemned: Vec::new(),
        stopped: Vec::new(),
        proven: false,
        finite: true,
        limited: false,
        style: Style { color: false, ..Style::new(&settings.logging) },
        log_messages: false,
        journal: None,
        output_lock: None,
        settings,
    }
}

impl Worker {
    /// Of this topic: see [`start_of`].
    pub fn start(topic: &Topic, settings: &[&str], partitions: Vec<StartPartition>, member: Option<Member>) -> Self {
        Self::run(&mut Command::new(PROGRAM), TempDir::new().unwrap(), start_of(topic, settings, partitions, member))
    }

    /// With this Python program as its processor.
    pub fn start_with(
        work: &str,
        topic: &Topic,
        settings: &[&str],
        partitions: Vec<StartPartition>,
        member: Option<Member>,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("work.py"), work).unwrap();
        let settings = [&["consumer.processor=command", "consumer.command=python3 work.py"], settings].concat();
        Self::run(&mut Command::new(PROGRAM), folder, start_of(topic, &settings, partitions, member))
    }

    /// Of tests/programs/faulty.rs, with its processor.
    pub fn faulty(fault: &str, mut start: Start) -> Self {
        start.settings.consumer.processor = "own".to_owned();
        Self::run(Command::new(example_path("faulty")).env("FAULT", fault), TempDir::new().unwrap(), start)
    }

    fn run(program: &mut Command, folder: TempDir, mut start: Start) -> Self {
        let (control, theirs) = UnixStream::pair().unwrap();
        let file = |name| File::create(folder.path().join(name)).unwrap();
        file("lock");
        start.output_lock = Some(folder.path().join("lock"));
        let child = program
            .args(["worker", "--slot", "0"])
            .current_dir(&folder)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        let (heard, frames) = channel();
        let lines = BufReader::new(control.try_clone().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _test_over = heard.send(serde_json::from_str(&line).unwrap());
            }
        });
        let mut worker = Self { child, control, frames, last: Vec::new(), folder };
        worker.say(&ToWorker::Start(Box::new(start)));
        worker
    }

    pub fn say(&mut self, frame: &ToWorker) {
        let mut line = serde_json::to_vec(frame).unwrap();
        line.push(b'\n');
        self.control.write_all(&line).unwrap();
    }

    /// The next frame that `find` finds something in; progress is noted on the way.
    pub fn hear<T>(&mut self, what: &str, find: impl Fn(&FromWorker) -> Option<T>) -> T {
        let begun = std::time::Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(begun.elapsed());
            let Ok(frame) = self.frames.recv_timeout(left) else {
                panic!("waited for {what}; the worker's log:\n{}", self.log());
            };
            if let FromWorker::Progress(progress) = &frame {
                for progress in progress {
                    self.last.retain(|last| last.partition != progress.partition);
                    self.last.push(progress.clone());
                }
            }
            if let Some(found) = find(&frame) {
                return found;
            }
            let is_over = matches!(frame, FromWorker::Broken { .. } | FromWorker::Finished);
            assert!(!is_over, "waited for {what}, heard {frame:?}; the worker's log:\n{}", self.log());
        }
    }

    /// The next progress of a partition that is as meant.
    pub fn hear_progress(&mut self, what: &str, meant: impl Fn(&PartitionProgress) -> bool) -> PartitionProgress {
        self.hear(what, |frame| match frame {
            FromWorker::Progress(list) => list.iter().find(|progress| meant(progress)).cloned(),
            _ => None,
        })
    }

    /// Which partitions it has given back, and whether they were lost.
    pub fn hear_revoked(&mut self) -> (Vec<TopicPartition>, bool) {
        self.hear("Revoked", |frame| match frame {
            FromWorker::Revoked { partitions, lost } => Some((partitions.clone(), *lost)),
            _ => None,
        })
    }

    pub fn hear_assigned(&mut self) -> Vec<StartPartition> {
        self.hear("Assigned", |frame| match frame {
            FromWorker::Assigned(starts) => Some(starts.clone()),
            _ => None,
        })
    }

    /// Which message it announces.
    pub fn hear_announced(&mut self) -> (TopicPartition, i64) {
        self.hear("Announce", |frame| match frame {
            FromWorker::Announce { partition, offset } => Some((partition.clone(), *offset)),
            _ => None,
        })
    }

    /// Why it cannot go on, and whether that lasts.
    pub fn hear_broken(&mut self) -> (String, bool) {
        self.hear("Broken", |frame| match frame {
            FromWorker::Broken { reason, lasting } => Some((reason.clone(), *lasting)),
            _ => None,
        })
    }

    /// What it has said and nobody has heard.
    pub fn unheard(&self) -> Vec<FromWorker> {
        self.frames.try_iter().collect()
    }

    /// Where it was last in a partition.
    pub fn last_of(&self, partition: &TopicPartition) -> PartitionProgress {
        self.last.iter().find(|last| last.partition == *partition).unwrap().clone()
    }

    pub fn log(&self) -> String {
        self.read("stderr")
    }

    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// What it has printed: partitions and offsets.
    pub fn printed(&self) -> Vec<(i64, i64)> {
        let text = self.stdout();
        // The last line may be half written.
        printed(&text[..text.rfind('\n').map_or(0, |end| end + 1)])
    }

    /// Tells it to end; what it has printed by then.
    pub fn end(self) -> Vec<(i64, i64)> {
        printed(&self.finish(&ToWorker::Stop))
    }

    /// Tells it to end in this way; its stdout.
    pub fn finish(mut self, how: &ToWorker) -> String {
        self.say(how);
        self.hear("its end", |frame| matches!(frame, FromWorker::Finished).then_some(()));
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
        self.stdout()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
