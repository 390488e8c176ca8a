//! State that a worker's partitions share, on the processing thread.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::Recipient;

use super::history_writer::HistoryWriter;
use super::isolation_gate::IsolationGate;
use super::lease::LeaseGate;
use super::log_limiter::LogLimiter;
use super::messages::PartitionEvent;
use crate::consumer::protocol::{LatencySnapshot, PoisonMessage, WorkerConfig};
use crate::kafka::dead_letter_producer::DeadLetterProducer;
use crate::latency::scope::{StampScope, Timing};
use crate::processor::{Processor, WorkerContext};
use crate::record::{Record, TopicPartition};
use crate::settings::Settings;

/// State that all partitions of a worker share, on the processing thread.
pub(super) struct Shared {
    pub(super) processor: RefCell<Box<dyn Processor>>,
    pub(super) context: WorkerContext,
    pub(super) quota: MessageQuota,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) orders: Arc<WorkerFlags>,
    pub(super) history: Option<Arc<HistoryWriter>>,
    pub(super) times: RefCell<LatencyRecorder>,
    /// Which stamped messages are timed.
    pub(super) stamps: StampScope,
    pub(super) events: Recipient<PartitionEvent>,
    pub(super) dead_letters: DeadLetterProducer,
    pub(super) gate: IsolationGate,
    /// Whether the processor has returned a result yet.
    pub(super) has_result: Cell<bool>,
    /// When the processor was created.
    pub(super) since: Instant,
    /// Limits the lines about failed messages.
    pub(super) throttle: RefCell<LogLimiter>,
}

/// The number of further messages that the worker may handle (`consumer.max_messages`); `None`: no limit.
pub(super) struct MessageQuota(Cell<Option<u64>>);

impl MessageQuota {
    pub(super) fn new(messages: Option<u64>) -> Self {
        Self(Cell::new(messages))
    }

    /// Reserves one message; `false` if none is left.
    pub(super) fn take(&self) -> bool {
        let Some(left) = self.0.get() else { return true };
        self.0.set(Some(left.saturating_sub(1)));
        left > 0
    }

    /// Releases the reservation of a message that is not handled here.
    pub(super) fn release(&self) {
        self.0.set(self.0.get().map(|left| left + 1));
    }
}

/// Flags that the supervisor controls; set by the router, read by the partitions.
#[derive(Default)]
pub(super) struct WorkerFlags {
    /// Start no more messages.
    pub(super) paused: AtomicBool,
    /// Isolation mode: request permission for each message.
    pub(super) isolated: AtomicBool,
    /// As [`WorkerConfig::suspects`].
    suspects: Vec<(TopicPartition, i64)>,
    /// Whether the next list has entries, which is checked for each message.
    pub(super) any_poison: AtomicBool,
    pub(super) poison_messages: Mutex<Vec<PoisonMessage>>,
    /// The lease, while the supervisor holds the lock on the group.
    pub(super) lease: LeaseGate,
}

impl WorkerFlags {
    /// The flags of a worker at its start.
    pub(super) fn new(start: &WorkerConfig) -> Arc<Self> {
        let orders = Self {
            paused: AtomicBool::new(start.paused),
            isolated: AtomicBool::new(start.isolated),
            suspects: start.suspects.clone(),
            any_poison: AtomicBool::default(),
            poison_messages: Mutex::default(),
            lease: LeaseGate::new(start.lease),
        };
        orders.set_poison_messages(start.poison_messages.clone());
        Arc::new(orders)
    }

    /// Whether this message may be poison.
    pub(super) fn is_suspect(&self, record: &Record<'_>) -> bool {
        self.suspects.iter().any(|(partition, offset)| {
            (partition.partition, *offset) == (record.partition, record.offset) && partition.topic == record.topic
        })
    }

