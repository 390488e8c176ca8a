//! The messages between a worker's actors.

use std::sync::{Arc, mpsc};

use actix::Message;

use super::partition_state::PartitionState;
use crate::consumer::protocol::{PartitionAssignment, Revocation, WorkerCommand, WorkerEvent, WorkerFailure};
use crate::kafka::consumer::MessageQueue;
use crate::kafka::topic_id::TopicId;
use crate::record::TopicPartition;

/// Connection to manager: what the supervisor has sent.
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
    pub(super) revocation: Revocation,
}

/// To the connection: log the progress of all partitions.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct LogStatus;

/// To the connection: send the last progress and [`WorkerEvent::Finished`]. The reply comes when they are
/// written.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SendFinished;

/// Poll thread to manager: changes of partitions. They come in order, and each is handled before the next change
/// of the same partition begins.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum PollEvent {
    /// These partitions are assigned: open them.
    Assigned { partitions: Vec<NewPartition>, kind: AssignmentKind },
    /// Stop these partitions.
    Stop(PartitionsStop),
    /// These partitions are revoked: their queues are dropped, and stored offsets are committed unless lost.
    Revoked { partitions: Vec<TopicPartition>, revocation: Revocation },
}

/// A request to stop partitions and to drop their queues. Lost partitions stop at once.
pub(super) struct PartitionsStop {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) revocation: Revocation,
    /// Receives a message when all of them have stopped.
    pub(super) done: mpsc::SyncSender<()>,
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
    Reopened,
    /// They are opened again at the offset that the supervisor has requested, and the worker replies.
    Restarted,
}

impl AssignmentKind {
    /// Whether the worker had the partitions before.
    pub(super) fn is_known(self) -> bool {
        matches!(self, Self::Reopened | Self::Restarted)
    }
}

/// Partition, processor host or poll thread to manager.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum PartitionEvent {
    /// A partition has reached its stop offset.
    EndReached(TopicPartition),
    /// The position of a partition is not in the log.
    OutOfRange { partition: TopicPartition, offset: i64 },
    /// A partition has stopped because too many messages failed, or its log cannot be read.
    PartitionStopped { partition: TopicPartition, offset: i64, reason: String },
    /// A message failed, and `consumer.on_failure` does not allow to skip it.
    MessageFailed { partition: TopicPartition, offset: i64, reason: String },
    /// Send this event to the supervisor.
    Report(WorkerEvent),
    /// A failure that ends this worker.
    Failed(WorkerFailure),
}

/// A partition to open.
pub(super) struct NewPartition {
    pub(super) queue: Box<dyn MessageQueue + Send>,
    pub(super) state: Arc<PartitionState>,
    pub(super) start_offset: i64,
    pub(super) stop_offset: Option<i64>,
    pub(super) topic_id: Option<TopicId>,
}

impl NewPartition {
    /// The assignment as it is reported to the supervisor.
    pub(super) fn assignment(&self) -> PartitionAssignment {
        PartitionAssignment {
            partition: self.state.partition.clone(),
            start: self.start_offset,
            until: self.stop_offset,
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
/// is dropped. A lost partition abandons its message in flight, and stores nothing any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopPartition(pub(super) Revocation);
