//! What is known of a run at this moment: the one model that everything that is shown reads, and its JSON.
//!
//! Counts only grow, over all restarts of workers: they belong to slots and partitions, not to processes. Offsets are as
//! Kafka counts them: `next`, `committed` and `end` are the next offset to be read or written. Times are seconds, sizes
//! bytes. Fields are added, never renamed or removed, while [`VERSION`] stays the same.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::kafka::statistics::{BrokerStatus, ClientStatus};

/// The version of this model's JSON.
pub const VERSION: u32 = 1;

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// The program's version.
    pub program: String,
    /// `produce`, `consume`, `demo` or `verify`.
    pub command: String,
    /// The machine's name.
    pub host: String,
    /// The process that tells this.
    pub pid: u32,
    /// When it was started, RFC 3339.
    pub started_at: String,
    /// When this was told, RFC 3339.
    pub at: String,
    /// Since it was started.
    pub uptime_seconds: f64,
    /// Where the run stands.
    pub phase: Phase,
    /// Why it is not ready, if it is not: see [`super::health`].
    pub unready: Vec<String>,
    /// What is written, if the command writes.
    pub produce: Option<ProduceStatus>,
    /// What is read, if the command reads.
    pub consume: Option<ConsumeStatus>,
    /// One sample a second of the last minutes, the oldest first.
    pub history: Vec<Sample>,
    /// What has happened, the oldest first; old ones are forgotten.
    pub events: Vec<Event>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Topics are looked at, clients and workers started.
    #[default]
    Starting,
    /// It does what it is for.
    Running,
    /// Workers keep their partitions and take no messages (SIGUSR2).
    Quiet,
    /// It ends: what is in hand is finished, committed, acknowledged.
    Draining,
    /// All is done.
    Ended,
}

/// The producing side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProduceStatus {
    /// Where to.
    pub topic: String,
    /// How many messages are asked for, if that is known.
    pub requested: Option<u64>,
    /// Messages made, handed over or refused, second copies included.
    pub sent: u64,
    /// Their keys' and values' bytes.
    pub sent_bytes: u64,
    /// Messages that the brokers have acknowledged.
    pub acknowledged: u64,
    /// Messages that were given up, by reason.
    pub failed: BTreeMap<String, u64>,
    /// One row a thread.
    pub threads: Vec<ThreadStatus>,
    /// From being due to being acknowledged.
    pub acknowledgement: HistogramStatus,
}

/// A producer thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadStatus {
    /// Its number.
    pub producer: usize,
    /// How many messages it is to send, if that is known.
    pub requested: Option<u64>,
    /// As of all.
    pub sent: u64,
    /// As of all.
    pub acknowledged: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// Its Kafka client.
    pub client: Option<ClientStatus>,
}

/// The consuming side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConsumeStatus {
    /// The consumer group that offsets are committed for.
    pub group: String,
    /// `manual` or `group`.
    pub assignment: String,
    /// Where from.
    pub topics: Vec<String>,
    /// Messages that were processed, over all processes.
    pub processed: u64,
    /// Messages whose processing failed and that were skipped.
    pub failed: u64,
    /// Messages whose processing failed, and of which a copy is in the dead-letter topic.
    pub dead_lettered: u64,
    /// How often a message was tried again.
    pub retried: u64,
    /// Keys' and values' bytes that were read.
    pub read_bytes: u64,
    /// Messages that wait to be read, in all partitions.
    pub lag: u64,
    /// How often a worker was given partitions by its group, or gave some back.
    pub rebalances: u64,
    /// How often a worker was started again, by cause.
    pub restarts: BTreeMap<String, u64>,
    /// One row a slot.
    pub workers: Vec<WorkerStatus>,
    /// One row a partition.
    pub partitions: Vec<PartitionStatus>,
    /// From being due to being processed, of messages with a stamp.
    pub end_to_end: HistogramStatus,
    /// How long processing took, a message each.
    pub processing: HistogramStatus,
    /// From being processed to being committed, of the oldest message of each partition of a commit: what a crash would repeat.
    pub commit: HistogramStatus,
}

