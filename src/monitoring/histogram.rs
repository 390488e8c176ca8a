//! Histograms of the status. Their bucket bounds are fixed, so that histograms scraped from many runs can be added.

use super::status::{BucketStatus, HistogramStatus};
use crate::latency::LatencyHistogram;

/// The bucket bounds in µs: from the cost of a message at full speed to the duration of a broker failover.
const BOUNDS_US: [u64; 20] = [
    10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

impl From<&LatencyHistogram> for HistogramStatus {
    fn from(latency: &LatencyHistogram) -> Self {
        let (counts, sum_us) = latency.cumulative(&BOUNDS_US);
        let bucket = |(bound, count): (u64, u64)| BucketStatus { le_seconds: seconds(bound), count };
        let percentiles = latency.percentiles().unwrap_or_default();
        Self {
            count: percentiles.count,
            sum_seconds: sum_us / 1e6,
            p50_seconds: seconds(percentiles.p50),
            p99_seconds: seconds(percentiles.p99),
            max_seconds: seconds(percentiles.max),
            buckets: BOUNDS_US.into_iter().zip(counts).map(bucket).collect(),
        }
    }
}
