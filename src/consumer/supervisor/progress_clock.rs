//! The time of the run's last progress, on the wall clock and on the clock that excludes suspensions.

use std::time::{Duration, Instant};

use super::active_clock::ActiveClock;
use crate::util::clock::ClockAnchor;

/// Measures the time since the last progress: a handled message, or the last worker that became ready.
pub(super) struct ProgressClock {
    active: ActiveClock,
    /// When consuming began.
    started: Instant,
    /// When the supervisor started, in µs since 1970 UTC.
    started_us: u64,
    last_progress: Instant,
    /// The time of the last progress on the active clock; in the future while the brokers throttle.
    last_progress_active: Duration,
}

impl ProgressClock {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            active: ActiveClock::new(now),
            started: now,
            started_us: ClockAnchor::now().unix_us(now),
            last_progress: now,
            last_progress_active: Duration::ZERO,
        }
    }

    /// The active time at `now`, which is the policy's time.
    pub(super) fn active_at(&mut self, now: Instant) -> Duration {
        self.active.at(now)
    }

    /// When the supervisor started, in µs since 1970 UTC.
    pub(super) fn started_us(&self) -> u64 {
        self.started_us
    }

    /// Records that consuming begins at `now`.
    pub(super) fn begin(&mut self, now: Instant) {
        self.started = now;
        self.record(now);
    }

    /// Records progress.
    pub(super) fn record(&mut self, now: Instant) {
        self.last_progress = now;
        self.last_progress_active = self.last_progress_active.max(self.active.at(now));
    }

    /// Counts no idle time until `remaining` after `now`: the brokers throttle.
    pub(super) fn hold(&mut self, now: Instant, remaining: Duration) {
        self.last_progress_active = self.last_progress_active.max(self.active.at(now) + remaining);
    }

    /// The active time since the last progress.
    pub(super) fn idle(&mut self, now: Instant) -> Duration {
        self.active.at(now).saturating_sub(self.last_progress_active)
    }

    /// The time from the beginning to the last progress.
    pub(super) fn busy(&self) -> Duration {
        self.last_progress.saturating_duration_since(self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_counts_as_no_idle_time() {
        let begun = Instant::now();
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        let mut clock = ProgressClock::new(begun);
        clock.begin(at(100));
        assert_eq!(clock.idle(at(900)), Duration::from_millis(800));
        clock.record(at(1_000));
        clock.hold(at(1_000), Duration::from_millis(500));
        clock.record(at(1_200));
        assert_eq!(clock.idle(at(1_400)), Duration::ZERO);
        assert_eq!(clock.idle(at(1_700)), Duration::from_millis(200));
        assert_eq!(clock.busy(), Duration::from_millis(1_100));
    }
}