/// A slot, whichever process fills it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerStatus {
    /// Its number.
    pub slot: usize,
    /// What it does.
    pub state: WorkerState,
    /// Its process, if there is one.
    pub pid: Option<u32>,
    /// Of its process.
    pub uptime_seconds: Option<f64>,
    /// Of its process.
    pub resident_bytes: Option<u64>,
    /// Processor time, of all its processes.
    pub cpu_seconds: f64,
    /// Messages that its processes have dealt with.
    pub processed: u64,
    /// How many partitions it reads.
    pub partitions: usize,
    /// How often it was started again.
    pub restarts: u64,
    /// Why the last time.
    pub last_death: Option<String>,
    /// Its Kafka client.
    pub client: Option<ClientStatus>,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// A process is there and has no partitions yet.
    #[default]
    Starting,
    /// It reads its partitions.
    Reading,
    /// There is no partition for it: it waits for one.
    StandingBy,
    /// It ends, or is ended.
    Ending,
    /// Its process is dead; the next one is started after a pause.
    Waiting,
    /// It has died too often, and is started no more.
    Parked,
    /// There was to be one less.
    Removed,
    /// It has ended with the program.
    Ended,
}

/// Where reading a partition has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionStatus {
    /// Of which topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The slot that reads it.
    pub worker: Option<usize>,
    /// Where reading began.
    pub first: i64,
    /// The next offset to process.
    pub next: i64,
    /// The next offset after a restart; null: nothing is committed.
    pub committed: Option<i64>,
    /// The next offset that will be written.
    pub end: i64,
    /// Where reading ends, if it does.
    pub until: Option<i64>,
    /// `end - next`; 0 while another member of the group reads it elsewhere.
    pub lag: u64,
    /// Messages processed, over all processes.
    pub processed: u64,
    /// As of all.
    pub failed: u64,
    /// As of all.
    pub dead_lettered: u64,
    /// As of all.
    pub retried: u64,
    /// As of all.
    pub read_bytes: u64,
    /// The message in processing right now.
    pub in_flight: Option<InFlightStatus>,
    /// The message in hand has failed, and waits to be tried again.
    pub retrying: bool,
    /// For how long it has not moved although messages wait; 0 if none does, and for what is read elsewhere or no further.
    pub still_seconds: f64,
    /// Why it is read no further, if it is not.
    pub stopped: Option<String>,
}

/// A message in processing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InFlightStatus {
    /// Which.
    pub offset: i64,
    /// For how long.
    pub age_seconds: f64,
}

/// A histogram of times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistogramStatus {
    /// Times in it.
    pub count: u64,
    /// Their sum.
    pub sum_seconds: f64,
    /// Half of them are no longer.
    pub p50_seconds: f64,
    /// 99 in 100 are no longer.
    pub p99_seconds: f64,
    /// The longest.
    pub max_seconds: f64,
    /// How many are at most so long, for growing bounds.
    pub buckets: Vec<BucketStatus>,
}

/// One bound of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BucketStatus {
    /// The bound.
    pub le_seconds: f64,
    /// How many are at most so long.
    pub count: u64,
}

/// What the counts were at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// Seconds since 1970 UTC.
    pub at: f64,
    /// As of the producing side; 0 without one.
    pub acknowledged: u64,
    /// As of the consuming side; 0 without one.
    pub processed: u64,
    /// As of the consuming side; 0 without one.
    pub lag: u64,
}

/// Something that has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Grows by one with each.
    pub id: u64,
    /// When, RFC 3339.
    pub at: String,
    /// How bad it is.
    pub level: EventLevel,
    /// One word for what it is: `death`, `restart`, `ready`, `rebalance`, `quarantine`, `stopped`, `output`, `phase`,
    /// `notice`.
    pub kind: String,
    /// The slot that it is about.
    pub worker: Option<usize>,
    /// For people.
    pub text: String,
}

/// How bad an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventLevel {
    /// As it should be.
    #[default]
    Info,
    /// Something was repaired, or should be looked at.
    Warning,
    /// Something is lost, or stands still.
    Error,
}
