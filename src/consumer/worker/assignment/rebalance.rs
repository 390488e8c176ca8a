//! Rebalances of the group, and errors of partitions' offsets. On the `kafka-poll` thread.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use slog::warn;

use super::Assignment;
use crate::consumer::protocol::{FailureKind, PartitionAssignment, Revocation, WorkerFailure};
use crate::consumer::start_offset::{self, Begin};
use crate::consumer::worker::messages::AssignmentKind;
use crate::kafka::commit_metadata::of_topic_before;
use crate::kafka::consumer::Consumer;
use crate::kafka::error::KafkaError;
use crate::kafka::topic_id::Recreated;
use crate::record::TopicPartition;
use crate::settings::{AutoOffsetReset, OffsetOutOfRange};

/// The delay between two attempts to fetch offsets.
const OFFSET_RETRY_INTERVAL: Duration = Duration::from_millis(200);

impl Assignment {
    pub(super) fn on_assigned(&mut self, partitions: Vec<TopicPartition>) {
        let opened = self.assignments_of(&partitions).and_then(|assignments| {
            self.open_partitions(&assignments, AssignmentKind::Added).map_err(|failure| failure_of(&failure))
        });
        let Err(failure) = opened else { return self.instance_id_retry.on_accepted() };
        // The group requires an acknowledgement, even if this worker fails.
        if let Some(Err(failure)) = self.consumer.as_ref().map(|consumer| consumer.assign(&[])) {
            warn!(self.context.logger, "{failure}");
        }
        self.report_failure(failure);
    }

