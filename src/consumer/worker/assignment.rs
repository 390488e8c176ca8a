//! The assignment of a worker: its Kafka client and the partitions that it consumes. Lives on the `kafka-poll`
//! thread.
//!
//! A partition is opened in this order: its queue is split off, it is assigned, its actor is started. It is
//! revoked in this order: its actor finishes the message in flight, stores its offset and drops the queue; the
//! offset is committed; the partition is unassigned; the supervisor is informed.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use actix::Recipient;
use slog::{Logger, warn};

use super::commit_timer::CommitTimer;
use super::commit_tracker::{AssignedPartitions, CommitTracker};
use super::history_writer::{HistoryWriter, no_history};
use super::messages::{AssignmentKind, NewPartition, PartitionEvent, PollEvent};
use super::partition_state::PartitionState;
use super::shared::{SharedLatencies, WorkerFlags};
use crate::consumer::protocol::{PartitionAssignment, WorkerConfig, WorkerHealth};
use crate::kafka::consumer::{Consumer, ConsumerRole};
use crate::kafka::dead_letter_producer;
use crate::kafka::error::KafkaError;
use crate::record::TopicPartition;

/// How long the close of a replaced client may take: without brokers it would take the session timeout.
const OLD_CLIENT_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the worker reports whether its client reaches the cluster.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// The reason for which nothing is committed after the lease has expired.
pub(super) const UNCONFIRMED: &str = "the supervisor has not confirmed that it holds the lock on the group";

/// The context of the poll thread.
pub(super) struct PollThreadContext {
    pub(super) start: Arc<WorkerConfig>,
    pub(super) history: Option<Arc<HistoryWriter>>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) orders: Arc<WorkerFlags>,
    pub(super) events: Recipient<PartitionEvent>,
    pub(super) router: Recipient<PollEvent>,
    pub(super) outbox: SharedLatencies,
    pub(super) logger: Logger,
}

/// The Kafka client and its partitions.
pub(super) struct Assignment {
    pub(super) work: PollThreadContext,
    /// `None` while the brokers do not accept a client.
    pub(super) reader: Option<Consumer>,
    held: Arc<Mutex<AssignedPartitions>>,
    pub(super) commits: Arc<CommitTracker>,
    /// When the worker commits, for offsets that the client does not commit automatically.
    pub(super) timer: CommitTimer,
    /// Whether the lease had expired at the last check.
    pub(super) was_suspended: bool,
    /// A fatal error of the client was reported.
    broken: bool,
    /// The prefetched messages are near the memory limit, which has to be checked often.
    pub(super) is_tight: bool,
    /// Partitions that the group has revoked while a message of theirs is in flight: acknowledged when the
    /// client is closed.
    pub(super) unacknowledged: Vec<TopicPartition>,
    /// The brokers still have a dead member with this `group.instance.id`: since when, when to retry, and the
    /// next backoff.
    pub(super) id_taken: Option<(Instant, Instant, Duration)>,
    health_reported: Instant,
}

impl Assignment {
    pub(super) fn new(work: PollThreadContext) -> Self {
        let held = Arc::default();
        let PollThreadContext { start, history, outbox, events, logger, .. } = &work;
        let commits =
            CommitTracker::new(start, Arc::clone(&held), history.clone(), outbox, events.clone(), logger.clone());
        Self {
            commits: Arc::new(commits),
            timer: CommitTimer::new(work.start.settings.consumer.commit_interval),
            work,
            reader: None,
            held,
            was_suspended: false,
            broken: false,
            is_tight: true,
            unacknowledged: Vec::new(),
            id_taken: None,
            health_reported: Instant::now(),
        }
    }

    /// Reports periodically whether the client reaches the cluster.
    pub(super) fn report_health(&mut self) {
        if self.health_reported.elapsed() < HEALTH_INTERVAL {
            return;
        }
        self.health_reported = Instant::now();
        let uncommitted =
            |counters: &Arc<PartitionState>| counters.uncommitted().and_then(|_| counters.oldest_uncommitted_age());
        let uncommitted = self.partitions().values().filter_map(uncommitted).max().unwrap_or_default();
        let client = self.reader.as_ref().and_then(Consumer::health);
        // While a broker throttles the client a commit may be late; a read-only run commits nothing.
        let is_throttled = self.reader.as_ref().is_some_and(Consumer::is_throttled);
        let is_counted = !is_throttled && !self.work.start.settings.consumer.read_only;
        let health = WorkerHealth {
            client,
            uncommitted_ms: if is_counted { uncommitted.as_millis() as u64 } else { 0 },
            commit_failures: self.commits.failures(),
        };
        self.work.events.do_send(PartitionEvent::Health(health));
    }

