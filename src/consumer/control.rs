//! What the supervisor and a worker say to each other: one JSON object a line, over a Unix socket.
//!
//! The first frame of each direction carries [`VERSION`]; both are the same binary, unless somebody replaced the file
//! while the supervisor ran (which Linux' `/proc/self/exe` survives).

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::kafka::statistics::ClientStatus;
use crate::latency::Latency;
use crate::logging::Style;
use crate::record::TopicPartition;
use crate::settings::Settings;

/// The version of this language.
pub const VERSION: u32 = 4;

/// The longest frame, in bytes: a heartbeat of 10,000 partitions has 2 MB. Longer is a broken peer, not a reason to
/// use up the memory.
const LONGEST: u64 = 16 << 20;

/// From the supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// The first frame: everything that a worker needs to know.
    Start(Box<Start>),
    /// End each of these partitions at its offset: it is the first one that is not processed. Also those that come later.
    ReadUntil(Vec<(TopicPartition, i64)>),
    /// So many more messages may be processed.
    Grant(u64),
    /// Give back what is left of the grants: answer with [`FromWorker::Returned`].
    Recall,
    /// Read these, too; answered with [`FromWorker::Assigned`]. (Manual assignment.)
    Assign(Vec<StartPartition>),
    /// Read these no more: finish the message in hand, commit, answer with [`FromWorker::Revoked`]. (Manual assignment.)
    Revoke(Vec<TopicPartition>),
    /// Throw the Kafka client away and go on with a new one, each partition where it is.
    Rebuild,
    /// `true`: take no more messages, keep the partitions. `false`: go on.
    Quiet(bool),
    /// From now on announce each message before it is processed, and wait for [`ToWorker::Proceed`]; or no more.
    Cautious(bool),
    /// The announced message may be processed.
    Proceed(TopicPartition, i64),
    /// Messages that have killed workers: they are not processed, they have failed, for these reasons. All of them,
    /// each time.
    Condemned(Vec<Condemned>),
    /// These are read no further by any worker, also when the group deals them again. All of them, each time.
    Stopped(Vec<TopicPartition>),
    /// Finish what is in hand, commit, end. A member leaves its group, which deals its partitions to others
    /// (with a static id and KIP-848, when its session is over: see [`crate::kafka::reader::Reader::close`]).
    Stop,
    /// As [`ToWorker::Stop`], but a member with a static id stays one: a successor is about to be started, and has its
    /// partitions at once.
    Retire,
}

/// What a worker is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// [`VERSION`].
    pub version: u32,
    /// The worker's number.
    pub slot: usize,
    /// All settings.
    pub settings: Settings,
    /// The partitions to read; none for a worker that stands by, or whose group tells it.
    pub partitions: Vec<StartPartition>,
    /// The member of Kafka's consumer group that it is; `None` with manual assignment.
    pub member: Option<Member>,
    /// As [`ToWorker::Cautious`].
    pub cautious: bool,
    /// As [`ToWorker::Quiet`].
    pub quiet: bool,
    /// As [`ToWorker::Condemned`].
    pub condemned: Vec<Condemned>,
    /// As [`ToWorker::Stopped`].
    pub stopped: Vec<TopicPartition>,
    /// Whether workers of this run have been ready with these settings: what fails at a start then may pass.
    pub proven: bool,
    /// Whether the partitions' ends have to be seen: some will be read up to an end only.
    pub finite: bool,
    /// Whether processing waits for [`ToWorker::Grant`]s.
    pub limited: bool,
    /// How log lines look.
    pub style: Style,
    /// Whether single messages are logged by the built-in processor; in the demonstration only with `-v`.
    pub log_messages: bool,
    /// Where what is processed is told before it is stored, if somebody verifies it.
    pub journal: Option<JournalPlace>,
    /// A file that the workers lock around their lines on stdout.
    pub output_lock: Option<PathBuf>,
}

/// Where a verifying process takes the workers' journals (see [`crate::journal`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPlace {
    /// A Unix socket.
    pub socket: PathBuf,
    /// Of the topic, if its keys are to be where Kafka's own partitioning puts them.
    pub partitions: Option<u32>,
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its static id (`group.instance.id`), if it has one.
    pub id: Option<String>,
    /// How many partitions it has to expect: memory is shared out by it.
    pub partitions: usize,
}

/// A message that kills whoever processes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condemned {
    /// Where.
    pub partition: TopicPartition,
    /// Which.
    pub offset: i64,
    /// What it did.
    pub reason: String,
}

/// A partition to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartPartition {
    /// Which.
    pub partition: TopicPartition,
    /// The first offset to read.
    pub start: i64,
    /// The first offset not to read.
    pub until: Option<i64>,
}

