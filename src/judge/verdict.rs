//! What it all comes to.

use std::collections::{BTreeMap, HashSet};

use roaring::RoaringTreemap;
use serde::Serialize;

use super::findings::{EXAMPLES, Example, Finding, Findings};
use super::partition::{Holds, Partition};
use super::places::{Message, Side};
use super::{Judge, Known};

/// What the judge cannot know by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// The deadline passed before everything was read.
    pub deadline_passed: bool,
    /// The run file has no end: what was acknowledged last is not known.
    pub cut_off: bool,
    /// Reading ended before everything that was there was read, for whatever reason.
    pub read_in_part: bool,
}

/// Deliberate faults, as they were found in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Deliberate {
    /// Second copies of a message.
    pub duplicated: u64,
    /// Payloads that are not JSON.
    pub corrupt: u64,
    /// Messages that are larger than the brokers take by their default.
    pub oversized: u64,
}

/// The verdict; the part `verify` of the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Every finding is 0 (but for what is foreign in a topic of many writers), and everything was read; or, where it is
    /// known what was acknowledged, all of that.
    pub holds: bool,
    /// Acknowledged, the partition was read beyond the offset, never processed.
    pub lost: u64,
    /// Acknowledged, and no reader came so far.
    pub unread: u64,
    /// The same message stands at another offset, too.
    pub duplicated: u64,
    /// The same offset was processed again. Not a finding: a crash may explain it.
    pub redelivered: u64,
    /// Of these, what no crash explains.
    pub redelivered_unexplained: u64,
    /// Within a producer and a partition, a lower sequence behind a higher one.
    pub reordered: u64,
    /// Offsets with a message that a reader jumped over.
    pub skipped: u64,
    /// How often a reader went back without an assignment.
    pub went_back: u64,
    /// The producer was told that they failed, and they are in the log.
    pub failed_but_present: u64,
    /// Acknowledged at a place where another message stands, or none while the message stands elsewhere.
    pub offset_mismatch: u64,
    /// The checksum does not fit.
    pub corrupt: u64,
    /// Keyed, and not in the key's partition.
    pub misplaced: u64,
    /// No stamp, or that of another run.
    pub foreign: u64,
    /// Sequences that are missing between those that were read; only without acknowledgements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<u64>,
    /// Offsets that were processed.
    pub processed: u64,
    /// Of these, those whose processing failed for good: skipped, or a copy of them is in the dead-letter topic.
    pub processing_failed: u64,
    /// See [`Deliberate`].
    pub deliberate: Deliberate,
    /// Acknowledgements.
    pub acknowledged: u64,
    /// Failures that a producer was told.
    pub failed: u64,
    /// Worker processes.
    pub readers: u64,
    /// See [`Facts`].
    pub deadline_passed: bool,
    /// See [`Facts`].
    pub cut_off: bool,
    /// See [`Facts`].
    pub read_in_part: bool,
    /// See [`super::Scope`].
    #[serde(skip)]
    pub shared: bool,
    /// At most ten of each finding.
    pub examples: Vec<Example>,
}

