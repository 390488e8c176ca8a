//! The protocol between the supervisor and a worker: one JSON object per line, over a Unix socket.
//!
//! The first frame of each direction carries [`PROTOCOL_VERSION`]. Both processes run the same binary, unless
//! the file was replaced while the supervisor ran (on Linux, `/proc/self/exe` still refers to the old file).

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::consumer::failure_reasons::FailureReasons;
use crate::kafka::commit_metadata::{CommitMetadata, ForeignCommit};
use crate::kafka::health::ClientHealth;
use crate::kafka::statistics::ClientReport;
use crate::kafka::topic_id::TopicId;
use crate::latency::LatencyHistogram;
use crate::latency::scope::{Excluded, StampScope};
use crate::logging::LogStyle;
use crate::record::TopicPartition;
use crate::settings::Settings;

/// The version of this protocol.
pub const PROTOCOL_VERSION: u32 = 9;

/// The maximum size of a frame, in bytes: a heartbeat of 10,000 partitions has 2 MB. A longer frame comes from a
/// faulty peer and must not use up the memory.
const MAX_FRAME_BYTES: u64 = 16 << 20;

/// A command from the supervisor to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WorkerCommand {
    /// The first frame: the configuration of the worker.
    Start(Box<WorkerConfig>),
    /// These ranges hold no message: a position at the start of one moves to its end. For members of a group
    /// only; other consumers receive the ends of partitions from their client.
    SkipGaps(Vec<OffsetGap>),
    /// Stop each of these partitions at its offset, which is the first one that is not processed. Applies to
    /// partitions that are assigned later, too.
    ReadUntil(Vec<(TopicPartition, i64)>),
    /// Assign further partitions; the reply is [`WorkerEvent::Assigned`]. (Manual assignment.)
    Assign(Vec<PartitionAssignment>),
    /// Revoke partitions: finish the message in flight, commit, reply with [`WorkerEvent::Revoked`]. (Manual
    /// assignment.)
    Revoke(Vec<TopicPartition>),
    /// Commit the position of each partition again, even if it is committed: a committed offset expires some
    /// time after its commit. (Manual assignment: members of a group keep theirs.)
    RefreshCommits,
    /// Restart these partitions at these offsets: their topic was deleted and created again, and the position
    /// refers to the previous one. The reply is [`WorkerEvent::Restarted`]; partitions that the worker does not
    /// have are left out.
    Restart(Vec<PartitionAssignment>),
    /// `true`: process no more messages, but keep the partitions. `false`: resume.
    Pause(bool),
    /// Turn isolation mode on or off. In isolation mode the worker requests permission before it processes each
    /// message, and waits for [`WorkerCommand::AllowProcess`].
    SetIsolation(bool),
    /// Permission to process the requested message.
    AllowProcess(TopicPartition, i64),
    /// Poison messages, which have killed workers: they count as failed, for these reasons, and are not
    /// processed. Always the complete list.
    PoisonMessages(Vec<PoisonMessage>),
    /// Partitions that no worker may consume any further, even when the group assigns them again. Always the
    /// complete list.
    Stopped(Vec<TopicPartition>),
    /// The lease of the worker, while its supervisor holds the lock on the group. (Manual assignment.)
    Lease(Lease),
    /// Finish the messages in flight, commit, exit. A member leaves its group, which assigns its partitions to
    /// other members (with a static id and KIP-848, when its session is over: see
    /// [`crate::kafka::consumer::Consumer::close`]).
    Stop,
    /// As [`WorkerCommand::Stop`], but a member with a static id keeps its membership: a successor is about to
    /// be started, and gets its partitions at once.
    StopForRestart,
}

