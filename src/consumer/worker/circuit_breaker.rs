//! The circuit breaker of a partition: stops the partition when too many messages fail, instead of skipping all
//! of them or sending all of them to the dead-letter topic.

use std::collections::VecDeque;

use crate::settings;

/// Counts the failed messages of a partition. Pure.
#[derive(Clone, Debug)]
pub(super) struct CircuitBreaker {
    /// The limit of consecutive failures; 0: no limit.
    consecutive: u64,
    /// The limit of failures among the last `window` messages; 0: no limit.
    max_failures: u64,
    window: u64,
    in_a_row: u64,
    /// The number of messages so far.
    seen: u64,
    /// The numbers of the failed messages among the last `window` messages; at most `max_failures` entries.
    failures: VecDeque<u64>,
}

impl CircuitBreaker {
    pub(super) fn new(rules: &settings::CircuitBreakerSettings) -> Self {
        // A little less than the product, which is not exact in floating point: 0.1 of 30 messages are 3.
        let max_failures = (rules.ratio * rules.window as f64 - 1e-6).ceil().max(0.0) as u64;
        let (consecutive, window) = (rules.consecutive, rules.window);
        Self { consecutive, max_failures, window, in_a_row: 0, seen: 0, failures: VecDeque::new() }
    }

    /// Records a processed message.
    pub(super) fn record_success(&mut self) {
        self.in_a_row = 0;
        self.seen += 1;
    }

    /// Records a skipped or dead-lettered message.
    pub(super) fn record_failure(&mut self) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.seen += 1;
        if self.max_failures > 0 {
            self.failures.push_back(self.seen);
        }
    }

    /// The reason for which the partition has to be stopped if one more message fails; `None` if it may
    /// continue.
    pub(super) fn would_open(&mut self) -> Option<String> {
        self.forget();
        if self.consecutive > 0 && self.in_a_row + 1 >= self.consecutive {
            let count = self.consecutive;
            return Some(format!(
                "{count} messages failed, one after the other (consumer.circuit_breaker.consecutive)"
            ));
        }
        let failures = self.failures.len() as u64 + 1;
        (self.max_failures > 0 && failures >= self.max_failures)
            .then(|| format!("{failures} of the last {} messages failed (consumer.circuit_breaker.ratio)", self.window))
    }

    /// Removes failures that fall out of the window once the next message is in it.
    fn forget(&mut self) {
        let next = self.seen + 1;
        while self.failures.front().is_some_and(|number| *number + self.window <= next) {
            self.failures.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn breaker(consecutive: u64, ratio: f64, window: u64) -> CircuitBreaker {
        CircuitBreaker::new(&settings::CircuitBreakerSettings { consecutive, ratio, window })
    }

    /// The number of failures before the breaker opens, and its reason; `true` is a success.
    fn failures_before_open(
        breaker: &mut CircuitBreaker,
        messages: impl IntoIterator<Item = bool>,
    ) -> (usize, Option<String>) {
        let mut failures = 0;
        for success in messages {
            if success {
                breaker.record_success();
                continue;
            }
            if let Some(why) = breaker.would_open() {
                return (failures, Some(why));
            }
            breaker.record_failure();
            failures += 1;
        }
        (failures, None)
    }

    #[test]
    fn the_last_of_too_many_in_a_row_is_not_skipped() {
        let (count, why) = failures_before_open(&mut breaker(3, 0.0, 10), [false; 5]);
        assert_eq!(count, 2);
        assert!(why.unwrap().contains("3 messages failed, one after the other (consumer.circuit_breaker.consecutive)"));
        assert_eq!(failures_before_open(&mut breaker(1, 0.0, 10), [false]).0, 0, "one is too many");
    }

    #[test]
    fn a_success_begins_the_row_again() {
        let messages = [false, false, true].into_iter().cycle().take(99);
        assert_eq!(failures_before_open(&mut breaker(3, 0.0, 10), messages), (66, None));
    }

    #[test]
    fn a_share_of_the_window_is_too_many() {
        let (count, why) = failures_before_open(&mut breaker(0, 0.5, 10), [false, true].into_iter().cycle().take(100));
        assert_eq!(count, 4);
        assert!(why.unwrap().contains("5 of the last 10 messages failed (consumer.circuit_breaker.ratio)"));
        // A third is less than the ratio of a half.
        assert_eq!(
            failures_before_open(&mut breaker(0, 0.5, 10), [false, true, true].into_iter().cycle().take(99)).0,
            33
        );
    }

    #[test]
    fn without_limits_it_never_opens_and_remembers_nothing() {
        let mut breaker = breaker(0, 0.0, 1_000);
        assert_eq!(failures_before_open(&mut breaker, [false; 10_000]), (10_000, None));
        assert!(breaker.failures.is_empty());
    }

    proptest! {
        /// Compares the breaker with a list of all results.
        #[test]
        fn it_opens_when_the_list_allows_it(
            consecutive in 0_u64..6,
            tenths in 0_u32..=10,
            window in 1_u64..20,
            messages in prop::collection::vec(prop::bool::weighted(0.6), 0..200),
        ) {
            let ratio = f64::from(tenths) / 10.0;
            let mut breaker = breaker(consecutive, ratio, window);
            let mut all: Vec<bool> = Vec::new();
            for success in messages {
                if success {
                    breaker.record_success();
                    all.push(true);
                    continue;
                }
                all.push(false);
                let row = all.iter().rev().take_while(|success| !**success).count() as u64;
                let share = all.iter().rev().take(window as usize).filter(|success| !**success).count() as f64;
                let expected = (consecutive > 0 && row >= consecutive) || (tenths > 0 && share >= (ratio * window as f64 - 1e-6).ceil());
                prop_assert_eq!(breaker.would_open().is_some(), expected);
                breaker.record_failure();
                prop_assert!(breaker.failures.len() as u64 <= window);
            }
        }
    }
}