impl Judge {
    /// The verdict on what is known by now.
    pub fn verdict(&self, facts: Facts) -> Verdict {
        let mut findings = self.findings.clone();
        self.unmet(&mut findings);
        self.read_again(&mut findings);
        self.skipped(&mut findings);
        if !self.scope.acknowledgements {
            self.gaps(&mut findings);
        }
        let of = |finding| findings.of(finding);
        let verdict = Verdict {
            holds: false,
            lost: of(Finding::Lost),
            unread: of(Finding::Unread),
            duplicated: of(Finding::Duplicated),
            redelivered: self.tally.redelivered,
            redelivered_unexplained: of(Finding::RedeliveredUnexplained),
            reordered: of(Finding::Reordered),
            skipped: of(Finding::Skipped),
            went_back: of(Finding::WentBack),
            failed_but_present: of(Finding::FailedButPresent),
            offset_mismatch: of(Finding::OffsetMismatch),
            corrupt: of(Finding::Corrupt),
            misplaced: of(Finding::Misplaced),
            foreign: of(Finding::Foreign),
            gaps: (!self.scope.acknowledgements).then(|| of(Finding::Gaps)),
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
        // What nobody has read is a finding only if it is known what there was.
        let all_known = self.scope.acknowledgements && !facts.cut_off;
        let all_read = !facts.read_in_part && !facts.deadline_passed;
        let holds = verdict.findings().is_empty() && (all_known || all_read);
        Verdict { holds, examples: findings.into_examples(), ..verdict }
    }

    fn was_processed(&self, message: Message) -> bool {
        self.producers.get(message.producer()).is_some_and(|producer| producer.was_processed(message.sequence()))
    }

    /// Messages that were read where no acknowledgement names them.
    fn unacknowledged(&self, mut on: impl FnMut(usize, u64, Message)) {
        for (at, partition) in self.partitions.iter().enumerate() {
            partition.places.each(|offset, side, message| {
                if side == Side::Read {
                    on(at, offset, message);
                }
            });
            for (offset, conflict) in &partition.conflicts {
                if let Some(Holds::Message(message)) = conflict.holds
                    && !conflict.acknowledged.contains(&message)
                {
                    on(at, *offset, message);
                }
            }
        }
    }

    /// Acknowledgements and messages that have not found each other.
    fn unmet(&self, findings: &mut Findings) {
        let Some(run) = self.acknowledged_run() else { return };
        // Where a message was read, though not where it was acknowledged, it has to be looked for.
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
            findings
                .add(Finding::FailedButPresent, |it| it.of(run, message.producer(), message.sequence()).at(at, offset));
        }
        let mut before = None;
        self.unread(|at, offset, message| {
            let (finding, why) = if elsewhere.contains(&message) {
                (Finding::OffsetMismatch, Some("it stands at another place"))
            } else if before == Some((at, offset)) {
                (Finding::OffsetMismatch, Some("another message was acknowledged at this offset, too"))
            } else {
                before = Some((at, offset));
                let read_beyond = self.partitions.get(at).is_some_and(|partition| offset < partition.passed());
                (if read_beyond { Finding::Lost } else { Finding::Unread }, None)
            };
            findings.add(finding, |it| {
                let it = it.of(run, message.producer(), message.sequence()).at(at, offset);
                why.map_or(it.clone(), |why| it.because(why))
            });
        });
        for (at, partition) in self.partitions.iter().enumerate() {
            self.settled(run, at, partition, findings);
        }
    }

    /// Acknowledgements at offsets that nobody has read, partition by partition, offset by offset.
    fn unread(&self, mut on: impl FnMut(usize, u64, Message)) {
        for (at, partition) in self.partitions.iter().enumerate() {
            partition.places.each(|offset, side, message| {
                if side == Side::Acknowledged {
                    on(at, offset, message);
                    let more = partition.conflicts.get(&offset).map(|conflict| &conflict.acknowledged);
                    more.into_iter().flatten().for_each(|message| on(at, offset, *message));
                }
            });
        }
    }

    /// What a partition tells of acknowledgements at offsets that were read, and of those without an offset.
    fn settled(&self, run: u64, at: usize, partition: &Partition, findings: &mut Findings) {
        for (offset, conflict) in &partition.conflicts {
            let wrong = conflict.mismatches();
            findings.count(Finding::OffsetMismatch, wrong);
            let is_right = |message: &Message| conflict.holds == Some(Holds::Message(*message));
            let right = conflict.acknowledged.iter().position(is_right);
            let others = conflict.acknowledged.iter().enumerate().filter(|(at, _)| Some(*at) != right);
            for (_, message) in others.take(wrong as usize) {
                findings.example(Finding::OffsetMismatch, |it| {
                    let holds = match conflict.holds {
                        Some(Holds::Message(other)) if other == *message => "acknowledged twice".to_owned(),
                        Some(Holds::Message(other)) => {
                            format!("holds message {} of producer {}", other.sequence(), other.producer())
                        }
                        Some(Holds::Corrupt) => "holds a damaged message".to_owned(),
                        _ => "holds a foreign message".to_owned(),
                    };
                    it.of(run, message.producer(), message.sequence()).at(at, *offset).because(holds)
                });
            }
        }
        // Without an offset, the partition has to be read as far as is known to tell that a message does not come.
        let read_beyond = partition.passed() > 0 && partition.passed() >= partition.acknowledged_to;
        let finding = if read_beyond { Finding::Lost } else { Finding::Unread };
        for (producer, sequences) in &partition.unplaced {
            let known = self.producers.get(*producer);
            for sequence in sequences.iter().filter(|it| !known.is_some_and(|known| known.was_processed(*it))) {
                findings.add(finding, |it| {
                    let mut it = it.of(run, *producer, sequence).because("acknowledged without an offset");
                    it.partition = i32::try_from(at).ok();
                    it
                });
            }
        }
    }