/// The configuration with which a worker is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerConfig {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The worker's number.
    pub slot: usize,
    /// All settings.
    pub settings: Settings,
    /// The metadata of its commits. With manual assignment an offset with another run's metadata is never
    /// overwritten.
    pub commit_metadata: CommitMetadata,
    /// The partitions to consume; empty for a worker in standby, and for a member of a group.
    pub partitions: Vec<PartitionAssignment>,
    /// Its membership in the consumer group; `None` with manual assignment.
    pub member: Option<GroupMember>,
    /// Whether isolation mode is on: see [`WorkerCommand::SetIsolation`].
    pub isolated: bool,
    /// Messages that may be poison: messages of other partitions are processed before them, if there are any
    /// soon.
    pub suspects: Vec<(TopicPartition, i64)>,
    /// Whether the worker starts paused: see [`WorkerCommand::Pause`].
    pub paused: bool,
    /// See [`WorkerCommand::Lease`]; `None`: the group is not locked.
    pub lease: Option<Lease>,
    /// See [`WorkerCommand::PoisonMessages`].
    pub poison_messages: Vec<PoisonMessage>,
    /// See [`WorkerCommand::Stopped`].
    pub stopped: Vec<TopicPartition>,
    /// Whether workers of this run have been ready with these settings: a failure at a start is then transient.
    pub proven: bool,
    /// The soft limit of file descriptors with which the supervisor was started, if it has raised it: restored
    /// for programs that the worker starts.
    pub descriptor_limit: Option<u64>,
    /// Whether the ends of partitions have to be detected: some have a stop offset.
    pub finite: bool,
    /// The number of messages that this process may handle; `None`: no limit.
    pub max_messages: Option<u64>,
    /// The style of log lines.
    pub style: LogStyle,
    /// Which single messages the processor may log.
    pub message_log: MessageLog,
    /// The endpoint for the history of processed messages, which is sent before an offset is stored; `None`: not
    /// verified.
    pub history: Option<HistoryEndpoint>,
    /// A file that the workers lock around their lines on stdout.
    pub output_lock: Option<PathBuf>,
    /// Which stamped messages are timed.
    pub stamps: StampScope,
}

/// Which lines of a processor's log are shown; warnings and errors always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageLog {
    /// All lines.
    All,
    /// The first and the last line of each worker.
    Sample,
    /// No lines.
    Off,
}

/// The lease of a worker: until when it may continue without a message from its supervisor, in milliseconds of
/// [`crate::os::boot_clock`]. A worker whose supervisor is suspended, or that was suspended itself, does not
/// disturb another supervisor that has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Until when it may start to process messages.
    pub process_until: u64,
    /// Until when it may commit.
    pub commit_until: u64,
}

/// The endpoint of a verifying process that receives the workers' histories (see [`crate::history`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEndpoint {
    /// The path of a Unix socket.
    pub socket: PathBuf,
    /// The number of partitions of the topic, if keys have to be in the partition that Kafka's default
    /// partitioner selects.
    pub partitions: Option<u32>,
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// Its static id (`group.instance.id`), if it has one.
    pub id: Option<String>,
    /// The number of partitions that it has to expect: the memory of the client is divided by it.
    pub partitions: usize,
    /// The number of partitions of each topic when the run began. Partitions that were added since are consumed
    /// from their first message.
    pub partitions_at_start: BTreeMap<String, i32>,
}

/// A poison message: it kills every process that processes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoisonMessage {
    /// The partition of the message.
    pub partition: TopicPartition,
    /// The offset of the message.
    pub offset: i64,
    /// How its processing has failed.
    pub reason: String,
}

/// A partition to consume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionAssignment {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset to process.
    pub start: i64,
    /// The stop offset: the first offset that is not processed.
    pub until: Option<i64>,
    /// The id of the topic that these offsets refer to; `None` if the brokers have no ids.
    pub topic_id: Option<TopicId>,
}

