//! The status of a run: the model that the page, `top`, the metrics and readiness read, and its JSON.
//!
//! Counts never decrease, also when workers restart: they belong to slots and partitions, not to processes. Offsets follow
//! Kafka: `position` and `committed` are the next offset to process, `high_watermark` is the next offset to be written. Times
//! are in seconds, sizes in bytes. While [`STATUS_VERSION`] stays the same, fields may be added, but are not renamed or removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::partition_counts::PartitionCounts;
use crate::settings::Acks;

pub use crate::kafka::health::ClientHealth;
pub use crate::kafka::statistics::{BrokerStatus, ClientStatus};

/// The version of this model's JSON.
pub const STATUS_VERSION: u32 = 2;

/// The complete status of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct Status {
    /// [`STATUS_VERSION`].
    pub version: u32,
    /// The program's version.
    pub program: String,
    /// `produce`, `consume`, `demo` or `verify`.
    pub command: String,
    /// The host name.
    pub host: String,
    /// The process that reports this status.
    pub pid: u32,
    /// When the process started, RFC 3339.
    pub started_at: String,
    /// When this status was created, RFC 3339.
    pub at: String,
    /// Time since the process started.
    pub uptime_seconds: f64,
    /// The phase of the run.
    pub phase: Phase,
    /// Why the run is not ready; empty if it is ready. See [`super::readiness`].
    pub not_ready_reasons: Vec<String>,
    /// The producer, if the command produces.
    pub produce: Option<ProduceStatus>,
    /// The consumer, if the command consumes.
    pub consume: Option<ConsumeStatus>,
    /// One sample per second of the last minutes, the oldest first.
    pub history: Vec<RateSample>,
    /// The last events, the oldest first.
    pub events: Vec<Event>,
}

/// The phase of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Topics are checked, clients and workers start.
    #[default]
    Starting,
    /// Messages are produced and consumed.
    Running,
    /// Workers keep their partitions and process no messages (SIGUSR2).
    Paused,
    /// The run stops: messages in flight are processed, committed and acknowledged.
    Draining,
    /// The run has ended.
    Ended,
}

/// The status of the producer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct ProduceStatus {
    /// The topic that is written to.
    pub topic: String,
    /// Number of requested messages; null if it is not limited.
    pub requested: Option<u64>,
    /// Messages passed to the client, also those that it refused and intentional duplicates.
    pub sent: u64,
    /// Bytes of the keys and values of these messages.
    pub sent_bytes: u64,
    /// The `acks` setting: `all` in-sync replicas, the leader (`1`), or none (`0`).
    #[serde(default)]
    pub acks: String,
    /// Messages that the brokers acknowledged.
    pub acknowledged: u64,
    /// Messages that were sent with `acks=0`: it is unknown whether the brokers received them.
    #[serde(default)]
    pub unacknowledged: u64,
    /// Messages that were not delivered, by reason.
    pub failed: BTreeMap<String, u64>,
    /// One entry per producer thread.
    pub threads: Vec<ThreadStatus>,
    /// Latency from the scheduled time to the acknowledgement.
    pub acknowledgement: HistogramStatus,
}

impl ProduceStatus {
    /// Messages that have not failed: acknowledged, or sent where nothing is acknowledged.
    pub fn delivered(&self) -> u64 {
        self.acknowledged.saturating_add(self.unacknowledged)
    }

    /// A description of what [`Self::delivered`] counts.
    pub fn delivery(&self) -> &'static str {
        if self.acks == Acks::None.word() { "sent, not acknowledged" } else { "acknowledged" }
    }
}

impl ThreadStatus {
    /// As [`ProduceStatus::delivered`], for this thread.
    pub fn delivered(&self) -> u64 {
        self.acknowledged.saturating_add(self.unacknowledged)
    }
}

/// A producer thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct ThreadStatus {
    /// The thread's number.
    pub producer: usize,
    /// Number of messages requested from this thread; null if it is not limited.
    pub requested: Option<u64>,
    /// Messages passed to the client.
    pub sent: u64,
    /// Messages that the brokers acknowledged.
    pub acknowledged: u64,
    /// Messages that were sent with `acks=0`.
    #[serde(default)]
    pub unacknowledged: u64,
    /// Messages that were not delivered.
    pub failed: u64,
    /// Statistics of its Kafka client; null before the first ones.
    pub client: Option<ClientStatus>,
    /// Whether its client reaches the cluster; null until this is known.
    pub health: Option<ClientHealth>,
}

/// The status of the consumer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct ConsumeStatus {
    /// The consumer group whose offsets are committed; empty if nothing is committed.
    pub group: String,
    /// Nothing is committed (`consumer.read_only`): the lag is that of the positions, not of a group.
    #[serde(default)]
    pub read_only: bool,
    /// `manual` or `group`.
    pub assignment: String,
    /// The interval between the commits of a worker: `consumer.commit_interval`.
    pub commit_interval_seconds: f64,
    /// The topics that are consumed.
    pub topics: Vec<String>,
    /// Messages that were processed, by all worker processes.
    pub processed: u64,
    /// Messages whose processing failed and that were skipped.
    pub failed: u64,
    /// Messages whose processing failed and that were written to the dead-letter topic.
    pub dead_lettered: u64,
    /// Messages that were skipped or dead-lettered, by reason. Each number in a reason is replaced by `#`; the number of reasons is limited.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
    /// Number of retries.
    pub retried: u64,
    /// Bytes of the keys and values that were read.
    pub read_bytes: u64,
    /// The sum of the lags of all partitions.
    pub lag: u64,
    /// Number of rebalances in which the group assigned partitions to a worker or revoked some.
    pub rebalances: u64,
    /// Number of worker restarts, by cause.
    pub restarts: BTreeMap<String, u64>,
    /// One entry per worker slot.
    pub workers: Vec<WorkerStatus>,
    /// One entry per partition.
    pub partitions: Vec<PartitionStatus>,
    /// Latency from the scheduled time to the end of processing, of messages with an intact stamp that were scheduled after this process started.
    pub end_to_end: HistogramStatus,
    /// Processing time of a message.
    pub processing: HistogramStatus,
    /// Time from processing to commit, of the oldest message of each partition in a commit: a crash in this time causes reprocessing.
    pub commit: HistogramStatus,
}

