//! The report: one JSON object at the end of every command, for success and failure alike. Tests and scripts read it.
//!
//! Fields are added, never renamed or removed, while [`VERSION`] stays the same. Offsets are as Kafka counts them:
//! `next`, `committed` and `end` are the next offset to be read or written. Times are seconds.
//!
//! ```json
//! {"version": 1, "command": "consume", "exit": {"code": 0, "reason": "end reached"}, "seconds": 1.93,
//!  "produce": {"requested": 400, "acknowledged": 400, "failed": {"message too large": 1}, "messages_per_second": 4100.0,
//!              "latency_us": {"p50": 5100, "p75": 6200, "p90": 7300, "p95": 8100, "p99": 9100, "p99_9": 9900,
//!                             "p99_99": 10080, "max": 10100, "mean": 5300, "count": 400},
//!              "sent_latency_us": {"p50": 5050, …}, "schedule": {"wanted": 4100.0, "reached": 4098.5, "worst_delay_us": 180},
//!              "seed": 1234567, "faults": {"duplicated": 0, "corrupt": 3, "oversized": 1},
//!              "threads": [{"producer": 0, "sent": 100, "acknowledged": 100, "failed": 0, "panic": null}]},
//!  "consume": {"processed": 400, "failed": 0, "dead_lettered": 0, "messages_per_second": 4000.0, "latency_us": {"p50": 6100, …},
//!              "partitions": [{"topic": "t", "partition": 0, "worker": 0, "first": 0, "next": 70, "committed": 70,
//!                              "end": 70, "lag": 0, "processed": 70, "failed": 0, "dead_lettered": 0, "retried": 0,
//!                              "abandoned": 0}],
//!              "workers": [{"slot": 0, "pids": [123], "restarted": 1, "restarts": [{"kind": "killed", "cause": "SIGKILL", "at": "…", "uptime": 1.5, "pid": 123,
//!                           "rss_mb": 40, "out_of_memory": false, "panicked": false, "log": ["the last lines", …], "partitions":
//!                           [{"topic": "t", "partition": 0, "next": 7, "committed": 5, "in_flight": 7}]}]}]},
//!  "verify": {"holds": true, "lost": 0, "unread": 0, "duplicated": 0, "redelivered": 0, …, "examples": []}}
//! ```
//!
//! - `requested` is null for a run without a limit. `failed` counts messages by reason.
//! - `latency_us`, if anything was acknowledged: from the moment that a message was due, if there is a rate, else from its
//!   making, to its acknowledgement; `sent_latency_us`: from when it was handed to the client. The consumer's `latency_us`,
//!   if messages were stamped: from when a message was due, or made, to the end of its processing. `count` is how many
//!   times these are percentiles of; `negative`, if there are any, how many more were below zero, by clocks that differ.
//! - `schedule`, if there is a rate: messages a second that were wanted and were sent, and by how much the latest message
//!   was sent after it was due.
//! - `seed` is what everything random in the messages followed from; `faults`, if there were any, counts what was made
//!   wrong on purpose. Second copies (`duplicated`) count as sent and as acknowledged or failed, but not as requested.
//! - `first` is where reading began; `abandoned` counts what was in processing when a worker was killed at the
//!   deadline: 0 or 1. `worker` is null for a partition that no worker had.
//! - `stopped`, if a partition was read no further: why. `retried` counts how often a message was tried again.
//! - `panicked`: the program's own code did, which is a mistake in it; a processor's panic is its message's failure.
//! - `restarted`: how often a process followed another; `restarts`: the ends of processes, also of one that nobody followed
//!   (parked, taken away, dead in the shutdown); of these and of `pids` the last 1,000.
//! - A restart's `kind`: `killed`, `out_of_memory`, `crash`, `exit`, `panic`, `broken`, `asked`; by its supervisor for being `silent`,
//!   `hung` (or never ready), `stuck`, of too much `memory`, too old (`age`), for its count of `messages`, to `roll` all, to be one `fewer`.
//! - A restart's `rss_mb` is what was last seen of that process, `partitions` what it had said last: all but the last
//!   tenth of a second.
//! - `verify`, of `verify` and `demo`: see [`crate::judge::Verdict`].
//! - `replay`, of `dlq replay`: dead letters that were read, those that are acknowledged where they came from, the others by
//!   reason (`failed`), and messages that are none (`foreign`).
//! - `committed` is read back from the broker after the last worker has ended; null if nothing was ever committed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Serialize, Serializer};

