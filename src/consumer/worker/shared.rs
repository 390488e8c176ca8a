//! What a worker's partitions share, on the processing thread.

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::Recipient;

use super::counters::Budget;
use super::journal::Journal;
use super::messages::Event;
use crate::latency::Latency;
use crate::processing::{Processor, WorkerContext};

/// What all partitions of a worker share, on the processing thread.
pub(super) struct Shared {
    pub(super) processor: RefCell<Box<dyn Processor>>,
    pub(super) context: WorkerContext,
    pub(super) budget: Arc<Budget>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) times: RefCell<Times>,
    pub(super) events: Recipient<Event>,
}

/// How often the heartbeats are given what was counted.
const HAND_OVER: Duration = Duration::from_secs(1);

/// How long messages took, for the next heartbeat.
pub(super) type Outbox = Arc<Mutex<Latency>>;

/// How long messages took from being due to being processed. Counted on the processing thread, and handed over now and
/// then: a heartbeat must not wait for a processor that blocks.
pub(super) struct Times {
    counted: Latency,
    outbox: Outbox,
    handed_over: Instant,
    warm_up: Duration,
    /// What was due earlier (in µs since 1970 UTC) is not timed; known with the first message.
    from_us: Option<u64>,
}

impl Times {
    pub(super) fn new(outbox: Outbox, warm_up: Duration) -> Self {
        Self { counted: Latency::default(), outbox, handed_over: Instant::now(), warm_up, from_us: None }
    }

    pub(super) fn record(&mut self, due_us: u64, now_us: u64) {
        if !self.warm_up.is_zero() && due_us < *self.from_us.get_or_insert(due_us + self.warm_up.as_micros() as u64) {
            return;
        }
        // Both are far below 2^63: the sign is that of clocks that disagree.
        self.counted.record_signed_us(now_us as i64 - due_us as i64);
    }

    /// Hands over what was counted, if it is time to or nothing more will come.
    pub(super) fn hand_over(&mut self, now: Instant, last: bool) {
        if self.counted.is_empty() || !(last || now.duration_since(self.handed_over) >= HAND_OVER) {
            return;
        }
        if let Ok(mut outbox) = self.outbox.lock() {
            outbox.add(&self.counted.take());
            self.handed_over = now;
        }
    }
}
