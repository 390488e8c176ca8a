//! The verdict of the checker.

use serde::Serialize;

use super::anomalies::{Anomaly, AnomalySample};
use crate::util::format::{format_count, pluralize};

/// Facts that the checker cannot know itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunFacts {
    /// The timeout expired before everything was consumed.
    pub deadline_passed: bool,
    /// The run file is incomplete: the last acknowledgements are unknown.
    pub cut_off: bool,
    /// Consuming stopped before everything was consumed, for any reason.
    pub read_in_part: bool,
    /// Partitions were added during the run: keys map to other partitions since, so `misplaced` is not checked.
    pub partitions_added: bool,
}

/// Injected faults found in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InjectedFaultCounts {
    /// Injected duplicates.
    pub duplicated: u64,
    /// Payloads that are not JSON.
    pub corrupt: u64,
    /// Messages larger than the brokers' default limit.
    pub oversized: u64,
}

/// The verdict; the part `verify` of the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// There are no anomalies (foreign messages are allowed in a shared topic), and everything was consumed, or all
    /// acknowledged messages, if they are known.
    pub holds: bool,
    /// Acknowledged, never processed, and the partition was consumed beyond the offset.
    pub lost: u64,
    /// Acknowledged, and no worker reached the offset.
    pub unread: u64,
    /// Lost messages below their partition's log start offset at the end of the run. No separate anomaly: retention
    /// or DeleteRecords has deleted them, and whether they would have been processed is unknown.
    pub removed: u64,
    /// The same message is at another offset, too.
    pub duplicated: u64,
    /// The same offset was processed again. No anomaly: a crash may explain it.
    pub redelivered: u64,
    /// Those of them that no crash explains.
    pub redelivered_unexplained: u64,
    /// A lower sequence number after a higher one of the same producer and partition.
    pub reordered: u64,
    /// Offsets with a message that a worker jumped over.
    pub skipped: u64,
    /// How often a worker's position moved back without an assignment.
    pub went_back: u64,
    /// Messages in the log whose delivery failed.
    pub failed_but_present: u64,
    /// Acknowledged at an offset that has another message, or none while the message is elsewhere.
    pub offset_mismatch: u64,
    /// The checksum does not match.
    pub corrupt: u64,
    /// The message has a key and is not in the key's partition.
    pub misplaced: u64,
    /// Without a stamp, or with that of another run.
    pub foreign: u64,
    /// Missing sequence numbers between processed ones; only without acknowledgements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<u64>,
    /// Processed offsets.
    pub processed: u64,
    /// Those of them whose processing failed permanently: skipped or dead-lettered.
    pub processing_failed: u64,
    /// See [`InjectedFaultCounts`].
    pub deliberate: InjectedFaultCounts,
    /// The number of acknowledgements.
    pub acknowledged: u64,
    /// The number of failed deliveries.
    pub failed: u64,
    /// The number of worker processes.
    pub readers: u64,
    /// See [`RunFacts`].
    pub deadline_passed: bool,
    /// See [`RunFacts`].
    pub cut_off: bool,
    /// See [`RunFacts`].
    pub read_in_part: bool,
    /// See [`super::CheckScope`].
    #[serde(skip)]
    pub shared: bool,
    /// At most ten samples per anomaly.
    pub examples: Vec<AnomalySample>,
}

impl Verdict {
    /// The number of an anomaly.
    pub fn of(&self, anomaly: Anomaly) -> u64 {
        match anomaly {
            Anomaly::Lost => self.lost,
            Anomaly::Unread => self.unread,
            Anomaly::Duplicated => self.duplicated,
            Anomaly::RedeliveredUnexplained => self.redelivered_unexplained,
            Anomaly::Reordered => self.reordered,
            Anomaly::Skipped => self.skipped,
            Anomaly::WentBack => self.went_back,
            Anomaly::FailedButPresent => self.failed_but_present,
            Anomaly::OffsetMismatch => self.offset_mismatch,
            Anomaly::Corrupt => self.corrupt,
            Anomaly::Misplaced => self.misplaced,
            Anomaly::Foreign => self.foreign,
            Anomaly::Gaps => self.gaps.unwrap_or_default(),
        }
    }

    /// The anomalies that occurred, with their numbers.
    pub fn anomalies(&self) -> Vec<(&'static str, u64)> {
        let is_one = |anomaly: &Anomaly| !(self.shared && *anomaly == Anomaly::Foreign);
        let all = Anomaly::ALL.into_iter().filter(is_one).map(|anomaly| (anomaly.name(), self.of(anomaly)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// The verdict in a few lines for the terminal, without a newline at the end; without anomalies, the number of
    /// processed messages.
    pub fn summary(&self) -> String {
        let mut lines = Vec::new();
        if self.holds {
            let acknowledged = match self.gaps {
                Some(_) => String::new(),
                None => format!("{} acknowledged, ", format_count(self.acknowledged)),
            };
            let again = match self.redelivered {
                0 => String::new(),
                again => format!(", {} of them again after a crash", format_count(again)),
            };
            let (processed, workers) = (format_count(self.processed), pluralize(self.readers, "worker"));
            lines.push(format!("{acknowledged}{processed} processed by {workers}{again}"));
        } else if self.anomalies().is_empty() {
            lines.push(
                "the verdict does not hold: not everything was read, and it is unknown what is missing".to_owned(),
            );
        } else {
            lines.push("the verdict does not hold:".to_owned());
            for (name, found) in self.anomalies() {
                let example = self.examples.iter().find(|example| example.anomaly == name);
                let example = example.map(|example| format!("  such as {example}")).unwrap_or_default();
                lines.push(format!("  {name:<23} {:>10}{example}", format_count(found)));
            }
        }
        if self.removed > 0 {
            lines.push(format!(
                "{} of the lost messages {} below the log start offset: retention (retention.ms, retention.bytes) or DeleteRecords \
                 has deleted them before they were processed",
                format_count(self.removed),
                if self.removed == 1 { "is" } else { "are" }
            ));
        }
        let notes = [
            (self.deadline_passed, "the deadline passed before everything was read"),
            (self.cut_off, "the run file was cut off: the last acknowledgements are unknown"),
        ];
        lines.extend(notes.into_iter().filter(|(is, _)| *is).map(|(_, note)| note.to_owned()));
        lines.join("\n")
    }
}
