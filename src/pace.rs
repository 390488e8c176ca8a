//! How fast a count grows.

use std::collections::VecDeque;

/// Over how many seconds: long enough to be read, short enough to tell what is going on now.
const WINDOW: f64 = 5.0;
/// Seconds between two counts that are remembered; a rate over less says little.
const APART: f64 = 0.5;

/// The rate of one count over the last few seconds, not since its start. Its moments are seconds from any origin.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    seen: VecDeque<(f64, f64)>,
    newest: (f64, f64),
}

impl Pace {
    /// The count at a moment. A clock or a count that goes back has begun anew.
    pub fn note(&mut self, at: f64, count: f64) {
        if at < self.newest.0 || count < self.newest.1 {
            self.seen.clear();
        }
        self.newest = (at, count);
        if self.seen.back().is_none_or(|(last, _)| at - last >= APART) {
            self.seen.push_back(self.newest);
        }
        while self.seen.get(1).is_some_and(|(second, _)| *second <= at - WINDOW) {
            self.seen.pop_front();
        }
    }

    /// By how much it has grown a second; `None`: it is not known for long enough.
    pub fn per_second(&self) -> Option<f64> {
        let (first, then) = *self.seen.front()?;
        let (last, now) = self.newest;
        (last - first >= APART).then(|| (now - then) / (last - first))
    }

    /// In how many seconds it will have grown by `missing`, if it goes on as now.
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
        let mut pace = Pace::default();
        (0..=100).for_each(|tenth| pace.note(f64::from(tenth) / 10.0, f64::from(tenth) * 100.0));
        assert_eq!(pace.per_second(), Some(1_000.0));
        assert_eq!(pace.seconds_for(500), Some(0.5));
        (101..=200).for_each(|tenth| pace.note(f64::from(tenth) / 10.0, 10_000.0));
        assert_eq!((pace.per_second(), pace.seconds_for(500)), (Some(0.0), None));
        assert!(pace.seen.len() <= 12, "{}", pace.seen.len());
    }

    #[test]
    fn a_count_that_was_hardly_seen_has_no_rate() {
        let mut pace = Pace::default();
        assert_eq!(pace.per_second(), None);
        pace.note(7.0, 1_000.0);
        pace.note(7.4, 2_000.0);
        assert_eq!(pace.per_second(), None);
        pace.note(8.0, 2_000.0);
        assert_eq!(pace.per_second(), Some(1_000.0));
    }

    #[test]
    fn a_count_that_begins_anew_has_no_rate_below_zero() {
        let mut pace = Pace::default();
        pace.note(1.0, 1_000.0);
        pace.note(2.0, 5.0);
        assert_eq!(pace.per_second(), None);
        pace.note(1.0, 6.0);
        pace.note(2.0, 8.0);
        assert_eq!(pace.per_second(), Some(2.0));
    }
}