/// An event from a worker to the supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WorkerEvent {
    /// The worker has its partitions and consumes. Heartbeats may precede it.
    Ready {
        /// [`PROTOCOL_VERSION`].
        version: u32,
    },
    /// The heartbeat: the progress of partitions that have changed. Sent at least once a second, even if it is
    /// empty, from the main arbiter, which no processor can block.
    Progress(Vec<PartitionProgress>),
    /// These partitions are assigned to the worker at these offsets, by the supervisor or by the group.
    Assigned(Vec<PartitionAssignment>),
    /// The worker has released these partitions. What it processed of them is committed, and
    /// [`WorkerEvent::Progress`] came before.
    Revoked {
        /// The released partitions.
        partitions: Vec<TopicPartition>,
        /// The partitions may have been assigned to other members before the worker noticed: messages that it
        /// has not committed are processed there again.
        lost: bool,
    },
    /// The worker has restarted these partitions at these offsets on request.
    Restarted(Vec<PartitionAssignment>),
    /// Requests permission to process this message; the worker waits for [`WorkerCommand::AllowProcess`].
    RequestProcess {
        /// The partition of the message.
        partition: TopicPartition,
        /// The offset of the message.
        offset: i64,
    },
    /// A partition has stopped because too many messages failed; the others continue.
    PartitionStopped {
        /// The partition that has stopped.
        partition: TopicPartition,
        /// Its position: the next offset to process.
        offset: i64,
        /// The reason of the stop.
        reason: String,
    },
    /// Another client has committed these offsets of its partitions: the worker does not commit for them any
    /// more. (Manual assignment.)
    ForeignCommits(Vec<ForeignCommit>),
    /// Latencies and failures since the last such frame.
    Times(Box<LatencySnapshot>),
    /// The statistics of its Kafka client, and whether the brokers throttle it; every few seconds.
    ClientStats(ClientReport),
    /// Whether its client reaches the cluster and its commits succeed; about once a second.
    Health(WorkerHealth),
    /// All partitions of the worker have reached their stop offsets. Sent again after each change of its
    /// partitions, and also by a worker without partitions: a partition without an owner has not reached its
    /// stop offset.
    EndReached,
    /// A message could not be processed and `consumer.on_failure` is `stop`: its partition has stopped.
    MessageFailed {
        /// The partition of the message.
        partition: TopicPartition,
        /// The offset of the message.
        offset: i64,
        /// The reason of the failure.
        reason: String,
    },
    /// The reader of the workers' stdout is gone.
    OutputClosed,
    /// A message in flight may have crashed the processor; [`WorkerEvent::Fatal`] follows.
    ProcessorCrashed,
    /// The processor has returned its first result in this process: a success, or a message's failure.
    FirstResult,
    /// A fatal error: the worker exits now. Without [`WorkerEvent::ProcessorCrashed`] before, no message is the
    /// cause.
    Fatal {
        /// The part that has failed.
        part: FailedPart,
        /// The reason of the failure.
        reason: String,
        /// Whether the error is permanent: another start would fail in the same way.
        permanent: bool,
    },
    /// Everything is committed and closed; the last frame.
    Finished,
}

/// The part of a worker that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailedPart {
    /// The processor, or the external program that it writes to.
    Processor,
    /// Any other part: the Kafka client, the history.
    Worker,
}

/// Whether a worker's client reaches the cluster, and its commits succeed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerHealth {
    /// The state of its client; `None` before that is known.
    pub client: Option<ClientHealth>,
    /// The time since the oldest uncommitted message was processed, in ms; 0 if all are committed.
    pub uncommitted_ms: u64,
    /// The number of failed commits of this process.
    pub commit_failures: u64,
}

/// Measurements of a worker for the status and the report: latencies, and reasons of failed messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LatencySnapshot {
    /// The latency from scheduled to processed, of messages whose stamp is in the run's [`StampScope`].
    pub end_to_end: LatencyHistogram,
    /// Stamped messages that are not in that scope.
    pub excluded: Excluded,
    /// The processing time of each message; only with a status server (`monitoring.listen`).
    pub processing: LatencyHistogram,
    /// The latency from processed to committed, of the oldest message of each partition of a commit; only with a
    /// status server.
    pub commit: LatencyHistogram,
    /// Messages that were skipped or dead-lettered.
    pub failures: FailureReasons,
}

impl LatencySnapshot {
    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.end_to_end.is_empty()
            && self.excluded.is_none()
            && self.processing.is_empty()
            && self.commit.is_empty()
            && self.failures.is_empty()
    }

    /// Adds the measurements of `other`.
    pub fn add(&mut self, other: &Self) {
        self.end_to_end.add(&other.end_to_end);
        self.excluded.add(&other.excluded);
        self.processing.add(&other.processing);
        self.commit.add(&other.commit);
        self.failures.add(&other.failures);
    }

    /// Returns the measurements since the last call, and resets them.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self {
            end_to_end: self.end_to_end.take(),
            excluded: std::mem::take(&mut self.excluded),
            processing: self.processing.take(),
            commit: self.commit.take(),
            failures: std::mem::take(&mut self.failures),
        }
    }
}

