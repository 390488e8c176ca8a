//! The checker: compares the messages that the brokers acknowledged with those that the workers processed, and
//! reports which were lost, duplicated, reordered or damaged.
//!
//! One thread feeds it acknowledgements and histories in any order; only the events of one worker process must be in
//! the order of its history. It allocates nothing per event, and all counts are exact up to the limits below.
//!
//! It keeps:
//! - per partition the acknowledged and the processed offsets, per producer the processed sequence numbers, as
//!   bitmaps that are small when nothing is missing ([`offset_set`]);
//! - each message known from one side only, for the comparison with the other ([`unmatched`]): 1.3 to 8 bytes for a
//!   message that is acknowledged and not yet processed;
//! - per partition the positions of its workers, and the offsets processed again ([`sessions`]).
//!
//! Each acknowledgement has exactly one result: the message is at its offset, `lost`, `unread` or `offset_mismatch`.
//! A message at two offsets belongs to the one that was processed first; which one that is depends on the order of
//! events, the count does not.

mod anomalies;
mod evaluation;
mod offset_set;
mod partition;
mod producers;
mod sessions;
mod unmatched;
mod verdict;

#[cfg(test)]
mod random_histories;
#[cfg(test)]
mod reference_model;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use roaring::RoaringTreemap;

pub use anomalies::{Anomaly, AnomalySample};
pub use verdict::{InjectedFaultCounts, RunFacts, Verdict};

use crate::history::{HistoryEntry, HistoryEvent, PARTITIONS, WorkerId};
use crate::stamp::StampKind;
use anomalies::AnomalyCounts;
use partition::{MatchResult, OffsetContent, Partitions};
use producers::Producers;
use unmatched::Message;

/// The maximum number of offsets with contradictions that are kept, about 15 MB. Further ones are counted at once: a
/// later, correct acknowledgement of the same offset does not revise them.
const MAX_CONFLICTS: usize = 100_000;
/// The maximum number of sequence numbers of damaged messages that are kept to tell damage from a gap. Beyond it, a
/// damaged message counts as a gap, too.
const MAX_CLAIMED_SEQUENCES: usize = 100_000;

/// What is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckScope {
    /// The run whose messages are checked; all others are foreign. `None`: every run found is checked separately.
    pub run: Option<u64>,
    /// Whether the acknowledgements are known, which needs a run. Otherwise [`Checker::acknowledged`] and
    /// [`Checker::failed`] do nothing, and only gaps in the sequence numbers indicate losses.
    pub acknowledgements: bool,
    /// Whether the partitions are consumed from their first message, so that each producer's sequence numbers start
    /// at 0.
    pub from_start: bool,
    /// The topic's number of partitions; more may be added.
    pub partitions: usize,
    /// Whether other producers may write to the topic: foreign messages are counted but are no anomaly.
    pub shared: bool,
}

/// A known worker process.
#[derive(Clone, Copy, Debug)]
struct Known {
    worker: WorkerId,
    /// It has exited cleanly.
    clean: bool,
}

/// Counts that are no anomalies.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    acknowledged: u64,
    failed: u64,
    processed: u64,
    processing_failed: u64,
    redelivered: u64,
    deliberate: InjectedFaultCounts,
}

/// See the [module documentation](self).
pub struct Checker {
    scope: CheckScope,
    partitions: Partitions,
    producers: Producers,
    workers: Vec<Known>,
    /// The index of each worker process, and the worker process of the last event.
    places: HashMap<WorkerId, u32>,
    last: Option<(WorkerId, u32)>,
    anomalies: AnomalyCounts,
    tally: Tally,
    /// The number of conflicts kept.
    conflicts: usize,
    /// Sequence numbers in messages with a wrong checksum, by run and producer, and their number.
    claims: HashMap<(u64, u16), RoaringTreemap>,
    claimed: usize,
    /// A message was acknowledged in a partition that the topic did not have: its producer knew of more.
    partitions_added: bool,
}

impl Checker {
    /// Creates a checker.
    pub fn new(scope: CheckScope) -> Self {
        let acknowledgements = scope.acknowledgements && scope.run.is_some();
        Self {
            scope: CheckScope { acknowledgements, ..scope },
            partitions: Partitions::default(),
            producers: Producers::new(scope.run),
            workers: Vec::new(),
            places: HashMap::new(),
            last: None,
            anomalies: AnomalyCounts::default(),
            tally: Tally::default(),
            conflicts: 0,
            claims: HashMap::new(),
            claimed: 0,
            partitions_added: false,
        }
    }

