//! The kinds of findings, and examples of them.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::journal::{Entry, Reader};

/// Examples of each finding at most.
pub(super) const EXAMPLES: usize = 10;
/// The year 10000 in µs since 1970, from which on a time cannot be written.
const YEAR_10000_US: u64 = 253_402_300_800_000_000;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the field of the verdict has the meaning")]
pub enum Finding {
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

impl Finding {
    /// All of them, in the order that they are told.
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

/// One case of a finding, with what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Example {
    pub finding: &'static str,
    /// As it stands in the run file's head: 16 hexadecimal digits.
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
    /// When it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Example {
    /// Of a message.
    pub(super) fn of(mut self, run: u64, producer: u16, sequence: u64) -> Self {
        self.run = Some(format!("{run:016x}"));
        (self.producer, self.sequence) = (Some(producer), Some(sequence));
        self
    }

    /// Of the message that was found there, if it carries a stamp.
    pub(super) fn of_entry(self, entry: &Entry) -> Self {
        if entry.stamped { self.of(entry.run, entry.producer, entry.sequence) } else { self }
    }

    /// At a place.
    pub(super) fn at(mut self, partition: usize, offset: u64) -> Self {
        (self.partition, self.offset) = (i32::try_from(partition).ok(), Some(offset));
        self
    }

    /// Seen by a reader.
    pub(super) fn by(mut self, reader: Reader) -> Self {
        (self.worker, self.pid) = (Some(reader.slot), Some(reader.process));
        self
    }

    /// Seen at this time, in µs since 1970 UTC.
    pub(super) fn when(mut self, time_us: u64) -> Self {
        let time = (time_us < YEAR_10000_US).then(|| UNIX_EPOCH + Duration::from_micros(time_us));
        self.time = time.map(|time| humantime::format_rfc3339_micros(time).to_string());
        self
    }

    /// With more words.
    pub(super) fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl std::fmt::Display for Example {
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

/// Counts and first examples of all findings.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    counts: [u64; Finding::ALL.len()],
    given: [usize; Finding::ALL.len()],
    examples: Vec<Example>,
}

impl Findings {
    /// One more.
    pub(super) fn add(&mut self, finding: Finding, example: impl FnOnce(Example) -> Example) {
        self.count(finding, 1);
        self.example(finding, example);
    }

    /// So many more.
    pub(super) fn count(&mut self, finding: Finding, more: u64) {
        self.counts[finding as usize] += more;
    }

    /// An example, if there is room for it.
    pub(super) fn example(&mut self, finding: Finding, example: impl FnOnce(Example) -> Example) {
        if self.room(finding) > 0 {
            self.given[finding as usize] += 1;
            self.examples.push(example(Example { finding: finding.name(), ..Example::default() }));
        }
    }

    /// For how many more examples there is room.
    pub(super) fn room(&self, finding: Finding) -> usize {
        EXAMPLES - self.given[finding as usize]
    }

    /// How many.
    pub(super) fn of(&self, finding: Finding) -> u64 {
        self.counts[finding as usize]
    }

    /// The examples, in the order of [`Finding::ALL`].
    pub(super) fn into_examples(mut self) -> Vec<Example> {
        let place = |name: &str| Finding::ALL.iter().position(|finding| finding.name() == name);
        self.examples.sort_by_key(|example| place(example.finding));
        self.examples
    }
}
