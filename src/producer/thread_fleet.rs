//! The producer threads, as the coordinator knows them, and the totals of their deliveries.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::messages::{BatchEnd, BatchResult, DeadlineKind};
use super::producer_thread::ProducerThread;
use crate::kafka::delivery_reports::{DeliveryStats, Latencies};
use crate::kafka::health::ClientHealth;
use crate::kafka::producer::ProducerClient;
use crate::kafka::statistics::ClientStatus;
use crate::report::{FaultsReport, ThreadReport};

/// The failure reason of messages without a delivery report in time.
const FLUSH_TIMEOUT_REASON: &str = "no delivery report in time";

/// The coordinator's state of one producer thread.
pub(super) struct ThreadState {
    pub(super) producer: Addr<ProducerThread>,
    /// Its client, while it has one.
    pub(super) client: Weak<ProducerClient>,
    pub(super) deliveries: Arc<DeliveryStats>,
    pub(super) phase: ThreadPhase,
    /// The sum of its batches.
    pub(super) batches: BatchResult,
    /// The last status of its client.
    pub(super) client_status: Option<ClientStatus>,
    pub(super) health: Option<ClientHealth>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThreadPhase {
    /// It has no work at the moment.
    Idle,
    /// It processes a batch of at most this size in bytes.
    Working { max_bytes: u64 },
    /// It finished sending at this time, and waits for acknowledgements.
    Flushing { since: Instant },
    /// It has finished, and its results are counted; with the time at which it finished sending.
    Done { since: Instant, expired: Option<DeadlineKind> },
}

impl ThreadState {
    pub(super) fn new(producer: Addr<ProducerThread>, client: &Arc<ProducerClient>) -> Self {
        Self {
            producer,
            client: Arc::downgrade(client),
            deliveries: client.deliveries(),
            phase: ThreadPhase::Idle,
            batches: BatchResult::default(),
            client_status: None,
            health: None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, ThreadPhase::Done { .. })
    }

    /// When it finished sending.
    fn stopped_at(&self) -> Option<Instant> {
        match self.phase {
            ThreadPhase::Flushing { since } | ThreadPhase::Done { since, .. } => Some(since),
            ThreadPhase::Idle | ThreadPhase::Working { .. } => None,
        }
    }

    /// The number of expected outcomes: all messages, including those rejected by the generator or the client, and
    /// injected duplicates.
    fn expected_outcomes(&self) -> u64 {
        self.batches.sent + self.batches.faults.duplicated
    }

    /// The failed messages by reason. After the thread is done, a missing delivery report counts as failed, once.
    fn failures(&self, delivered: u64) -> BTreeMap<String, u64> {
        let mut failed = self.deliveries.failed();
        let unknown = self.expected_outcomes().saturating_sub(delivered + failed.values().sum::<u64>());
        if self.is_done() && unknown > 0 {
            *failed.entry(FLUSH_TIMEOUT_REASON.to_owned()).or_default() += unknown;
        }
        failed
    }

    /// Its totals, and its failed messages by reason.
    pub(super) fn report(&self, producer: usize) -> (ThreadReport, BTreeMap<String, u64>) {
        let (acknowledged, unacknowledged) = (self.deliveries.acknowledged(), self.deliveries.unacknowledged());
        let failed = self.failures(acknowledged + unacknowledged);
        let panic = match &self.batches.ended {
            Some(BatchEnd::Panicked(text)) => Some(text.clone()),
            _ => None,
        };
        let (sent, failures) = (self.expected_outcomes(), failed.values().sum());
        (ThreadReport { producer, sent, acknowledged, unacknowledged, failed: failures, panic }, failed)
    }
}

/// The deliveries of all threads.
#[derive(Default)]
pub(super) struct DeliveryTotals {
    pub(super) threads: Vec<ThreadReport>,
    pub(super) acknowledged: u64,
    /// Messages sent with `acks=0`.
    pub(super) unacknowledged: u64,
    /// By reason.
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) faults: FaultsReport,
    pub(super) latencies: Latencies,
}

/// All producer threads; the index is the number of the producer.
#[derive(Default)]
pub(super) struct ThreadFleet(Vec<ThreadState>);

impl std::ops::Deref for ThreadFleet {
    type Target = Vec<ThreadState>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl std::ops::DerefMut for ThreadFleet {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl ThreadFleet {
    /// Whether all threads have finished.
    pub(super) fn are_done(&self) -> bool {
        self.iter().all(ThreadState::is_done)
    }

    /// The first thread that cannot continue.
    pub(super) fn first_ended(&self) -> Option<(usize, &BatchEnd)> {
        self.iter().enumerate().find_map(|(number, thread)| Some((number, thread.batches.ended.as_ref()?)))
    }

    /// Whether the flush of a thread was ended by this deadline.
    pub(super) fn is_expired(&self, by: DeadlineKind) -> bool {
        self.iter().any(|thread| matches!(thread.phase, ThreadPhase::Done { expired, .. } if expired == Some(by)))
    }

    /// Whether a message has no outcome yet, or a client considers the topic missing.
    pub(super) fn waits_for_outcomes(&self) -> bool {
        self.iter().enumerate().filter(|(_, thread)| !thread.is_done()).any(|(number, thread)| {
            let (report, _) = thread.report(number);
            let outcomes = report.acknowledged + report.unacknowledged + report.failed;
            thread.deliveries.is_topic_missing() || report.sent > outcomes
        })
    }

    /// The number of bytes that one thread may add to the unconsumed messages, assuming the largest message size so
    /// far.
    pub(super) fn backlog_limit_per_thread(&self, limit: u64, consumed: u64) -> u64 {
        let written = |thread: &ThreadState| {
            thread.expected_outcomes().saturating_sub(thread.deliveries.failed().values().sum::<u64>())
        };
        let written: u64 = self.iter().map(written).sum();
        let largest = self.iter().map(|thread| thread.batches.largest).max().unwrap_or(0);
        let under_way: u64 = self
            .iter()
            .map(|thread| match thread.phase {
                ThreadPhase::Working { max_bytes } => max_bytes,
                _ => 0,
            })
            .sum();
        let unread = written.saturating_sub(consumed) * largest + under_way;
        (limit / self.len().max(1) as u64).min(limit.saturating_sub(unread))
    }

    /// When the last thread finished sending; the current time if one has not. `None` without threads.
    pub(super) fn stopped_at(&self) -> Option<Instant> {
        let now = Instant::now();
        self.iter().map(|thread| thread.stopped_at().unwrap_or(now)).max()
    }

    /// When the last message was sent.
    pub(super) fn last_sent_at(&self) -> Option<Instant> {
        self.iter().filter_map(|thread| thread.batches.last).max()
    }

    /// The largest delay of a message after its scheduled time.
    pub(super) fn worst_delay(&self) -> Duration {
        self.iter().map(|thread| thread.batches.delay).max().unwrap_or_default()
    }

    pub(super) fn totals(&self) -> DeliveryTotals {
        let mut totals = DeliveryTotals::default();
        for (number, thread) in self.iter().enumerate() {
            let (report, failed) = thread.report(number);
            totals.acknowledged += report.acknowledged;
            totals.unacknowledged += report.unacknowledged;
            totals.threads.push(report);
            for (reason, count) in failed {
                *totals.failed.entry(reason).or_default() += count;
            }
            totals.faults.add(&thread.batches.faults);
            thread.deliveries.add_latencies_to(&mut totals.latencies);
        }
        totals
    }
}
