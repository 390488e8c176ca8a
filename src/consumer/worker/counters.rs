//! Where a worker's partitions are. Written on the processing thread and by commits, read by the heartbeats, which
//! must come through while a processor blocks its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::consumer::control::PartitionProgress;
use crate::record::TopicPartition;

/// No offset: nothing was committed by this process.
const NONE: i64 = -1;

/// One partition.
pub(super) struct Counters {
    pub(super) partition: TopicPartition,
    next: AtomicI64,
    committed: AtomicI64,
    processed: AtomicU64,
    failed: AtomicU64,
    in_flight: AtomicBool,
}

impl Counters {
    pub(super) fn new(partition: TopicPartition, start: i64) -> Arc<Self> {
        Arc::new(Self {
            partition,
            next: AtomicI64::new(start),
            committed: AtomicI64::new(NONE),
            processed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            in_flight: AtomicBool::new(false),
        })
    }

    pub(super) fn begin(&self) {
        self.in_flight.store(true, Ordering::Relaxed);
    }

    /// The message before `next` is dealt with.
    pub(super) fn end(&self, next: i64, processed: bool) {
        let counter = if processed { &self.processed } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
        self.in_flight.store(false, Ordering::Relaxed);
    }

    /// The message in hand will not be dealt with.
    pub(super) fn give_up(&self) {
        self.in_flight.store(false, Ordering::Relaxed);
    }

    pub(super) fn committed(&self, offset: i64) {
        self.committed.store(offset, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> PartitionProgress {
        let committed = self.committed.load(Ordering::Relaxed);
        PartitionProgress {
            partition: self.partition.clone(),
            next: self.next.load(Ordering::Relaxed),
            committed: (committed != NONE).then_some(committed),
            processed: self.processed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }
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
