//! The verdict of the checker.

use std::collections::{BTreeMap, HashSet};

use roaring::RoaringTreemap;
use serde::Serialize;

use super::anomalies::{Anomaly, AnomalyCounts, AnomalySample, EXAMPLES};
use super::partition::{OffsetContent, Partition};
use super::unmatched::{EventSide, Message};
use super::{Checker, Known};
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

impl Checker {
    /// The verdict on the events so far.
    pub fn verdict(&self, facts: RunFacts) -> Verdict {
        let mut anomalies = self.anomalies.clone();
        if facts.partitions_added || self.partitions_added {
            anomalies.forget(Anomaly::Misplaced);
        }
        let removed = self.unmatched(&mut anomalies);
        self.rereads(&mut anomalies);
        self.skipped(&mut anomalies);
        if !self.scope.acknowledgements {
            self.gaps(&mut anomalies);
        }
        let of = |anomaly| anomalies.of(anomaly);
        let verdict = Verdict {
            holds: false,
            lost: of(Anomaly::Lost),
            unread: of(Anomaly::Unread),
            removed,
            duplicated: of(Anomaly::Duplicated),
            redelivered: self.tally.redelivered,
            redelivered_unexplained: of(Anomaly::RedeliveredUnexplained),
            reordered: of(Anomaly::Reordered),
            skipped: of(Anomaly::Skipped),
            went_back: of(Anomaly::WentBack),
            failed_but_present: of(Anomaly::FailedButPresent),
            offset_mismatch: of(Anomaly::OffsetMismatch),
            corrupt: of(Anomaly::Corrupt),
            misplaced: of(Anomaly::Misplaced),
            foreign: of(Anomaly::Foreign),
            gaps: (!self.scope.acknowledgements).then(|| of(Anomaly::Gaps)),
            processed: self.tally.processed,
            processing_failed: self.tally.processing_failed,
            deliberate: self.tally.deliberate,
            acknowledged: self.tally.acknowledged,
            failed: self.tally.failed,
            readers: self.readers.len() as u64,
            deadline_passed: facts.deadline_passed,
            cut_off: facts.cut_off,
            read_in_part: facts.read_in_part,
            shared: self.scope.shared,
            examples: Vec::new(),
        };
        // Unprocessed messages are an anomaly only if the messages that existed are known.
        let all_known = self.scope.acknowledgements && !facts.cut_off;
        let all_read = !facts.read_in_part && !facts.deadline_passed;
        let holds = verdict.anomalies().is_empty() && (all_known || all_read);
        Verdict { holds, examples: anomalies.into_examples(), ..verdict }
    }

    fn was_processed(&self, message: Message) -> bool {
        self.producers.get(message.producer()).is_some_and(|producer| producer.was_processed(message.sequence()))
    }

    /// Processed messages that no acknowledgement names.
    fn unacknowledged(&self, mut on: impl FnMut(usize, u64, Message)) {
        for (at, partition) in self.partitions.iter() {
            partition.places.each(|offset, side, message| {
                if side == EventSide::Read {
                    on(at, offset, message);
                }
            });
            for (offset, conflict) in &partition.conflicts {
                if let Some(OffsetContent::Message(message)) = conflict.holds
                    && !conflict.acknowledged.contains(&message)
                {
                    on(at, *offset, message);
                }
            }
        }
    }

    /// Unmatched acknowledgements and messages; returns how many of the lost ones were deleted.
    fn unmatched(&self, anomalies: &mut AnomalyCounts) -> u64 {
        let Some(run) = self.acknowledged_run() else { return 0 };
        // A message processed at another offset than acknowledged must be searched.
        let mut wanted = HashSet::new();
        self.unread(|_, _, message| {
            if self.was_processed(message) {
                wanted.insert(message);
            }
        });
        let mut elsewhere = HashSet::new();
        let mut present = BTreeMap::new();
        let any_failed = self.producers.iter().any(|producer| !producer.failed.is_empty());
        if any_failed || !wanted.is_empty() {
            self.unacknowledged(|at, offset, message| {
                if wanted.contains(&message) {
                    elsewhere.insert(message);
                }
                let producer = self.producers.get(message.producer());
                if any_failed && producer.is_some_and(|producer| producer.failed.contains(message.sequence())) {
                    present.entry(message).or_insert((at, offset));
                }
            });
        }
        for (message, (at, offset)) in present {
            anomalies
                .add(Anomaly::FailedButPresent, |it| it.of(run, message.producer(), message.sequence()).at(at, offset));
        }
        let (mut before, mut removed) = (None, 0);
        self.unread(|at, offset, message| {
            let (anomaly, why) = if elsewhere.contains(&message) {
                (Anomaly::OffsetMismatch, Some("the message is at another offset"))
            } else if before == Some((at, offset)) {
                (Anomaly::OffsetMismatch, Some("another message was acknowledged at this offset, too"))
            } else {
                before = Some((at, offset));
                let partition = self.partitions.get(at);
                if partition.is_some_and(|partition| offset < partition.log_start) {
                    removed += 1;
                    (Anomaly::Lost, Some("below the log start offset: deleted by retention or DeleteRecords"))
                } else if partition.is_some_and(|partition| offset < partition.passed()) {
                    (Anomaly::Lost, None)
                } else {
                    (Anomaly::Unread, None)
                }
            };
            anomalies.add(anomaly, |it| {
                let it = it.of(run, message.producer(), message.sequence()).at(at, offset);
                why.map_or(it.clone(), |why| it.because(why))
            });
        });
        for (at, partition) in self.partitions.iter() {
            self.resolve(run, at, partition, anomalies);
        }
        removed
    }

