//! The kinds of anomalies, and samples of them.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::history::{HistoryEntry, WorkerId};

/// The maximum number of samples per anomaly.
pub(super) const EXAMPLES: usize = 10;
/// The year 10000 in µs since the Unix epoch, the limit of formatted times.
const YEAR_10000_US: u64 = 253_402_300_800_000_000;

/// A kind of anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the field of the verdict has the meaning")]
pub enum Anomaly {
    Lost,
    Unread,
    Duplicated,
    RedeliveredUnexplained,
    Reordered,
    Skipped,
    WentBack,
    FailedButPresent,
    OffsetMismatch,
    Corrupt,
    Misplaced,
    Foreign,
    Gaps,
}

impl Anomaly {
    /// All anomalies in report order.
    pub const ALL: [Self; 13] = [
        Self::Lost,
        Self::Unread,
        Self::Duplicated,
        Self::RedeliveredUnexplained,
        Self::Reordered,
        Self::Skipped,
        Self::WentBack,
        Self::FailedButPresent,
        Self::OffsetMismatch,
        Self::Corrupt,
        Self::Misplaced,
        Self::Foreign,
        Self::Gaps,
    ];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Unread => "unread",
            Self::Duplicated => "duplicated",
            Self::RedeliveredUnexplained => "redelivered_unexplained",
            Self::Reordered => "reordered",
            Self::Skipped => "skipped",
            Self::WentBack => "went_back",
            Self::FailedButPresent => "failed_but_present",
            Self::OffsetMismatch => "offset_mismatch",
            Self::Corrupt => "corrupt",
            Self::Misplaced => "misplaced",
            Self::Foreign => "foreign",
            Self::Gaps => "gaps",
        }
    }
}

/// One case of an anomaly, with what is known about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct AnomalySample {
    pub anomaly: &'static str,
    /// The run id as in the run file's header: 16 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The worker's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When the message was processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl AnomalySample {
    /// Adds the message.
    pub(super) fn of(mut self, run: u64, producer: u16, sequence: u64) -> Self {
        self.run = Some(format!("{run:016x}"));
        (self.producer, self.sequence) = (Some(producer), Some(sequence));
        self
    }

    /// Adds the message found there, if it has a stamp.
    pub(super) fn of_entry(self, entry: &HistoryEntry) -> Self {
        if entry.stamped { self.of(entry.run, entry.producer, entry.sequence) } else { self }
    }

    /// Adds the partition and offset.
    pub(super) fn at(mut self, partition: usize, offset: u64) -> Self {
        (self.partition, self.offset) = (i32::try_from(partition).ok(), Some(offset));
        self
    }

    /// Adds the worker process.
    pub(super) fn by(mut self, worker: WorkerId) -> Self {
        (self.worker, self.pid) = (Some(worker.slot), Some(worker.process));
        self
    }

    /// Adds the time, in µs since the Unix epoch.
    pub(super) fn when(mut self, time_us: u64) -> Self {
        let time = (time_us < YEAR_10000_US).then(|| UNIX_EPOCH + Duration::from_micros(time_us));
        self.time = time.map(|time| humantime::format_rfc3339_micros(time).to_string());
        self
    }

    /// Adds a detail.
    pub(super) fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl std::fmt::Display for AnomalySample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fn part(name: &str, value: Option<impl std::fmt::Display>) -> Option<String> {
            value.map(|value| format!("{name} {value}"))
        }
        let parts = [
            part("producer", self.producer),
            part("sequence", self.sequence),
            part("partition", self.partition),
            part("offset", self.offset),
            part("worker", self.worker),
            part("pid", self.pid),
            part("at", self.time.as_ref()),
        ];
        let words: Vec<_> = parts.into_iter().flatten().chain(self.detail.clone()).collect();
        f.write_str(&words.join(", "))
    }
}

/// The number of each anomaly, with its first samples.
#[derive(Clone, Debug, Default)]
pub(super) struct AnomalyCounts {
    counts: [u64; Anomaly::ALL.len()],
    sampled: [usize; Anomaly::ALL.len()],
    examples: Vec<AnomalySample>,
}

impl AnomalyCounts {
    /// Counts one anomaly.
    pub(super) fn add(&mut self, anomaly: Anomaly, example: impl FnOnce(AnomalySample) -> AnomalySample) {
        self.count(anomaly, 1);
        self.example(anomaly, example);
    }

    /// Counts `more` anomalies.
    pub(super) fn count(&mut self, anomaly: Anomaly, more: u64) {
        self.counts[anomaly as usize] += more;
    }

    /// Adds a sample, unless there are enough.
    pub(super) fn example(&mut self, anomaly: Anomaly, example: impl FnOnce(AnomalySample) -> AnomalySample) {
        if self.room(anomaly) > 0 {
            self.sampled[anomaly as usize] += 1;
            self.examples.push(example(AnomalySample { anomaly: anomaly.name(), ..AnomalySample::default() }));
        }
    }

    /// Resets an anomaly that does not apply to this run.
    pub(super) fn forget(&mut self, anomaly: Anomaly) {
        self.counts[anomaly as usize] = 0;
        self.examples.retain(|example| example.anomaly != anomaly.name());
    }

    /// The number of samples that can be added.
    pub(super) fn room(&self, anomaly: Anomaly) -> usize {
        EXAMPLES - self.sampled[anomaly as usize]
    }

    /// The number of an anomaly.
    pub(super) fn of(&self, anomaly: Anomaly) -> u64 {
        self.counts[anomaly as usize]
    }

    /// The samples in the order of [`Anomaly::ALL`].
    pub(super) fn into_examples(mut self) -> Vec<AnomalySample> {
        let place = |name: &str| Anomaly::ALL.iter().position(|anomaly| anomaly.name() == name);
        self.examples.sort_by_key(|example| place(example.anomaly));
        self.examples
    }
}
