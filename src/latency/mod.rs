//! Latencies in microseconds, in HDR histograms with three significant digits.
//!
//! - [`LatencyHistogram`]: the latencies of many messages; histograms of threads and processes are added without loss of precision.
//! - [`scope`]: the stamps that count.
//! - `codec`: the text encoding, for the frames between processes.
//! - [`hdr_log`]: complete histograms in a file. [`table`](table()): a table of percentiles.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

mod codec;
pub mod hdr_log;
pub mod scope;
mod table;

pub use table::table;

/// The maximum recorded value in microseconds: one hour. A longer latency is recorded as this value.
const MAX_MICROS: u64 = 3_600_000_000;
/// The number of significant digits.
const SIGNIFICANT_DIGITS: u8 = 3;

/// A histogram of latencies. All have the same bounds and digits, so that any two can be added.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LatencyHistogram {
    /// `None` before the first value: a histogram takes 190 KB.
    times: Option<Histogram<u64>>,
    /// The number of negative values.
    negative: u64,
}

/// Percentiles for the report, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it: percentiles")]
pub struct Percentiles {
    pub p50: u64,
    pub p75: u64,
    pub p90: u64,
    pub p95: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub p99_99: u64,
    pub max: u64,
    pub mean: u64,
    /// Number of values from which the percentiles are computed.
    pub count: u64,
    /// Number of negative values, which are not part of the percentiles: the clocks of two machines differ by more than the
    /// latency.
    #[serde(skip_serializing_if = "is_zero")]
    pub negative: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's call")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Creates an empty histogram.
#[cold]
fn empty() -> Option<Histogram<u64>> {
    // Creation fails only for contradictory bounds, and these are constants.
    Histogram::new_with_bounds(1, MAX_MICROS, SIGNIFICANT_DIGITS).ok()
}

impl LatencyHistogram {
    /// Records a duration.
    pub fn record(&mut self, time: Duration) {
        self.record_us(u64::try_from(time.as_micros()).unwrap_or(MAX_MICROS));
    }

    /// Records a value in microseconds.
    pub fn record_us(&mut self, us: u64) {
        if self.times.is_none() {
            self.times = empty();
        }
        if let Some(times) = &mut self.times {
            times.saturating_record(us.clamp(1, MAX_MICROS));
        }
    }

    /// Records `count` durations below one microsecond.
    pub fn record_instants(&mut self, count: u64) {
        if self.times.is_none() {
            self.times = empty();
        }
        if let Some(times) = &mut self.times {
            times.saturating_record_n(1, count);
        }
    }

    /// Records a value in microseconds that was measured with the clocks of two machines; negative values are counted separately.
    pub fn record_signed_us(&mut self, us: i64) {
        match u64::try_from(us) {
            Ok(us) => self.record_us(us),
            Err(_) => self.negative += 1,
        }
    }

    /// Adds all values of `other`, without loss of precision.
    pub fn add(&mut self, other: &Self) {
        self.negative = self.negative.saturating_add(other.negative);
        match (&mut self.times, &other.times) {
            (Some(times), Some(other)) => {
                // This fails only if `other` has values above the maximum, and all histograms have the same maximum.
                times.add(other).ok();
            }
            (times @ None, Some(other)) => *times = Some(other.clone()),
            (_, None) => {}
        }
    }

    /// Returns the values since the last call and resets the histogram; its memory is reused.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let times = self.times.as_mut().filter(|times| !times.is_empty()).map(|times| {
            let taken = times.clone();
            times.reset();
            taken
        });
        Self { times, negative: std::mem::take(&mut self.negative) }
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.negative == 0 && self.count().is_none()
    }

    /// Returns the histogram if it contains values.
    fn count(&self) -> Option<&Histogram<u64>> {
        self.times.as_ref().filter(|times| !times.is_empty())
    }

    /// Returns the percentiles if anything was recorded; with only negative values, all fields except `negative` are zero.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let negative = self.negative;
        let Some(times) = self.count() else {
            return (negative > 0).then(|| Percentiles { negative, ..Percentiles::default() });
        };
        let at = |quantile| times.value_at_quantile(quantile);
        Some(Percentiles {
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: times.max(),
            mean: times.mean().round() as u64,
            count: times.len(),
            negative,
        })
    }
}

