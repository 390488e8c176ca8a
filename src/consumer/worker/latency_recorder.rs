//! Message latencies of a worker, on their way to the next heartbeat.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::consumer::protocol::LatencySnapshot;
use crate::latency::scope::Timing;
use crate::settings::Settings;

/// How often latencies are handed over to the heartbeats.
const HAND_OVER_INTERVAL: Duration = Duration::from_secs(1);

/// Latencies for the next heartbeat.
pub(super) type SharedLatencies = Arc<Mutex<LatencySnapshot>>;

/// Records message latencies. Counted on the processing thread, and handed over periodically: a heartbeat must
/// not wait for a processor that blocks.
pub(super) struct LatencyRecorder {
    recorded: LatencySnapshot,
    latencies: SharedLatencies,
    handed_over: Instant,
    warm_up: Duration,
    /// Messages that were scheduled earlier (in µs since 1970 UTC) are not timed; known with the first message.
    from_us: Option<u64>,
    /// Processing is timed, too.
    times_processing: bool,
    /// The number of messages that took less than [`SUB_MICROSECOND`]: the fastest are the most frequent, and
    /// recording them in a histogram would cost a twentieth of their time.
    instants: u64,
}

/// Below the resolution of clocks that count microseconds.
const SUB_MICROSECOND: Duration = Duration::from_micros(1);

impl LatencyRecorder {
    pub(super) fn new(latencies: SharedLatencies, settings: &Settings) -> Self {
        Self {
            recorded: LatencySnapshot::default(),
            latencies,
            handed_over: Instant::now(),
            warm_up: settings.latency.warm_up,
            from_us: None,
            times_processing: settings.monitoring.listen.is_some(),
            instants: 0,
        }
    }

    /// Records a stamped message that was processed now.
    pub(super) fn stamped(&mut self, timing: Timing, now_us: u64) {
        let due_us = match timing {
            Timing::Due(due_us) => due_us,
            Timing::Older => return self.recorded.excluded.older += 1,
            Timing::OtherRun => return self.recorded.excluded.other_run += 1,
            Timing::Corrupt => return self.recorded.excluded.corrupt += 1,
        };
        if !self.warm_up.is_zero() && due_us < *self.from_us.get_or_insert(due_us + self.warm_up.as_micros() as u64) {
            return;
        }
        // Both are far below 2^63; a negative difference comes from clocks that disagree.
        self.recorded.end_to_end.record_signed_us(now_us as i64 - due_us as i64);
    }

    /// Counts a message that was skipped or dead-lettered.
    pub(super) fn failed(&mut self, reason: &str) {
        self.recorded.failures.count(reason);
    }

    /// Records the processing time of a message, which began at `begun`.
    pub(super) fn record_processing(&mut self, begun: Instant, now: Instant) {
        if !self.times_processing {
            return;
        }
        let took = now.saturating_duration_since(begun);
        if took < SUB_MICROSECOND {
            self.instants += 1;
        } else {
            self.recorded.processing.record(took);
        }
    }

    /// Hands over the latencies, if it is due or `last`.
    pub(super) fn flush(&mut self, now: Instant, last: bool) {
        if !(last || now.duration_since(self.handed_over) >= HAND_OVER_INTERVAL) {
            return;
        }
        if self.instants > 0 {
            self.recorded.processing.record_instants(std::mem::take(&mut self.instants));
        }
        if self.recorded.is_empty() {
            return;
        }
        if let Ok(mut latencies) = self.latencies.lock() {
            latencies.add(&self.recorded.take());
            self.handed_over = now;
        }
    }
}
