//! A worker's consumer client: partition queues, assignment and commits.
//!
//! Each partition has its own queue, so that a slow partition does not block the others. A queue is split off
//! *before* its partition is assigned; otherwise the first messages could already be in the common queue.
//!
//! Partitions are assigned and revoked one by one: each is assigned at a numeric offset, and unassigned after its
//! queue is dropped. [`Consumer::poll`] returns the group's rebalance events; the group waits until
//! [`Consumer::assign`] or [`Consumer::unassign`] acknowledges them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;
use slog::Logger;

use super::acl::{Needs, Right};
use super::client_config;
pub use super::client_config::ConsumerRole;
use super::commit_metadata::CommitMetadata;
pub use super::consumer_context::{CommitResult, MembershipOperation, RebalanceEvent};
use super::consumer_context::{ConsumerContext, assign, unassign};
use super::error::{KafkaError, code_text, creation};
pub use super::fetch_control::FetchReport;
use super::fetch_control::Fetching;
use super::ffi::batch_consume::BatchLock;
use super::ffi::{member_id, topic_ids};
use super::health::ClientHealth;
use super::offsets::{Watermarks, list_at, list_of, offsets_of, watermarks_of};
pub use super::partition_queue::{MessageQueue, PartitionQueue, PollResult};
use super::statistics::ClientReport;
use super::topic_id::{TopicId, TopicIds};
use crate::record::TopicPartition;
use crate::settings::{GroupProtocol, Settings};
use crate::util::format::pluralize;

mod commits;
mod error;

pub use error::ConsumerError;
use error::permanent_group_error;

/// The timeout for leaving a group, in addition to the time for closing the client.
const LEAVE_GROUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client without a member id must be without partitions before it counts as having left.
const LEAVE_GROUP_SETTLE: Duration = Duration::from_millis(200);
/// The poll interval while the client leaves.
const LEAVE_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A consumer client. The owner must poll it and call [`Consumer::close`].
pub struct Consumer {
    consumer: Arc<BaseConsumer<ConsumerContext>>,
    /// The number of messages in the common queue; must be 0.
    leaked: AtomicU64,
    turn: BatchLock,
    /// The metadata of committed offsets, without the topic id; `None`: no metadata.
    metadata: Option<CommitMetadata>,
    /// The metadata with the topic id of each partition whose queue was split off.
    texts: Mutex<BTreeMap<TopicPartition, Arc<str>>>,
    fetching: RefCell<Fetching>,
    is_member: bool,
    is_static: bool,
    is_classic: bool,
    topics: Vec<String>,
    /// The client commits nothing and needs no right on the group.
    is_read_only: bool,
}

impl Consumer {
    /// Creates the client, which connects in the background. The memory budget is divided by the number of
    /// `partitions`. With `report_ends`, [`MessageQueue::poll_next`] returns [`PollResult::End`]. A group member
    /// must not use it: librdkafka 2.12 counts an end within a batch as a message, and a rebalance resumes every
    /// partition at the client's position, one message too far (librdkafka#4844).
    ///
    /// # Errors
    /// [`KafkaError::Settings`].
    pub fn new(
        settings: &Settings,
        role: ConsumerRole<'_>,
        partitions: usize,
        report_ends: bool,
        logger: &Logger,
        on_commit: impl Fn(CommitResult) + Send + Sync + 'static,
    ) -> Result<Self, KafkaError> {
        let events = ConsumerContext::new(settings, logger, on_commit);
        let consumer: BaseConsumer<_> = client_config::consumer(settings, role, partitions, report_ends)
            .create_with_context(events)
            .map_err(|error| creation(&error))?;
        let is_member = matches!(role, ConsumerRole::Member(_));
        let is_static = matches!(role, ConsumerRole::Member(Some(_)));
        Ok(Self {
            consumer: Arc::new(consumer),
            leaked: AtomicU64::new(0),
            turn: BatchLock::default(),
            metadata: None,
            texts: Mutex::default(),
            fetching: RefCell::new(Fetching::new(client_config::fetch_limits(settings, partitions))),
            is_member,
            is_static,
            is_classic: settings.consumer.membership.group_protocol == GroupProtocol::Classic,
            topics: settings.consumed_topics(),
            is_read_only: settings.consumer.read_only,
        })
    }

