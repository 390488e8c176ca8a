//! What travels between a worker's actors.

use std::sync::Arc;

use actix::Message;

use super::counters::Counters;
use crate::consumer::control::{FromWorker, ToWorker};
use crate::kafka::reader::PartitionStream;
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

/// To the link: send the last progress and [`FromWorker::Finished`]; answered when they are written.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Close;

/// Partition or poll thread to router.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum Event {
    /// A partition has been read to the end that was asked for.
    EndReached(TopicPartition),
    /// A message waits for a grant.
    NeedGrant,
    /// A message failed and is not to be skipped.
    MessageFailed { partition: TopicPartition, offset: i64, reason: String },
    /// stdout is closed.
    OutputClosed,
    /// This worker cannot go on.
    Broken { reason: String, lasting: bool },
}

/// One partition to be opened.
pub(super) struct Opening {
    pub(super) stream: PartitionStream,
    pub(super) counters: Arc<Counters>,
    pub(super) start: i64,
    pub(super) until: Option<i64>,
}

/// To a partition: something may be in its queue, or a grant has come.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct DataReady;

/// To a partition: the first offset that is not to be processed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ReadUntil(pub(super) i64);

/// To a partition: take no more messages; answered when the one in hand is dealt with and the queue is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopPartition;
