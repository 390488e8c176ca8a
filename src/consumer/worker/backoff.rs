//! How long to wait before something is tried again.

use std::time::Duration;

/// The pause after so many `failures` in a row: `first`, doubled with each further one up to `longest`. Up to a quarter of
/// it is taken away at random, so that what failed together is not tried again together; `random` is from 0 to 1.
pub(super) fn pause(first: Duration, longest: Duration, failures: u64, random: f64) -> Duration {
    // 2^30 times a millisecond are 12 days.
    let doublings = failures.saturating_sub(1).min(30) as u32;
    let whole = first.saturating_mul(1 << doublings).min(longest);
    whole.mul_f64(1.0 - random.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let pauses: Vec<_> = (1..=6).map(|failures| pause(first, longest, failures, 0.0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(pause(first, longest, 1, 1.0).as_millis(), 75);
        assert_eq!(pause(first, longest, 0, 0.0), first, "before the first failure, as after it");
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_the_longest_or_shorter_than_three_quarters_of_the_first(
            first in 1_u64..3_600_000,
            more in 0_u64..86_400_000,
            failures: u64,
            random in 0.0..=1.0,
        ) {
            let (first, longest) = (Duration::from_millis(first), Duration::from_millis(first + more));
            let found = pause(first, longest, failures, random);
            prop_assert!(found <= longest && found >= first.mul_f64(0.75), "{found:?}");
            // The random part never reaches the pause before: what fails on waits longer, until it is the longest.
            let next = pause(first, longest, failures.saturating_add(1), 1.0);
            prop_assert!(next >= found.mul_f64(0.75), "{found:?}, then {next:?}");
        }
    }
}
