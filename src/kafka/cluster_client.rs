//! A client for metadata, watermarks and committed offsets. Each call blocks up to a deadline and must not run on an
//! arbiter's thread.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError as RdKafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::{Offset, TopicPartitionList};
use slog::{Logger, warn};

use super::acl::{Needs, Right};
use super::client_context::ClientContext;
use super::commit_metadata::CommitMetadata;
use super::error::{KafkaError, creation};
use super::ffi::credentials;
use super::ffi::group::{GroupMember, Inquiry};
use super::ffi::topic_ids;
use super::first_contact::FirstContact;
pub use super::offsets::Committed;
use super::offsets::{
    Commits, Offsets, Watermarks, commits_of, committed_of, known_commits_of, list_of, list_to_commit, offsets_of,
    unknown_of, watermarks_of,
};
use super::topic_id::TopicIds;
use super::{client_config, diagnosis, group_coordinator};
use crate::record::TopicPartition;
use crate::settings::{Security, Settings};

/// The timeout of the first request to a group coordinator. librdkafka reports a missing right separately from the
/// request; if the right exists, the request is repeated with the remaining time.
const FIRST_REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// The timeout of one connection attempt; short, so that a rejected login is noticed early.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);
/// The interval between diagnoses while no broker responds.
const DIAGNOSIS_INTERVAL: Duration = Duration::from_secs(5);
/// The connect timeout of a new client after an earlier one has connected.
const RECONNECT: Duration = Duration::from_secs(3);
/// How long a newly created topic may be unknown to the queried broker.
const TOPIC_PROPAGATION_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The poll interval while partitions have no leader.
const LEADER_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A connection to the cluster.
pub struct ClusterClient {
    client: BaseConsumer<ClientContext>,
    /// The topic whose metadata is requested during the first contact; it need not exist.
    topic: String,
    brokers: String,
    group: String,
    timeout: Duration,
    /// The number of brokers in the cluster.
    broker_count: usize,
    /// The deadline of the first contact, which all requests until then share.
    first_contact: Instant,
}

impl ClusterClient {
    /// Connects and waits until a broker responds; logs a warning while it waits. The client's group is
    /// `consumer.group_id`.
    ///
    /// # Errors
    /// [`KafkaError::Settings`], [`KafkaError::Unreachable`] after `kafka.connect_timeout`, [`KafkaError::Refused`] as soon as
    /// it is known.
    pub fn connect(settings: &Settings, logger: &Logger) -> Result<Self, KafkaError> {
        Self::connect_within(settings, logger, settings.kafka.first_contact_timeout(), |line| warn!(logger, "{line}"))
    }

    /// Like [`ClusterClient::connect`], with a short timeout, for a process that was connected before.
    ///
    /// # Errors
    /// See [`ClusterClient::connect`].
    pub fn reconnect(settings: &Settings, logger: &Logger) -> Result<Self, KafkaError> {
        Self::connect_within(settings, logger, Some(settings.kafka.request_timeout().min(RECONNECT)), |_| {})
    }

    /// Checks whether a new client reaches the brokers and the group coordinator, from which it requests the
    /// committed offsets of `partitions`.
    ///
    /// # Errors
    /// What could not be reached.
    pub fn probe(settings: &Settings, logger: &Logger, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let cluster = Self::reconnect(settings, logger)?;
        let reply = cluster.committed_with_metadata_within(partitions, RECONNECT);
        cluster.leave();
        reply.map(|_| ())
    }

    fn connect_within(
        settings: &Settings,
        logger: &Logger,
        timeout: Option<Duration>,
        waiting: impl Fn(String),
    ) -> Result<Self, KafkaError> {
        let config = client_config::group_metadata_client(settings);
        let client: BaseConsumer<ClientContext> =
            config.create_with_context(ClientContext::quiet(logger)).map_err(|error| creation(&error))?;
        let begun = Instant::now();
        let mut cluster = Self {
            client,
            topic: settings.kafka.topic.clone(),
            brokers: settings.kafka.brokers.join(","),
            group: settings.consumer.group_id.clone(),
            timeout: settings.kafka.request_timeout(),
            broker_count: 0,
            first_contact: begun,
        };
        cluster.broker_count = cluster.wait_for_broker(settings, FirstContact::new(begun, timeout), waiting)?;
        cluster.first_contact = match timeout {
            Some(timeout) => begun + timeout,
            None => Instant::now() + cluster.timeout,
        };
        Ok(cluster)
    }

