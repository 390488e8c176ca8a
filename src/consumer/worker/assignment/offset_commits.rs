//! Offset commits of a worker. On the `kafka-poll` thread.
//!
//! The client of a group member commits stored offsets automatically: a group with members accepts commits from
//! members only. With manual assignment Kafka accepts a commit from any client, and a later commit silently
//! replaces an earlier one. An offset that an operator has set meanwhile (`kafka-consumer-groups
//! --reset-offsets`) must stay: the worker therefore commits explicitly, and reads the group's offsets right
//! before. An offset with metadata other than its run's is never overwritten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::{debug, warn};

use super::{Assignment, UNCONFIRMED};
use crate::consumer::worker::commit_timer::CommitScope;
use crate::consumer::worker::commit_tracker::AssignedPartitions;
use crate::consumer::worker::partition_state::PartitionState;
use crate::kafka::consumer::{CommitResult, Consumer};
use crate::kafka::error::KafkaError;
use crate::record::TopicPartition;

/// How long the read of the group's offsets may take before a scheduled commit: commands of the supervisor wait
/// meanwhile.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// The same before a commit that others wait for. A change of the coordinator takes a second or two.
const LAST_CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The result of a commit that was not sent because the group's offsets could not be read.
fn unsent(failure: &KafkaError) -> CommitResult {
    let reason = failure.to_string();
    if failure.is_denied() {
        CommitResult::Denied { committed: Vec::new(), reason }
    } else {
        CommitResult::Failed(reason)
    }
}

impl Assignment {
    /// Whether the worker commits explicitly, because its client commits nothing automatically.
    pub(super) fn commits_itself(&self) -> bool {
        self.context.config.member.is_none() && !self.is_read_only()
    }

    fn is_read_only(&self) -> bool {
        self.context.config.settings.consumer.read_only
    }

    /// Schedules a commit of all positions at once.
    pub(in crate::consumer::worker) fn refresh_commits(&mut self) {
        if self.commits_itself() {
            self.timer.refresh();
        }
    }

    /// Commits stored offsets each `consumer.commit_interval`, without waiting for the result.
    pub(super) fn commit_on_interval(&mut self) {
        let Some(consumer) = self.consumer.as_ref().filter(|_| self.commits_itself()) else { return };
        self.timer.set_suspended(self.context.flags.lease.is_suspended());
        // Two commits in flight could arrive in the other order.
        if self.commits.is_under_way() {
            return;
        }
        let Some(scope) = self.timer.take_due(Instant::now()) else { return };
        let offset = |state: &Arc<PartitionState>| match scope {
            CommitScope::All => state.last_stored(),
            CommitScope::Uncommitted => state.uncommitted(),
        };
        let assigned = self.assigned().clone();
        let stored: Vec<_> = assigned.iter().filter_map(|(name, state)| Some((name.clone(), offset(state)?))).collect();
        if stored.is_empty() {
            return;
        }
        let started = self.committable(consumer, stored, &assigned, CHECK_TIMEOUT).and_then(|own| {
            if !own.is_empty() {
                consumer.start_commit(&own)?;
                self.commits.begin_commit();
            }
            Ok(())
        });
        if let Err(failure) = started {
            if failure.is_denied() {
                self.commits.on_commit_result(&unsent(&failure));
                return;
            }
            // Without a coordinator a commit would fail, too: try at the next interval.
            debug!(self.context.logger, "the commit is postponed: {failure}");
            if scope == CommitScope::All {
                self.timer.refresh_later();
            }
        }
    }

    /// Whether the supervisor has confirmed recently that it holds the lock on the group.
    fn check_lease(&self) -> Result<(), KafkaError> {
        if self.context.flags.lease.may_commit() {
            return Ok(());
        }
        Err(KafkaError::Request { what: "offsets could not be committed".to_owned(), reason: UNCONFIRMED.to_owned() })
    }

