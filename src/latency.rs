//! How long things took, in microseconds: an HDR histogram, which keeps three digits of every value.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told apart, in microseconds: an hour. Longer counts as that.
const LONGEST: u64 = 3_600_000_000;
/// Significant digits.
const DIGITS: u8 = 3;

/// Times of many messages.
#[derive(Clone)]
pub struct Latency(Option<Histogram<u64>>);

/// For the report, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it: percentiles")]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
}

impl Default for Latency {
    fn default() -> Self {
        // Only bounds that contradict each other are refused, and these are constants.
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).ok())
    }
}

impl Latency {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        if let Some(times) = &mut self.0 {
            times.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST).max(1));
        }
    }

    /// Counts all of `other`, without losing precision.
    pub fn add(&mut self, other: &Self) {
        if let (Some(times), Some(other)) = (&mut self.0, &other.0) {
            // Refused only if `other` holds longer times, and all have one bound.
            let _same_bounds = times.add(other);
        }
    }

    /// What is reported, if anything was counted.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let times = self.0.as_ref().filter(|times| !times.is_empty())?;
        let at = |quantile| times.value_at_quantile(quantile);
        Some(Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), max: times.max() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_two_are_those_of_both() {
        let (mut one, mut other) = (Latency::default(), Latency::default());
        (1..=500).for_each(|ms| one.record(Duration::from_millis(ms)));
        (501..=1_000).for_each(|ms| other.record(Duration::from_millis(ms)));
        one.add(&other);
        let percentiles = one.percentiles().unwrap();
        let close = |value: u64, ms: u64| value.abs_diff(1_000 * ms) <= ms;
        assert!(
            close(percentiles.p50, 500) && close(percentiles.p99, 990) && close(percentiles.max, 1_000),
            "{percentiles:?}"
        );
        assert_eq!(Latency::default().percentiles(), None);
    }

    #[test]
    fn what_is_too_long_is_counted_too() {
        let mut latency = Latency::default();
        latency.record(Duration::from_secs(1_000_000));
        assert!(latency.percentiles().unwrap().max >= LONGEST);
    }
}