    /// The partitions with their start offsets.
    fn assignments_of(&self, partitions: &[TopicPartition]) -> Result<Vec<PartitionAssignment>, WorkerFailure> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let topics: BTreeSet<_> = partitions.iter().map(|name| name.topic.clone()).collect();
        let topics: Vec<_> = topics.into_iter().collect();
        let fetch = |consumer: &Consumer, timeout| {
            // Fetched first: the offsets below may belong to a topic that is created again meanwhile, which its
            // next id reveals.
            let topic_ids = consumer.topic_ids(&topics, timeout)?;
            let committed = consumer.committed_with_metadata(partitions, timeout)?;
            // A committed offset needs no leader. If it is not in the log any more, the first fetch reports it.
            let is_new = |name: &&TopicPartition| {
                committed.get(name).is_none_or(|committed| {
                    of_topic_before(&name.topic, committed, topic_ids.get(&name.topic)).is_some()
                })
            };
            let new: Vec<_> = partitions.iter().filter(is_new).cloned().collect();
            let watermarks = if new.is_empty() { BTreeMap::new() } else { consumer.watermarks(&new, timeout)? };
            Ok((topic_ids, committed, watermarks))
        };
        let (topic_ids, committed, watermarks) =
            self.fetch_start_offsets(fetch).map_err(|failure| failure_of(&failure))?;
        let settings = &self.context.config.settings.consumer;
        let start = |name: &TopicPartition| {
            // Fetched for each partition without a committed offset of its current topic.
            let missing = || WorkerFailure::of_worker(FailureKind::Transient, format!("no watermarks of {name}"));
            let known = || watermarks.get(name).copied().ok_or_else(missing);
            let topic_id = topic_ids.get(&name.topic);
            let start = match committed.get(name) {
                None => start_offset::reset_offset(settings, known()?, self.is_added(name)),
                Some(committed) => match of_topic_before(&name.topic, committed, topic_id) {
                    None => committed.offset,
                    Some(recreated) => self.offset_of(
                        name,
                        start_offset::of_recreated(settings.offset_out_of_range, &recreated, known()?),
                    )?,
                },
            };
            Ok(PartitionAssignment { partition: name.clone(), start, until: None, topic_id: topic_id.cloned() })
        };
        let assignments = partitions.iter().map(start).collect::<Result<Vec<_>, _>>()?;
        // Committed soon, even if no message follows: at the next rebalance the high watermark would be a
        // different one, behind messages that were never processed. The commit of a previous topic has to be
        // replaced as well.
        let is_valid = |start: &&PartitionAssignment| match committed.get(&start.partition) {
            Some(committed) => of_topic_before(&start.partition.topic, committed, start.topic_id.as_ref()).is_none(),
            None => settings.auto_offset_reset != AutoOffsetReset::Latest,
        };
        assignments
            .iter()
            .filter(|start| !is_valid(start))
            .for_each(|start| self.state_of(start).record_stored(start.start));
        Ok(assignments)
    }

    /// Whether a partition was added to its topic while the run consumes it.
    fn is_added(&self, name: &TopicPartition) -> bool {
        let member = self.context.config.member.as_ref();
        let before = member.and_then(|member| member.partitions_at_start.get(&name.topic));
        before.is_some_and(|before| name.partition >= *before)
    }

    /// Repeats the query until there is a reply, the rebalance timeout is over, or the worker stops.
    fn fetch_start_offsets<T>(
        &self,
        fetch: impl Fn(&Consumer, Duration) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let settings = &self.context.config.settings;
        let (begun, deadline) = (Instant::now(), settings.consumer.membership.revoke_timeout);
        loop {
            let Some(consumer) = &self.consumer else {
                return Err(KafkaError::Request {
                    what: "offsets".to_owned(),
                    reason: "there is no client".to_owned(),
                });
            };
            let left = deadline.saturating_sub(begun.elapsed()).max(OFFSET_RETRY_INTERVAL);
            let reply = fetch(consumer, left.min(settings.kafka.request_timeout()));
            let over = begun.elapsed() >= deadline || self.context.flags.is_shutting_down();
            if reply.is_ok() || reply.as_ref().is_err_and(KafkaError::is_denied) || over {
                return reply;
            }
            std::thread::sleep(OFFSET_RETRY_INTERVAL);
        }
    }

    /// The offset at which a partition continues; logs a jump.
    fn offset_of(&self, name: &TopicPartition, begin: Begin) -> Result<i64, WorkerFailure> {
        match begin {
            Begin::At(offset) => Ok(offset),
            Begin::Jump(offset, text) => {
                warn!(self.context.logger, "{name}: {text}"; "topic" => &name.topic, "partition" => name.partition);
                Ok(offset)
            }
            Begin::Nowhere(text) => Err(WorkerFailure::of_worker(FailureKind::Permanent, format!("{name}: {text}"))),
        }
    }

    /// Handles a position that is not in the log: continues at the offset that the settings require.
    pub(in crate::consumer::worker) fn on_out_of_range(&mut self, name: TopicPartition, offset: i64) {
        // The partition was revoked or moved meanwhile: the old position does not matter.
        if self.assigned().get(&name).is_none_or(|state| state.next() != offset) {
            return;
        }
        let these = [name.clone()];
        let policy = self.context.config.settings.consumer.offset_out_of_range;
        if self.context.flags.is_shutting_down() {
            // The next start finds the same error, and the last commit must not wait for it.
            return;
        }
        let (topics, before) = ([name.topic.clone()], self.assigned().get(&name).and_then(|state| state.topic_id()));
        let found = self.fetch_start_offsets(|consumer, timeout| {
            Ok((consumer.topic_ids(&topics, timeout)?, consumer.watermarks(&these, timeout)?))
        });
        let (topic_ids, watermarks) = match found {
            Ok(found) => found,
            Err(failure) => return self.report_failure(failure_of(&failure)),
        };
        let Some(&known) = watermarks.get(&name) else { return };
        let is_compared = !self.context.config.settings.consumer.metadata_refresh_interval.is_zero();
        let changed =
            before.zip(topic_ids.get(&name.topic).cloned()).filter(|(before, now)| is_compared && before != now);
        let begin = match changed {
            Some((before, now)) if policy == OffsetOutOfRange::Stop => {
                start_offset::of_recreated(policy, &Recreated { topic: name.topic.clone(), before, now }, known)
            }
            // The supervisor compares the ids, too, and sends a restart for all partitions of the topic. Until
            // then nothing is fetched: offsets of the new topic must not be committed as offsets of the old one.
            Some(_) => return,
            None => start_offset::requested_offset(policy, offset, known),
        };
        let at = match self.offset_of(&name, begin) {
            Ok(at) => at,
            Err(failure) => return self.report_failure(failure),
        };
        if !self.stop_partitions(&these, Revocation::Committed) {
            return;
        }
        // If this commit fails, the next one replaces it.
        self.commit_these(&these);
        let unassigned = self.consumer.as_ref().map_or(Ok(()), |consumer| consumer.unassign(&these));
        if let Some(state) = self.assigned().get(&name) {
            // Even if no message follows: the same gap must not be reported again.
            state.seek(at);
            state.record_stored(at);
        }
        let topic_id = self.assigned().get(&name).and_then(|state| state.topic_id());
        let start = PartitionAssignment { partition: name, start: at, until: None, topic_id };
        if let Err(failure) = unassigned.and_then(|()| self.open_partitions(&[start], AssignmentKind::Reopened)) {
            self.fail(FailureKind::Transient, failure);
            return;
        }
        // The client commits only what follows, and possibly no message follows.
        self.commit_these(&these);
    }

    /// Restarts partitions whose topic was created again, at the offsets that the supervisor has requested. What
    /// was processed of the previous topic is not committed.
    pub(in crate::consumer::worker) fn restart(&mut self, mut assignments: Vec<PartitionAssignment>) {
        {
            let assigned = self.assigned();
            let is_old = |start: &PartitionAssignment| {
                assigned.get(&start.partition).is_some_and(|state| state.topic_id() != start.topic_id)
            };
            assignments.retain(is_old);
        }
        let names: Vec<_> = assignments.iter().map(|start| start.partition.clone()).collect();
        if names.is_empty() || !self.stop_partitions(&names, Revocation::Committed) {
            return;
        }
        let unassigned = self.consumer.as_ref().map_or(Ok(()), |consumer| consumer.unassign(&names));
        for start in &assignments {
            self.state_of(start).restart(start.start);
        }
        if let Err(failure) = unassigned.and_then(|()| self.open_partitions(&assignments, AssignmentKind::Restarted)) {
            self.fail(FailureKind::Transient, failure);
        }
    }
}

/// A missing right is missing after a restart, too.
fn failure_of(failure: &KafkaError) -> WorkerFailure {
    let kind = if failure.is_denied() { FailureKind::Permanent } else { FailureKind::Transient };
    WorkerFailure::of_worker(kind, failure)
}
