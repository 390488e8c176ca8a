//! Two clocks: durations are measured on the monotonic one, and what other processes are told is on the wall's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment on both clocks. The wall's may be set or slewed: take a new one now and then.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    instant: Instant,
    unix: Duration,
}

impl Anchor {
    /// Now. A wall clock before 1970 is a broken one, and counts as 1970.
    pub fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix }
    }

    /// A moment, in µs since 1970 UTC.
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
        let anchor = Anchor::now();
        let at = |ms| anchor.instant + Duration::from_millis(ms);
        assert_eq!(anchor.unix_us(at(7)) - anchor.unix_us(at(0)), 7_000);
        let later = Anchor { instant: at(5), unix: anchor.unix + Duration::from_millis(5) };
        assert_eq!(later.unix_us(at(0)), anchor.unix_us(at(0)));
    }
}