    /// Acknowledgements at unprocessed offsets, by partition and offset.
    fn unread(&self, mut on: impl FnMut(usize, u64, Message)) {
        for (at, partition) in self.partitions.iter() {
            partition.places.each(|offset, side, message| {
                if side == EventSide::Acknowledged {
                    on(at, offset, message);
                    let more = partition.conflicts.get(&offset).map(|conflict| &conflict.acknowledged);
                    more.into_iter().flatten().for_each(|message| on(at, offset, *message));
                }
            });
        }
    }

    /// The anomalies of acknowledgements at processed offsets, and of those without an offset.
    fn resolve(&self, run: u64, at: usize, partition: &Partition, anomalies: &mut AnomalyCounts) {
        for (offset, conflict) in &partition.conflicts {
            let wrong = conflict.mismatches();
            anomalies.count(Anomaly::OffsetMismatch, wrong);
            let is_right = |message: &Message| conflict.holds == Some(OffsetContent::Message(*message));
            let right = conflict.acknowledged.iter().position(is_right);
            let others = conflict.acknowledged.iter().enumerate().filter(|(at, _)| Some(*at) != right);
            for (_, message) in others.take(wrong as usize) {
                anomalies.example(Anomaly::OffsetMismatch, |it| {
                    let holds = match conflict.holds {
                        Some(OffsetContent::Message(other)) if other == *message => "acknowledged twice".to_owned(),
                        Some(OffsetContent::Message(other)) => {
                            format!("holds message {} of producer {}", other.sequence(), other.producer())
                        }
                        Some(OffsetContent::Corrupt) => "holds a damaged message".to_owned(),
                        _ => "holds a foreign message".to_owned(),
                    };
                    it.of(run, message.producer(), message.sequence()).at(at, *offset).because(holds)
                });
            }
        }
        // Without an offset, a message is lost only if the partition was consumed to its known end.
        let read_beyond = partition.passed() > 0 && partition.passed() >= partition.acknowledged_to;
        let anomaly = if read_beyond { Anomaly::Lost } else { Anomaly::Unread };
        for (producer, sequences) in &partition.unplaced {
            let known = self.producers.get(*producer);
            for sequence in sequences.iter().filter(|it| !known.is_some_and(|known| known.was_processed(*it))) {
                anomalies.add(anomaly, |it| {
                    let mut it = it.of(run, *producer, sequence).because("acknowledged without an offset");
                    it.partition = i32::try_from(at).ok();
                    it
                });
            }
        }
    }

    /// Messages that a worker jumped over; unprocessed ones are identified by their acknowledgement.
    fn skipped(&self, anomalies: &mut AnomalyCounts) {
        let mut wanted = BTreeMap::new();
        for (at, partition) in self.partitions.iter() {
            let (count, offsets) = partition.skipped(anomalies.room(Anomaly::Skipped) - wanted.len());
            anomalies.count(Anomaly::Skipped, count);
            wanted.extend(offsets.into_iter().map(|offset| ((at, offset), None)));
        }
        if let Some(run) = self.acknowledged_run().filter(|_| !wanted.is_empty()) {
            self.unread(|at, offset, message| {
                if let Some(known) = wanted.get_mut(&(at, offset)) {
                    known.get_or_insert((run, message));
                }
            });
        }
        for ((at, offset), known) in wanted {
            anomalies.example(Anomaly::Skipped, |it| {
                let it = it.at(at, offset);
                let of = known.map(|(run, message): (u64, Message)| (run, message.producer(), message.sequence()));
                let it = of.map_or(it.clone(), |(run, producer, sequence)| it.of(run, producer, sequence));
                let jump = self.partitions.get(at).and_then(|partition| partition.jump_over(offset));
                jump.map_or(it.clone(), |jump| it.by(jump.reader).when(jump.time_us))
            });
        }
    }

    /// Messages reprocessed without a crash that explains it.
    fn rereads(&self, anomalies: &mut AnomalyCounts) {
        let known = |reader: u32| self.readers.get(reader as usize);
        let clean = |reader: u32| known(reader).is_some_and(|known| known.clean);
        for (at, partition) in self.partitions.iter() {
            for (session, offsets) in partition.sessions.unexplained_rereads(clean) {
                anomalies.count(Anomaly::RedeliveredUnexplained, offsets.len());
                for offset in offsets.iter().take(EXAMPLES) {
                    anomalies.example(Anomaly::RedeliveredUnexplained, |it| {
                        let it = it.at(at, offset).because("reprocessed, and no crash explains it");
                        let it = known(session.reader).map_or(it.clone(), |Known { reader, .. }| it.by(*reader));
                        let found = session.recover_session(offset);
                        found.map_or(it.clone(), |(time, entry)| it.of_entry(entry).when(*time))
                    });
                }
            }
        }
    }

    /// Missing sequence numbers between processed ones.
    fn gaps(&self, anomalies: &mut AnomalyCounts) {
        let none = RoaringTreemap::new();
        for producer in self.producers.iter() {
            let excused = self.claims.get(&(producer.run, producer.number)).unwrap_or(&none);
            let (count, missing) = producer.gaps(self.scope.from_start, excused, anomalies.room(Anomaly::Gaps));
            anomalies.count(Anomaly::Gaps, count);
            for sequence in missing {
                anomalies.example(Anomaly::Gaps, |it| it.of(producer.run, producer.number, sequence));
            }
        }
    }
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
