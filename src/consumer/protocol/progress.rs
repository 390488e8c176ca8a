//! What a worker reports periodically: progress, health, measurements.

use serde::{Deserialize, Serialize};

use crate::consumer::failure_reasons::FailureReasons;
use crate::kafka::health::ClientHealth;
use crate::latency::LatencyHistogram;
use crate::latency::scope::Excluded;
use crate::partition_counts::PartitionCounts;
use crate::record::TopicPartition;

/// Whether a worker's client reaches the cluster, and its commits succeed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerHealth {
    /// The state of its client; `None` before that is known.
    pub client: Option<ClientHealth>,
    /// The time since the oldest uncommitted message was processed, in ms; 0 if all are committed.
    pub uncommitted_ms: u64,
    /// The number of failed commits of this process.
    pub commit_failures: u64,
}

/// Measurements of a worker for the status and the report: latencies, and reasons of failed messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LatencySnapshot {
    /// The latency from scheduled to processed, of messages whose stamp is in the run's [`crate::latency::scope::StampScope`].
    pub end_to_end: LatencyHistogram,
    /// Stamped messages that are not in that scope.
    pub excluded: Excluded,
    /// The processing time of each message; only with a status server (`monitoring.listen`).
    pub processing: LatencyHistogram,
    /// The latency from processed to committed, of the oldest message of each partition of a commit; only with a
    /// status server.
    pub commit: LatencyHistogram,
    /// Messages that were skipped or dead-lettered.
    pub failures: FailureReasons,
}

impl LatencySnapshot {
    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.end_to_end.is_empty()
            && self.excluded.is_none()
            && self.processing.is_empty()
            && self.commit.is_empty()
            && self.failures.is_empty()
    }

    /// Adds the measurements of `other`.
    pub fn add(&mut self, other: &Self) {
        self.end_to_end.add(&other.end_to_end);
        self.excluded.add(&other.excluded);
        self.processing.add(&other.processing);
        self.commit.add(&other.commit);
        self.failures.add(&other.failures);
    }

    /// Returns the measurements since the last call, and resets them.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self {
            end_to_end: self.end_to_end.take(),
            excluded: std::mem::take(&mut self.excluded),
            processing: self.processing.take(),
            commit: self.commit.take(),
            failures: std::mem::take(&mut self.failures),
        }
    }
}

/// The progress of a worker in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// The partition.
    pub partition: TopicPartition,
    /// The position: the next offset to process.
    pub next: i64,
    /// The high watermark that its client received last.
    pub end: Option<i64>,
    /// The committed offset, if this process has committed.
    pub committed: Option<i64>,
    /// The counters of this process.
    pub counts: PartitionCounts,
    /// The message in processing.
    pub in_flight: Option<InFlight>,
    /// The message in flight has failed, and waits for a retry.
    pub retrying: bool,
    /// It has messages to process, but the processing thread is used by other partitions.
    pub waits_for_turn: bool,
}

/// A message in processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The offset of the message.
    pub offset: i64,
    /// For how long it has been in processing, in ms of the worker's running time: a suspension of the worker
    /// does not count.
    pub age_ms: u64,
}