    /// The run whose acknowledgements are known.
    fn acknowledged_run(&self) -> Option<u64> {
        self.scope.run.filter(|_| self.scope.acknowledgements)
    }

    /// The index of a partition; `None` if the number is invalid.
    fn partition(&self, partition: i32) -> Option<usize> {
        usize::try_from(partition).ok().filter(|_| partition < PARTITIONS)
    }

    /// The index of a worker process.
    fn worker(&mut self, worker: WorkerId) -> u32 {
        if let Some((last, index)) = self.last
            && last == worker
        {
            return index;
        }
        let workers = &mut self.workers;
        let index = *self.places.entry(worker).or_insert_with(|| {
            workers.push(Known { worker, clean: false });
            workers.len() as u32 - 1
        });
        self.last = Some((worker, index));
        index
    }

    /// Records an acknowledgement. A negative offset means that the brokers did not report one.
    pub fn acknowledged(&mut self, producer: u16, sequence: u64, partition: i32, offset: i64) {
        let Some(run) = self.acknowledged_run() else { return };
        self.tally.acknowledged += 1;
        let (Some(index), Some(message)) = (self.partition(partition), Message::new(producer, sequence)) else {
            return self.anomalies.add(Anomaly::OffsetMismatch, |example| {
                let detail = format!("acknowledged in partition {partition}: invalid offset and sequence number");
                example.of(run, producer, sequence).because(detail)
            });
        };
        let room = self.conflicts < MAX_CONFLICTS;
        self.partitions_added |= self.scope.partitions > 0 && index >= self.scope.partitions;
        let place = self.partitions.entry(index);
        let Ok(offset) = u64::try_from(offset) else {
            place.unplaced.entry(producer).or_default().insert(sequence);
            return;
        };
        match place.acknowledge(offset, message, room) {
            MatchResult::Waits | MatchResult::Agree => {}
            MatchResult::Conflict => self.conflicts += 1,
            MatchResult::Mismatch => self.anomalies.add(Anomaly::OffsetMismatch, |example| {
                let detail = "acknowledged at an offset that has, or was acknowledged for, another message";
                example.of(run, producer, sequence).at(index, offset).because(detail)
            }),
        }
    }

    /// Records a message whose delivery failed.
    pub fn failed(&mut self, producer: u16, sequence: u64) {
        let Some(run) = self.acknowledged_run() else { return };
        self.tally.failed += 1;
        if let Some(index) = self.producers.index(run, producer) {
            self.producers.at(index).failed.insert(sequence);
        }
    }

    /// Records that a worker process consumes a partition from this offset.
    pub fn assigned(&mut self, worker: WorkerId, partition: i32, start: i64) {
        let worker = self.worker(worker);
        if let Some(index) = self.partition(partition) {
            let start = u64::try_from(start).ok();
            let partition = self.partitions.entry(index);
            partition.started = partition.started.max(start.unwrap_or_default());
            partition.sessions.begin(worker, start);
        }
    }

    /// Records a worker's commit; `offset` is the committed position.
    pub fn committed(&mut self, worker: WorkerId, partition: i32, offset: i64) {
        let worker = self.worker(worker);
        if let (Some(index), Ok(offset)) = (self.partition(partition), u64::try_from(offset)) {
            let session = self.partitions.entry(index).sessions.of(worker);
            session.committed = session.committed.max(offset);
        }
    }

    /// Records the exit of a worker process. Without it, the process has not exited cleanly.
    pub fn ended(&mut self, worker: WorkerId, clean: bool) {
        let index = self.worker(worker);
        if let Some(known) = self.workers.get_mut(index as usize) {
            known.clean = clean;
        }
    }

    /// Records a partition's current log start offset.
    pub fn log_begins(&mut self, partition: i32, offset: i64) {
        if let (Some(index), Ok(offset)) = (self.partition(partition), u64::try_from(offset)) {
            self.partitions.entry(index).log_start = offset;
        }
    }

    /// Records an event of a worker's history.
    pub fn history(&mut self, worker: WorkerId, event: &HistoryEvent<'_>) {
        match event {
            HistoryEvent::Hello(worker) => {
                self.worker(*worker);
            }
            HistoryEvent::Assigned { partition, start } => self.assigned(worker, *partition, *start),
            HistoryEvent::Read { time_us, entries } => {
                entries.iter().for_each(|entry| self.read(worker, *time_us, &entry))
            }
            HistoryEvent::Committed { partition, offset } => self.committed(worker, *partition, *offset),
            HistoryEvent::Bye => self.ended(worker, true),
        }
    }

