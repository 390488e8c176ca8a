//! The schedule of a worker's commits.

use std::time::{Duration, Instant};

/// Which positions a commit includes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CommitScope {
    /// Those that are not committed.
    #[default]
    Uncommitted,
    /// All, also those that are committed already: a commit expires.
    All,
}

/// Schedules the next commit.
pub(super) struct CommitTimer {
    interval: Duration,
    next: Instant,
    /// The scope of the next commit.
    scope: CommitScope,
    /// Whether the lease had expired at the last check.
    suspended: bool,
}

impl CommitTimer {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: Instant::now() + interval, scope: CommitScope::Uncommitted, suspended: false }
    }

    /// The scope of the commit that is due, if one is.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<CommitScope> {
        (now >= self.next).then(|| {
            self.next = now + self.interval;
            std::mem::take(&mut self.scope)
        })
    }

    /// Includes all positions in the next scheduled commit, because a refresh has failed.
    pub(super) fn refresh_later(&mut self) {
        self.scope = CommitScope::All;
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
        (self.scope, self.next) = (CommitScope::All, Instant::now());
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
        assert_eq!((timer.take_due(after(59)), timer.take_due(after(61))), (None, Some(CommitScope::Uncommitted)));
        assert_eq!(timer.take_due(after(62)), None);
        timer.refresh();
        assert_eq!((timer.take_due(after(63)), timer.take_due(after(64))), (Some(CommitScope::All), None));
        assert_eq!(timer.take_due(after(124)), Some(CommitScope::Uncommitted), "once");
    }
}
