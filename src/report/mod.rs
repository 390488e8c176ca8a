//! The report: one JSON object at the end of every command, on success and on failure. Tests and scripts read it.
//!
//! docs/REPORT.md describes every field; a test compares it with these types. While [`REPORT_VERSION`] stays the same, fields may
//! be added, but are not renamed or removed. `builder` collects the parts while a command runs; `sink` is the destination.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::exit::ExitStatus;
use crate::latency::LatencyHistogram;
use crate::latency::scope::Excluded;
use crate::partition_counts::PartitionCounts;
use crate::settings::Acks;
#[cfg(feature = "verify")]
use crate::verify::checker::Verdict;

mod builder;
mod sink;

pub use builder::ReportBuilder;
pub use sink::ReportSink;

/// The version of the report's schema.
pub const REPORT_VERSION: u32 = 2;

/// The complete report.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct Report {
    pub version: u32,
    pub command: String,
    pub exit: ExitStatus,
    pub seconds: f64,
    #[serde(skip_serializing_if = "SecurityReport::is_empty")]
    pub security: SecurityReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub produce: Option<ProduceReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consume: Option<ConsumeReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg(feature = "verify")]
    pub verify: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayReport>,
}

/// The security of the connections.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SecurityReport {
    /// What is insecure about them, one sentence each.
    pub warnings: Vec<String>,
}

impl SecurityReport {
    fn is_empty(&self) -> bool {
        self.warnings.is_empty()
    }
}

/// The result of `dlq replay`.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct ReplayReport {
    pub read: u64,
    pub acknowledged: u64,
    pub failed: BTreeMap<String, u64>,
    pub refused: BTreeMap<String, u64>,
    pub foreign: u64,
    pub skipped: u64,
    pub parked: u64,
}

/// The result of producing.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct ProduceReport {
    pub requested: Option<u64>,
    pub acks: Acks,
    pub acknowledged: u64,
    pub unacknowledged: u64,
    pub failed: BTreeMap<String, u64>,
    pub messages_per_second: f64,
    #[serde(skip_serializing_if = "LatencyHistogram::is_empty", serialize_with = "percentiles")]
    pub latency_us: LatencyHistogram,
    #[serde(skip_serializing_if = "LatencyHistogram::is_empty", serialize_with = "percentiles")]
    pub sent_latency_us: LatencyHistogram,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleReport>,
    pub seed: u64,
    #[serde(skip_serializing_if = "FaultsReport::is_none")]
    pub faults: FaultsReport,
    pub threads: Vec<ThreadReport>,
}

impl ProduceReport {
    /// Messages that have not failed: acknowledged, or sent where nothing is acknowledged.
    pub fn delivered(&self) -> u64 {
        self.acknowledged + self.unacknowledged
    }
}

/// How accurately the requested rate was reached.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct ScheduleReport {
    pub target_rate: f64,
    pub actual_rate: f64,
    pub met: bool,
    pub worst_delay_us: u64,
}

/// Serializes only the percentiles; the complete histogram stays available for its file and for the table.
fn percentiles<S: Serializer>(latency: &LatencyHistogram, to: S) -> Result<S::Ok, S::Error> {
    latency.percentiles().serialize(to)
}

/// Serializes the counters of messages; the report has no bytes.
fn without_bytes<S: Serializer>(counts: &PartitionCounts, to: S) -> Result<S::Ok, S::Error> {
    let PartitionCounts { processed, failed, dead_lettered, retried, read_bytes: _ } = *counts;
    to.collect_map([
        ("processed", processed),
        ("failed", failed),
        ("dead_lettered", dead_lettered),
        ("retried", retried),
    ])
}

/// Intentional faults that were passed to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct FaultsReport {
    pub duplicated: u64,
    pub corrupt: u64,
    pub oversized: u64,
}

impl FaultsReport {
    /// Whether all numbers are zero.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the numbers of `other`.
    pub fn add(&mut self, other: &Self) {
        self.duplicated += other.duplicated;
        self.corrupt += other.corrupt;
        self.oversized += other.oversized;
    }
}