impl LatencyHistogram {
    /// Returns, for each of these ascending bounds in µs, the number of values that are at most the bound, and the sum of all
    /// values in µs. Negative values are not counted.
    pub fn cumulative(&self, bounds_us: &[u64]) -> (Vec<u64>, f64) {
        let mut counts = vec![0_u64; bounds_us.len()];
        let mut sum = 0.0;
        for step in self.count().iter().flat_map(|times| times.iter_recorded()) {
            let (us, count) = (step.value_iterated_to(), step.count_at_value());
            sum += us as f64 * count as f64;
            let at = bounds_us.partition_point(|bound| *bound < us);
            if let Some(bound) = counts.get_mut(at) {
                *bound = bound.saturating_add(count);
            }
        }
        for at in 1..counts.len() {
            counts[at] = counts[at].saturating_add(counts[at - 1]);
        }
        (counts, sum)
    }
}

impl fmt::Debug for LatencyHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Latency").field(&self.percentiles()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_up_to_bounds() {
        let mut latency = LatencyHistogram::default();
        [10, 10, 11, 5_000].into_iter().for_each(|us| latency.record_us(us));
        latency.record_instants(1);
        latency.record_signed_us(-5);
        let (counts, sum) = latency.cumulative(&[1, 10, 100, 10_000]);
        assert_eq!(counts, [1, 3, 4, 5]);
        assert!((sum - 5_032.0).abs() < 5.0, "{sum}");
        assert_eq!(LatencyHistogram::default().cumulative(&[1]), (vec![0], 0.0));
    }

    #[test]
    fn percentiles_of_two_are_those_of_both() {
        let (mut one, mut other) = (LatencyHistogram::default(), LatencyHistogram::default());
        (1..=500).for_each(|ms| one.record(Duration::from_millis(ms)));
        (501..=1_000).for_each(|ms| other.record(Duration::from_millis(ms)));
        one.add(&other);
        let percentiles = one.percentiles().unwrap();
        let close = |value: u64, ms: u64| value.abs_diff(1_000 * ms) <= ms;
        assert!(
            close(percentiles.p50, 500)
                && close(percentiles.p75, 750)
                && close(percentiles.p95, 950)
                && close(percentiles.p99, 990)
                && close(percentiles.p99_9, 999)
                && close(percentiles.p99_99, 1_000)
                && close(percentiles.max, 1_000)
                && percentiles.mean.abs_diff(500_500) <= 500,
            "{percentiles:?}"
        );
        assert_eq!(percentiles.count, 1_000);
        assert_eq!(LatencyHistogram::default().percentiles(), None);
    }

    #[test]
    fn what_is_too_long_is_counted_too() {
        let mut latency = LatencyHistogram::default();
        latency.record(Duration::from_secs(1_000_000));
        assert!(latency.percentiles().unwrap().max >= MAX_MICROS);
        latency.record(Duration::MAX);
        assert_eq!(latency.percentiles().unwrap().count, 2);
    }

    #[test]
    fn a_time_below_zero_is_counted_apart_and_stays_so() {
        let mut latency = LatencyHistogram::default();
        latency.record_signed_us(-1);
        assert!(!latency.is_empty());
        assert_eq!(latency.percentiles().unwrap(), Percentiles { negative: 1, ..Percentiles::default() });
        latency.record_signed_us(5);
        latency.record_signed_us(i64::MIN);
        let mut sum = LatencyHistogram::default();
        sum.add(&latency);
        sum.add(&latency);
        let percentiles = sum.percentiles().unwrap();
        assert_eq!((percentiles.negative, percentiles.count, percentiles.p50), (4, 2, 5));
    }

    #[test]
    fn the_report_names_times_below_zero_only_if_there_are_any() {
        let mut latency = LatencyHistogram::default();
        latency.record_us(5);
        let value = serde_json::to_value(latency.percentiles()).unwrap();
        assert_eq!((&value["p99_9"], value.get("negative")), (&5.into(), None));
        latency.record_signed_us(-5);
        assert_eq!(serde_json::to_value(latency.percentiles()).unwrap()["negative"], 1);
    }

    #[test]
    fn intervals_add_up_to_the_whole() {
        let (mut running, mut whole, mut sum) =
            (LatencyHistogram::default(), LatencyHistogram::default(), LatencyHistogram::default());
        for interval in (1..=10_u64).rev() {
            for us in 0..1_000 {
                running.record_us(us * interval * interval);
                whole.record_us(us * interval * interval);
            }
            running.record_signed_us(-1);
            whole.record_signed_us(-1);
            let taken = running.take();
            let percentiles = taken.percentiles().unwrap();
            assert_eq!(percentiles.count, 1_000);
            // The maximum of this interval, not that of an earlier one.
            assert!(percentiles.max.abs_diff(999 * interval * interval) <= interval * interval, "{percentiles:?}");
            assert!(running.is_empty() && running.take().is_empty());
            sum.add(&taken);
        }
        assert_eq!(sum.percentiles(), whole.percentiles());
    }
}
