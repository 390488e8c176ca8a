//! Where a worker's partitions are. Written on the processing thread and by commits, read by the heartbeats, which
//! must come through while a processor blocks its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::consumer::control::{InFlight, PartitionProgress};
use crate::record::TopicPartition;

/// No offset: nothing was committed by this process, no message is in hand.
const NONE: i64 = -1;

/// One partition.
pub(super) struct Counters {
    pub(super) partition: TopicPartition,
    next: AtomicI64,
    /// As [`Counters::next`], when it was handed to the client to be committed.
    stored: AtomicI64,
    /// When the oldest message was processed that is not committed, in µs since `born`; 0: there is none.
    waits_since: AtomicU64,
    born: Instant,
    committed: AtomicI64,
    high_watermark: AtomicI64,
    processed: AtomicU64,
    failed: AtomicU64,
    dead_lettered: AtomicU64,
    retried: AtomicU64,
    read_bytes: AtomicU64,
    in_flight: AtomicI64,
    retrying: AtomicBool,
    called: AtomicBool,
    read_up_to: AtomicI64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Processed,
    Skipped,
    DeadLettered,
}

impl Counters {
    pub(super) fn new(partition: TopicPartition, start: i64) -> Arc<Self> {
        Arc::new(Self {
            partition,
            next: AtomicI64::new(start),
            stored: AtomicI64::new(NONE),
            waits_since: AtomicU64::new(0),
            born: Instant::now(),
            committed: AtomicI64::new(NONE),
            high_watermark: AtomicI64::new(NONE),
            processed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            in_flight: AtomicI64::new(NONE),
            retrying: AtomicBool::new(false),
            called: AtomicBool::new(false),
            read_up_to: AtomicI64::new(NONE),
        })
    }

