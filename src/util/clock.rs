//! Converts moments of the monotonic clock, which measures durations, to the wall clock, which other processes use.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The same moment on both clocks. Renew it now and then, because the wall clock may be set or slewed.
#[derive(Clone, Copy, Debug)]
pub struct ClockAnchor {
    instant: Instant,
    unix: Duration,
}

impl ClockAnchor {
    /// The current moment. A wall clock before 1970 is wrong and counts as 1970.
    pub fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix }
    }

    /// A moment in µs since the Unix epoch.
    pub fn unix_us(&self, at: Instant) -> u64 {
        let unix = match at.checked_duration_since(self.instant) {
            Some(later) => self.unix + later,
            None => self.unix.saturating_sub(self.instant.duration_since(at)),
        };
        unix.as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_and_after_keep_their_distance() {
        let anchor = ClockAnchor::now();
        let at = |ms| anchor.instant + Duration::from_millis(ms);
        assert_eq!(anchor.unix_us(at(7)) - anchor.unix_us(at(0)), 7_000);
        let later = ClockAnchor { instant: at(5), unix: anchor.unix + Duration::from_millis(5) };
        assert_eq!(later.unix_us(at(0)), anchor.unix_us(at(0)));
    }
}
