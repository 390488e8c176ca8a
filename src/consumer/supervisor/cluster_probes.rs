//! The queries to the brokers that are in flight.

use actix::prelude::*;

use super::cluster_queries::ClusterQueries;
use super::gap_search::GapSearch;
use super::log_truncation::TruncationDetector;

/// The actor that queries the brokers, and which of its queries are in flight: none is sent twice.
pub(super) struct ClusterProbes {
    pub(super) queries: Addr<ClusterQueries>,
    pub(super) is_fetching_watermarks: bool,
    pub(super) is_discovering: bool,
    /// Whether the supervisor is checking that a group has reached its stop offsets, over all hosts.
    pub(super) is_checking_end: bool,
    pub(super) gap_search: GapSearch,
    pub(super) truncation: TruncationDetector,
}

impl ClusterProbes {
    pub(super) fn new(queries: Addr<ClusterQueries>) -> Self {
        Self {
            queries,
            is_fetching_watermarks: false,
            is_discovering: false,
            is_checking_end: false,
            gap_search: GapSearch::default(),
            truncation: TruncationDetector::default(),
        }
    }
}