    /// What the client has heard of the partition's end, and how many bytes have come out of its queue since it was asked last.
    pub(super) fn see(&self, end: Option<i64>, bytes: u64) {
        self.high_watermark.store(end.unwrap_or(NONE), Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The client has met the partition's end, which is here.
    pub(super) fn reach_end(&self, offset: i64) {
        self.read_up_to.store(offset, Ordering::Relaxed);
    }

    /// Where the client has met the partition's end last.
    pub(super) fn read_up_to(&self) -> Option<i64> {
        offset(&self.read_up_to)
    }

    pub(super) fn begin(&self, offset: i64) {
        self.in_flight.store(offset, Ordering::Relaxed);
    }

    /// The message before `next` is dealt with.
    pub(super) fn end(&self, next: i64, fate: Fate) {
        let counter = match fate {
            Fate::Processed => &self.processed,
            Fate::Skipped => &self.failed,
            Fate::DeadLettered => &self.dead_lettered,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
        self.give_up();
    }

    /// The message in hand has failed. It waits: to be tried again, or for its copy in the dead-letter topic.
    pub(super) fn wait(&self) {
        self.retrying.store(true, Ordering::Relaxed);
    }

    /// The message in hand is tried again.
    pub(super) fn retry(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
        self.retrying.store(false, Ordering::Relaxed);
    }

    /// No message is in hand any more, dealt with or not.
    pub(super) fn give_up(&self) {
        self.retrying.store(false, Ordering::Relaxed);
        self.in_flight.store(NONE, Ordering::Relaxed);
    }

    /// Its actor has a turn to take; whether it did not have one already.
    pub(super) fn call(&self) -> bool {
        !self.called.swap(true, Ordering::AcqRel)
    }

    /// It takes its turn, or takes none any more.
    pub(super) fn answer(&self) {
        self.called.store(false, Ordering::Release);
    }

    /// The next offset to process.
    pub(super) fn next(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }

    /// It is read from here on: by a new client, or what was to be read next is gone. Further back than before, the log is
    /// another one: what was known of the old one's end and commits says nothing.
    pub(super) fn move_to(&self, next: i64) {
        let before = self.next.swap(next, Ordering::Relaxed);
        if next < before {
            for known in [&self.read_up_to, &self.stored, &self.committed] {
                known.store(NONE, Ordering::Relaxed);
            }
            self.waits_since.store(0, Ordering::Relaxed);
        }
    }

    /// Everything before `next` is processed, and the client knows it.
    pub(super) fn stored(&self, next: i64) {
        self.stored.store(next, Ordering::Relaxed);
        if self.waits_since.load(Ordering::Relaxed) == 0 {
            self.waits_since.store(self.age_us(), Ordering::Relaxed);
        }
    }

    fn age_us(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// Where the client has been told to commit last.
    pub(super) fn known_stored(&self) -> Option<i64> {
        offset(&self.stored)
    }

    /// The last commit of this process that is known.
    pub(super) fn known_commit(&self) -> Option<i64> {
        offset(&self.committed)
    }

    /// What has to be committed: stored, and not known as committed.
    pub(super) fn uncommitted(&self) -> Option<i64> {
        let (stored, committed) = (self.stored.load(Ordering::Relaxed), self.committed.load(Ordering::Relaxed));
        (stored != NONE && stored != committed).then_some(stored)
    }

    /// Everything before `offset` is committed; for how long the oldest of it had been processed. What was processed while the
    /// commit was under way counts from now on.
    pub(super) fn committed(&self, offset: i64) -> Option<Duration> {
        let before = self.committed.swap(offset, Ordering::Relaxed);
        if before == offset {
            return None;
        }
        let now = self.age_us();
        let rest = if self.stored.load(Ordering::Relaxed) > offset { now } else { 0 };
        let since = self.waits_since.swap(rest, Ordering::Relaxed);
        (since > 0).then(|| Duration::from_micros(now.saturating_sub(since)))
    }

    /// For how long the oldest message has been processed that is not committed, as far as is known.
    pub(super) fn waits(&self) -> Option<Duration> {
        let since = self.waits_since.load(Ordering::Relaxed);
        (since > 0).then(|| Duration::from_micros(self.age_us().saturating_sub(since)))
    }

    fn in_flight(&self) -> Option<i64> {
        offset(&self.in_flight)
    }

    /// What is in processing right now: the message, and a number that every attempt at it changes.
    pub(super) fn attempt(&self) -> Option<(i64, u64)> {
        let pausing = self.retrying.load(Ordering::Relaxed);
        self.in_flight().filter(|_| !pausing).map(|offset| (offset, self.retried.load(Ordering::Relaxed)))
    }

    /// Where it is now; a message in hand has age 0.
    pub(super) fn snapshot(&self) -> PartitionProgress {
        PartitionProgress {
            partition: self.partition.clone(),
            next: self.next.load(Ordering::Relaxed),
            end: offset(&self.high_watermark),
            committed: offset(&self.committed),
            processed: self.processed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dead_lettered: self.dead_lettered.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            in_flight: self.in_flight().map(|offset| InFlight { offset, age_ms: 0 }),
            retrying: self.retrying.load(Ordering::Relaxed),
            waits_for_turn: self.called.load(Ordering::Relaxed),
            read_up_to: self.read_up_to(),
        }
    }
}

fn offset(stored: &AtomicI64) -> Option<i64> {
    Some(stored.load(Ordering::Relaxed)).filter(|offset| *offset != NONE)
}

/// How many messages may be processed (`consumer.max_messages`): the supervisor grants them.
pub(super) struct Budget {
    limited: bool,
    left: AtomicU64,
}

impl Budget {
    pub(super) fn new(limited: bool) -> Arc<Self> {
        Arc::new(Self { limited, left: AtomicU64::new(0) })
    }

    /// One message; `false` if a grant is needed first.
    pub(super) fn take(&self) -> bool {
        let take_one = |left: u64| left.checked_sub(1);
        !self.limited || self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok()
    }

    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    pub(super) fn add(&self, messages: u64) {
        self.left.fetch_add(messages, Ordering::Relaxed);
    }

    /// Gives back what is left.
    pub(super) fn drain(&self) -> u64 {
        self.left.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_processed_waits_until_it_is_committed() {
        let counters = Counters::new(TopicPartition::new("t", 0), 0);
        assert_eq!(counters.committed(0), None, "nothing was processed");
        counters.stored(5);
        counters.stored(7);
        std::thread::sleep(Duration::from_millis(2));
        assert!(counters.committed(5).is_some_and(|waited| waited >= Duration::from_millis(2)));
        assert_eq!(counters.committed(5), None, "that is known");
        assert!(counters.committed(7).is_some(), "what came meanwhile has waited, too");
        counters.stored(8);
        assert!(counters.committed(8).is_some());
        assert_eq!(counters.uncommitted(), None);
    }

    #[test]
    fn of_a_log_that_was_made_again_nothing_is_known() {
        let counters = Counters::new(TopicPartition::new("t", 0), 0);
        counters.reach_end(70);
        counters.stored(70);
        counters.committed(60);
        counters.move_to(70);
        assert_eq!((counters.uncommitted(), counters.read_up_to()), (Some(70), Some(70)), "the same, by a new client");
        counters.move_to(5);
        assert_eq!((counters.next(), counters.uncommitted(), counters.read_up_to()), (5, None, None));
        assert_eq!(counters.snapshot().committed, None);
        counters.stored(60);
        assert_eq!(counters.uncommitted(), Some(60), "that offset was committed of another log");
    }
}
