//! The supervisor's running time: a clock that excludes the time in which the supervisor did not run.
//!
//! After a suspension of the machine, or after SIGSTOP and SIGCONT, the monotonic clock jumps. Nothing that the
//! supervisor waits for can have happened meanwhile, so that time counts towards no timeout.

use std::time::{Duration, Instant};

/// The clock is read several times a second; a longer gap counts as a suspension.
const MAX_TICK_GAP: Duration = Duration::from_secs(1);

/// Measures running time: see the [module](self).
#[derive(Clone, Copy, Debug)]
pub(super) struct ActiveClock {
    read_at: Instant,
    time: Duration,
}

impl ActiveClock {
    /// Creates a clock that starts at zero.
    pub(super) fn new(now: Instant) -> Self {
        Self { read_at: now, time: Duration::ZERO }
    }

    /// The running time at `now`; it does not go back.
    pub(super) fn at(&mut self, now: Instant) -> Duration {
        let gap = now.saturating_duration_since(self.read_at);
        self.read_at = now.max(self.read_at);
        if gap <= MAX_TICK_GAP {
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
        let mut awake = ActiveClock::new(begun);
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        assert_eq!(awake.at(at(100)), Duration::from_millis(100));
        assert_eq!(awake.at(at(1_000)), Duration::from_millis(1_000));
        assert_eq!(awake.at(at(60_000)), Duration::from_millis(1_000), "it was stopped for a minute");
        assert_eq!(awake.at(at(60_050)), Duration::from_millis(1_050));
        assert_eq!(awake.at(at(1_000)), Duration::from_millis(1_050), "and never goes back");
    }
}