    /// Commits with this metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: &CommitMetadata) -> Self {
        self.metadata = Some(metadata.clone());
        self
    }

    /// Subscribes to the topics: the client joins the group, which assigns the partitions.
    ///
    /// # Errors
    /// librdkafka's error.
    pub fn subscribe(&self, topics: &[String]) -> Result<(), KafkaError> {
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(|error| {
            KafkaError::request(format!("the topics {} could not be subscribed to", topics.join(", ")), &error)
        })
    }

    /// Splits off the queue of a partition that will be assigned; `topic_id` identifies its topic. A queue that it
    /// had before must be dropped first.
    ///
    /// # Errors
    /// librdkafka has no such queue; this is not expected.
    pub fn split_partition_queue(
        &self,
        partition: &TopicPartition,
        topic_id: Option<&TopicId>,
    ) -> Result<PartitionQueue, KafkaError> {
        let text = self.metadata.as_ref().map(|metadata| metadata.of_topic(topic_id)).unwrap_or_default();
        let text: Arc<str> = text.into();
        self.texts().insert(partition.clone(), Arc::clone(&text));
        let stream = PartitionQueue::new(&self.consumer, &self.turn, partition, &text);
        let stream = stream.ok_or_else(|| KafkaError::Request {
            what: partition.to_string(),
            reason: "its queue could not be split off".to_owned(),
        })?;
        self.fetching.borrow_mut().add(stream.fetching());
        Ok(stream)
    }

    /// Starts consuming these partitions, too, at these offsets.
    ///
    /// # Errors
    /// librdkafka's error.
    pub fn assign(&self, starts: &[(TopicPartition, i64)]) -> Result<(), KafkaError> {
        self.fetching.borrow_mut().begin(starts);
        assign(&self.consumer, &list_at(starts.iter().map(|(name, offset)| (name, offset)))?)
            .map_err(|error| KafkaError::request("the partitions could not be assigned", &error))
    }

    /// Stops consuming these partitions and commits nothing of them any more. Their queues must be dropped first.
    ///
    /// # Errors
    /// librdkafka's error.
    pub fn unassign(&self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let list = list_of(partitions, Offset::Invalid)?;
        // Clears the stored offsets. librdkafka would commit them once more after the acknowledgement, even those
        // that are committed already or belong to lost partitions, and could overwrite the next owner's commits.
        self.consumer.store_offsets(&list).ok();
        unassign(&self.consumer, &list)
            .map_err(|error| KafkaError::request("the partitions could not be revoked", &error))?;
        self.fetching.borrow_mut().forget(&self.consumer, partitions)
    }

    /// Keeps the prefetched messages of all partitions within the memory budget; returns the partitions that it
    /// paused and resumed. To be called as often as [`Consumer::poll`].
    ///
    /// # Errors
    /// librdkafka's error; the client must not be used any more.
    pub fn balance_fetching(&self) -> Result<FetchReport, KafkaError> {
        self.fetching.borrow_mut().balance(&self.consumer, &self.turn)
    }

    /// Serves log lines, errors and commit results for up to `timeout`, or until a rebalance event.
    ///
    /// # Errors
    /// The client has failed permanently, or a message arrived on the common queue.
    pub fn poll(&self, timeout: Duration) -> Result<Option<RebalanceEvent>, ConsumerError> {
        let polled = self.consumer.poll(timeout);
        if let Some(rebalance) = self.consumer.context().next_rebalance() {
            // Rebalances come first: the group and the close of the client wait for the acknowledgement.
            return Ok(Some(rebalance));
        }
        match polled {
            None => {}
            Some(Ok(message)) => {
                let leaked = self.leaked.fetch_add(1, Ordering::Relaxed) + 1;
                let place = format!("{}/{}@{}", message.topic(), message.partition(), message.offset());
                let text = format!(
                    "{} arrived on the shared consumer queue instead of their partition queue, the last: {place}",
                    pluralize(leaked, "message")
                );
                return Err(ConsumerError::Transient(text));
            }
            // The context has already logged it; errors of a partition come out of its queue.
            Some(Err(error)) => {
                let Some(code) = error.rdkafka_error_code() else { return Ok(None) };
                if let Some(text) = self.denied(code).or_else(|| permanent_group_error(code).filter(|_| self.is_member))
                {
                    return Err(ConsumerError::Permanent(text));
                }
            }
        }
        match self.consumer.client().fatal_error() {
            Some((code, text)) => Err(match self.denied(code) {
                Some(denied) => ConsumerError::Permanent(denied),
                None => ConsumerError::from_fatal(code, text),
            }),
            None => Ok(None),
        }
    }

    /// Takes the latest statistics report; `None` if none arrived since the last call.
    pub fn take_report(&self) -> Option<ClientReport> {
        self.consumer.context().take_report()
    }

    /// Returns whether a broker throttles the client.
    pub fn is_throttled(&self) -> bool {
        self.consumer.context().is_throttled()
    }

    /// Whether the client reaches the cluster; `None` before the first statistics.
    pub fn health(&self) -> Option<ClientHealth> {
        let health = self.consumer.context().health()?;
        // A read-only client sends no requests to the coordinator.
        let coordinator = if self.is_read_only { 0.0 } else { health.coordinator_unavailable_seconds };
        Some(ClientHealth { coordinator_unavailable_seconds: coordinator, ..health })
    }

    fn texts(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<str>>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids of the topics that exist; topics without an id are left out.
    ///
    /// # Errors
    /// The brokers' error, or a timeout.
    pub fn topic_ids(&self, topics: &[String], timeout: Duration) -> Result<TopicIds, KafkaError> {
        topic_ids::topic_ids(&self.consumer, topics, timeout).map_err(|code| KafkaError::Request {
            what: "the topics' ids could not be read".to_owned(),
            reason: code_text(code),
        })
    }

    /// The low and high watermarks of the partitions.
    ///
    /// # Errors
    /// The brokers' error, or a timeout.
    pub fn watermarks(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, Watermarks>, KafkaError> {
        let what = "the partitions' offsets could not be read";
        let query = |at| {
            let reply = self.consumer.offsets_for_times(list_of(partitions, at)?, timeout);
            offsets_of(&reply.map_err(|error| KafkaError::request(what, &error))?, what)
        };
        watermarks_of(partitions, &query(Offset::Beginning)?, &query(Offset::End)?)
    }

    /// Revokes the partitions and closes the client. All partition queues must be dropped first. With
    /// KIP-848 librdkafka cannot remove a static member: the brokers keep its partitions until its session times out.
    ///
    /// Waits for the brokers; without them, for up to the session timeout.
    pub fn close(self, membership: MembershipOperation) {
        let client = &self.consumer;
        client.context().close();
        while let Some(rebalance) = client.context().next_rebalance() {
            // A failed acknowledgement only needs logging, which librdkafka does: the client closes anyway.
            match rebalance {
                RebalanceEvent::Assigned(_) => self.assign(&[]),
                RebalanceEvent::Revoked(partitions) | RebalanceEvent::Lost(partitions) => self.unassign(&partitions),
            }
            .ok();
        }
        if !self.is_member {
            // The client closes anyway.
            client.unassign().ok();
        } else if membership == MembershipOperation::LeaveGroup || !self.is_static {
            // librdkafka sends LeaveGroup shortly after the last partition is unassigned, and not at all if it is
            // already closing.
            let loses_id = self.is_classic && member_id::has_id(client);
            client.unsubscribe();
            let begun = Instant::now();
            let mut empty_since = None;
            while begun.elapsed() < LEAVE_GROUP_TIMEOUT {
                drop(client.poll(LEAVE_POLL_INTERVAL));
                let is_empty = client.assignment().is_ok_and(|list| list.count() == 0);
                let since = *empty_since.get_or_insert_with(Instant::now);
                if !is_empty {
                    empty_since = None;
                } else if if loses_id { !member_id::has_id(client) } else { since.elapsed() >= LEAVE_GROUP_SETTLE } {
                    break;
                }
            }
        }
    }

    fn group(&self) -> &str {
        self.consumer.context().group()
    }

    /// The rights for consuming this topic, or the first of the client's topics.
    fn needs(&self, topic: Option<&str>) -> Needs {
        let topic = topic.or(self.topics.first().map(String::as_str));
        Needs {
            topic: topic.map(|topic| Right::ReadTopic(topic.to_owned())),
            group: Some(Right::ReadGroup(self.group().to_owned())),
        }
    }

    /// The error text for a missing right; `None` for other codes.
    fn denied(&self, code: RDKafkaErrorCode) -> Option<String> {
        // librdkafka names the denied topic only in the text of its error.
        let last_error = self.consumer.context().last_error().unwrap_or_default();
        let named = self.topics.iter().filter(|topic| last_error.contains(topic.as_str()));
        if self.is_read_only && code == RDKafkaErrorCode::GroupAuthorizationFailed {
            return None;
        }
        let right = self.needs(named.max_by_key(|topic| topic.len()).map(String::as_str)).missing(code)?;
        Some(KafkaError::denied("messages cannot be consumed", right, code).to_string())
    }

    /// Returns whether a partition queue still holds the client.
    pub fn in_use(&self) -> bool {
        Arc::strong_count(&self.consumer) > 1
    }
}