/// A worker slot, independent of the process that currently runs in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct WorkerStatus {
    /// The slot's number.
    pub slot: usize,
    /// The state of the worker.
    pub state: WorkerState,
    /// The id of its process; null without a process.
    pub pid: Option<u32>,
    /// Uptime of its process.
    pub uptime_seconds: Option<f64>,
    /// Resident memory of its process.
    pub resident_bytes: Option<u64>,
    /// CPU time of all its processes.
    pub cpu_seconds: f64,
    /// Messages that its processes handled: processed, skipped or dead-lettered.
    pub processed: u64,
    /// Number of partitions assigned to it.
    pub partitions: usize,
    /// Number of restarts.
    pub restarts: u64,
    /// Number of restarts, by cause.
    #[serde(default)]
    pub restart_causes: BTreeMap<String, u64>,
    /// The cause of its last exit.
    pub last_exit: Option<String>,
    /// Statistics of its Kafka client; null before the first ones.
    pub client: Option<ClientStatus>,
    /// Whether its client reaches the cluster; null until this is known.
    pub health: Option<ClientHealth>,
    /// Time since its oldest uncommitted message was processed; 0 if all are committed.
    pub uncommitted_seconds: f64,
    /// Number of commits of its processes that failed.
    pub commit_failures: u64,
}

/// The state of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// The process runs and has no partitions yet.
    #[default]
    Starting,
    /// It processes the messages of its partitions.
    Running,
    /// It has no partitions and waits for some.
    Standby,
    /// It stops, or is being stopped.
    Stopping,
    /// Its process has exited; the next one starts after the restart backoff.
    Backoff,
    /// It has exited too often and is not restarted.
    Failed,
    /// The number of workers was reduced.
    ScaledDown,
    /// It has stopped together with the run.
    Ended,
}

/// The progress of a partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct PartitionStatus {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The worker that the partition is assigned to; null without one.
    pub worker: Option<usize>,
    /// The offset at which this run started.
    pub start_offset: i64,
    /// The next offset to process.
    pub position: i64,
    /// The committed offset; null if nothing is committed.
    pub committed: Option<i64>,
    /// The offset up to which messages can be read: the high watermark; with `isolation.level = read_committed` (the default)
    /// the last stable offset.
    pub high_watermark: i64,
    /// The offset at which consuming stops; null if it does not stop.
    pub stop_offset: Option<i64>,
    /// `high_watermark - position`; 0 while another member of the group has the partition on another host.
    pub lag: u64,
    /// The counters of all worker processes.
    #[serde(flatten)]
    pub counts: PartitionCounts,
    /// The message in flight; null without one.
    pub in_flight: Option<InFlightStatus>,
    /// The message in flight has failed and waits for its retry.
    pub retrying: bool,
    /// Time without progress although messages are available; 0 if there are none, if the partition is stopped, or if another
    /// member of the group has it.
    pub stalled_seconds: f64,
    /// Why the partition is stopped; null if it is not.
    pub stopped: Option<String>,
}

/// A message in flight: its processing has begun and has not ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct InFlightStatus {
    /// Its offset.
    pub offset: i64,
    /// Time since its processing began.
    pub age_seconds: f64,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct HistogramStatus {
    /// Number of recorded durations.
    pub count: u64,
    /// Their sum.
    pub sum_seconds: f64,
    /// The median.
    pub p50_seconds: f64,
    /// The 99th percentile.
    pub p99_seconds: f64,
    /// The maximum.
    pub max_seconds: f64,
    /// Cumulative buckets, by ascending upper bound.
    pub buckets: Vec<BucketStatus>,
}

/// A cumulative bucket of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct BucketStatus {
    /// The upper bound.
    pub le_seconds: f64,
    /// Number of durations that are at most this long.
    pub count: u64,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct RateSample {
    /// Seconds since 1970 UTC.
    pub at: f64,
    /// Messages that the brokers acknowledged; 0 without a producer.
    pub acknowledged: u64,
    /// Messages that were sent with `acks=0`; 0 without a producer.
    #[serde(default)]
    pub unacknowledged: u64,
    /// Messages that were processed; 0 without a consumer.
    pub processed: u64,
    /// The lag; 0 without a consumer.
    pub lag: u64,
}

impl RateSample {
    /// As [`ProduceStatus::delivered`].
    pub fn delivered(&self) -> u64 {
        self.acknowledged.saturating_add(self.unacknowledged)
    }
}

/// An event of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct Event {
    /// The number of the event; it grows by one with each event.
    pub id: u64,
    /// The time of the event, RFC 3339.
    pub at: String,
    /// The severity.
    pub level: EventLevel,
    /// The kind of event: `exit`, `restart`, `ready`, `rebalance`, `quarantine`, `stopped`, `output`, `throttle`, `phase`,
    /// `notice`.
    pub kind: String,
    /// The worker slot of the event, if it concerns one worker.
    pub worker: Option<usize>,
    /// A description.
    pub text: String,
}

/// The severity of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventLevel {
    /// Normal operation.
    #[default]
    Info,
    /// A failure that was recovered, or that needs attention.
    Warning,
    /// A worker has exited unexpectedly, a partition is stopped, or messages failed.
    Error,
}