    /// Returns the number of brokers.
    fn wait_for_broker(
        &self,
        settings: &Settings,
        mut contact: FirstContact,
        waiting: impl Fn(String),
    ) -> Result<usize, KafkaError> {
        let mut diagnosed = None::<Instant>;
        loop {
            let attempt = contact.left(Instant::now()).map_or(REQUEST_TIMEOUT, |left| left.min(REQUEST_TIMEOUT));
            let reply = self.client.fetch_metadata(Some(&self.topic), attempt.max(Duration::from_millis(10)));
            self.serve_events();
            let error = match reply {
                Ok(metadata) => return Ok(metadata.brokers().len()),
                Err(error) => error,
            };
            let refused = self.client.context().refused();
            if refused.is_some() || diagnosed.is_none_or(|at| at.elapsed() >= DIAGNOSIS_INTERVAL) {
                diagnosed = Some(Instant::now());
                if let Some(found) = diagnosis::diagnose(settings) {
                    return Err(KafkaError::Diagnosed(found));
                }
            }
            if let Some(reason) = refused {
                return Err(KafkaError::Refused { brokers: self.brokers.clone(), reason });
            }
            let reason = || self.client.context().last_error().unwrap_or_else(|| super::error::reason(&error));
            let now = Instant::now();
            if let Some(waited) = contact.over(now) {
                return Err(KafkaError::Unreachable { brokers: self.brokers.clone(), waited, reason: reason() });
            }
            if let Some(line) = contact.line(&self.brokers, now) {
                waiting(format!("{line}: {}", reason()));
            }
        }
    }

    /// The timeout of the next request.
    fn remaining(&self) -> Duration {
        let left = self.first_contact.saturating_duration_since(Instant::now());
        if left.is_zero() { self.timeout } else { left.max(Duration::from_secs(1)) }
    }

    /// Adds the connection's last error, because a timeout alone has no cause.
    fn failed(&self, what: impl Into<String>, error: &RdKafkaError) -> KafkaError {
        let reason = super::error::reason(error);
        let reason = match self.client.context().last_error() {
            Some(last) => {
                format!("{reason} ({last}); can the addresses that the brokers advertise be reached from here?")
            }
            None => reason,
        };
        KafkaError::Request { what: what.into(), reason }
    }

