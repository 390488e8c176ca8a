//! The assignment of a worker: its Kafka client and the partitions that it consumes. Lives on the `kafka-poll`
//! thread.
//!
//! A partition is opened in this order: its queue is split off, it is assigned, its actor is started. It is
//! revoked in this order: its actor finishes the message in flight, stores its offset and drops the queue; the
//! offset is committed; the partition is unassigned; the supervisor is informed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Instant;

use actix::Recipient;
use slog::Logger;

use super::commit_timer::CommitTimer;
use super::commit_tracker::{AssignedPartitions, CommitTracker};
use super::history_writer::{HistoryWriter, no_history};
use super::instance_id_retry::InstanceIdRetry;
use super::latency_recorder::SharedLatencies;
use super::messages::{AssignmentKind, NewPartition, PartitionEvent, PartitionsStop, PollEvent};
use super::partition_state::PartitionState;
use super::worker_flags::WorkerFlags;
use crate::consumer::protocol::{FailureKind, PartitionAssignment, Revocation, WorkerConfig, WorkerFailure};
use crate::kafka::consumer::Consumer;
use crate::kafka::dead_letter_producer;
use crate::kafka::error::KafkaError;
use crate::record::TopicPartition;
use crate::util::format::join;

mod client;
mod final_commit;
mod offset_commits;
mod rebalance;

/// The reason for which nothing is committed after the lease has expired.
const UNCONFIRMED: &str = "the supervisor has not confirmed that it holds the lock on the group";

/// The context of the poll thread.
pub(super) struct PollThreadContext {
    pub(super) config: Arc<WorkerConfig>,
    pub(super) history: Option<Arc<HistoryWriter>>,
    pub(super) flags: Arc<WorkerFlags>,
    pub(super) events: Recipient<PartitionEvent>,
    pub(super) manager: Recipient<PollEvent>,
    pub(super) latencies: SharedLatencies,
    pub(super) logger: Logger,
}

/// The Kafka client and its partitions.
pub(super) struct Assignment {
    context: PollThreadContext,
    /// `None` while the brokers do not accept a client.
    consumer: Option<Consumer>,
    assigned: Arc<Mutex<AssignedPartitions>>,
    commits: Arc<CommitTracker>,
    /// When the worker commits, for offsets that the client does not commit automatically.
    timer: CommitTimer,
    /// A failure was reported: the worker shuts down.
    has_failed: bool,
    /// The prefetched messages are near the memory limit, which has to be checked often.
    is_tight: bool,
    /// Partitions that the group has revoked while a message of theirs is in flight: acknowledged when the
    /// client is closed.
    unacknowledged: Vec<TopicPartition>,
    instance_id_retry: InstanceIdRetry,
    health_reported: Instant,
}

impl Assignment {
    pub(super) fn new(context: PollThreadContext) -> Self {
        let assigned = Arc::default();
        let PollThreadContext { config, history, latencies, events, logger, .. } = &context;
        let commits = CommitTracker::new(
            config,
            Arc::clone(&assigned),
            history.clone(),
            latencies,
            events.clone(),
            logger.clone(),
        );
        Self {
            commits: Arc::new(commits),
            timer: CommitTimer::new(context.config.settings.consumer.commit_interval),
            context,
            consumer: None,
            assigned,
            has_failed: false,
            is_tight: true,
            unacknowledged: Vec::new(),
            instance_id_retry: InstanceIdRetry::default(),
            health_reported: Instant::now(),
        }
    }

    /// Creates the client and opens the partitions that the worker was started with, or joins the group.
    pub(super) fn begin(&mut self) {
        let config = Arc::clone(&self.context.config);
        let checked = dead_letter_producer::check(&config.settings, &self.context.logger);
        if let Err(failure) = checked.and_then(|()| self.connect(&config.partitions, AssignmentKind::First)) {
            self.fail(FailureKind::Permanent, failure);
        }
    }

    pub(super) fn is_tight(&self) -> bool {
        self.is_tight
    }

    pub(super) fn has_client(&self) -> bool {
        self.consumer.is_some()
    }

