//! Limits the log lines about failed messages: a partition can fail faster than a log can be read.

use std::time::{Duration, Instant};

/// The maximum number of lines in [`WINDOW`].
const MAX_LINES: u32 = 20;
/// The window of the limit, for all partitions of a worker together.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts lines. Pure.
#[derive(Debug, Default)]
pub(super) struct LogLimiter {
    begun: Option<Instant>,
    written: u32,
    suppressed: u64,
}

impl LogLimiter {
    /// Whether a line may be logged now; suppressed lines are counted.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if self.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= WINDOW) {
            (self.begun, self.written) = (Some(now), 0);
        }
        let allowed = self.written < MAX_LINES;
        self.written += u32::from(allowed);
        self.suppressed += u64::from(!allowed);
        allowed
    }

    /// The number of suppressed lines and their window, once the window is over.
    pub(super) fn take_suppressed(&mut self, now: Instant) -> Option<(u64, Duration)> {
        let time = now.saturating_duration_since(self.begun?);
        (self.suppressed > 0 && time >= WINDOW).then(|| (std::mem::take(&mut self.suppressed), time))
    }

    /// The same for the last window, before it is over.
    pub(super) fn take_rest(&mut self, now: Instant) -> Option<(u64, Duration)> {
        let time = now.saturating_duration_since(self.begun?);
        (self.suppressed > 0).then(|| (std::mem::take(&mut self.suppressed), time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suppressed_lines_are_counted_and_reported_once() {
        let (mut limiter, now) = (LogLimiter::default(), Instant::now());
        let allowed = (0..100).filter(|_| limiter.allows(now)).count();
        assert_eq!(allowed, MAX_LINES as usize);
        assert_eq!(limiter.take_suppressed(now), None, "more may follow");
        assert_eq!(limiter.take_suppressed(now + WINDOW), Some((80, WINDOW)));
        assert_eq!((limiter.take_suppressed(now + WINDOW), limiter.take_rest(now + WINDOW)), (None, None));
        assert!(limiter.allows(now + WINDOW), "in the next window");
    }
}