    /// Sends a request to the coordinator of `consumer.group_id`.
    fn request_from_group<T>(
        &self,
        what: &str,
        timeout: Duration,
        request: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T, KafkaError> {
        self.request_from_coordinator(&self.group, what, timeout, request)
    }

    /// Sends a request to the coordinator of `group`.
    fn request_from_coordinator<T>(
        &self,
        group: &str,
        what: &str,
        timeout: Duration,
        request: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T, KafkaError> {
        let deadline = Instant::now() + timeout;
        let needs = Needs { topic: None, group: Some(Right::ReadGroup(group.to_owned())) };
        let first = (Instant::now() + FIRST_REPLY_TIMEOUT).min(deadline);
        let mut reply = group_coordinator::retry_while_coordinator_loading(first, || request(time_left(first)));
        self.serve_events();
        if is_timeout(&reply) && self.denied(&needs, what).is_none() && Instant::now() + LEADER_POLL_INTERVAL < deadline
        {
            reply = group_coordinator::retry_while_coordinator_loading(deadline, || request(time_left(deadline)));
            self.serve_events();
        }
        if let Some(denied) = self.denied(&needs, what).filter(|_| is_timeout(&reply)) {
            return Err(denied);
        }
        reply.map_err(|error| KafkaError::of_denied(&needs, what, &error).unwrap_or_else(|| self.failed(what, &error)))
    }

    /// The authorization error that the client received while it looked up the coordinator.
    fn denied(&self, needs: &Needs, what: &str) -> Option<KafkaError> {
        let code = self.client.context().denied()?;
        Some(KafkaError::denied(what, needs.missing(code)?, code))
    }

    /// librdkafka delivers errors and log lines only when its queue is polled.
    fn serve_events(&self) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(5) {
            drop(self.client.poll(Duration::from_millis(1)));
        }
    }

    /// Closes the client on a separate thread, because librdkafka takes up to 100 ms.
    pub fn leave(self) {
        // Without a thread the client closes here, a little later.
        std::thread::Builder::new().name("leave".to_owned()).spawn(move || drop(self)).ok();
    }

    /// Sets the current password for new connections; existing connections stay open.
    ///
    /// # Errors
    /// librdkafka's error text.
    pub fn refresh_credentials(&self, security: &Security) -> Result<(), String> {
        credentials::set_sasl(self.client.client(), &security.username, security.current_password().reveal())
    }

    /// The number of brokers in the cluster. A client that uses all partitions connects to each of them.
    pub fn broker_count(&self) -> usize {
        self.broker_count
    }

    /// The bootstrap servers.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The partitions of `topic` in ascending order.
    ///
    /// # Errors
    /// [`KafkaError::TopicMissing`], or the broker's error.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>, KafkaError> {
        let deadline = Instant::now() + TOPIC_PROPAGATION_TIMEOUT;
        loop {
            let found = self.partitions_if_exists(topic)?;
            match found {
                Some(partitions) => return Ok(partitions),
                None if Instant::now() >= deadline => return Err(KafkaError::topic_missing(topic, &self.brokers)),
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// The partitions of `topic`, or `None` if it does not exist.
    ///
    /// # Errors
    /// The broker's error.
    pub fn partitions_if_exists(&self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
        let metadata = self.metadata(topic, self.remaining())?;
        let Some(found) = metadata.topics().iter().find(|candidate| candidate.name() == topic) else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
            Some(RDKafkaErrorCode::LeaderNotAvailable) if found.partitions().is_empty() => return Ok(None),
            Some(RDKafkaErrorCode::LeaderNotAvailable) => {}
            Some(code) => {
                let right = Needs::of_topic(Right::DescribeTopic(topic.to_owned())).missing(code);
                return Err(match right {
                    Some(right) => KafkaError::denied(format!("the topic {topic:?}"), right, code),
                    None => KafkaError::Topic { topic: topic.to_owned(), reason: super::error::code_text(code) },
                });
            }
        }
        let mut partitions: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
        partitions.sort_unstable();
        Ok((!partitions.is_empty()).then_some(partitions))
    }

    /// The names of all topics, with the replica ids of each partition.
    ///
    /// # Errors
    /// The broker's error.
    pub fn topics(&self) -> Result<BTreeMap<String, Vec<Vec<i32>>>, KafkaError> {
        let reply = self.client.fetch_metadata(None, self.remaining());
        self.serve_events();
        let metadata = reply.map_err(|error| self.failed("the topics could not be listed", &error))?;
        let replicas = |topic: &MetadataTopic| topic.partitions().iter().map(|it| it.replicas().to_vec()).collect();
        Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), replicas(topic))).collect())
    }

    fn metadata(&self, topic: &str, timeout: Duration) -> Result<Metadata, KafkaError> {
        let what = format!("the metadata of the topic {topic:?} could not be read");
        let reply = self.client.fetch_metadata(Some(topic), timeout);
        self.serve_events();
        reply.map_err(|error| self.failed(what, &error))
    }

    /// The ids of the topics that exist; topics without an id are left out.
    ///
    /// # Errors
    /// The brokers' error.
    pub fn topic_ids(&self, topics: &[String]) -> Result<TopicIds, KafkaError> {
        let reply = topic_ids::topic_ids(&self.client, topics, self.remaining());
        self.serve_events();
        reply.map_err(|code| self.failed("the topics' ids could not be read", &RdKafkaError::MetadataFetch(code)))
    }

    /// The low watermarks: the oldest offsets that the log still holds.
    ///
    /// # Errors
    /// The brokers' error.
    pub fn low_watermarks(&self, partitions: &[TopicPartition]) -> Result<Offsets, KafkaError> {
        self.query_offsets(partitions, Offset::Beginning)
    }

    /// The high watermarks: the next offsets that will be written (with `read_committed`: the last stable offsets).
    ///
    /// # Errors
    /// The brokers' error.
    pub fn high_watermarks(&self, partitions: &[TopicPartition]) -> Result<Offsets, KafkaError> {
        self.query_offsets(partitions, Offset::End)
    }

    /// Both watermarks of each partition.
    ///
    /// # Errors
    /// The brokers' error, or a reply without one of the partitions.
    pub fn watermarks(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Watermarks>, KafkaError> {
        watermarks_of(partitions, &self.low_watermarks(partitions)?, &self.high_watermarks(partitions)?)
    }

    /// Like [`ClusterClient::high_watermarks`], without the partitions whose leaders do not respond within `timeout`.
    ///
    /// # Errors
    /// The reason, if no leader responds.
    pub fn high_watermarks_within(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Offsets, KafkaError> {
        let what = "the partitions' ends could not be read";
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let deadline = Instant::now() + timeout;
        let query = &|led: &Vec<TopicPartition>| {
            let reply = self.client.offsets_for_times(list_of(led, Offset::End)?, time_left(deadline));
            Ok(committed_of(&reply.map_err(|error| self.failed(what, &error))?))
        };
        // librdkafka waits for all leaders of a request: one request per leader, in parallel, so that an unavailable
        // leader does not delay the others.
        let by_leader = self.per_leader(partitions, deadline)?;
        let replies: Vec<Result<Offsets, KafkaError>> = std::thread::scope(|scope| {
            // Without a thread the partitions of this leader are left out.
            let start = |led| std::thread::Builder::new().spawn_scoped(scope, move || query(led));
            let requests: Vec<_> = by_leader.values().filter_map(|led| start(led).ok()).collect();
            requests.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        self.serve_events();
        let (mut ends, mut failed) = (Offsets::new(), None);
        for reply in replies {
            match reply {
                Ok(some) => ends.extend(some),
                Err(failure) => failed = Some(failure),
            }
        }
        let no_leader =
            || KafkaError::Request { what: what.to_owned(), reason: "none of them has a leader".to_owned() };
        if ends.is_empty() { Err(failed.unwrap_or_else(no_leader)) } else { Ok(ends) }
    }

    /// Groups the partitions by leader; those without one are left out.
    fn per_leader(
        &self,
        partitions: &[TopicPartition],
        deadline: Instant,
    ) -> Result<BTreeMap<i32, Vec<TopicPartition>>, KafkaError> {
        let topics: BTreeSet<_> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
        let mut leaders = BTreeMap::new();
        for topic in topics {
            let metadata = self.metadata(topic, time_left(deadline))?;
            for found in metadata.topics().iter().filter(|found| found.name() == topic) {
                let led = found.partitions().iter().filter(|partition| partition.leader() >= 0);
                leaders.extend(led.map(|partition| ((topic, partition.id()), partition.leader())));
            }
        }
        let mut by_leader: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for partition in partitions {
            if let Some(leader) = leaders.get(&(partition.topic.as_str(), partition.partition)) {
                by_leader.entry(*leader).or_default().push(partition.clone());
            }
        }
        Ok(by_leader)
    }

    /// The first offsets with a timestamp of at least `time_ms`; the high watermark where there is none.
    ///
    /// # Errors
    /// The brokers' error.
    pub fn offsets_for_times(&self, partitions: &[TopicPartition], time_ms: i64) -> Result<Offsets, KafkaError> {
        let mut found = self.query_offsets(partitions, Offset::Offset(time_ms))?;
        if found.len() < partitions.len() {
            for (partition, end) in self.high_watermarks(partitions)? {
                found.entry(partition).or_insert(end);
            }
        }
        Ok(found)
    }

    fn query_offsets(&self, partitions: &[TopicPartition], at: Offset) -> Result<Offsets, KafkaError> {
        let what = "the partitions' offsets could not be read";
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        loop {
            let reply = self.client.offsets_for_times(list_of(partitions, at)?, self.remaining());
            self.serve_events();
            // A new topic's partitions get their leaders one after the other.
            let waits = match &reply {
                Ok(list) => {
                    list.elements().iter().any(|element| element.error().is_err_and(|error| is_leaderless(&error)))
                }
                Err(error) => is_leaderless(error),
            };
            if waits && Instant::now() < self.first_contact {
                std::thread::sleep(LEADER_POLL_INTERVAL);
                continue;
            }
            let needs = Needs::of_topic(Right::DescribeTopic(partitions[0].topic.clone()));
            let failed = |error: &RdKafkaError| {
                KafkaError::of_denied(&needs, what, error).unwrap_or_else(|| self.failed(what, error))
            };
            return offsets_of(&reply.map_err(|error| failed(&error))?, what);
        }
    }

    /// The current members of `group`, for both group protocols.
    ///
    /// # Errors
    /// The group coordinator's error.
    pub fn members(&self, group: &str) -> Result<Vec<GroupMember>, KafkaError> {
        let what = format!("the members of the group {group:?} could not be read");
        self.request_from_coordinator(group, &what, self.remaining(), |time| {
            let inquiry = Inquiry::send(self.client.client(), group);
            let timed_out = Err(RDKafkaErrorCode::OperationTimedOut);
            inquiry.and_then(|inquiry| inquiry.poll(time).unwrap_or(timed_out)).map_err(RdKafkaError::GroupListFetch)
        })
    }

    /// The committed offsets of `consumer.group_id`.
    ///
    /// # Errors
    /// The group coordinator's error.
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<Offsets, KafkaError> {
        let committed = self.committed_with_metadata(partitions)?;
        Ok(committed.into_iter().map(|(partition, committed)| (partition, committed.offset)).collect())
    }

    /// Like [`ClusterClient::committed_with_metadata`]; also returns the partitions for which the coordinator
    /// reported an error.
    ///
    /// # Errors
    /// The group coordinator's error, if it concerns all partitions.
    pub fn committed_or_unknown(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<(Commits, BTreeSet<TopicPartition>), KafkaError> {
        let what = "the group's committed offsets could not be read";
        if partitions.is_empty() {
            return Ok((Commits::new(), BTreeSet::new()));
        }
        let list = self.committed_list(partitions, self.remaining(), what)?;
        Ok((known_commits_of(&list), unknown_of(&list)))
    }

    fn committed_list(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
        what: &str,
    ) -> Result<TopicPartitionList, KafkaError> {
        let list = list_of(partitions, Offset::Invalid)?;
        let reply = self.request_from_group(what, timeout, |time| self.client.committed_offsets(list.clone(), time))?;
        self.client.context().forget_denied();
        Ok(reply)
    }

    /// Like [`ClusterClient::committed`], with the metadata.
    ///
    /// # Errors
    /// The group coordinator's error.
    pub fn committed_with_metadata(&self, partitions: &[TopicPartition]) -> Result<Commits, KafkaError> {
        self.committed_with_metadata_within(partitions, self.remaining())
    }

    /// Like [`ClusterClient::committed_with_metadata`], with a timeout.
    ///
    /// # Errors
    /// The group coordinator's error, or a timeout.
    pub fn committed_with_metadata_within(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Commits, KafkaError> {
        let what = "the group's committed offsets could not be read";
        if partitions.is_empty() {
            return Ok(Commits::new());
        }
        commits_of(&self.committed_list(partitions, timeout, what)?, what)
    }

    /// Like [`ClusterClient::commit`], with the given metadata.
    ///
    /// # Errors
    /// The group coordinator's error.
    pub fn commit_with_metadata(&self, committed: &Commits) -> Result<(), KafkaError> {
        if committed.is_empty() {
            return Ok(());
        }
        let texts = committed.iter().map(|(partition, committed)| (partition, committed.offset, &*committed.metadata));
        self.commit_list(&list_to_commit(texts)?)
    }

    /// Commits offsets of topics with these ids for `consumer.group_id`, which must have no members.
    ///
    /// # Errors
    /// The group coordinator's error.
    pub fn commit(&self, offsets: &Offsets, metadata: &CommitMetadata, topic_ids: &TopicIds) -> Result<(), KafkaError> {
        let committed = offsets.iter().map(|(partition, offset)| {
            let metadata = metadata.of_topic(topic_ids.get(&partition.topic));
            (partition.clone(), Committed { offset: *offset, metadata })
        });
        self.commit_with_metadata(&committed.collect())
    }

    fn commit_list(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        let what = "offsets could not be committed";
        let deadline = Instant::now() + self.remaining();
        let reply =
            group_coordinator::retry_while_coordinator_loading(deadline, || self.client.commit(list, CommitMode::Sync));
        self.serve_events();
        let topic = list.elements().first().map(|element| Right::ReadTopic(element.topic().to_owned()));
        let needs = Needs { topic, group: Some(Right::ReadGroup(self.group.clone())) };
        reply.map_err(|error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::IllegalGeneration) => KafkaError::Request {
                what: format!(
                    "the group {:?} (consumer.group_id) is in use by other consumers, which subscribe with it",
                    self.group
                ),
                reason: format!(
                    "Kafka takes no commits from here ({}); choose another group, or stop them",
                    super::error::reason(&error)
                ),
            },
            _ => KafkaError::of_denied(&needs, what, &error).unwrap_or_else(|| self.failed(what, &error)),
        })
    }
}

/// The time until `deadline`, at least 50 ms, so that a fast reply is still received.
fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(50))
}

fn is_timeout<T>(reply: &KafkaResult<T>) -> bool {
    let code = reply.as_ref().err().and_then(RdKafkaError::rdkafka_error_code);
    matches!(code, Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut))
}

fn is_leaderless(error: &RdKafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                // The client's own code for a partition that the brokers list without a leader.
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}