    /// Messages that a reader jumped over; of those that nobody has read it is known which they are.
    fn skipped(&self, findings: &mut Findings) {
        let mut wanted = BTreeMap::new();
        for (at, partition) in self.partitions.iter().enumerate() {
            let (count, offsets) = partition.skipped(findings.room(Finding::Skipped) - wanted.len());
            findings.count(Finding::Skipped, count);
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
            findings.example(Finding::Skipped, |it| {
                let it = it.at(at, offset);
                let of = known.map(|(run, message): (u64, Message)| (run, message.producer(), message.sequence()));
                let it = of.map_or(it.clone(), |(run, producer, sequence)| it.of(run, producer, sequence));
                let jump = self.partitions.get(at).and_then(|partition| partition.jump_over(offset));
                jump.map_or(it.clone(), |jump| it.by(jump.reader).when(jump.time_us))
            });
        }
    }

    /// Messages that were read again without a crash that explains it.
    fn read_again(&self, findings: &mut Findings) {
        let known = |reader: u32| self.readers.get(reader as usize);
        let clean = |reader: u32| known(reader).is_some_and(|known| known.clean);
        for (at, partition) in self.partitions.iter().enumerate() {
            for (stint, offsets) in partition.stints.unexplained(clean) {
                findings.count(Finding::RedeliveredUnexplained, offsets.len());
                for offset in offsets.iter().take(EXAMPLES) {
                    findings.example(Finding::RedeliveredUnexplained, |it| {
                        let it = it.at(at, offset).because("no crash explains that it was read again");
                        let it = known(stint.reader).map_or(it.clone(), |Known { reader, .. }| it.by(*reader));
                        let found = stint.found_again(offset);
                        found.map_or(it.clone(), |(time, entry)| it.of_entry(entry).when(*time))
                    });
                }
            }
        }
    }

    /// Sequences that are missing between those that were read.
    fn gaps(&self, findings: &mut Findings) {
        let none = RoaringTreemap::new();
        for producer in self.producers.iter() {
            let excused = self.claims.get(&(producer.run, producer.number)).unwrap_or(&none);
            let (count, missing) = producer.gaps(self.scope.from_start, excused, findings.room(Finding::Gaps));
            findings.count(Finding::Gaps, count);
            for sequence in missing {
                findings.example(Finding::Gaps, |it| it.of(producer.run, producer.number, sequence));
            }
        }
    }
}

impl Verdict {
    /// How many there are of a finding.
    pub fn of(&self, finding: Finding) -> u64 {
        match finding {
            Finding::Lost => self.lost,
            Finding::Unread => self.unread,
            Finding::Duplicated => self.duplicated,
            Finding::RedeliveredUnexplained => self.redelivered_unexplained,
            Finding::Reordered => self.reordered,
            Finding::Skipped => self.skipped,
            Finding::WentBack => self.went_back,
            Finding::FailedButPresent => self.failed_but_present,
            Finding::OffsetMismatch => self.offset_mismatch,
            Finding::Corrupt => self.corrupt,
            Finding::Misplaced => self.misplaced,
            Finding::Foreign => self.foreign,
            Finding::Gaps => self.gaps.unwrap_or_default(),
        }
    }

    /// The findings that there are, and how many of each.
    pub fn findings(&self) -> Vec<(&'static str, u64)> {
        let is_one = |finding: &Finding| !(self.shared && *finding == Finding::Foreign);
        let all = Finding::ALL.into_iter().filter(is_one).map(|finding| (finding.name(), self.of(finding)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// A few lines for the terminal, without a newline at the end.
    pub fn summary(&self) -> String {
        let mut lines = Vec::new();
        if self.holds {
            let read = format!("{} processed by {} workers", self.processed, self.readers);
            let what = if self.gaps.is_some() {
                format!("as far as it can be known, every message is accounted for: {read}")
            } else {
                format!("every message is accounted for: {} acknowledged, {read}", self.acknowledged)
            };
            let again = match self.redelivered {
                0 => String::new(),
                count => format!(", {count} of them again after a crash"),
            };
            lines.push(what + &again);
        } else if self.findings().is_empty() {
            lines.push(
                "the verdict does not hold: not everything was read, and nobody can tell what is missing".to_owned(),
            );
        } else {
            lines.push("the verdict does not hold:".to_owned());
            for (name, count) in self.findings() {
                let example = self.examples.iter().find(|example| example.finding == name);
                let example = example.map(|example| format!("  such as {example}")).unwrap_or_default();
                lines.push(format!("  {name:<23} {count:>10}{example}"));
            }
        }
        let notes = [
            (self.deadline_passed, "the deadline passed before everything was read"),
            (self.cut_off, "the run file was cut off: what was acknowledged last is not known"),
        ];
        lines.extend(notes.into_iter().filter(|(is, _)| *is).map(|(_, note)| note.to_owned()));
        lines.join("\n")
    }
}
