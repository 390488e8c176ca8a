//! Measures the current rate of a counter.

use std::collections::VecDeque;

/// The window in seconds: long enough for a stable rate, short enough to be current.
const WINDOW: f64 = 5.0;
/// The minimum interval between two samples in seconds.
const MIN_SAMPLE_INTERVAL: f64 = 0.5;

/// The rate of a counter over the last seconds. Times are seconds from any origin.
#[derive(Clone, Debug, Default)]
pub struct RateMeter {
    seen: VecDeque<(f64, f64)>,
    newest: (f64, f64),
}

impl RateMeter {
    /// Records the counter at a time. A time or counter that decreases restarts the measurement.
    pub fn record(&mut self, at: f64, count: f64) {
        if at < self.newest.0 || count < self.newest.1 {
            self.seen.clear();
        }
        self.newest = (at, count);
        if self.seen.back().is_none_or(|(last, _)| at - last >= MIN_SAMPLE_INTERVAL) {
            self.seen.push_back(self.newest);
        }
        while self.seen.get(1).is_some_and(|(second, _)| *second <= at - WINDOW) {
            self.seen.pop_front();
        }
    }

    /// The rate per second; `None` before there are enough samples.
    pub fn per_second(&self) -> Option<f64> {
        let (first, then) = *self.seen.front()?;
        let (last, now) = self.newest;
        (last - first >= MIN_SAMPLE_INTERVAL).then(|| (now - then) / (last - first))
    }

    /// The number of seconds until the counter has grown by `missing` at the current rate.
    pub fn seconds_for(&self, missing: u64) -> Option<f64> {
        let rate = self.per_second().filter(|rate| *rate > 0.0)?;
        Some(missing as f64 / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_long_ago_does_not_count() {
        let mut pace = RateMeter::default();
        (0..=100).for_each(|tenth| pace.record(f64::from(tenth) / 10.0, f64::from(tenth) * 100.0));
        assert_eq!(pace.per_second(), Some(1_000.0));
        assert_eq!(pace.seconds_for(500), Some(0.5));
        (101..=200).for_each(|tenth| pace.record(f64::from(tenth) / 10.0, 10_000.0));
        assert_eq!((pace.per_second(), pace.seconds_for(500)), (Some(0.0), None));
        assert!(pace.seen.len() <= 12, "{}", pace.seen.len());
    }

    #[test]
    fn a_count_that_was_hardly_seen_has_no_rate() {
        let mut pace = RateMeter::default();
        assert_eq!(pace.per_second(), None);
        pace.record(7.0, 1_000.0);
        pace.record(7.4, 2_000.0);
        assert_eq!(pace.per_second(), None);
        pace.record(8.0, 2_000.0);
        assert_eq!(pace.per_second(), Some(1_000.0));
    }

    #[test]
    fn a_count_that_begins_anew_has_no_rate_below_zero() {
        let mut pace = RateMeter::default();
        pace.record(1.0, 1_000.0);
        pace.record(2.0, 5.0);
        assert_eq!(pace.per_second(), None);
        pace.record(1.0, 6.0);
        pace.record(2.0, 8.0);
        assert_eq!(pace.per_second(), Some(2.0));
    }
}