    /// Creates the client and opens the partitions that the worker was started with, or joins the group.
    pub(super) fn begin(&mut self) {
        let start = Arc::clone(&self.work.start);
        let checked = dead_letter_producer::check(&start.settings, &self.work.logger);
        if let Err(failure) = checked.and_then(|()| self.connect(&start.partitions, AssignmentKind::First)) {
            self.report_error(failure.to_string(), true);
        }
    }

    pub(super) fn is_tight(&self) -> bool {
        self.is_tight
    }

    pub(super) fn has_client(&self) -> bool {
        self.reader.is_some()
    }

    pub(super) fn partitions(&self) -> MutexGuard<'_, AssignedPartitions> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report_error(&mut self, reason: String, permanent: bool) {
        if !std::mem::replace(&mut self.broken, true) {
            self.work.events.do_send(PartitionEvent::Broken { reason, permanent });
        }
    }

    pub(super) fn connect(
        &mut self,
        partitions: &[PartitionAssignment],
        opened: AssignmentKind,
    ) -> Result<(), KafkaError> {
        let start = Arc::clone(&self.work.start);
        let (role, expected) = match &start.member {
            Some(member) => (ConsumerRole::Member(member.id.as_deref()), member.partitions),
            None => (ConsumerRole::Manual, partitions.len()),
        };
        let commits = Arc::clone(&self.commits);
        // With group membership the supervisor finds gaps in the log (`WorkerCommand::SkipGaps`).
        let report_ends = start.member.is_none();
        let reader = Consumer::new(&start.settings, role, expected, report_ends, &self.work.logger, move |commit| {
            commits.count(&commit);
            commits.on_commit_result(&commit);
        })?;
        self.reader = Some(reader.with_metadata(&start.commit_metadata));
        self.commits.end_commit();
        self.open_partitions(partitions, opened)?;
        match (&start.member, &self.reader) {
            (Some(_), Some(reader)) => reader.subscribe(&start.settings.consumed_topics()),
            _ => Ok(()),
        }
    }

    // ---- opening and revoking partitions ----

    pub(super) fn open_partitions(
        &self,
        starts: &[PartitionAssignment],
        opened: AssignmentKind,
    ) -> Result<(), KafkaError> {
        let Some(reader) = &self.reader else { return Ok(()) };
        // All queues are split off before any partition is assigned.
        let streams = starts
            .iter()
            .map(|start| reader.split_partition_queue(&start.partition, start.topic_id.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(history) = &self.work.history {
            history
                .assigned(starts)
                .map_err(|error| KafkaError::Request { what: "the journal".to_owned(), reason: no_history(&error) })?;
        }
        let mut openings = Vec::with_capacity(starts.len());
        for (start, stream) in starts.iter().zip(streams) {
            let counters = self.counters(start);
            if self.commits_itself() && counters.known_stored().is_none() {
                counters.starts_committed(start.start);
            }
            let PartitionAssignment { start, until, topic_id, .. } = start.clone();
            openings.push(NewPartition { stream: Box::new(stream), counters, start, until, topic_id });
        }
        let offsets: Vec<_> = starts.iter().map(|start| (start.partition.clone(), start.start)).collect();
        // The group requires an acknowledgement of every assignment, also of an empty one.
        if !starts.is_empty() || opened == AssignmentKind::Added {
            reader.assign(&offsets)?;
        }
        self.work.router.do_send(PollEvent::Opened { openings, opened });
        Ok(())
    }

    /// The state of a partition, moved to the new start offset; created if the worker does not have it yet.
    pub(super) fn counters(&self, start: &PartitionAssignment) -> Arc<PartitionState> {
        let mut held = self.partitions();
        let new = || PartitionState::new(start.partition.clone(), start.start);
        let counters = held.entry(start.partition.clone()).or_insert_with(new);
        counters.seek(start.start);
        counters.set_topic_id(start.topic_id.clone());
        counters.set_fetch_paused(false);
        Arc::clone(counters)
    }

    /// Waits until the actors of these partitions have stopped and dropped their queues. Returns `false` after
    /// reporting an error if a handler hangs.
    pub(super) fn pause_and_wait(&mut self, partitions: &[TopicPartition], lost: bool) -> bool {
        let (done, stopped) = mpsc::sync_channel(1);
        self.work.router.do_send(PollEvent::Shut { partitions: partitions.to_vec(), lost, done });
        let deadline = self.work.start.settings.consumer.membership.revoke_timeout;
        match stopped.recv_timeout(deadline) {
            // If the router is gone, the process is ending.
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => true,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
                self.report_error(
                    format!(
                        "{} could not be revoked: the message in flight was not finished within {deadline:?} \
                         (consumer.membership.revoke_timeout)",
                        names.join(", ")
                    ),
                    false,
                );
                false
            }
        }
    }

    /// Revokes partitions and reports it, which also acknowledges the rebalance. If a message of theirs does not
    /// finish in time, they are not released: this worker ends, and its exit releases them.
    pub(super) fn revoke(&mut self, partitions: Vec<TopicPartition>, lost: bool) {
        let known: Vec<_> = {
            let held = self.partitions();
            partitions.iter().filter(|name| held.contains_key(name)).cloned().collect()
        };
        let lost = match known.is_empty() {
            true => lost,
            false if lost => {
                // The actors stop at once. One that blocks its thread stores nothing that could still be
                // committed.
                self.pause_and_wait(&known, true);
                true
            }
            false if !self.pause_and_wait(&known, false) => {
                // The next owner would process again what is processed here. A supervisor waits until this
                // process has exited. A group waits for the acknowledgement, which comes when the client closes,
                // after the last commit. It waits at most for max.poll.interval.ms (a running member) or for the
                // session timeout (a killed member). After that the partitions are lost in any case.
                if self.work.start.member.is_some() {
                    self.unacknowledged.extend(partitions);
                }
                return;
            }
            false => !self.commit_these(&known),
        };
        if lost
            && !known.is_empty()
            && let Some(history) = &self.work.history
        {
            history.record_lost_assignment();
        }
        self.partitions().retain(|name, _| !partitions.contains(name));
        self.unacknowledged.retain(|name| !partitions.contains(name));
        // Sent before the revocation completes, and thus before the next owner starts: the worker does nothing
        // for these partitions any more.
        self.work.router.do_send(PollEvent::GivenBack { partitions: partitions.clone(), lost });
        if let Some(Err(failure)) = self.reader.as_ref().map(|reader| reader.unassign(&partitions)) {
            self.report_error(failure.to_string(), false);
        }
    }

    // ---- commands of the supervisor ----

    /// Opens further partitions. Partitions that the worker has already continue.
    pub(super) fn add(&mut self, starts: &[PartitionAssignment]) {
        let new: Vec<_> = {
            let held = self.partitions();
            starts.iter().filter(|start| !held.contains_key(&start.partition)).cloned().collect()
        };
        if let Err(failure) = self.open_partitions(&new, AssignmentKind::Added) {
            self.report_error(failure.to_string(), false);
        }
    }

    /// Revokes partitions on the supervisor's command. The reply includes partitions that the worker does not
    /// have.
    pub(super) fn revoke_requested(&mut self, partitions: Vec<TopicPartition>) {
        let known: Vec<_> = {
            let held = self.partitions();
            partitions.iter().filter(|name| held.contains_key(name)).cloned().collect()
        };
        if known.len() < partitions.len() {
            let unknown = partitions.iter().filter(|name| !known.contains(name)).cloned().collect();
            self.work.router.do_send(PollEvent::GivenBack { partitions: unknown, lost: false });
        }
        if !known.is_empty() {
            self.revoke(known, false);
        }
    }

    /// Closes the client of a member whose static id the brokers have not released; a new client follows. Does
    /// not wait for brokers that do not reply.
    pub(super) fn replace_client(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        self.wait_for_streams(&reader);
        let (done, closed) = mpsc::sync_channel(1);
        // The thread ends with the client, or with the process.
        let closing = std::thread::Builder::new().name("leave".to_owned()).spawn(move || {
            reader.close(false);
            // Fails only if the poll thread does not wait any more.
            done.send(()).ok();
        });
        if closing.is_ok() && closed.recv_timeout(OLD_CLIENT_CLOSE_TIMEOUT).is_err() {
            warn!(self.work.logger, "the old Kafka client does not end: going on without waiting for it");
        }
    }
}