    /// Filters the offsets that may be committed: no other client has committed for their partitions.
    fn committable(
        &self,
        consumer: &Consumer,
        mut offsets: Vec<(TopicPartition, i64)>,
        assigned: &AssignedPartitions,
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, i64)>, KafkaError> {
        if !self.commits_itself() || offsets.is_empty() {
            return Ok(offsets);
        }
        let names: Vec<_> = offsets.iter().map(|(name, _)| name.clone()).collect();
        self.check_lease()?;
        // If the commit of a partition cannot be read, the commit itself reports why: usually a missing
        // permission.
        let (commits, unknown) = consumer.committed_or_unknown(&names, timeout)?;
        for name in names.iter().filter(|name| !commits.contains_key(name) && !unknown.contains(name)) {
            if let Some(known) = assigned.get(name).and_then(|state| state.last_committed()) {
                warn!(
                    self.context.logger,
                    "{name}: the committed offset {known} is gone: another client has deleted it, or it has expired; \
                     the position is committed again";
                    "topic" => &name.topic, "partition" => name.partition
                );
            }
        }
        let (_, foreign) = self.context.config.commit_metadata.separate(commits);
        offsets.retain(|(name, _)| foreign.iter().all(|foreign| foreign.partition != *name));
        self.commits.found_foreign(foreign);
        // Reading the offsets may have taken a while.
        self.check_lease()?;
        Ok(offsets)
    }

    /// Commits the stored offsets of these partitions, and waits for the result. Returns whether it succeeded.
    pub(super) fn commit_these(&self, partitions: &[TopicPartition]) -> bool {
        match self.commit_stored(partitions) {
            CommitResult::Done(_) => true,
            CommitResult::Failed(reason) | CommitResult::Refused(reason) | CommitResult::Denied { reason, .. } => {
                warn!(
                    self.context.logger,
                    "offset commit before revocation failed; messages since the last commit will be reprocessed by the \
                     next owner: {reason}"
                );
                false
            }
        }
    }

    /// Commits the stored offsets of these partitions explicitly. After late commits it includes offsets that
    /// are known as committed, and commits twice: see [`CommitTracker::recommit_delay`].
    pub(super) fn commit_stored(&self, partitions: &[TopicPartition]) -> CommitResult {
        let consumer = self.consumer.as_ref().filter(|_| !self.is_read_only());
        let Some(consumer) = consumer else { return CommitResult::Done(Vec::new()) };
        let assigned = self.assigned().clone();
        let settle = self.commits.recommit_delay(&assigned);
        let offset = |state: &Arc<PartitionState>| match settle.is_zero() {
            true => state.uncommitted(),
            false => state.last_stored(),
        };
        let stored = partitions.iter().filter_map(|name| Some((name.clone(), offset(assigned.get(name)?)?)));
        let stored = match self.committable(consumer, stored.collect(), &assigned, LAST_CHECK_TIMEOUT) {
            Ok(stored) => stored,
            Err(failure) => {
                let commit = unsent(&failure);
                self.commits.count(&commit);
                return commit;
            }
        };
        let mut commit = consumer.commit(&stored);
        if !settle.is_zero() && matches!(commit, CommitResult::Done(_)) {
            std::thread::sleep(settle);
            commit = consumer.commit(&stored);
        }
        self.commits.count(&commit);
        if let CommitResult::Done(offsets) | CommitResult::Denied { committed: offsets, .. } = &commit {
            self.commits.on_committed(offsets, &assigned);
        }
        commit
    }

    /// Commits again what an earlier commit has undone.
    pub(super) fn repeat_undone_commits(&self) {
        if self.commits.take_needs_recommit() {
            let names: Vec<_> = self.assigned().keys().cloned().collect();
            match self.commit_stored(&names) {
                CommitResult::Done(_) => {}
                commit => self.commits.on_commit_result(&commit),
            }
        }
    }
}
