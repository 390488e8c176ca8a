//! The counters of a partition, as a worker reports them and as the status and the report publish them.

use std::ops::Add;

use serde::{Deserialize, Serialize};

/// The messages of a partition, counted by their result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct PartitionCounts {
    /// Messages that were processed, by all worker processes.
    pub processed: u64,
    /// Messages whose processing failed and that were skipped.
    pub failed: u64,
    /// Messages whose processing failed and that were written to the dead-letter topic.
    pub dead_lettered: u64,
    /// Number of retries.
    pub retried: u64,
    /// Bytes of the keys and values that were read.
    pub read_bytes: u64,
}

impl PartitionCounts {
    /// The number of handled messages: processed, skipped or dead-lettered.
    pub fn handled(self) -> u64 {
        self.processed.saturating_add(self.failed).saturating_add(self.dead_lettered)
    }
}

impl Add for PartitionCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            processed: self.processed.saturating_add(other.processed),
            failed: self.failed.saturating_add(other.failed),
            dead_lettered: self.dead_lettered.saturating_add(other.dead_lettered),
            retried: self.retried.saturating_add(other.retried),
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
        }
    }
}