    /// Records that a worker has processed a message, or skipped or dead-lettered it as configured.
    pub fn read(&mut self, worker: WorkerId, time_us: u64, entry: &HistoryEntry) {
        let index = self.worker(worker);
        let (Some(at), Ok(offset)) = (self.partition(entry.partition), u64::try_from(entry.offset)) else { return };
        let example = |example: AnomalySample| example.at(at, offset).by(worker).when(time_us);
        let partition = self.partitions.entry(at);
        let session = partition.sessions.of(index);
        let movement = session.read(offset);
        let new = partition.read.insert(offset);
        if !new && movement.forward {
            session.read_again(offset, time_us, entry);
        }
        if movement.back {
            self.anomalies.add(Anomaly::WentBack, |it| example(it).of_entry(entry));
        } else if !movement.jumped.is_empty() {
            partition.jump(movement.jumped, worker, time_us);
        }
        if !new {
            self.tally.redelivered += 1;
            if !movement.forward {
                self.anomalies.add(Anomaly::RedeliveredUnexplained, |it| {
                    let it = example(it).of_entry(entry);
                    it.because("the same worker process has processed it, or a later offset, before")
                });
            }
            return;
        }
        let frontier = offset >= partition.reach;
        partition.reach = partition.reach.max(offset + 1);
        self.tally.processed += 1;
        self.tally.processing_failed += u64::from(entry.failed);
        self.found(at, offset, frontier, entry, example);
    }

    /// Records the first processing of an offset.
    fn found(
        &mut self,
        at: usize,
        offset: u64,
        frontier: bool,
        entry: &HistoryEntry,
        example: impl Fn(AnomalySample) -> AnomalySample + Copy,
    ) {
        let HistoryEntry { run, producer, sequence, .. } = *entry;
        let of = |it: AnomalySample| example(it).of(run, producer, sequence);
        if entry.stamped && !entry.intact {
            self.anomalies
                .add(Anomaly::Corrupt, |it| of(it).because("the run id is from the stamp, which may be damaged, too"));
            if !self.scope.acknowledgements && self.claimed < MAX_CLAIMED_SEQUENCES {
                self.claimed += usize::from(self.claims.entry((run, producer)).or_default().insert(sequence));
            }
            return self.meet(at, offset, OffsetContent::Corrupt, of);
        }
        let message = Message::new(producer, sequence).filter(|_| entry.stamped);
        let known = message.and_then(|message| Some((message, self.producers.index(run, producer)?)));
        let Some((message, index)) = known else {
            let why = match (entry.stamped, message) {
                (false, _) => "without a stamp",
                (true, None) => "with an impossible sequence number",
                (true, Some(_)) => "of another run",
            };
            self.anomalies.add(Anomaly::Foreign, |it| {
                let it = if entry.stamped { of(it) } else { example(it) };
                it.because(why)
            });
            return self.meet(at, offset, OffsetContent::Foreign, example);
        };
        if entry.misplaced {
            self.anomalies.add(Anomaly::Misplaced, of);
        }
        match entry.kind {
            StampKind::Regular | StampKind::Duplicate => {}
            StampKind::Corrupt => self.tally.deliberate.corrupt += 1,
            StampKind::Oversized => self.tally.deliberate.oversized += 1,
        }
        let source = self.producers.at(index);
        let is_duplicate = entry.kind == StampKind::Duplicate;
        let seen = if is_duplicate { &mut source.duplicates } else { &mut source.processed };
        if !seen.insert(sequence) {
            self.anomalies.add(Anomaly::Duplicated, |it| of(it).because("the message is at another offset, too"));
        } else if is_duplicate {
            self.tally.deliberate.duplicated += 1;
        } else if frontier && self.partitions.entry(at).is_reordered(index, sequence) {
            self.anomalies
                .add(Anomaly::Reordered, |it| of(it).because("a later message of its producer has a lower offset"));
        }
        self.meet(at, offset, OffsetContent::Message(message), of);
    }

    /// Compares a processed message with the acknowledgement of its offset.
    fn meet(&mut self, at: usize, offset: u64, holds: OffsetContent, example: impl Fn(AnomalySample) -> AnomalySample) {
        if !self.scope.acknowledgements {
            return;
        }
        match self.partitions.entry(at).found(offset, holds, self.conflicts < MAX_CONFLICTS) {
            MatchResult::Waits | MatchResult::Agree => {}
            MatchResult::Conflict => self.conflicts += 1,
            MatchResult::Mismatch => self.anomalies.add(Anomaly::OffsetMismatch, |it| {
                example(it).because("another message was acknowledged at this offset")
            }),
        }
    }
}
