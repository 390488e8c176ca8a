//! A worker process to which a test sends the commands of a supervisor.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};

use kafka_actors::internal::LogStyle;
use kafka_actors::internal::StampScope;
use kafka_actors::internal::TopicPartition;
use kafka_actors::internal::commit_metadata::{CommitMetadata, RunId};
use kafka_actors::internal::protocol::{
    FailureKind, GroupMember, MessageLog, PROTOCOL_VERSION, PartitionAssignment, PartitionProgress, Revocation,
    WorkerCommand, WorkerConfig, WorkerEvent,
};
use kafka_actors::internal::{LoadOptions, load};
use tempfile::TempDir;

use super::DEADLINE;
use super::kafka::Topic;
use super::program::{example_path, printed};

/// All workers of a test belong to one run, as if they had one supervisor.
static RUN: LazyLock<RunId> = LazyLock::new(RunId::random);

const PROGRAM: &str = env!("CARGO_BIN_EXE_kafka-actors");

/// A worker that follows the commands of the test; it is killed if its test ends first.
pub struct Worker {
    child: Child,
    control: UnixStream,
    frames: Receiver<WorkerEvent>,
    /// The last known progress of each partition.
    pub last: Vec<PartitionProgress>,
    folder: TempDir,
}

/// The assignment of these partitions of a topic.
pub fn from_the_beginning(topic: &Topic, partitions: Range<i32>) -> Vec<PartitionAssignment> {
    let named = |number| TopicPartition::new(&topic.name, number);
    partitions
        .map(|number| PartitionAssignment { partition: named(number), start: 0, until: None, topic_id: None })
        .collect()
}

/// The configuration of a worker of this topic, in the group with the topic's name, with the `print` processor unless the settings
/// specify another one.
pub fn start_of(
    topic: &Topic,
    settings: &[&str],
    partitions: Vec<PartitionAssignment>,
    member: Option<GroupMember>,
) -> WorkerConfig {
    let mut sets = vec![
        format!("kafka.brokers={}", topic.brokers),
        format!("kafka.topic={}", topic.name),
        format!("consumer.group_id={}", topic.name),
        "consumer.processor=print".to_owned(),
    ];
    if member.is_some() {
        sets.push("consumer.assignment=group".to_owned());
    }
    sets.extend(settings.iter().map(|set| (*set).to_owned()));
    let processors = ["print", "count", "log", "command", "own"].map(str::to_owned).to_vec();
    let inputs = LoadOptions { config_file: Some("/dev/null".into()), sets, processors, ..LoadOptions::default() };
    let settings = load(inputs).unwrap().settings;
    WorkerConfig {
        version: PROTOCOL_VERSION,
        slot: 0,
        commit_metadata: CommitMetadata { run: *RUN },
        partitions,
        member,
        isolated: false,
        suspects: Vec::new(),
        paused: false,
        lease: None,
        poison_messages: Vec::new(),
        stopped: Vec::new(),
        proven: false,
        descriptor_limit: None,
        finite: true,
        max_messages: None,
        style: LogStyle { color: false, ..LogStyle::new(&settings.logging) },
        message_log: MessageLog::Off,
        history: None,
        output_lock: None,
        stamps: StampScope::default(),
        settings,
    }
}

impl Worker {
    /// Starts a worker of this topic: see [`start_of`].
    pub fn start(
        topic: &Topic,
        settings: &[&str],
        partitions: Vec<PartitionAssignment>,
        member: Option<GroupMember>,
    ) -> Self {
        Self::run(&mut Command::new(PROGRAM), TempDir::new().unwrap(), start_of(topic, settings, partitions, member))
    }

