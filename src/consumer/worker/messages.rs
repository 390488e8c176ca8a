//! What travels between a worker's actors.

use std::sync::{Arc, mpsc};

use actix::Message;

use super::counters::Counters;
use crate::consumer::control::{FromWorker, StartPartition, ToWorker};
use crate::kafka::reader::PartitionStream;
use crate::kafka::statistics::ClientStatus;
use crate::record::TopicPartition;

/// Link to router: what the supervisor said.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum FromSupervisor {
    Frame(ToWorker),
    /// The supervisor is gone.
    Gone,
}

/// To the link: tell the supervisor.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Tell(pub(super) FromWorker);

/// To the link: tell of these, too, from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Watch(pub(super) Vec<Arc<Counters>>);

/// To the link: tell of these for the last time, then [`FromWorker::Revoked`].
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Forget {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) lost: bool,
}

/// To the link: send the last progress and [`FromWorker::Finished`]; answered when they are written.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Close;

/// Poll thread to router: what becomes of partitions. They come in order, and each is dealt with before the next change
/// of the same partition begins.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum FromPoll {
    /// These are assigned.
    Opened { openings: Vec<Opening>, opened: Opened },
    /// Stop these, and drop their queues; then send through `done`. If they are `lost`, at once.
    Shut { partitions: Vec<TopicPartition>, lost: bool, done: mpsc::SyncSender<()> },
    /// These are not this worker's any more; their queues are gone, and what was stored is committed unless `lost`.
    GivenBack { partitions: Vec<TopicPartition>, lost: bool },
}

/// Why partitions are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// They are those that the worker was started with.
    First,
    /// They were added.
    Added,
    /// They are read again, by a new client or from another offset: nobody else has to know.
    Again,
}

/// Partition or poll thread to router.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum Event {
    /// A partition has been read to the end that was asked for.
    EndReached(TopicPartition),
    /// A message waits for a grant.
    NeedGrant,
    /// This message waits for [`Proceed`].
    Announce { partition: TopicPartition, offset: i64 },
    /// A partition is read no further: too much failed.
    PartitionStopped { partition: TopicPartition, offset: i64, reason: String },
    /// A message failed and is not to be skipped.
    MessageFailed { partition: TopicPartition, offset: i64, reason: String },
    /// The next offset of a partition is not in the log.
    OutOfRange { partition: TopicPartition, offset: i64 },
    /// What the Kafka client has counted.
    Counted(ClientStatus),
    /// stdout is closed.
    OutputClosed,
    /// This worker cannot go on.
    Broken { reason: String, lasting: bool },
    /// As that, and a message in hand may have done it.
    Crashed { reason: String },
}

/// One partition to be opened.
pub(super) struct Opening {
    pub(super) stream: PartitionStream,
    pub(super) counters: Arc<Counters>,
    pub(super) start: i64,
    pub(super) until: Option<i64>,
}

impl Opening {
    /// As the supervisor is told of it.
    pub(super) fn start(&self) -> StartPartition {
        StartPartition { partition: self.counters.partition.clone(), start: self.start, until: self.until }
    }
}

/// To a partition: something may be in its queue, or a grant has come.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct DataReady;

/// To a partition: the first offset that is not to be processed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ReadUntil(pub(super) i64);

/// To a partition: the announced message of this offset may be processed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Proceed(pub(super) i64);

/// To a partition: take no more messages; answered when the one in hand is dealt with and the queue is gone. A `lost`
/// partition leaves what is in hand, and stores nothing any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopPartition {
    pub(super) lost: bool,
}