use crate::exit::{Exit, ExitCode};
use crate::judge::Verdict;
use crate::latency::Latency;
use crate::latency::log::{DUE_TO_ACKNOWLEDGED, DUE_TO_PROCESSED, LogFile, SENT_TO_ACKNOWLEDGED};

/// The version of the report's schema.
pub const VERSION: u32 = 1;

/// The whole report; see the [module](self).
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct Report {
    pub version: u32,
    pub command: String,
    pub exit: Exit,
    pub seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub produce: Option<ProduceReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consume: Option<ConsumeReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayReport>,
}

/// What `dlq replay` sent back.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct ReplayReport {
    pub read: u64,
    pub acknowledged: u64,
    pub failed: BTreeMap<String, u64>,
    pub foreign: u64,
}

/// What was produced.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct ProduceReport {
    pub requested: Option<u64>,
    pub acknowledged: u64,
    pub failed: BTreeMap<String, u64>,
    pub messages_per_second: f64,
    #[serde(skip_serializing_if = "Latency::is_empty", serialize_with = "percentiles")]
    pub latency_us: Latency,
    #[serde(skip_serializing_if = "Latency::is_empty", serialize_with = "percentiles")]
    pub sent_latency_us: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleReport>,
    pub seed: u64,
    #[serde(skip_serializing_if = "FaultsReport::is_none")]
    pub faults: FaultsReport,
    pub threads: Vec<ThreadReport>,
}

/// How well a rate was kept.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct ScheduleReport {
    pub wanted: f64,
    pub reached: f64,
    pub worst_delay_us: u64,
}

/// The whole histogram is kept, for its file and the table; the report has its percentiles.
fn percentiles<S: Serializer>(latency: &Latency, to: S) -> Result<S::Ok, S::Error> {
    latency.percentiles().serialize(to)
}

/// What was made wrong on purpose, and handed to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct FaultsReport {
    pub duplicated: u64,
    pub corrupt: u64,
    pub oversized: u64,
}

impl FaultsReport {
    /// Whether there was nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.duplicated += other.duplicated;
        self.corrupt += other.corrupt;
        self.oversized += other.oversized;
    }
}

/// What one producer thread did.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct ThreadReport {
    pub producer: usize,
    pub sent: u64,
    pub acknowledged: u64,
    pub failed: u64,
    pub panic: Option<String>,
}

/// What was consumed.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct ConsumeReport {
    pub processed: u64,
    pub failed: u64,
    pub dead_lettered: u64,
    pub messages_per_second: f64,
    #[serde(skip_serializing_if = "Latency::is_empty", serialize_with = "percentiles")]
    pub latency_us: Latency,
    pub partitions: Vec<PartitionReport>,
    pub workers: Vec<WorkerReport>,
}

/// Where reading a partition came to.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct PartitionReport {
    pub topic: String,
    pub partition: i32,
    pub worker: Option<usize>,
    pub first: i64,
    pub next: i64,
    pub committed: Option<i64>,
    pub end: i64,
    pub lag: i64,
    pub processed: u64,
    pub failed: u64,
    pub dead_lettered: u64,
    pub retried: u64,
    pub abandoned: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// A worker's processes.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct WorkerReport {
    pub slot: usize,
    pub pids: Vec<u32>,
    pub restarted: u64,
    pub restarts: Vec<RestartReport>,
}

/// The end of a worker's process.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct RestartReport {
    pub kind: String,
    pub cause: String,
    pub at: String,
    pub uptime: f64,
    pub pid: u32,
    pub rss_mb: Option<u64>,
    pub out_of_memory: bool,
    pub panicked: bool,
    pub partitions: Vec<DeathPartition>,
    pub log: Vec<String>,
}

/// Where a worker that died was in one of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the module's text documents the fields together")]
pub struct DeathPartition {
    pub topic: String,
    pub partition: i32,
    pub next: i64,
    pub committed: Option<i64>,
    pub in_flight: Option<i64>,
}

/// Messages per second, 0 if no time has passed.
pub fn rate(messages: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { messages as f64 / time.as_secs_f64() }
}

/// Where the report goes. It is opened before the run: a file that cannot be written is found then.
pub enum Target {
    /// `--report` was not given.
    Nowhere,
    /// `-`
    Stdout,
    /// A file, empty until the end.
    File(PathBuf, File),
}

