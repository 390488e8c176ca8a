//! Consumer groups: members and committed offsets.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError as RdKafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::{ClusterClient, LEADER_POLL_INTERVAL, time_left};
use crate::kafka::acl::{Needs, Right};
use crate::kafka::commit_metadata::CommitMetadata;
use crate::kafka::error::{KafkaError, reason};
use crate::kafka::ffi::group::{GroupMember, Inquiry};
use crate::kafka::group_coordinator;
use crate::kafka::offsets::{
    Commits, Committed, Offsets, commits_of, known_commits_of, list_of, list_to_commit, unknown_of,
};
use crate::kafka::topic_id::TopicIds;
use crate::record::TopicPartition;

/// The operation in errors about committed offsets.
const COMMITTED: &str = "the group's committed offsets could not be read";
/// The timeout of the first request to a group coordinator. librdkafka reports a missing right separately from the
/// request; if the right exists, the request is repeated with the remaining time.
const FIRST_REPLY_TIMEOUT: Duration = Duration::from_secs(2);

impl ClusterClient {
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
        if partitions.is_empty() {
            return Ok((Commits::new(), BTreeSet::new()));
        }
        let list = self.committed_list(partitions, self.remaining())?;
        Ok((known_commits_of(&list), unknown_of(&list)))
    }

    fn committed_list(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<TopicPartitionList, KafkaError> {
        let list = list_of(partitions, Offset::Invalid)?;
        let reply =
            self.request_from_group(COMMITTED, timeout, |time| self.client.committed_offsets(list.clone(), time))?;
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
        if partitions.is_empty() {
            return Ok(Commits::new());
        }
        commits_of(&self.committed_list(partitions, timeout)?, COMMITTED)
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
                    reason(&error)
                ),
            },
            _ => KafkaError::of_denied(&needs, what, &error).unwrap_or_else(|| self.failed(what, &error)),
        })
    }
}

fn is_timeout<T>(reply: &KafkaResult<T>) -> bool {
    let code = reply.as_ref().err().and_then(RdKafkaError::rdkafka_error_code);
    matches!(code, Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut))
}