/// From a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// It has its partitions and reads. Heartbeats may come before it.
    Ready {
        /// [`VERSION`].
        version: u32,
    },
    /// Where its partitions are; those only that have changed. Comes at least once a second, empty if need be: a sign of
    /// life, from the main arbiter, which no processor can block.
    Progress(Vec<PartitionProgress>),
    /// It reads these, from these offsets on: told to, or dealt by the group.
    Assigned(Vec<StartPartition>),
    /// It reads these no more; what was processed of them is committed, and [`FromWorker::Progress`] came before.
    Revoked {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// They may have been dealt to others before it noticed: what was not committed is processed there again.
        lost: bool,
    },
    /// This message is about to be processed; it waits for [`ToWorker::Proceed`].
    Announce {
        /// Where.
        partition: TopicPartition,
        /// Which.
        offset: i64,
    },
    /// A partition is read no further, the others are: too much failed.
    PartitionStopped {
        /// Which.
        partition: TopicPartition,
        /// Where: the next offset to process.
        offset: i64,
        /// Why.
        reason: String,
    },
    /// How long things took, since the last such frame.
    Times(Box<Times>),
    /// What its Kafka client says of itself; only if somebody looks at it (`monitoring.listen`).
    Client(ClientStatus),
    /// A message is in hand and no grant is left.
    NeedGrant,
    /// What was left of the grants.
    Returned(u64),
    /// All partitions that it has and that were to be read up to an end are. Told again when some have come or gone, and
    /// also by a worker that has none: what nobody has is not at its end.
    EndReached,
    /// A message could not be processed and `consumer.on_failure` is `stop`: its partition stands still.
    MessageFailed {
        /// Where.
        partition: TopicPartition,
        /// Which.
        offset: i64,
        /// Why.
        reason: String,
    },
    /// Whoever reads the workers' stdout is gone.
    OutputClosed,
    /// A message that was in hand may have ended what processes messages; [`FromWorker::Broken`] follows.
    Crashed,
    /// It cannot go on; it ends now. Unless it has said [`FromWorker::Crashed`], no message is to blame.
    Broken {
        /// Why.
        reason: String,
        /// Whether another start would end the same way.
        lasting: bool,
    },
    /// Everything is committed and closed; the last frame.
    Finished,
}

/// How long things took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// From being due to being processed, of messages with a stamp.
    pub end_to_end: Latency,
    /// Processing, a message each; only if somebody looks at it (`monitoring.listen`).
    pub processing: Latency,
    /// From being processed to being committed, of the oldest message of each partition of a commit; likewise.
    pub commit: Latency,
}

impl Times {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.end_to_end.is_empty() && self.processing.is_empty() && self.commit.is_empty()
    }

    /// Counts all of `other`.
    pub fn add(&mut self, other: &Self) {
        self.end_to_end.add(&other.end_to_end);
        self.processing.add(&other.processing);
        self.commit.add(&other.commit);
    }

    /// What was counted since the last time.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self { end_to_end: self.end_to_end.take(), processing: self.processing.take(), commit: self.commit.take() }
    }
}

/// Where a worker is in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// Which.
    pub partition: TopicPartition,
    /// The next offset to process.
    pub next: i64,
    /// The partition's end, as its client has heard last.
    pub end: Option<i64>,
    /// What is committed, if this process has committed.
    pub committed: Option<i64>,
    /// Messages that this process has processed.
    pub processed: u64,
    /// Messages whose processing failed, also again, and that were skipped.
    pub failed: u64,
    /// Messages whose processing failed, and of which a copy is in the dead-letter topic.
    pub dead_lettered: u64,
    /// How often a message was tried again.
    pub retried: u64,
    /// Keys' and values' bytes that were read.
    pub read_bytes: u64,
    /// The message in processing right now.
    pub in_flight: Option<InFlight>,
    /// The message in hand has failed, and waits to be tried again.
    pub retrying: bool,
    /// It has something to look at, and other partitions' messages have the processing thread.
    pub waits_for_turn: bool,
    /// Up to here everything has been read, as the client has said at a partition's end: what is missing below is not going
    /// to come (marks of transactions, gaps). Members of a group are not told.
    pub read_up_to: Option<i64>,
}

/// A message in processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Which.
    pub offset: i64,
    /// For how long, in ms of the worker's own running time: a worker that was stopped and goes on has not waited.
    pub age_ms: u64,
}

/// Writes frames.
pub struct FrameWriter(OwnedWriteHalf);

impl FrameWriter {
    /// Over this half of the channel.
    pub fn new(half: OwnedWriteHalf) -> Self {
        Self(half)
    }

    /// Writes one frame; waits while the other side does not read.
    ///
    /// # Errors
    /// When the other side is gone.
    pub async fn write<T: Serialize>(&mut self, frame: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(frame)?;
        line.push(b'\n');
        self.0.write_all(&line).await
    }
}

/// Reads frames.
pub struct FrameReader {
    half: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
}

impl FrameReader {
    /// Over this half of the channel.
    pub fn new(half: OwnedReadHalf) -> Self {
        Self { half: BufReader::new(half), line: Vec::new() }
    }

    /// The next frame; `None` when the other side is gone.
    ///
    /// # Errors
    /// When what was read is no frame.
    pub async fn read<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<T>> {
        self.line.clear();
        let read = (&mut self.half).take(LONGEST).read_until(b'\n', &mut self.line).await?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') {
            // The other side died in the middle of a frame, or wrote one that is too long.
            return if (read as u64) < LONGEST { Ok(None) } else { Err(io::Error::other("a frame is too long")) };
        }
        serde_json::from_slice(&self.line).map(Some).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rt() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn frames_arrive_as_they_were_sent() {
        rt().block_on(async {
            let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
            let mut writer = FrameWriter::new(ours.into_split().1);
            let mut reader = FrameReader::new(theirs.into_split().0);
            writer.write(&ToWorker::Grant(7)).await.unwrap();
            writer.write(&ToWorker::ReadUntil(vec![(TopicPartition::new("a\nb", 1), 2)])).await.unwrap();
            drop(writer);
            assert!(matches!(reader.read().await.unwrap(), Some(ToWorker::Grant(7))));
            assert!(matches!(reader.read().await.unwrap(), Some(ToWorker::ReadUntil(list)) if list[0].1 == 2));
            assert!(reader.read::<ToWorker>().await.unwrap().is_none());
        });
    }

    #[test]
    fn half_a_frame_is_the_end_and_nonsense_is_an_error() {
        rt().block_on(async {
            let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
            ours.write_all(b"nonsense\n\"Sto").await.unwrap();
            drop(ours);
            let mut reader = FrameReader::new(theirs.into_split().0);
            assert!(reader.read::<ToWorker>().await.is_err());
            assert!(reader.read::<ToWorker>().await.unwrap().is_none());
        });
    }
}