impl Target {
    /// Opens what `--report` names.
    ///
    /// # Errors
    /// An end with [`ExitCode::Usage`] if the file cannot be written.
    pub fn open(path: Option<&Path>) -> Result<Self, Exit> {
        match path {
            None => Ok(Self::Nowhere),
            // Opened anew it would be written from its beginning, over what is there.
            Some(path) if path == Path::new("-") || path == Path::new("/dev/stdout") => Ok(Self::Stdout),
            Some(path) => File::create(path).map(|file| Self::File(path.to_owned(), file)).map_err(|error| {
                let text =
                    format!("--report {}: the file cannot be written: {error}; name another one", path.display());
                Exit::new(ExitCode::Usage, text)
            }),
        }
    }

    /// Writes the report as one line.
    ///
    /// # Errors
    /// When the disk is full or stdout is closed.
    pub fn write(&mut self, report: &Report) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        match self {
            Self::Nowhere => Ok(()),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&line)?;
                stdout.flush()
            }
            Self::File(_, file) => {
                file.write_all(&line)?;
                file.sync_all().or_else(|error| match error.kind() {
                    // A pipe or a device has nothing to sync.
                    io::ErrorKind::InvalidInput => Ok(()),
                    _ => Err(error),
                })
            }
        }
    }
}

/// A report that is begun when the command begins.
pub struct Draft {
    command: String,
    began: Instant,
    began_at: SystemTime,
    /// What was produced, if the command produces.
    pub produce: Option<ProduceReport>,
    /// What was consumed, if the command consumes.
    pub consume: Option<ConsumeReport>,
    /// The verdict, if the command judges.
    pub verify: Option<Verdict>,
    /// What was sent back, if the command does that.
    pub replay: Option<ReplayReport>,
}

impl Draft {
    /// Begins the report of `command`.
    pub fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            began: Instant::now(),
            began_at: SystemTime::now(),
            produce: None,
            consume: None,
            verify: None,
            replay: None,
        }
    }

    /// The latencies that were measured, each with its tag.
    pub fn latencies(&self) -> Vec<(&'static str, &Latency)> {
        let produce = self.produce.iter().flat_map(|report| {
            [(DUE_TO_ACKNOWLEDGED, &report.latency_us), (SENT_TO_ACKNOWLEDGED, &report.sent_latency_us)]
        });
        let consume = self.consume.iter().map(|report| (DUE_TO_PROCESSED, &report.latency_us));
        produce.chain(consume).filter(|(_, latency)| !latency.is_empty()).collect()
    }

    /// Writes them to their file, as of the command's whole time.
    ///
    /// # Errors
    /// See [`LogFile::write`].
    pub fn write_latencies(&self, to: &mut LogFile) -> io::Result<()> {
        to.write(self.began_at, self.began.elapsed(), &self.latencies())
    }

    /// The report, now that it is known how the command ended.
    pub fn finish(self, exit: Exit) -> Report {
        Report {
            version: VERSION,
            command: self.command,
            exit,
            seconds: self.began.elapsed().as_secs_f64(),
            produce: self.produce,
            consume: self.consume,
            verify: self.verify,
            replay: self.replay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unwritable_report_is_found_before_the_run() {
        let exit = Target::open(Some(Path::new("/no/such/folder/report.json"))).err().unwrap();
        assert_eq!(exit.code, ExitCode::Usage);
        assert!(exit.reason.contains("/no/such/folder/report.json"), "{}", exit.reason);
    }

    #[test]
    fn only_the_parts_that_a_command_has_are_there() {
        let value = serde_json::to_value(Draft::new("topics").finish(Exit::clean("done"))).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["exit"]["code"], 0);
        assert!(value.get("produce").is_none() && value.get("consume").is_none());
    }

    #[test]
    fn latencies_are_percentiles_in_the_report_and_whole_until_then() {
        let mut draft = Draft::new("produce");
        let mut produce = ProduceReport::default();
        produce.latency_us.record_us(7);
        draft.produce = Some(produce);
        draft.consume = Some(ConsumeReport::default());
        let tags: Vec<_> = draft.latencies().iter().map(|(tag, _)| *tag).collect();
        assert_eq!(tags, [DUE_TO_ACKNOWLEDGED]);
        let value = serde_json::to_value(draft.finish(Exit::clean("done"))).unwrap();
        assert_eq!(value["produce"]["latency_us"]["p99_99"], 7);
        assert!(value["produce"].get("sent_latency_us").is_none() && value["produce"].get("schedule").is_none());
        assert!(value["consume"].get("latency_us").is_none());
    }
}
