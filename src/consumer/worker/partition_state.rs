//! The state of a worker's partitions: positions and state. Written on the processing thread and by commits,
//! read by the heartbeats, which must be sent even while a processor blocks its thread.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::consumer::protocol::{InFlight, PartitionProgress};
use crate::kafka::topic_id::TopicId;
use crate::partition_counts::PartitionCounts;
use crate::record::TopicPartition;

/// No offset: this process has committed nothing, or no message is in flight.
const NONE: i64 = -1;

/// The state of one partition.
pub(super) struct PartitionState {
    pub(super) partition: TopicPartition,
    /// The id of the topic that all offsets here refer to.
    topic_id: Mutex<Option<TopicId>>,
    next: AtomicI64,
    /// The [`PartitionState::next`] that was last stored in the client for a commit.
    stored: AtomicI64,
    /// When the oldest message that is not committed was processed, in µs since `created`; 0: there is none.
    uncommitted_since: AtomicU64,
    created: Instant,
    committed: AtomicI64,
    high_watermark: AtomicI64,
    processed: AtomicU64,
    failed: AtomicU64,
    dead_lettered: AtomicU64,
    retried: AtomicU64,
    read_bytes: AtomicU64,
    in_flight: AtomicI64,
    retrying: AtomicBool,
    woken: AtomicBool,
    /// Fetching is paused, since its worker has reached its memory limit.
    fetch_paused: AtomicBool,
}

/// The result of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageOutcome {
    Processed,
    Skipped,
    DeadLettered,
}

impl PartitionState {
    pub(super) fn new(partition: TopicPartition, start: i64) -> Arc<Self> {
        Arc::new(Self {
            partition,
            topic_id: Mutex::default(),
            next: AtomicI64::new(start),
            stored: AtomicI64::new(NONE),
            uncommitted_since: AtomicU64::new(0),
            created: Instant::now(),
            committed: AtomicI64::new(NONE),
            high_watermark: AtomicI64::new(NONE),
            processed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            in_flight: AtomicI64::new(NONE),
            retrying: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            fetch_paused: AtomicBool::new(false),
        })
    }

