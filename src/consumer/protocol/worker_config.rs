//! The configuration of a worker, and what commands change of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::kafka::commit_metadata::CommitMetadata;
use crate::kafka::topic_id::TopicId;
use crate::latency::scope::StampScope;
use crate::logging::LogStyle;
use crate::record::TopicPartition;
use crate::settings::Settings;

/// The configuration with which a worker is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerConfig {
    /// [`super::PROTOCOL_VERSION`].
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
    /// Whether isolation mode is on: see [`super::WorkerCommand::SetIsolation`].
    pub isolated: bool,
    /// Messages that may be poison: messages of other partitions are processed before them, if there are any
    /// soon.
    pub suspects: Vec<(TopicPartition, i64)>,
    /// Whether the worker starts paused: see [`super::WorkerCommand::Pause`].
    pub paused: bool,
    /// See [`super::WorkerCommand::Lease`]; `None`: the group is not locked.
    pub lease: Option<Lease>,
    /// See [`super::WorkerCommand::PoisonMessages`].
    pub poison_messages: Vec<PoisonMessage>,
    /// See [`super::WorkerCommand::Stopped`].
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