/// The progress of a worker in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// The partition.
    pub partition: TopicPartition,
    /// The position: the next offset to process.
    pub next: i64,
    /// The high watermark that its client received last.
    pub end: Option<i64>,
    /// The committed offset, if this process has committed.
    pub committed: Option<i64>,
    /// Messages that this process has processed.
    pub processed: u64,
    /// Messages whose processing has finally failed and that were skipped.
    pub failed: u64,
    /// Messages whose processing has finally failed and that were sent to the dead-letter topic.
    pub dead_lettered: u64,
    /// How often a message was retried.
    pub retried: u64,
    /// The bytes of keys and values that were received.
    pub read_bytes: u64,
    /// The message in processing.
    pub in_flight: Option<InFlight>,
    /// The message in flight has failed, and waits for a retry.
    pub retrying: bool,
    /// It has messages to process, but the processing thread is used by other partitions.
    pub waits_for_turn: bool,
}

/// A range of offsets that holds no message: transaction markers, aborted batches, records that compaction has
/// removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetGap {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset of the range.
    pub start: i64,
    /// The first offset after the range.
    pub end: i64,
}

/// A message in processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The offset of the message.
    pub offset: i64,
    /// For how long it has been in processing, in ms of the worker's running time: a suspension of the worker
    /// does not count.
    pub age_ms: u64,
}

/// Writes frames.
pub struct FrameWriter(OwnedWriteHalf);

impl FrameWriter {
    /// Creates a writer for this half of the channel.
    pub fn new(half: OwnedWriteHalf) -> Self {
        Self(half)
    }

    /// Writes one frame; waits while the peer does not read.
    ///
    /// # Errors
    /// The peer is gone.
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
    /// Creates a reader for this half of the channel.
    pub fn new(half: OwnedReadHalf) -> Self {
        Self { half: BufReader::new(half), line: Vec::new() }
    }

