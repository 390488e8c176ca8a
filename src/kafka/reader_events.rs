//! What a reader's client says: what became of commits, and what its group wants.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use slog::Logger;

use super::error::reason;
use super::events::{ClientEvents, tell_client_events};
use super::statistics::ClientStatus;
use crate::record::TopicPartition;
use crate::settings::Settings;

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The group's offsets in these partitions.
    Done(Vec<(TopicPartition, i64)>),
    /// Not done, and why; the next one tries again.
    Failed(String),
    /// The group belongs to somebody else, or has put this member out.
    Refused(String),
}

/// What the group wants; the group waits until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// These are this member's now: to be acknowledged by `Reader::assign`, also if there are none.
    Dealt(Vec<TopicPartition>),
    /// These are not any more: to be acknowledged by `Reader::unassign`, also if there are none.
    Taken {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// They may be somebody else's already: nothing of them may be committed.
        lost: bool,
    },
}

/// What a reader's client says.
pub(super) struct ReaderEvents {
    client: ClientEvents,
    on_commit: Box<dyn Fn(Commit) + Send + Sync>,
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// Nobody asks for rebalances any more: they are acknowledged where they come.
    closing: AtomicBool,
}

impl ReaderEvents {
    pub(super) fn new(
        settings: &Settings,
        logger: &Logger,
        on_commit: impl Fn(Commit) + Send + Sync + 'static,
    ) -> Self {
        Self {
            client: ClientEvents::watched(logger, settings, &settings.consumer.properties),
            on_commit: Box::new(on_commit),
            rebalances: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// What the client has counted, if it has since this was asked last.
    pub(super) fn take_counted(&self) -> Option<ClientStatus> {
        self.client.take_counted()
    }

    /// From now on rebalances are acknowledged where they come.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// What the group wants, and nobody has been told of yet.
    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

tell_client_events!(ReaderEvents);

impl ConsumerContext for ReaderEvents {
    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Some(commit) = commit_of(result, offsets) {
            (self.on_commit)(commit);
        }
    }

    /// Called by the client's poll. Acknowledging may wait until that has returned, and is done by whoever polls.
    fn rebalance(&self, client: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let dealt = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            // A client that is closing takes both for giving everything back.
            let _logged_by_librdkafka = if dealt { assign(client, list) } else { unassign(client, list) };
            return;
        }
        let elements = list.elements();
        let partitions = elements.iter().map(|element| TopicPartition::new(element.topic(), element.partition()));
        let rebalance = match dealt {
            true => Rebalance::Dealt(partitions.collect()),
            false => Rebalance::Taken { partitions: partitions.collect(), lost: client.assignment_lost() },
        };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}

/// Without a group there is no protocol, and librdkafka lets both ways pass.
fn is_eager(client: &BaseConsumer<ReaderEvents>) -> bool {
    matches!(client.rebalance_protocol(), RebalanceProtocol::Eager)
}

pub(super) fn assign(client: &BaseConsumer<ReaderEvents>, list: &TopicPartitionList) -> KafkaResult<()> {
    if is_eager(client) { client.assign(list) } else { client.incremental_assign(list) }
}

pub(super) fn unassign(client: &BaseConsumer<ReaderEvents>, list: &TopicPartitionList) -> KafkaResult<()> {
    if is_eager(client) { client.unassign() } else { client.incremental_unassign(list) }
}

/// What a commit's result says; `None` if there was nothing new.
pub(super) fn commit_of(result: KafkaResult<()>, offsets: &TopicPartitionList) -> Option<Commit> {
    if let Err(error) = result.and_then(|()| offsets.elements().iter().try_for_each(|element| element.error())) {
        return match error.rdkafka_error_code() {
            // Nothing new was processed.
            Some(RDKafkaErrorCode::NoOffset) => None,
            Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::IllegalGeneration) => {
                Some(Commit::Refused(reason(&error)))
            }
            _ => Some(Commit::Failed(reason(&error))),
        };
    }
    let offsets = offsets.elements();
    let done = offsets.iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some((TopicPartition::new(element.topic(), element.partition()), offset)),
        _ => None,
    });
    Some(Commit::Done(done.collect()))
}
