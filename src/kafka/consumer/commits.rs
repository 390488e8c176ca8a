//! Commits, and the group's committed offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::{Consumer, LEAVE_POLL_INTERVAL};
use crate::kafka::consumer_context::{CommitResult, commit_of};
use crate::kafka::error::KafkaError;
use crate::kafka::ffi::commit;
use crate::kafka::group_coordinator;
use crate::kafka::offsets::{Commits, commits_of, known_commits_of, list_of, list_to_commit, unknown_of};
use crate::record::TopicPartition;

/// The operation in errors about committed offsets.
const COMMITTED: &str = "the group's committed offsets could not be read";
/// How long a commit waits for a new coordinator. Kafka moves a group to another broker within 1 to 2 s.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(5);

impl Consumer {
    fn list_to_commit<'a>(
        &self,
        offsets: impl Iterator<Item = &'a (TopicPartition, i64)>,
    ) -> Result<TopicPartitionList, KafkaError> {
        let texts = self.texts();
        let text = |name| texts.get(name).map_or("", |text| &**text);
        list_to_commit(offsets.map(|(name, offset)| (name, *offset, text(name))))
    }

    /// Commits the offsets and waits for the brokers. librdkafka controls the wait: up to `session.timeout.ms` to
    /// find the coordinator and up to `socket.timeout.ms` for its reply. The supervisor kills a worker that still
    /// waits at the shutdown timeout; other callers must allow that time.
    pub fn commit(&self, offsets: &[(TopicPartition, i64)]) -> CommitResult {
        if offsets.is_empty() {
            return CommitResult::Done(Vec::new());
        }
        if self.is_member && self.consumer.assignment_lost() {
            // After the group has fenced the member, librdkafka's request has no member id and would succeed if the
            // group were empty.
            return CommitResult::Refused("the group has assigned the partitions to other members".to_owned());
        }
        let commit = self.commit_list(offsets.iter());
        let mut by_topic = BTreeMap::<&str, Vec<_>>::new();
        offsets.iter().for_each(|offset| by_topic.entry(&offset.0.topic).or_default().push(offset));
        if !matches!(commit, CommitResult::Denied { .. }) || by_topic.len() < 2 {
            return commit;
        }
        // The right on one of the topics is missing: commit per topic to learn which commits succeed.
        let (mut done, mut denied) = (Vec::new(), None);
        for of_topic in by_topic.into_values() {
            match self.commit_list(of_topic.into_iter()) {
                CommitResult::Done(offsets) => done.extend(offsets),
                CommitResult::Denied { reason, .. } => denied = Some(reason),
                other => return other,
            }
        }
        match denied {
            Some(reason) => CommitResult::Denied { committed: done, reason },
            None => CommitResult::Done(done),
        }
    }

    fn commit_list<'a>(&self, offsets: impl Iterator<Item = &'a (TopicPartition, i64)>) -> CommitResult {
        let list = match self.list_to_commit(offsets) {
            Ok(list) => list,
            Err(failure) => return CommitResult::Failed(failure.to_string()),
        };
        let result = group_coordinator::retry_while_coordinator_loading(Instant::now() + COORDINATOR_TIMEOUT, || {
            self.consumer.commit(&list, CommitMode::Sync)
        });
        commit_of(result, &list, self.group()).unwrap_or(CommitResult::Done(Vec::new()))
    }

    /// Commits the offsets without waiting: [`Consumer::poll`] reports the result.
    ///
    /// # Errors
    /// librdkafka does not accept the request.
    pub fn start_commit(&self, offsets: &[(TopicPartition, i64)]) -> Result<(), KafkaError> {
        let list = self.list_to_commit(offsets.iter())?;
        commit::start(&self.consumer, &list)
            .map_err(|error| KafkaError::request("a commit could not be requested", &error))
    }

    /// The group's committed offsets.
    ///
    /// # Errors
    /// The group coordinator's error, or a timeout.
    pub fn committed_with_metadata(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Commits, KafkaError> {
        commits_of(&self.committed_list(partitions, timeout)?, COMMITTED)
    }

    /// Like [`Consumer::committed_with_metadata`]; also returns the partitions for which the coordinator reported an
    /// error.
    ///
    /// # Errors
    /// The group coordinator's error, if it concerns all partitions, or a timeout.
    pub fn committed_or_unknown(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<(Commits, BTreeSet<TopicPartition>), KafkaError> {
        let list = self.committed_list(partitions, timeout)?;
        Ok((known_commits_of(&list), unknown_of(&list)))
    }

    fn committed_list(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<TopicPartitionList, KafkaError> {
        let (list, deadline) = (list_of(partitions, Offset::Invalid)?, Instant::now() + timeout);
        let left = || deadline.saturating_duration_since(Instant::now()).max(LEAVE_POLL_INTERVAL);
        let reply = group_coordinator::retry_while_coordinator_loading(deadline, || {
            self.consumer.committed_offsets(list.clone(), left())
        });
        reply.map_err(|error| KafkaError::of_request(&self.needs(None), COMMITTED, &error))
    }
}