    /// The reason for which this message must not be processed; `None` if it may be.
    pub(super) fn poison_reason(&self, record: &Record<'_>) -> Option<String> {
        if !self.any_poison.load(Ordering::Relaxed) {
            return None;
        }
        let poison_messages = self.poison_messages.lock().ok()?;
        let found = poison_messages.iter().find(|poison_messages| {
            let partition = &poison_messages.partition;
            (partition.partition, poison_messages.offset) == (record.partition, record.offset)
                && partition.topic == record.topic
        });
        found.map(|poison_messages| poison_messages.reason.clone())
    }

    /// Replaces the list of poison messages.
    pub(super) fn set_poison_messages(&self, list: Vec<PoisonMessage>) {
        self.any_poison.store(!list.is_empty(), Ordering::Relaxed);
        // A panic while the lock was held has ended the process.
        if let Ok(mut poison_messages) = self.poison_messages.lock() {
            *poison_messages = list;
        }
    }
}

/// How often latencies are handed over to the heartbeats.
const HAND_OVER: Duration = Duration::from_secs(1);

/// Latencies for the next heartbeat.
pub(super) type SharedLatencies = Arc<Mutex<LatencySnapshot>>;

/// Records message latencies. Counted on the processing thread, and handed over periodically: a heartbeat must
/// not wait for a processor that blocks.
pub(super) struct LatencyRecorder {
    counted: LatencySnapshot,
    outbox: SharedLatencies,
    handed_over: Instant,
    warm_up: Duration,
    /// Messages that were scheduled earlier (in µs since 1970 UTC) are not timed; known with the first message.
    from_us: Option<u64>,
    /// Processing is timed, too.
    watched: bool,
    /// The number of messages that took less than [`SUB_MICROSECOND`]: the fastest are the most frequent, and
    /// recording them in a histogram would cost a twentieth of their time.
    instants: u64,
}

/// Below the resolution of clocks that count microseconds.
const SUB_MICROSECOND: Duration = Duration::from_micros(1);

impl LatencyRecorder {
    pub(super) fn new(outbox: SharedLatencies, settings: &Settings) -> Self {
        Self {
            counted: LatencySnapshot::default(),
            outbox,
            handed_over: Instant::now(),
            warm_up: settings.latency.warm_up,
            from_us: None,
            watched: settings.monitoring.listen.is_some(),
            instants: 0,
        }
    }

    /// Records a stamped message that was processed now.
    pub(super) fn stamped(&mut self, timing: Timing, now_us: u64) {
        let due_us = match timing {
            Timing::Due(due_us) => due_us,
            Timing::Older => return self.counted.excluded.older += 1,
            Timing::OtherRun => return self.counted.excluded.other_run += 1,
            Timing::Corrupt => return self.counted.excluded.corrupt += 1,
        };
        if !self.warm_up.is_zero() && due_us < *self.from_us.get_or_insert(due_us + self.warm_up.as_micros() as u64) {
            return;
        }
        // Both are far below 2^63; a negative difference comes from clocks that disagree.
        self.counted.end_to_end.record_signed_us(now_us as i64 - due_us as i64);
    }

    /// Counts a message that was skipped or dead-lettered.
    pub(super) fn failed(&mut self, reason: &str) {
        self.counted.failures.count(reason);
    }

    /// Records the processing time of a message, which began at `begun`.
    pub(super) fn record_processing(&mut self, begun: Instant, now: Instant) {
        if !self.watched {
            return;
        }
        let took = now.saturating_duration_since(begun);
        if took < SUB_MICROSECOND {
            self.instants += 1;
        } else {
            self.counted.processing.record(took);
        }
    }

    /// Hands over the latencies, if it is due or `last`.
    pub(super) fn flush(&mut self, now: Instant, last: bool) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_used_up_and_what_is_released_can_be_taken_again() {
        let quota = MessageQuota::new(Some(2));
        assert_eq!([quota.take(), quota.take(), quota.take()], [true, true, false]);
        quota.release();
        assert_eq!([quota.take(), quota.take()], [true, false]);
        let unlimited = MessageQuota::new(None);
        unlimited.release();
        assert!((0..1_000).all(|_| unlimited.take()));
    }
}