    /// Records the high watermark that the client knows, and adds the bytes that were read from the queue since
    /// the last call.
    pub(super) fn update_high_watermark(&self, end: Option<i64>, bytes: u64) {
        self.high_watermark.store(end.unwrap_or(NONE), Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Moves the position to `next`: there is no unprocessed message before it.
    pub(super) fn skip_gap(&self, next: i64) {
        self.next.store(next, Ordering::Relaxed);
    }

    pub(super) fn begin_message(&self, offset: i64) {
        self.in_flight.store(offset, Ordering::Relaxed);
    }

    /// Records the result of the message before `next`.
    pub(super) fn finish_message(&self, next: i64, outcome: MessageOutcome) {
        let counter = match outcome {
            MessageOutcome::Processed => &self.processed,
            MessageOutcome::Skipped => &self.failed,
            MessageOutcome::DeadLettered => &self.dead_lettered,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
        self.clear_in_flight();
    }

    /// Records that the message in flight has failed and waits: for a retry, or for its dead-letter record.
    pub(super) fn begin_wait(&self) {
        self.retrying.store(true, Ordering::Relaxed);
    }

    /// Records a retry of the message in flight.
    pub(super) fn begin_retry(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
        self.retrying.store(false, Ordering::Relaxed);
    }

    /// Records that no message is in flight any more, handled or not.
    pub(super) fn clear_in_flight(&self) {
        self.retrying.store(false, Ordering::Relaxed);
        self.in_flight.store(NONE, Ordering::Relaxed);
    }

    /// Records whether fetching is paused.
    pub(super) fn set_fetch_paused(&self, paused: bool) {
        self.fetch_paused.store(paused, Ordering::Relaxed);
    }

    /// Records a wakeup of the actor. Returns whether none was pending.
    pub(super) fn set_woken(&self) -> bool {
        !self.woken.swap(true, Ordering::AcqRel)
    }

    /// Records that the actor handles its wakeup, or handles none any more.
    pub(super) fn clear_woken(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// The next offset to process.
    pub(super) fn next(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Moves the position, since the message at the old position is gone from the log. If the new position is
    /// lower, the log is a different one: the high watermark and commits of the old one do not count.
    pub(super) fn seek(&self, next: i64) {
        let before = self.next.swap(next, Ordering::Relaxed);
        if next < before {
            for known in [&self.stored, &self.committed] {
                known.store(NONE, Ordering::Relaxed);
            }
            self.uncommitted_since.store(0, Ordering::Relaxed);
        }
    }

    /// Records that the supervisor has committed `start`, the start offset.
    pub(super) fn starts_committed(&self, start: i64) {
        self.stored.store(start, Ordering::Relaxed);
        self.committed.store(start, Ordering::Relaxed);
    }

    /// The id of the topic that is consumed.
    pub(super) fn topic_id(&self) -> Option<TopicId> {
        self.topic_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the id of the topic that is consumed.
    pub(super) fn set_topic_id(&self, topic_id: Option<TopicId>) {
        *self.topic_id.lock().unwrap_or_else(PoisonError::into_inner) = topic_id;
    }

    /// Restarts at `next` after the topic was created again: the state of the previous topic does not count.
    pub(super) fn restart(&self, next: i64) {
        for known in [&self.stored, &self.committed, &self.high_watermark] {
            known.store(NONE, Ordering::Relaxed);
        }
        self.uncommitted_since.store(0, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
        // Even if no message follows: the commit of the previous topic has to be replaced.
        self.record_stored(next);
    }

    /// Records that everything before `next` is processed and stored in the client.
    pub(super) fn record_stored(&self, next: i64) {
        self.stored.store(next, Ordering::Relaxed);
        if self.uncommitted_since.load(Ordering::Relaxed) == 0 {
            self.uncommitted_since.store(self.age_us(), Ordering::Relaxed);
        }
    }

    fn age_us(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// The last offset that was stored in the client.
    pub(super) fn last_stored(&self) -> Option<i64> {
        offset(&self.stored)
    }

    /// The last known commit of this process.
    pub(super) fn last_committed(&self) -> Option<i64> {
        offset(&self.committed)
    }

    /// The offset that has to be committed: stored, and not known as committed.
    pub(super) fn uncommitted(&self) -> Option<i64> {
        let (stored, committed) = (self.stored.load(Ordering::Relaxed), self.committed.load(Ordering::Relaxed));
        (stored != NONE && stored != committed).then_some(stored)
    }

    /// Records that everything before `offset` is committed. Returns the time since the oldest of these messages
    /// was processed. For messages that were processed while the commit was in flight the time counts from now
    /// on.
    pub(super) fn record_committed(&self, offset: i64) -> Option<Duration> {
        let before = self.committed.swap(offset, Ordering::Relaxed);
        if before == offset {
            return None;
        }
        let now = self.age_us();
        let rest = if self.stored.load(Ordering::Relaxed) > offset { now } else { 0 };
        let since = self.uncommitted_since.swap(rest, Ordering::Relaxed);
        (since > 0).then(|| Duration::from_micros(now.saturating_sub(since)))
    }

    /// The time since the oldest uncommitted message was processed, as far as is known.
    pub(super) fn oldest_uncommitted_age(&self) -> Option<Duration> {
        let since = self.uncommitted_since.load(Ordering::Relaxed);
        (since > 0).then(|| Duration::from_micros(self.age_us().saturating_sub(since)))
    }

    fn in_flight(&self) -> Option<i64> {
        offset(&self.in_flight)
    }

    /// The message in processing, and a number that changes with every attempt.
    pub(super) fn attempt(&self) -> Option<(i64, u64)> {
        let pausing = self.retrying.load(Ordering::Relaxed);
        self.in_flight().filter(|_| !pausing).map(|offset| (offset, self.retried.load(Ordering::Relaxed)))
    }

    /// The current progress; a message in flight has age 0.
    pub(super) fn snapshot(&self) -> PartitionProgress {
        PartitionProgress {
            partition: self.partition.clone(),
            next: self.next.load(Ordering::Relaxed),
            end: offset(&self.high_watermark),
            committed: offset(&self.committed),
            counts: PartitionCounts {
                processed: self.processed.load(Ordering::Relaxed),
                failed: self.failed.load(Ordering::Relaxed),
                dead_lettered: self.dead_lettered.load(Ordering::Relaxed),
                retried: self.retried.load(Ordering::Relaxed),
                read_bytes: self.read_bytes.load(Ordering::Relaxed),
            },
            in_flight: self.in_flight().map(|offset| InFlight { offset, age_ms: 0 }),
            retrying: self.retrying.load(Ordering::Relaxed),
            waits_for_turn: self.woken.load(Ordering::Relaxed) || self.fetch_paused.load(Ordering::Relaxed),
        }
    }
}

fn offset(stored: &AtomicI64) -> Option<i64> {
    Some(stored.load(Ordering::Relaxed)).filter(|offset| *offset != NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_processed_waits_until_it_is_committed() {
        let state = PartitionState::new(TopicPartition::new("t", 0), 0);
        assert_eq!(state.record_committed(0), None, "nothing was processed");
        state.record_stored(5);
        state.record_stored(7);
        std::thread::sleep(Duration::from_millis(2));
        assert!(state.record_committed(5).is_some_and(|waited| waited >= Duration::from_millis(2)));
        assert_eq!(state.record_committed(5), None, "that is known");
        assert!(state.record_committed(7).is_some(), "what came meanwhile has waited, too");
        state.record_stored(8);
        assert!(state.record_committed(8).is_some());
        assert_eq!(state.uncommitted(), None);
    }

    #[test]
    fn nothing_is_known_of_a_recreated_log() {
        let state = PartitionState::new(TopicPartition::new("t", 0), 0);
        state.skip_gap(70);
        state.record_stored(70);
        state.record_committed(60);
        state.seek(70);
        assert_eq!(state.uncommitted(), Some(70), "the position is the same");
        state.seek(5);
        assert_eq!((state.next(), state.uncommitted()), (5, None));
        assert_eq!(state.snapshot().committed, None);
        state.record_stored(60);
        assert_eq!(state.uncommitted(), Some(60), "that offset was committed in another log");
    }
}
