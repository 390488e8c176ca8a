//! The context of a consumer client: receives commit results and rebalances.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use slog::Logger;

use super::acl::{Needs, Right, is_denied};
use super::client_context::{ClientContext, delegate_client_events};
use super::error::{KafkaError, reason};
use super::health::ClientHealth;
use super::statistics::ClientReport;
use crate::record::TopicPartition;
use crate::settings::Settings;

/// The result of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitResult {
    /// The group's committed offsets of these partitions.
    Done(Vec<(TopicPartition, i64)>),
    /// The commit failed for this reason; the next one may succeed.
    Failed(String),
    /// The commit was denied because a right is missing; a retry does not help.
    Denied {
        /// Offsets of the same commit in other topics, which were committed.
        committed: Vec<(TopicPartition, i64)>,
        /// The missing right.
        reason: String,
    },
    /// The commit was rejected: another client uses the group, or the group has fenced this member.
    Refused(String),
}

/// A rebalance of the group, which waits until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebalanceEvent {
    /// Partitions newly assigned to this member, possibly none. [`super::consumer::Consumer::assign`] acknowledges
    /// them.
    Assigned(Vec<TopicPartition>),
    /// Partitions revoked from this member, possibly none. [`super::consumer::Consumer::unassign`] acknowledges them.
    Revoked(Vec<TopicPartition>),
    /// Like `Revoked`, but the partitions may already have another owner: their offsets must not be committed.
    Lost(Vec<TopicPartition>),
}

/// The group membership of a closed client (KIP-1092 has the same operations).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MembershipOperation {
    /// A static member keeps its partitions in the group for its successor; a dynamic one leaves.
    #[default]
    RemainInGroup,
    /// The group assigns the partitions to other members at once.
    LeaveGroup,
}

/// The context of a consumer client.
pub(super) struct ConsumerContext {
    client: ClientContext,
    on_commit: Box<dyn Fn(CommitResult) + Send + Sync>,
    group: String,
    rebalances: Mutex<VecDeque<RebalanceEvent>>,
    /// The client is closing: rebalances are acknowledged in the callback.
    closing: AtomicBool,
}

impl ConsumerContext {
    pub(super) fn new(
        settings: &Settings,
        logger: &Logger,
        on_commit: impl Fn(CommitResult) + Send + Sync + 'static,
    ) -> Self {
        Self {
            client: ClientContext::with_statistics(logger, settings, &settings.consumer.properties),
            on_commit: Box::new(on_commit),
            group: settings.consumer.group_id.clone(),
            rebalances: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// The group of the commits.
    pub(super) fn group(&self) -> &str {
        &self.group
    }

    /// Takes the latest statistics report; `None` if none arrived since the last call.
    pub(super) fn take_report(&self) -> Option<ClientReport> {
        self.client.take_report()
    }

    /// Returns whether a broker throttles the client.
    pub(super) fn is_throttled(&self) -> bool {
        self.client.is_throttled()
    }

    /// Whether the client reaches the cluster; `None` before the first statistics.
    pub(super) fn health(&self) -> Option<ClientHealth> {
        self.client.health()
    }

    /// The text of the last error.
    pub(super) fn last_error(&self) -> Option<String> {
        self.client.last_error()
    }

    /// From now on the callback acknowledges rebalances.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// The next rebalance that was not yet returned.
    pub(super) fn next_rebalance(&self) -> Option<RebalanceEvent> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

delegate_client_events!(ConsumerContext);

impl rdkafka::consumer::ConsumerContext for ConsumerContext {
    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Some(commit) = commit_of(result, offsets, &self.group) {
            (self.on_commit)(commit);
        }
    }

    /// Called from the client's poll. The poller acknowledges the rebalance after poll has returned.
    fn rebalance(&self, client: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let is_assigned = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            // A closing client acknowledges at once. librdkafka logs a failure.
            if is_assigned { assign(client, list) } else { unassign(client, list) }.ok();
            return;
        }
        let elements = list.elements();
        let partitions = elements.iter().map(|element| TopicPartition::new(element.topic(), element.partition()));
        let rebalance = match is_assigned {
            true => RebalanceEvent::Assigned(partitions.collect()),
            false if client.assignment_lost() => RebalanceEvent::Lost(partitions.collect()),
            false => RebalanceEvent::Revoked(partitions.collect()),
        };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}

/// Without a group there is no protocol, and librdkafka accepts both calls.
fn is_eager_protocol(client: &BaseConsumer<ConsumerContext>) -> bool {
    matches!(client.rebalance_protocol(), RebalanceProtocol::Eager)
}

pub(super) fn assign(client: &BaseConsumer<ConsumerContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    if is_eager_protocol(client) { client.assign(list) } else { client.incremental_assign(list) }
}

pub(super) fn unassign(client: &BaseConsumer<ConsumerContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    if is_eager_protocol(client) { client.unassign() } else { client.incremental_unassign(list) }
}

/// The result of a commit; `None` if there was nothing new to commit.
///
/// For a synchronous commit librdkafka does not report which of its partitions failed.
pub(super) fn commit_of(result: KafkaResult<()>, offsets: &TopicPartitionList, group: &str) -> Option<CommitResult> {
    let elements = offsets.elements();
    let failed = elements.iter().find_map(|element| Some((element.topic(), element.error().err()?)));
    let error = match (result, failed) {
        (Err(error), failed) => Some((failed.map(|(topic, _)| topic), error)),
        (Ok(()), Some((topic, error))) => Some((Some(topic), error)),
        (Ok(()), None) => None,
    };
    let done = elements.iter().filter_map(|element| match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(offset)) => Some((TopicPartition::new(element.topic(), element.partition()), offset)),
        _ => None,
    });
    let Some((topic, error)) = error else { return Some(CommitResult::Done(done.collect())) };
    Some(match error.rdkafka_error_code() {
        // No message was processed since the last commit.
        Some(RDKafkaErrorCode::NoOffset) => return None,
        Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::IllegalGeneration) => {
            CommitResult::Refused(reason(&error))
        }
        Some(code) if is_denied(code) => {
            let needs = Needs {
                topic: topic
                    .or(elements.first().map(|first| first.topic()))
                    .map(|topic| Right::ReadTopic(topic.to_owned())),
                group: Some(Right::ReadGroup(group.to_owned())),
            };
            let denied = KafkaError::of_denied(&needs, "offsets cannot be committed", &error);
            let committed = if topic.is_some() { done.collect() } else { Vec::new() };
            CommitResult::Denied {
                committed,
                reason: denied.map_or_else(|| reason(&error), |failure| failure.to_string()),
            }
        }
        _ => CommitResult::Failed(reason(&error)),
    })
}
