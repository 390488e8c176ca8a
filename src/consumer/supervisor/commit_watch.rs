//! The supervisor's knowledge of the group's committed offsets, and the schedule of their refresh.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kafka::commit_metadata::{CommitMetadata, RunId};

/// The longest time between two refreshes.
const MAX_REFRESH_INTERVAL: Duration = Duration::from_secs(3_600);
/// The refresh interval if the retention is not known: the shortest possible retention is a minute.
const UNKNOWN_RETENTION_REFRESH_INTERVAL: Duration = Duration::from_secs(20);

/// The group's committed offsets as the supervisor knows them.
pub(super) struct CommitWatch {
    /// The metadata of offsets that this run commits.
    pub(super) metadata: CommitMetadata,
    /// Offsets of other clients that were logged.
    pub(super) foreign: BTreeMap<String, i64>,
    /// A query for the committed offsets is in flight.
    pub(super) is_reading: bool,
}

impl CommitWatch {
    pub(super) fn new() -> Self {
        Self { metadata: CommitMetadata { run: RunId::random() }, foreign: BTreeMap::new(), is_reading: false }
    }
}

/// The interval at which committed offsets are committed again: a tenth of the brokers' retention.
pub(super) fn refresh_interval(retention: Option<Duration>) -> Duration {
    match retention {
        Some(retention) => (retention / 10).clamp(Duration::from_secs(1), MAX_REFRESH_INTERVAL),
        None => UNKNOWN_RETENTION_REFRESH_INTERVAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_refreshed_well_before_they_expire() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        // The smallest value that brokers accept, an hour, a day and the default of 7 days.
        for retention in [1, 60, 24 * 60, 7 * 24 * 60].map(minutes) {
            assert!(refresh_interval(Some(retention)) <= retention / 10, "{retention:?}");
        }
        assert_eq!(refresh_interval(Some(minutes(1))), Duration::from_secs(6));
        assert_eq!(refresh_interval(Some(Duration::MAX)), MAX_REFRESH_INTERVAL);
        assert!(refresh_interval(None) <= minutes(1) / 3, "a missing right must not matter, whatever the retention is");
    }
}