/// The result of one producer thread.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct ThreadReport {
    pub producer: usize,
    pub sent: u64,
    pub acknowledged: u64,
    pub unacknowledged: u64,
    pub failed: u64,
    pub panic: Option<String>,
}

/// The result of consuming.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct ConsumeReport {
    pub read_only: bool,
    pub processed: u64,
    pub failed: u64,
    pub dead_lettered: u64,
    pub retried: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, u64>,
    pub messages_per_second: f64,
    #[serde(skip_serializing_if = "LatencyHistogram::is_empty", serialize_with = "percentiles")]
    pub latency_us: LatencyHistogram,
    #[serde(skip_serializing_if = "Excluded::is_none")]
    pub latency_excluded: Excluded,
    pub partitions: Vec<PartitionReport>,
    pub workers: Vec<WorkerReport>,
}

/// The progress of a partition at the end of the run.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct PartitionReport {
    pub topic: String,
    pub partition: i32,
    pub worker: Option<usize>,
    pub start_offset: i64,
    pub position: i64,
    pub committed: Option<i64>,
    pub high_watermark: i64,
    pub lag: Option<i64>,
    #[serde(flatten, serialize_with = "without_bytes")]
    pub counts: PartitionCounts,
    pub abandoned: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// The processes of a worker slot.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct WorkerReport {
    pub slot: usize,
    pub pids: Vec<u32>,
    pub restarted: u64,
    pub restarts: Vec<RestartReport>,
}

/// The kind of a worker's exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartKind {
    /// SIGKILL from outside.
    Killed,
    /// The kernel killed it because memory ran out.
    OutOfMemory,
    /// A signal ended it: a crash.
    Crash,
    /// It exited with an exit code.
    Exit,
    /// Its own code panicked.
    Panic,
    /// It reported a fatal error.
    Broken,
    /// SIGTERM from outside.
    Asked,
    /// It sent no heartbeat (watchdog).
    Silent,
    /// A handler hung, or the worker did not become ready (watchdog).
    Hung,
    /// A partition was stalled (watchdog).
    Stuck,
    /// Its client did not reach the cluster, and a new client did.
    CutOff,
    /// It exceeded its memory limit.
    Memory,
    /// It reached its maximum age.
    Age,
    /// It handled its maximum number of messages.
    Messages,
    /// A rolling restart (SIGHUP).
    Roll,
    /// The number of workers was reduced (SIGTTOU).
    Fewer,
}

impl RestartKind {
    /// All kinds.
    pub const ALL: [Self; 16] = [
        Self::Killed,
        Self::OutOfMemory,
        Self::Crash,
        Self::Exit,
        Self::Panic,
        Self::Broken,
        Self::Asked,
        Self::Silent,
        Self::Hung,
        Self::Stuck,
        Self::CutOff,
        Self::Memory,
        Self::Age,
        Self::Messages,
        Self::Roll,
        Self::Fewer,
    ];
}

impl fmt::Display for RestartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::OutOfMemory => "out_of_memory",
            Self::Crash => "crash",
            Self::Exit => "exit",
            Self::Panic => "panic",
            Self::Broken => "broken",
            Self::Asked => "asked",
            Self::Silent => "silent",
            Self::Hung => "hung",
            Self::Stuck => "stuck",
            Self::CutOff => "cut_off",
            Self::Memory => "memory",
            Self::Age => "age",
            Self::Messages => "messages",
            Self::Roll => "roll",
            Self::Fewer => "fewer",
        })
    }
}

/// The exit of a worker's process.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct RestartReport {
    pub kind: RestartKind,
    pub cause: String,
    pub at: String,
    pub uptime: f64,
    pub pid: u32,
    pub rss_mb: Option<u64>,
    pub out_of_memory: bool,
    pub panicked: bool,
    pub partitions: Vec<ExitPosition>,
    pub log: Vec<String>,
}

/// The progress of a partition when its worker exited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "docs/REPORT.md documents the fields")]
pub struct ExitPosition {
    pub topic: String,
    pub partition: i32,
    pub position: i64,
    pub committed: Option<i64>,
    pub in_flight: Option<i64>,
}

/// Returns messages per second; 0 if no time has passed.
pub fn rate(messages: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { messages as f64 / time.as_secs_f64() }
}
