//! Tracks the results of commits: records them in the partitions' state, and reports failures that no caller
//! waits for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::Recipient;
use slog::{Logger, warn};

use super::history_writer::HistoryWriter;
use super::latency_recorder::SharedLatencies;
use super::messages::PartitionEvent;
use super::partition_state::PartitionState;
use crate::consumer::protocol::{FailureKind, WorkerConfig, WorkerEvent, WorkerFailure};
use crate::kafka::commit_metadata::ForeignCommit;
use crate::kafka::consumer::CommitResult;
use crate::record::TopicPartition;

/// A commit that takes longer than `consumer.commit_interval` by this time was not accepted by the brokers at
/// once.
const LATE: Duration = Duration::from_millis(300);
/// Within this time after the brokers accept commits again, librdkafka has sent all pending ones: it waits for
/// at most one second (`retry.backoff.max.ms`), and a fifth more.
const LIBRDKAFKA_RETRY_WINDOW: Duration = Duration::from_millis(1_500);

/// How long librdkafka may take at most to report the result of a commit: it waits for the coordinator
/// (`session.timeout.ms`, 45 s), then for the reply (`socket.timeout.ms`, 60 s).
const RESULT_TIMEOUT: Duration = Duration::from_secs(120);

/// The partitions of a worker.
pub(super) type AssignedPartitions = BTreeMap<TopicPartition, Arc<PartitionState>>;

/// Tracks commits: see the [module](self). Called by the client's callback and by callers that have requested a
/// commit.
pub(super) struct CommitTracker {
    assigned: Arc<Mutex<AssignedPartitions>>,
    history: Option<Arc<HistoryWriter>>,
    /// Receives commit latencies; `None` if they are not measured.
    latencies: Option<SharedLatencies>,
    events: Recipient<PartitionEvent>,
    logger: Logger,
    group: String,
    is_member: bool,
    /// Processed messages wait for longer than this only if commits are late.
    in_time: Duration,
    /// When a commit was last late.
    late: Mutex<Option<Instant>>,
    /// An earlier commit has arrived after a later one.
    needs_recommit: AtomicBool,
    failures: AtomicU64,
    closed: AtomicBool,
    /// When the commit was requested whose result is not known yet.
    under_way: Mutex<Option<Instant>>,
    /// Offsets that other clients have committed and the supervisor knows.
    foreign: Mutex<BTreeMap<TopicPartition, i64>>,
}

impl CommitTracker {
    /// Creates the tracker of a worker. `latencies` receives those of commits, if they are measured.
    pub(super) fn new(
        config: &WorkerConfig,
        assigned: Arc<Mutex<AssignedPartitions>>,
        history: Option<Arc<HistoryWriter>>,
        latencies: &SharedLatencies,
        events: Recipient<PartitionEvent>,
        logger: Logger,
    ) -> Self {
        let settings = &config.settings;
        Self {
            assigned,
            history,
            latencies: settings.monitoring.listen.is_some().then(|| Arc::clone(latencies)),
            events,
            logger,
            group: settings.consumer.group_id.clone(),
            is_member: config.member.is_some(),
            in_time: settings.consumer.commit_interval + LATE,
            late: Mutex::default(),
            needs_recommit: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            under_way: Mutex::default(),
            foreign: Mutex::default(),
        }
    }

    /// Handles the result of a commit that no caller waits for.
    pub(super) fn on_commit_result(&self, commit: &CommitResult) {
        self.end_commit();
        match commit {
            CommitResult::Done(offsets) => {
                let assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
                if !self.closed.load(Ordering::Relaxed) {
                    self.on_committed(offsets, &assigned);
                }
            }
            CommitResult::Failed(reason) => warn!(self.logger, "a commit failed, the next one tries again: {reason}"),
            CommitResult::Denied { committed, reason } => {
                let assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
                self.on_committed(committed, &assigned);
                self.report_permanent(reason);
            }
            // The group revokes the partitions as well, which handles the rest.
            CommitResult::Refused(reason) if self.is_member => {
                warn!(self.logger, "the group has refused a commit: {reason}");
            }
            CommitResult::Refused(reason) => {
                let group = &self.group;
                let reason = format!(
                    "the group {group:?} (consumer.group_id) is in use by other consumers, which subscribe with it: Kafka \
                     takes no commits from here ({reason}); choose another group, or stop them"
                );
                self.report_permanent(&reason);
            }
        }
    }

    fn report_permanent(&self, reason: &str) {
        let failure = WorkerFailure::of_worker(FailureKind::Permanent, reason);
        self.events.do_send(PartitionEvent::Failed(failure));
    }

