//! The evaluation of what the checker has recorded.

use std::collections::{BTreeMap, HashSet};

use roaring::RoaringTreemap;

use super::anomalies::{Anomaly, AnomalyCounts, EXAMPLES};
use super::partition::{OffsetContent, Partition};
use super::unmatched::{EventSide, Message};
use super::verdict::{RunFacts, Verdict};
use super::{Checker, Known};

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
            readers: self.workers.len() as u64,
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
                jump.map_or(it.clone(), |jump| it.by(jump.worker).when(jump.time_us))
            });
        }
    }

    /// Messages reprocessed without a crash that explains it.
    fn rereads(&self, anomalies: &mut AnomalyCounts) {
        let known = |worker: u32| self.workers.get(worker as usize);
        let clean = |worker: u32| known(worker).is_some_and(|known| known.clean);
        for (at, partition) in self.partitions.iter() {
            for (session, offsets) in partition.sessions.unexplained_rereads(clean) {
                anomalies.count(Anomaly::RedeliveredUnexplained, offsets.len());
                for offset in offsets.iter().take(EXAMPLES) {
                    anomalies.example(Anomaly::RedeliveredUnexplained, |it| {
                        let it = it.at(at, offset).because("reprocessed, and no crash explains it");
                        let it = known(session.worker).map_or(it.clone(), |Known { worker, .. }| it.by(*worker));
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
