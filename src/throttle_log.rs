//! Tracks whether the brokers throttle a run's clients (a quota of the cluster): one log line when it starts and one
//! when it ends.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::kafka::quota_throttle::Throttled;

/// The throttling of all clients of one side.
#[derive(Debug, Default)]
pub struct Throttling {
    brokers: BTreeSet<i32>,
    since: Option<Instant>,
    until: Option<Instant>,
    is_logged: bool,
}

/// A change of the throttling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottlingChange {
    /// It started, by these brokers.
    Began(String),
    /// It ended, after this time.
    Ended(Duration),
}

impl Throttling {
    /// Records a client's report of throttling.
    pub fn report(&mut self, throttled: &Throttled, now: Instant) {
        self.brokers.extend(&throttled.brokers);
        self.since.get_or_insert(now);
        self.until = self.until.max(Some(now + throttled.remaining));
    }

    /// Returns whether any client is throttled.
    pub fn is_active(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// The change since the last call.
    pub fn change(&mut self, now: Instant) -> Option<ThrottlingChange> {
        let since = self.since?;
        if !self.is_active(now) {
            let began = std::mem::take(self);
            return began.is_logged.then_some(ThrottlingChange::Ended(now.saturating_duration_since(since)));
        }
        if std::mem::replace(&mut self.is_logged, true) {
            return None;
        }
        let brokers: Vec<_> = self.brokers.iter().map(ToString::to_string).collect();
        Some(ThrottlingChange::Began(brokers.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_once_and_ends_once() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let throttled =
            |broker, seconds| Throttled { brokers: vec![broker], remaining: second * seconds, partitions: Vec::new() };
        let mut throttling = Throttling::default();
        assert_eq!((throttling.change(start), throttling.is_active(start)), (None, false));
        throttling.report(&throttled(2, 3), start);
        throttling.report(&throttled(1, 2), start);
        assert_eq!(throttling.change(start), Some(ThrottlingChange::Began("1, 2".to_owned())));
        throttling.report(&throttled(1, 3), start + 2 * second);
        assert_eq!(throttling.change(start + 4 * second), None);
        assert!(throttling.is_active(start + 4 * second));
        assert_eq!(throttling.change(start + 6 * second), Some(ThrottlingChange::Ended(6 * second)));
        assert_eq!(throttling.change(start + 7 * second), None);
    }
}
