//! The messages between a worker's actors.

use std::sync::{Arc, mpsc};

use actix::Message;

use super::partition_state::PartitionState;
use crate::consumer::protocol::{PartitionAssignment, WorkerCommand, WorkerEvent, WorkerHealth};
use crate::kafka::commit_metadata::ForeignCommit;
use crate::kafka::consumer::MessageQueue;
use crate::kafka::statistics::ClientReport;
use crate::kafka::topic_id::TopicId;
use crate::record::TopicPartition;

/// Connection to router: what the supervisor has sent.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum FromSupervisor {
    Frame(WorkerCommand),
    /// The connection to the supervisor is closed.
    Gone,
}

/// To the connection: send this event to the supervisor.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SendEvent(pub(super) WorkerEvent);

/// To the connection: reply when all events so far are written; `false` if the supervisor is gone.
#[derive(Message)]
#[rtype(result = "bool")]
pub(super) struct Flush;

/// To the connection: report the progress of these partitions, too, from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct TrackPartitions(pub(super) Vec<Arc<PartitionState>>);

/// To the connection: report the progress of these partitions for the last time, then send
/// [`WorkerEvent::Revoked`].
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct UntrackPartitions {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) lost: bool,
}

/// To the connection: send the last progress and [`WorkerEvent::Finished`]. The reply comes when they are
/// written.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Close;

/// Poll thread to router: changes of partitions. They come in order, and each is handled before the next change
/// of the same partition begins.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum PollEvent {
    /// These partitions are assigned.
    Opened { openings: Vec<NewPartition>, opened: AssignmentKind },
    /// Stop these partitions, and drop their queues; then send through `done`. If they are `lost`, stop at once.
    Shut { partitions: Vec<TopicPartition>, lost: bool, done: mpsc::SyncSender<()> },
    /// These partitions are revoked: their queues are dropped, and stored offsets are committed unless `lost`.
    GivenBack { partitions: Vec<TopicPartition>, lost: bool },
}

/// Why partitions are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AssignmentKind {
    /// The worker was started with them.
    First,
    /// They were added later.
    Added,
    /// They are opened again at another offset, without a report to the supervisor. The list may be empty: a
    /// member has a new client.
    Again,
    /// They are opened again at the offset that the supervisor has requested, and the worker replies.
    Restarted,
}

impl AssignmentKind {
    /// Whether the worker had the partitions before.
    pub(super) fn is_known(self) -> bool {
        matches!(self, Self::Again | Self::Restarted)
    }
}

/// Partition or poll thread to router.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum PartitionEvent {
    /// A partition has reached its stop offset.
    EndReached(TopicPartition),
    /// This message waits for [`AllowProcess`].
    Announce { partition: TopicPartition, offset: i64 },
    /// A partition has stopped because too many messages failed.
    PartitionStopped { partition: TopicPartition, offset: i64, reason: String },
    /// A message failed, and `consumer.on_failure` does not allow to skip it.
    MessageFailed { partition: TopicPartition, offset: i64, reason: String },
    /// The position of a partition is not in the log.
    OutOfRange { partition: TopicPartition, offset: i64 },
    /// Other clients have committed these offsets.
    ForeignCommits(Vec<ForeignCommit>),
    /// The statistics of the Kafka client.
    Client(ClientReport),
    /// Whether the client reaches the cluster.
    Health(WorkerHealth),
    /// stdout is closed.
    OutputClosed,
    /// A failure that ends this worker.
    Broken { reason: String, permanent: bool },
    /// A failure of the processor, which can process no more messages.
    ProcessorFailed { reason: String },
    /// A failure of the processor that a message in flight may have caused.
    Crashed { reason: String },
    /// The processor has returned its first result.
    FirstResult,
}

/// A partition to open.
pub(super) struct NewPartition {
    pub(super) stream: Box<dyn MessageQueue + Send>,
    pub(super) counters: Arc<PartitionState>,
    pub(super) start: i64,
    pub(super) until: Option<i64>,
    pub(super) topic_id: Option<TopicId>,
}

impl NewPartition {
    /// The assignment as it is reported to the supervisor.
    pub(super) fn start(&self) -> PartitionAssignment {
        PartitionAssignment {
            partition: self.counters.partition.clone(),
            start: self.start,
            until: self.until,
            topic_id: self.topic_id.clone(),
        }
    }
}

/// To a partition: the supervisor can read that the worker has it, so that messages may be processed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StartReading;

/// To a partition: its queue may have messages, or a condition that it waited for has changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct DataReady;

/// To a partition: the stop offset, which is the first offset that is not processed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ReadUntil(pub(super) i64);

/// To a partition: there is no message from `start` up to, but not including, `end`.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SkipGap {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// To a partition: the message of this offset may be processed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct AllowProcess(pub(super) i64);

/// To a partition: start no more messages. The reply comes when the message in flight is handled and the queue
/// is dropped. A `lost` partition abandons its message in flight, and stores nothing any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopPartition {
    pub(super) lost: bool,
}