    fn assigned(&self) -> MutexGuard<'_, AssignedPartitions> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&mut self, kind: FailureKind, reason: impl ToString) {
        self.report_failure(WorkerFailure::of_worker(kind, reason));
    }

    /// Reports the first failure. The worker shuts down.
    fn report_failure(&mut self, failure: WorkerFailure) {
        if !std::mem::replace(&mut self.has_failed, true) {
            self.context.events.do_send(PartitionEvent::Failed(failure));
        }
    }

    fn open_partitions(&self, assignments: &[PartitionAssignment], kind: AssignmentKind) -> Result<(), KafkaError> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        // All queues are split off before any partition is assigned.
        let queues = assignments
            .iter()
            .map(|start| consumer.split_partition_queue(&start.partition, start.topic_id.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(history) = &self.context.history {
            history
                .assigned(assignments)
                .map_err(|error| KafkaError::Request { what: "the history".to_owned(), reason: no_history(&error) })?;
        }
        let mut partitions = Vec::with_capacity(assignments.len());
        for (assignment, queue) in assignments.iter().zip(queues) {
            let state = self.state_of(assignment);
            if self.commits_itself() && state.last_stored().is_none() {
                state.starts_committed(assignment.start);
            }
            let PartitionAssignment { start: start_offset, until: stop_offset, topic_id, .. } = assignment.clone();
            partitions.push(NewPartition { queue: Box::new(queue), state, start_offset, stop_offset, topic_id });
        }
        let offsets: Vec<_> = assignments.iter().map(|start| (start.partition.clone(), start.start)).collect();
        // The group requires an acknowledgement of every assignment, also of an empty one.
        if !assignments.is_empty() || kind == AssignmentKind::Added {
            consumer.assign(&offsets)?;
        }
        self.context.manager.do_send(PollEvent::Assigned { partitions, kind });
        Ok(())
    }

    /// The state of a partition, moved to the new start offset; created if the worker does not have it yet.
    fn state_of(&self, assignment: &PartitionAssignment) -> Arc<PartitionState> {
        let mut assigned = self.assigned();
        let new = || PartitionState::new(assignment.partition.clone(), assignment.start);
        let state = assigned.entry(assignment.partition.clone()).or_insert_with(new);
        state.seek(assignment.start);
        state.set_topic_id(assignment.topic_id.clone());
        state.set_fetch_paused(false);
        Arc::clone(state)
    }

    /// Waits until the actors of these partitions have stopped and dropped their queues. Returns `false` after
    /// reporting an error if a handler hangs.
    fn stop_partitions(&mut self, partitions: &[TopicPartition], revocation: Revocation) -> bool {
        let (done, stopped) = mpsc::sync_channel(1);
        self.context.manager.do_send(PollEvent::Stop(PartitionsStop {
            partitions: partitions.to_vec(),
            revocation,
            done,
        }));
        let timeout = self.context.config.settings.consumer.membership.revoke_timeout;
        match stopped.recv_timeout(timeout) {
            // If the manager is gone, the process is ending.
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => true,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let reason = format!(
                    "{} could not be revoked: the message in flight was not finished within {timeout:?} \
                     (consumer.membership.revoke_timeout)",
                    join(partitions)
                );
                self.fail(FailureKind::Transient, reason);
                false
            }
        }
    }

    /// Revokes partitions and reports it, which also acknowledges the rebalance. If a message of theirs does not
    /// finish in time, they are not released: this worker ends, and its exit releases them.
    fn revoke(&mut self, partitions: Vec<TopicPartition>, revocation: Revocation) {
        let known: Vec<_> = {
            let assigned = self.assigned();
            partitions.iter().filter(|name| assigned.contains_key(name)).cloned().collect()
        };
        let revocation = match revocation {
            _ if known.is_empty() => revocation,
            Revocation::Lost => {
                // The actors stop at once. One that blocks its thread stores nothing that could still be
                // committed.
                self.stop_partitions(&known, Revocation::Lost);
                Revocation::Lost
            }
            Revocation::Committed if !self.stop_partitions(&known, Revocation::Committed) => {
                // The next owner would process again what is processed here. A supervisor waits until this
                // process has exited. A group waits for the acknowledgement, which comes when the client closes,
                // after the last commit. It waits at most for max.poll.interval.ms (a running member) or for the
                // session timeout (a killed member). After that the partitions are lost in any case.
                if self.context.config.member.is_some() {
                    self.unacknowledged.extend(partitions);
                }
                return;
            }
            Revocation::Committed if self.commit_these(&known) => Revocation::Committed,
            Revocation::Committed => Revocation::Lost,
        };
        if revocation == Revocation::Lost
            && !known.is_empty()
            && let Some(history) = &self.context.history
        {
            history.record_lost_assignment();
        }
        self.assigned().retain(|name, _| !partitions.contains(name));
        self.unacknowledged.retain(|name| !partitions.contains(name));
        // Sent before the revocation completes, and thus before the next owner starts: the worker does nothing
        // for these partitions any more.
        self.context.manager.do_send(PollEvent::Revoked { partitions: partitions.clone(), revocation });
        if let Some(Err(failure)) = self.consumer.as_ref().map(|consumer| consumer.unassign(&partitions)) {
            self.fail(FailureKind::Transient, failure);
        }
    }

    /// Opens further partitions. Partitions that the worker has already continue.
    pub(super) fn add(&mut self, assignments: &[PartitionAssignment]) {
        let new: Vec<_> = {
            let assigned = self.assigned();
            assignments.iter().filter(|start| !assigned.contains_key(&start.partition)).cloned().collect()
        };
        if let Err(failure) = self.open_partitions(&new, AssignmentKind::Added) {
            self.fail(FailureKind::Transient, failure);
        }
    }

    /// Revokes partitions on the supervisor's command. The reply includes partitions that the worker does not
    /// have.
    pub(super) fn revoke_requested(&mut self, partitions: Vec<TopicPartition>) {
        let (known, unknown): (Vec<_>, Vec<_>) = {
            let assigned = self.assigned();
            partitions.into_iter().partition(|name| assigned.contains_key(name))
        };
        if !unknown.is_empty() {
            let revocation = Revocation::Committed;
            self.context.manager.do_send(PollEvent::Revoked { partitions: unknown, revocation });
        }
        if !known.is_empty() {
            self.revoke(known, Revocation::Committed);
        }
    }
}
