//! Exponential backoff with jitter.

use std::time::Duration;

/// The delay after this number of consecutive `failures`: `initial`, doubled with each further failure up to `max`, minus a random
/// part of up to a quarter, so that clients that failed together do not retry together. `random` is from 0 to 1.
pub(crate) fn delay(initial: Duration, max: Duration, failures: u64, random: f64) -> Duration {
    // 2^30 ms are 12 days.
    let doublings = failures.saturating_sub(1).min(30) as u32;
    let whole = initial.saturating_mul(1 << doublings).min(max);
    whole.mul_f64(1.0 - random.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let pauses: Vec<_> = (1..=6).map(|failures| delay(first, longest, failures, 0.0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(delay(first, longest, 1, 1.0).as_millis(), 75);
        assert_eq!(delay(first, longest, 0, 0.0), first, "before the first failure, as after it");
    }

    proptest! {
        #[test]
        fn no_delay_is_longer_than_the_maximum_or_shorter_than_three_quarters_of_the_initial_one(
            first in 1_u64..3_600_000,
            more in 0_u64..86_400_000,
            failures: u64,
            random in 0.0..=1.0,
        ) {
            let (first, longest) = (Duration::from_millis(first), Duration::from_millis(first + more));
            let found = delay(first, longest, failures, random);
            prop_assert!(found <= longest && found >= first.mul_f64(0.75), "{found:?}");
            // The jitter never reaches the previous pause: pauses grow until they reach the maximum.
            let next = delay(first, longest, failures.saturating_add(1), 1.0);
            prop_assert!(next >= found.mul_f64(0.75), "{found:?}, then {next:?}");
        }
    }
}
