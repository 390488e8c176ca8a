//! How long the supervisor has been running: a clock that leaves out the time in which it did not.
//!
//! A machine that was paused, or a supervisor that was stopped and goes on, sees a jump of the monotonic clock. Nothing that
//! it waits for can have happened meanwhile, so that time counts for nobody's silence.

use std::time::{Duration, Instant};

/// The clock is read several times a second; a gap that is longer than this was no running.
const LONGEST: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub(super) struct Awake {
    read_at: Instant,
    time: Duration,
}

impl Awake {
    /// Starts at zero.
    pub(super) fn new(now: Instant) -> Self {
        Self { read_at: now, time: Duration::ZERO }
    }

    /// The time at `now`, which does not go back.
    pub(super) fn at(&mut self, now: Instant) -> Duration {
        let gap = now.saturating_duration_since(self.read_at);
        self.read_at = now.max(self.read_at);
        if gap <= LONGEST {
            self.time += gap;
        }
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_does_not_count() {
        let begun = Instant::now();
        let mut awake = Awake::new(begun);
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        assert_eq!(awake.at(at(100)), Duration::from_millis(100));
        assert_eq!(awake.at(at(1_000)), Duration::from_millis(1_000));
        assert_eq!(awake.at(at(60_000)), Duration::from_millis(1_000), "it was stopped for a minute");
        assert_eq!(awake.at(at(60_050)), Duration::from_millis(1_050));
        assert_eq!(awake.at(at(1_000)), Duration::from_millis(1_050), "and never goes back");
    }
}
