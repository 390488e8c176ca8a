//! Totals of a run.

use crate::consumer::protocol::LatencySnapshot;
use crate::throttle_log::Throttling;

/// Totals over all workers and all their processes.
#[derive(Default)]
pub(super) struct RunTotals {
    pub(super) latency: LatencySnapshot,
    pub(super) throttling: Throttling,
    /// How often a group has assigned or revoked partitions.
    pub(super) rebalances: u64,
}
