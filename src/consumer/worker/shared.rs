//! What a worker's partitions share, on the processing thread.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::Recipient;

use super::counters::Budget;
use super::gate::Gate;
use super::journal::Journal;
use super::messages::Event;
use super::throttle::Throttle;
use crate::consumer::control::{Condemned, Start, Times};
use crate::kafka::dead_letters::DeadLetters;
use crate::processing::{Processor, WorkerContext};
use crate::record::Record;
use crate::settings::Settings;

/// What all partitions of a worker share, on the processing thread.
pub(super) struct Shared {
    pub(super) processor: RefCell<Box<dyn Processor>>,
    pub(super) context: WorkerContext,
    pub(super) budget: Arc<Budget>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) orders: Arc<Orders>,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) times: RefCell<Stopwatch>,
    pub(super) events: Recipient<Event>,
    pub(super) dead_letters: DeadLetters,
    pub(super) gate: Gate,
    /// Of the lines about failing messages.
    pub(super) throttle: RefCell<Throttle>,
}

/// What the supervisor wants, until it says otherwise; set by the router, read by the partitions.
#[derive(Default)]
pub(super) struct Orders {
    /// Take no more messages.
    pub(super) quiet: AtomicBool,
    /// Announce each message.
    pub(super) cautious: AtomicBool,
    /// Whether the next list has anything, which is looked at for each message.
    pub(super) any_condemned: AtomicBool,
    pub(super) condemned: Mutex<Vec<Condemned>>,
}

impl Orders {
    /// As a worker is started.
    pub(super) fn new(start: &Start) -> Arc<Self> {
        let orders = Self::default();
        orders.quiet.store(start.quiet, Ordering::Relaxed);
        orders.cautious.store(start.cautious, Ordering::Relaxed);
        orders.condemn(start.condemned.clone());
        Arc::new(orders)
    }

    /// Why this message is not to be processed, if it is not.
    pub(super) fn condemnation(&self, record: &Record<'_>) -> Option<String> {
        if !self.any_condemned.load(Ordering::Relaxed) {
            return None;
        }
        let condemned = self.condemned.lock().ok()?;
        let found = condemned.iter().find(|condemned| {
            let partition = &condemned.partition;
            (partition.partition, condemned.offset) == (record.partition, record.offset)
                && partition.topic == record.topic
        });
        found.map(|condemned| condemned.reason.clone())
    }

    /// Replaces the list.
    pub(super) fn condemn(&self, list: Vec<Condemned>) {
        self.any_condemned.store(!list.is_empty(), Ordering::Relaxed);
        // A panic while it was held has ended the process.
        if let Ok(mut condemned) = self.condemned.lock() {
            *condemned = list;
        }
    }
}

/// How often the heartbeats are given what was counted.
const HAND_OVER: Duration = Duration::from_secs(1);

/// How long things took, for the next heartbeat.
pub(super) type Outbox = Arc<Mutex<Times>>;

/// How long messages took. Counted on the processing thread, and handed over now and then: a heartbeat must not wait for a
/// processor that blocks.
pub(super) struct Stopwatch {
    counted: Times,
    outbox: Outbox,
    handed_over: Instant,
    warm_up: Duration,
    /// What was due earlier (in µs since 1970 UTC) is not timed; known with the first message.
    from_us: Option<u64>,
    /// Processing is timed, too.
    watched: bool,
    /// Messages that took less than [`INSTANT`]: the fastest are the most, and finding their place in a histogram would cost a
    /// twentieth of their time.
    instants: u64,
}

/// What no clock that counts microseconds tells from nothing.
const INSTANT: Duration = Duration::from_micros(1);

impl Stopwatch {
    pub(super) fn new(outbox: Outbox, settings: &Settings) -> Self {
        Self {
            counted: Times::default(),
            outbox,
            handed_over: Instant::now(),
            warm_up: settings.latency.warm_up,
            from_us: None,
            watched: settings.monitoring.listen.is_some(),
            instants: 0,
        }
    }

    /// A message was processed that was due then.
    pub(super) fn due(&mut self, due_us: u64, now_us: u64) {
        if !self.warm_up.is_zero() && due_us < *self.from_us.get_or_insert(due_us + self.warm_up.as_micros() as u64) {
            return;
        }
        // Both are far below 2^63: the sign is that of clocks that disagree.
        self.counted.end_to_end.record_signed_us(now_us as i64 - due_us as i64);
    }

    /// A message was processed, which began then.
    pub(super) fn took(&mut self, begun: Instant, now: Instant) {
        if !self.watched {
            return;
        }
        let took = now.saturating_duration_since(begun);
        if took < INSTANT {
            self.instants += 1;
        } else {
            self.counted.processing.record(took);
        }
    }

    /// Hands over what was counted, if it is time to or nothing more will come.
    pub(super) fn hand_over(&mut self, now: Instant, last: bool) {
        if !(last || now.duration_since(self.handed_over) >= HAND_OVER) {
            return;
        }
        if self.instants > 0 {
            self.counted.processing.record_instants(std::mem::take(&mut self.instants));
        }
        if self.counted.is_empty() {
            return;
        }
        if let Ok(mut outbox) = self.outbox.lock() {
            outbox.add(&self.counted.take());
            self.handed_over = now;
        }
    }
}