    /// The next frame; `None` when the peer is gone.
    ///
    /// # Errors
    /// The input is not a valid frame.
    pub async fn read<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<T>> {
        self.line.clear();
        let read = (&mut self.half).take(MAX_FRAME_BYTES).read_until(b'\n', &mut self.line).await?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') {
            // The peer exited in the middle of a frame, or wrote one that is too long.
            return if (read as u64) < MAX_FRAME_BYTES {
                Ok(None)
            } else {
                Err(io::Error::other("a frame is too long"))
            };
        }
        serde_json::from_slice(&self.line).map(Some).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            writer.write(&WorkerCommand::Pause(true)).await.unwrap();
            writer.write(&WorkerCommand::ReadUntil(vec![(TopicPartition::new("a\nb", 1), 2)])).await.unwrap();
            drop(writer);
            assert!(matches!(reader.read().await.unwrap(), Some(WorkerCommand::Pause(true))));
            assert!(matches!(reader.read().await.unwrap(), Some(WorkerCommand::ReadUntil(list)) if list[0].1 == 2));
            assert!(reader.read::<WorkerCommand>().await.unwrap().is_none());
        });
    }

    /// Progress with numbers and texts that no worker sends.
    fn progress() -> impl Strategy<Value = PartitionProgress> {
        let counts = any::<[u64; 5]>();
        let place = (any::<String>(), any::<i32>(), any::<i64>(), any::<Option<i64>>(), any::<Option<i64>>());
        let state = (any::<Option<(i64, u64)>>(), any::<bool>(), any::<bool>());
        (place, counts, state).prop_map(
            |((topic, number, next, end, committed), counts, (in_flight, retrying, waits_for_turn))| {
                let [processed, failed, dead_lettered, retried, read_bytes] = counts;
                let in_flight = in_flight.map(|(offset, age_ms)| InFlight { offset, age_ms });
                let partition = TopicPartition::new(&topic, number);
                PartitionProgress {
                    partition,
                    next,
                    end,
                    committed,
                    processed,
                    failed,
                    dead_lettered,
                    retried,
                    read_bytes,
                    in_flight,
                    retrying,
                    waits_for_turn,
                }
            },
        )
    }

    /// Valid frames, and changed ones.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let settings = crate::settings::defaults();
        let whole = vec![
            serde_json::to_vec(&WorkerCommand::AllowProcess(TopicPartition::new("t", 0), i64::MAX)).unwrap(),
            serde_json::to_vec(&WorkerEvent::Ready { version: PROTOCOL_VERSION }).unwrap(),
            serde_json::to_vec(&WorkerEvent::Times(Box::default())).unwrap(),
            serde_json::to_vec(&WorkerEvent::Health(WorkerHealth::default())).unwrap(),
            [br#"{"Start":{"version":6,"slot":0,"settings":"#, &serde_json::to_vec(&settings).unwrap()[..], b"}}"]
                .concat(),
        ];
        let changed = (prop::sample::select(whole), any::<prop::sample::Index>(), any::<Vec<u8>>());
        let changed = changed.prop_map(|(frame, at, bytes)| {
            let at = at.index(frame.len());
            [&frame[..at], &bytes, &frame[at..]].concat()
        });
        let nested = (1..100_000_usize).prop_map(|depth| "[".repeat(depth).into_bytes());
        prop_oneof![4 => changed, 2 => any::<Vec<u8>>(), 1 => nested]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_progress_arrives_as_it_was_sent(sent in prop::collection::vec(progress(), 0..5)) {
            let read = rt().block_on(async {
                let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
                FrameWriter::new(ours.into_split().1).write(&WorkerEvent::Progress(sent.clone())).await.unwrap();
                FrameReader::new(theirs.into_split().0).read().await.unwrap()
            });
            let Some(WorkerEvent::Progress(read)) = read else { return Err(TestCaseError::fail("no progress")) };
            prop_assert_eq!(read, sent);
        }

        #[test]
        fn no_bytes_break_the_reading(frames in prop::collection::vec(frame(), 0..5), ended: bool) {
            let mut bytes = frames.join(&b'\n');
            if ended {
                bytes.push(b'\n');
            }
            rt().block_on(async {
                let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
                let mut reader = FrameReader::new(theirs.into_split().0);
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
                let writing = async move {
                    ours.write_all(&bytes).await.unwrap();
                };
                let reading = async {
                    for line in 0..=lines {
                        let as_worker = reader.read::<WorkerEvent>().await;
                        if as_worker.is_ok_and(|frame| frame.is_none()) {
                            return line;
                        }
                    }
                    lines + 1
                };
                let ((), read) = tokio::join!(writing, reading);
                assert!(read <= lines, "each line is one frame or one error");
            });
            // Parsed as frames of the supervisor as well.
            for frame in &frames {
                let _read = serde_json::from_slice::<WorkerCommand>(frame).is_ok();
            }
        }
    }

    #[test]
    fn a_frame_without_an_end_is_refused_at_the_limit() {
        rt().block_on(async {
            let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
            let mut reader = FrameReader::new(theirs.into_split().0);
            let endless = tokio::spawn(async move { while ours.write_all(&[b'['; 1 << 16]).await.is_ok() {} });
            let reported = reader.read::<WorkerEvent>().await.unwrap_err().to_string();
            assert_eq!(reported, "a frame is too long");
            assert!(reader.line.len() as u64 <= MAX_FRAME_BYTES);
            drop(reader);
            endless.await.unwrap();
        });
    }

    #[test]
    fn half_a_frame_is_the_end_and_nonsense_is_an_error() {
        rt().block_on(async {
            let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
            ours.write_all(b"nonsense\n\"Sto").await.unwrap();
            drop(ours);
            let mut reader = FrameReader::new(theirs.into_split().0);
            assert!(reader.read::<WorkerCommand>().await.is_err());
            assert!(reader.read::<WorkerCommand>().await.unwrap().is_none());
        });
    }
}
