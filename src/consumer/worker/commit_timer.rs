//! The schedule of a worker's commits.

use std::time::{Duration, Instant};

/// Schedules the next commit.
pub(super) struct CommitTimer {
    interval: Duration,
    next: Instant,
    /// The next commit includes positions that are committed already.
    refresh: bool,
    /// Whether the lease had expired at the last check.
    suspended: bool,
}

impl CommitTimer {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: Instant::now() + interval, refresh: false, suspended: false }
    }

    /// `Some` if a commit is due; the value is whether positions that are committed already are included.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<bool> {
        (now >= self.next).then(|| {
            self.next = now + self.interval;
            std::mem::take(&mut self.refresh)
        })
    }

    /// Includes all positions in the next scheduled commit, because a refresh has failed.
    pub(super) fn refresh_later(&mut self) {
        self.refresh = true;
    }

    /// Makes a commit due at once when the lease has expired: it may still allow one.
    pub(super) fn set_suspended(&mut self, suspended: bool) {
        if suspended && !self.suspended {
            self.next = Instant::now();
        }
        self.suspended = suspended;
    }

    /// Makes a commit of all positions due at once.
    pub(super) fn refresh(&mut self) {
        (self.refresh, self.next) = (true, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_due_each_interval_and_a_refresh_at_once() {
        let mut timer = CommitTimer::new(Duration::from_secs(60));
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!((timer.take_due(after(59)), timer.take_due(after(61))), (None, Some(false)));
        assert_eq!(timer.take_due(after(62)), None);
        timer.refresh();
        assert_eq!((timer.take_due(after(63)), timer.take_due(after(64))), (Some(true), None));
        assert_eq!(timer.take_due(after(124)), Some(false), "once");
    }
}