    /// Stops reporting results of commits: no caller waits for them any more.
    pub(super) fn close(&self) {
        // Wait for a report that is in progress.
        let _report_in_progress = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Counts a commit that has failed.
    pub(super) fn count(&self, commit: &CommitResult) {
        if !matches!(commit, CommitResult::Done(_)) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of failed commits.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Records the request of a commit. [`CommitTracker::on_commit_result`] receives its result.
    pub(super) fn begin_commit(&self) {
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Records that the result of the commit is known, or that its client is replaced.
    pub(super) fn end_commit(&self) {
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether a commit was requested whose result is not known yet.
    pub(super) fn is_under_way(&self) -> bool {
        let begun = *self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        begun.is_some_and(|begun| begun.elapsed() < RESULT_TIMEOUT)
    }

    /// Reports offsets that other clients have committed to the supervisor, each offset once.
    pub(super) fn found_foreign(&self, mut found: Vec<ForeignCommit>) {
        let mut known = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|foreign| known.insert(foreign.partition.clone(), foreign.offset) != Some(foreign.offset));
        if !found.is_empty() {
            self.events.do_send(PartitionEvent::Report(WorkerEvent::ForeignCommits(found)));
        }
    }

    /// Records committed offsets at once. The client reports them with its next poll, which may never come, and
    /// the supervisor needs the start offset of the next owner.
    pub(super) fn on_committed(&self, offsets: &[(TopicPartition, i64)], assigned: &AssignedPartitions) {
        for (name, offset) in offsets {
            let state = assigned.get(name);
            if state.and_then(|state| state.last_committed()).is_some_and(|known| known > *offset) {
                self.needs_recommit.store(true, Ordering::Relaxed);
            }
            let waited = state.and_then(|state| state.record_committed(*offset));
            if waited.is_some_and(|waited| waited > self.in_time) {
                *self.late.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            let latencies = self.latencies.as_ref().and_then(|latencies| latencies.lock().ok());
            if let Some((waited, mut latencies)) = waited.zip(latencies) {
                latencies.commit.record(waited);
            }
            if let Some(history) = &self.history {
                // A failed history connection is detected where messages are written to it.
                history.committed(name.partition, *offset).ok();
            }
        }
    }

    /// Whether committed offsets have to be committed again; resets the flag.
    pub(super) fn take_needs_recommit(&self) -> bool {
        self.needs_recommit.swap(false, Ordering::Relaxed)
    }

    /// How long to wait until no earlier commit can arrive after the last one. librdkafka sends commits again
    /// that the brokers have not accepted, also after a later one, which they undo. With manual assignment the
    /// wait is zero: the supervisor verifies the commits at the end.
    pub(super) fn recommit_delay(&self, assigned: &AssignedPartitions) -> Duration {
        if !self.is_member {
            return Duration::ZERO;
        }
        let waits = assigned.values().filter_map(|state| state.oldest_uncommitted_age()).max();
        if waits.is_some_and(|waits| waits > self.in_time) {
            return LIBRDKAFKA_RETRY_WINDOW;
        }
        let late = *self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.map_or(Duration::ZERO, |at| LIBRDKAFKA_RETRY_WINDOW.saturating_sub(at.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct IgnoreEvents;

    impl actix::Actor for IgnoreEvents {
        type Context = actix::Context<Self>;
    }

    impl actix::Handler<PartitionEvent> for IgnoreEvents {
        type Result = ();

        fn handle(&mut self, _: PartitionEvent, _: &mut Self::Context) {}
    }

    fn commits() -> CommitTracker {
        CommitTracker {
            assigned: Arc::default(),
            history: None,
            latencies: None,
            events: actix::Actor::start(IgnoreEvents).recipient(),
            logger: Logger::root(slog::Discard, slog::o!()),
            group: "g".to_owned(),
            is_member: true,
            in_time: Duration::from_millis(20),
            late: Mutex::default(),
            needs_recommit: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            under_way: Mutex::default(),
            foreign: Mutex::default(),
        }
    }

    #[actix::test]
    async fn what_an_earlier_commit_undoes_is_noticed() {
        let (commits, name) = (commits(), TopicPartition::new("t", 0));
        let assigned: AssignedPartitions = [(name.clone(), PartitionState::new(name.clone(), 0))].into();
        assigned[&name].record_stored(650);
        commits.on_committed(&[(name.clone(), 650)], &assigned);
        assert!(!commits.take_needs_recommit() && assigned[&name].uncommitted().is_none());
        commits.on_committed(&[(name.clone(), 140)], &assigned);
        assert!(commits.take_needs_recommit() && !commits.take_needs_recommit(), "once");
        assert_eq!(assigned[&name].uncommitted(), Some(650));
    }

    #[actix::test]
    async fn after_late_commits_it_takes_its_time_until_no_earlier_one_can_come() {
        let (commits, name) = (commits(), TopicPartition::new("t", 0));
        let assigned: AssignedPartitions = [(name.clone(), PartitionState::new(name.clone(), 0))].into();
        assert!(commits.recommit_delay(&assigned).is_zero());
        assigned[&name].record_stored(5);
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(commits.recommit_delay(&assigned), LIBRDKAFKA_RETRY_WINDOW, "the brokers do not take it");
        commits.on_committed(&[(name.clone(), 5)], &assigned);
        assert!(!commits.recommit_delay(&assigned).is_zero(), "they have just begun to");
    }
}
