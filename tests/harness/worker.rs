//! A worker process, told by a test what a supervisor would tell it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
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
use super::program::printed;

/// It reads what the test wants; it is killed if its test ends before it.
pub struct Worker {
    child: Child,
    control: UnixStream,
    frames: Receiver<FromWorker>,
    /// Where each partition was when it was heard of last.
    pub last: Vec<PartitionProgress>,
    folder: TempDir,
}

impl Worker {
    /// Of this topic, in the group of its name, with the `print` processor unless the settings have another.
    pub fn start(topic: &Topic, settings: &[&str], partitions: Vec<StartPartition>, member: Option<Member>) -> Self {
        Self::start_with("", topic, settings, partitions, member)
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
        let lock = folder.path().join("lock");
        File::create(&lock).unwrap();
        let mut sets = vec![
            format!("kafka.brokers={}", topic.brokers),
            format!("kafka.topic={}", topic.name),
            format!("consumer.group={}", topic.name),
            "consumer.processor=print".to_owned(),
        ];
        if member.is_some() {
            sets.push("consumer.assignment=group".to_owned());
        }
        if !work.is_empty() {
            sets.push("consumer.command=python3 work.py".to_owned());
            sets.push("consumer.processor=command".to_owned());
        }
        sets.extend(settings.iter().map(|set| (*set).to_owned()));
        let processors = ["print", "count", "log", "command"].map(str::to_owned).to_vec();
        let settings = load(Inputs { sets, processors, ..Inputs::default() }).unwrap().settings;
        let style = Style { color: false, ..Style::new(&settings.logging) };
        let start = Start {
            version: VERSION,
            slot: 0,
            settings,
            partitions,
            member,
            cautious: false,
            quiet: false,
            condemned: Vec::new(),
            finite: true,
            limited: false,
            style,
            log_messages: false,
            journal: None,
            output_lock: Some(lock),
        };
        let (control, theirs) = UnixStream::pair().unwrap();
        let output = |name| File::create(folder.path().join(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_kafka-actors"))
            .args(["worker", "--slot", "0"])
            .current_dir(&folder)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .unwrap();
        let (heard, frames) = channel();
        let reading = BufReader::new(control.try_clone().unwrap());
        std::thread::spawn(move || {
            for line in reading.lines().map_while(Result::ok) {
                if heard.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
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

    /// Why it cannot go on, and whether that lasts.
    pub fn hear_broken(&mut self) -> (String, bool) {
        self.hear("Broken", |frame| match frame {
            FromWorker::Broken { reason, lasting } => Some((reason.clone(), *lasting)),
            _ => None,
        })
    }

    /// Where it was last in a partition.
    pub fn last_of(&self, partition: &TopicPartition) -> PartitionProgress {
        self.last.iter().find(|last| last.partition == *partition).unwrap().clone()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// What it has printed: partitions and offsets.
    pub fn printed(&self) -> Vec<(i64, i64)> {
        let text = std::fs::read_to_string(self.folder.path().join("stdout")).unwrap();
        // The last line may be half written.
        printed(&text[..text.rfind('\n').map_or(0, |end| end + 1)])
    }

    /// Tells it to end; what it has printed by then.
    pub fn end(self) -> Vec<(i64, i64)> {
        self.finish(&ToWorker::Stop)
    }

    /// Tells it to end in this way.
    pub fn finish(mut self, how: &ToWorker) -> Vec<(i64, i64)> {
        self.say(how);
        self.hear("its end", |frame| matches!(frame, FromWorker::Finished).then_some(()));
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
        self.printed()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