    /// Starts a worker with this Python program as its processor.
    pub fn start_with(
        work: &str,
        topic: &Topic,
        settings: &[&str],
        partitions: Vec<PartitionAssignment>,
        member: Option<GroupMember>,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("work.py"), work).unwrap();
        let settings = [&["consumer.processor=command", "consumer.command=python3 work.py"], settings].concat();
        Self::run(&mut Command::new(PROGRAM), folder, start_of(topic, &settings, partitions, member))
    }

    /// Starts the worker of tests/programs/faulty.rs, with the program's processor.
    pub fn faulty(fault: &str, mut start: WorkerConfig) -> Self {
        start.settings.consumer.processor = "own".to_owned();
        Self::run(Command::new(example_path("faulty")).env("FAULT", fault), TempDir::new().unwrap(), start)
    }

    fn run(program: &mut Command, folder: TempDir, mut start: WorkerConfig) -> Self {
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
        let (received, frames) = channel();
        let lines = BufReader::new(control.try_clone().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _test_over = received.send(serde_json::from_str(&line).unwrap());
            }
        });
        let mut worker = Self { child, control, frames, last: Vec::new(), folder };
        worker.say(&WorkerCommand::Start(Box::new(start)));
        worker
    }

    pub fn say(&mut self, frame: &WorkerCommand) {
        let mut line = serde_json::to_vec(frame).unwrap();
        line.push(b'\n');
        self.control.write_all(&line).unwrap();
    }

    /// Waits for the next frame for which `find` returns a value; records the progress in between.
    pub fn receive<T>(&mut self, what: &str, find: impl Fn(&WorkerEvent) -> Option<T>) -> T {
        let begun = std::time::Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(begun.elapsed());
            let Ok(frame) = self.frames.recv_timeout(left) else {
                panic!("waited for {what}; the worker's log:\n{}", self.log());
            };
            if let WorkerEvent::Progress(progress) = &frame {
                for progress in progress {
                    self.last.retain(|last| last.partition != progress.partition);
                    self.last.push(progress.clone());
                }
            }
            if let Some(found) = find(&frame) {
                return found;
            }
            let is_over = matches!(frame, WorkerEvent::Fatal(_) | WorkerEvent::Finished);
            assert!(!is_over, "waited for {what}, received {frame:?}; the worker's log:\n{}", self.log());
        }
    }

    /// Waits for the next progress of a partition that `meant` accepts.
    pub fn receive_progress(&mut self, what: &str, meant: impl Fn(&PartitionProgress) -> bool) -> PartitionProgress {
        self.receive(what, |frame| match frame {
            WorkerEvent::Progress(list) => list.iter().find(|progress| meant(progress)).cloned(),
            _ => None,
        })
    }

    /// The partitions that the worker revoked, and whether they were lost.
    pub fn receive_revoked(&mut self) -> (Vec<TopicPartition>, bool) {
        self.receive("Revoked", |frame| match frame {
            WorkerEvent::Revoked { partitions, revocation } => {
                Some((partitions.clone(), *revocation == Revocation::Lost))
            }
            _ => None,
        })
    }

    pub fn receive_assigned(&mut self) -> Vec<PartitionAssignment> {
        self.receive("Assigned", |frame| match frame {
            WorkerEvent::Assigned(starts) => Some(starts.clone()),
            _ => None,
        })
    }

    /// The message for which the worker requests permission.
    pub fn receive_request(&mut self) -> (TopicPartition, i64) {
        self.receive("Announce", |frame| match frame {
            WorkerEvent::RequestProcess { partition, offset } => Some((partition.clone(), *offset)),
            _ => None,
        })
    }

    /// The reason of a fatal error, and whether it is permanent.
    pub fn receive_fatal(&mut self) -> (String, bool) {
        self.receive("Fatal", |frame| match frame {
            WorkerEvent::Fatal(failure) => Some((failure.reason.clone(), failure.kind == FailureKind::Permanent)),
            _ => None,
        })
    }

    /// The frames that no call has received yet.
    pub fn unheard(&self) -> Vec<WorkerEvent> {
        self.frames.try_iter().collect()
    }

    /// The last known progress of a partition.
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

    /// The partitions and offsets that the worker has printed.
    pub fn printed(&self) -> Vec<(i64, i64)> {
        let text = self.stdout();
        // The last line may be incomplete.
        printed(&text[..text.rfind('\n').map_or(0, |end| end + 1)])
    }

    /// Stops the worker. Returns the partitions and offsets that it has printed.
    pub fn end(self) -> Vec<(i64, i64)> {
        printed(&self.finish(&WorkerCommand::Stop))
    }

    /// Stops the worker with this command. Returns its stdout.
    pub fn finish(mut self, how: &WorkerCommand) -> String {
        self.say(how);
        self.receive("its end", |frame| matches!(frame, WorkerEvent::Finished).then_some(()));
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
        self.stdout()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only if the process has exited and was reaped.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
