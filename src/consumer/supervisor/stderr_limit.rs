//! Limits the stderr output of a worker's processor and its programs: pure. A program can write faster than a
//! log can be read, and more than a disk can store.

use std::time::{Duration, Instant};

use crate::util::format::{bytes, pluralize};

/// The window of the limit.
const WINDOW: Duration = Duration::from_secs(1);
/// Bytes that count as one line of the limit: long lines are limited by their bytes.
const BYTES_PER_LINE: u64 = 1 << 10;
/// How often dropped lines are reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Counts the lines of one worker.
#[derive(Debug)]
pub(super) struct StderrLimit {
    /// The maximum number of lines in a [`WINDOW`]; 0: no limit.
    lines_per_second: u64,
    begun: Instant,
    lines: u64,
    bytes: u64,
    dropped: Dropped,
    reported: Option<Instant>,
}

/// The lines and bytes that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl StderrLimit {
    pub(super) fn new(lines_per_second: u64, now: Instant) -> Self {
        Self { lines_per_second, begun: now, lines: 0, bytes: 0, dropped: Dropped::default(), reported: None }
    }

    /// Whether a line of this length in bytes is passed on.
    pub(super) fn allows(&mut self, now: Instant, length: usize) -> bool {
        if self.lines_per_second == 0 {
            return true;
        }
        if now.saturating_duration_since(self.begun) >= WINDOW {
            (self.begun, self.lines, self.bytes) = (now, 0, 0);
        }
        let length = length as u64;
        let is_allowed = self.lines < self.lines_per_second
            && (self.lines == 0 || self.bytes + length <= self.lines_per_second * BYTES_PER_LINE);
        if is_allowed {
            self.lines += 1;
            self.bytes += length;
        } else {
            self.dropped.lines += 1;
            self.dropped.bytes += length;
        }
        is_allowed
    }

    /// What was dropped since the last report, if a report is due.
    pub(super) fn take_dropped(&mut self, now: Instant) -> Option<Dropped> {
        let is_due = self.reported.is_none_or(|last| now.saturating_duration_since(last) >= REPORT_INTERVAL);
        if self.dropped.lines == 0 || !is_due {
            return None;
        }
        self.reported = Some(now);
        self.take_rest()
    }

    /// What was dropped and is not reported yet.
    pub(super) fn take_rest(&mut self) -> Option<Dropped> {
        (self.dropped.lines > 0).then(|| std::mem::take(&mut self.dropped))
    }
}

impl Dropped {
    /// The log line about it.
    pub(super) fn text(self, slot: usize, lines_per_second: u64) -> String {
        format!(
            "worker {slot}: {} ({}) that its processor wrote to stderr are dropped: more than logging.stderr_lines_per_second = \
             {lines_per_second}",
            pluralize(self.lines, "line"),
            bytes(self.bytes)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let now = Instant::now();
        let mut limit = StderrLimit::new(100, now);
        assert_eq!((0..1_000).filter(|_| limit.allows(now, 10)).count(), 100);
        assert_eq!(limit.take_dropped(now), Some(Dropped { lines: 900, bytes: 9_000 }));
        assert!(limit.allows(now + WINDOW, 10), "a new second");
        assert!((0..200).filter(|_| limit.allows(now + WINDOW, 10)).count() < 100);
        assert_eq!(limit.take_dropped(now + WINDOW), None, "not that often");
        assert!(limit.take_dropped(now + REPORT_INTERVAL).is_some_and(|dropped| dropped.lines == 101));
        assert_eq!(limit.take_rest(), None);
    }

    #[test]
    fn few_long_lines_are_too_much_too() {
        let now = Instant::now();
        let mut limit = StderrLimit::new(100, now);
        assert_eq!((0..10).filter(|_| limit.allows(now, 60_000)).count(), 1);
        let mut narrow = StderrLimit::new(1, now);
        assert!(narrow.allows(now, 60_000), "one line is shown, whatever its length");
        let mut unlimited = StderrLimit::new(0, now);
        assert!((0..10_000).all(|_| unlimited.allows(now, 60_000)) && unlimited.take_rest().is_none());
    }
}
