//! The judge: told what the brokers acknowledged and what the workers processed, it says what was lost, repeated,
//! reordered or damaged.
//!
//! One thread tells it everything, in whatever order acknowledgements and journals come in; only each reader's own
//! events have to be in the order of its journal. Nothing is allocated per event, nothing is guessed: all counts are exact, up to the limits named below.
//!
//! What it keeps:
//! - per partition the offsets that were acknowledged and that were read, per producer the sequences that were read: bitmaps that cost nearly nothing where everything came ([`seen`]);
//! - each message that one side only has told, so that the other can be held against it ([`places`]): 1.3 to 8 bytes for
//!   what is acknowledged and not yet read;
//! - per partition its readers' positions, and the offsets that were read again ([`stints`]).
//!
//! An acknowledgement comes to exactly one of: the message stands there; `lost`; `unread`; `offset_mismatch`. A
//! message that stands at two offsets does so by what was read first; which of the two that is depends on the
//! order of the events, the count does not.

mod findings;
mod partition;
mod places;
mod producers;
mod seen;
mod stints;
mod verdict;

#[cfg(test)]
mod histories;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use roaring::RoaringTreemap;

pub use findings::{Example, Finding};
pub use verdict::{Deliberate, Facts, Verdict};

use crate::journal::{Entry, Event, PARTITIONS, Reader};
use crate::stamp::Kind;
use findings::Findings;
use partition::{Holds, Met, Partition};
use places::Message;
use producers::Producers;

/// Offsets with contradictions that are kept, which takes some 15 MB. Those that come after are counted as they come: a
/// later acknowledgement of the same offset that is right does not mend them.
const CONFLICTS: usize = 100_000;
/// Sequences that damaged messages claim to have, kept to tell damage from a gap. Beyond it a damaged message is a gap
/// as well.
const CLAIMS: usize = 100_000;

/// What is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    /// The run whose messages are judged; whatever else is found is foreign. Without it, every run that is found is
    /// judged by itself.
    pub run: Option<u64>,
    /// Whether it is known what was acknowledged, which takes a run. If not, [`Judge::acknowledged`] and
    /// [`Judge::failed`] do nothing, and gaps in the sequences are what can be known of losses.
    pub acknowledgements: bool,
    /// Whether the partitions are read from their first message on, so that each producer's sequences begin with 0.
    pub from_start: bool,
    /// How many partitions the topic has; more may come.
    pub partitions: usize,
    /// Whether others may write to the topic as well: what is foreign is counted, and is no finding.
    pub shared: bool,
}

/// A reader, as far as it is known.
#[derive(Clone, Copy, Debug)]
struct Known {
    reader: Reader,
    /// It has ended cleanly.
    clean: bool,
}

/// Counts that are no findings.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    acknowledged: u64,
    failed: u64,
    processed: u64,
    processing_failed: u64,
    redelivered: u64,
    deliberate: Deliberate,
}

/// See the [module](self).
pub struct Judge {
    scope: Scope,
    partitions: Vec<Partition>,
    producers: Producers,
    readers: Vec<Known>,
    /// Where each reader is in the list, and the one of the last event.
    places: HashMap<Reader, u32>,
    last: Option<(Reader, u32)>,
    findings: Findings,
    tally: Tally,
    /// How many conflicts are kept.
    conflicts: usize,
    /// Sequences that messages with a wrong checksum claim, by run and producer, and how many they are.
    claims: HashMap<(u64, u16), RoaringTreemap>,
    claimed: usize,
}

impl Judge {
    /// A judge who knows nothing yet.
    pub fn new(scope: Scope) -> Self {
        let acknowledgements = scope.acknowledgements && scope.run.is_some();
        let mut judge = Self {
            scope: Scope { acknowledgements, ..scope },
            partitions: Vec::new(),
            producers: Producers::new(scope.run),
            readers: Vec::new(),
            places: HashMap::new(),
            last: None,
            findings: Findings::default(),
            tally: Tally::default(),
            conflicts: 0,
            claims: HashMap::new(),
            claimed: 0,
        };
        judge.partitions.resize_with(scope.partitions.min(PARTITIONS as usize), Partition::default);
        judge
    }

    /// The run of which it is known what was acknowledged.
    fn acknowledged_run(&self) -> Option<u64> {
        self.scope.run.filter(|_| self.scope.acknowledgements)
    }

    /// The index of a partition, which is there from now on; `None` if there can be none of that number.
    fn partition(&mut self, partition: i32) -> Option<usize> {
        let index = usize::try_from(partition).ok().filter(|_| partition < PARTITIONS)?;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, Partition::default);
        }
        Some(index)
    }

    /// The index of a reader.
    fn reader(&mut self, reader: Reader) -> u32 {
        if let Some((last, index)) = self.last
            && last == reader
        {
            return index;
        }
        let readers = &mut self.readers;
        let index = *self.places.entry(reader).or_insert_with(|| {
            readers.push(Known { reader, clean: false });
            readers.len() as u32 - 1
        });
        self.last = Some((reader, index));
        index
    }

    /// The brokers say that a message stands at this place. A negative offset is one that they did not tell.
    pub fn acknowledged(&mut self, producer: u16, sequence: u64, partition: i32, offset: i64) {
        let Some(run) = self.acknowledged_run() else { return };
        self.tally.acknowledged += 1;
        let (Some(index), Some(message)) = (self.partition(partition), Message::new(producer, sequence)) else {
            return self.findings.add(Finding::OffsetMismatch, |example| {
                let detail = format!("acknowledged in partition {partition}, which cannot be");
                example.of(run, producer, sequence).because(detail)
            });
        };
        let room = self.conflicts < CONFLICTS;
        let place = &mut self.partitions[index];
        let Ok(offset) = u64::try_from(offset) else {
            place.unplaced.entry(producer).or_default().insert(sequence);
            return;
        };
        match place.acknowledge(offset, message, room) {
            Met::Waits | Met::Agree => {}
            Met::Conflict => self.conflicts += 1,
            Met::Mismatch => self.findings.add(Finding::OffsetMismatch, |example| {
                let detail = "acknowledged at an offset that holds, or was acknowledged for, another message";
                example.of(run, producer, sequence).at(index, offset).because(detail)
            }),
        }
    }

    /// The producer was told that a message failed.
    pub fn failed(&mut self, producer: u16, sequence: u64) {
        let Some(run) = self.acknowledged_run() else { return };
        self.tally.failed += 1;
        if let Some(index) = self.producers.index(run, producer) {
            self.producers.at(index).failed.insert(sequence);
        }
    }

    /// From here on a reader reads a partition, from this offset on.
    pub fn assigned(&mut self, reader: Reader, partition: i32, start: i64) {
        let reader = self.reader(reader);
        if let Some(index) = self.partition(partition) {
            let start = u64::try_from(start).ok();
            let partition = &mut self.partitions[index];
            partition.started = partition.started.max(start.unwrap_or_default());
            partition.stints.begin(reader, start);
        }
    }

    /// A reader's commit was taken: `offset` is the next one to be read.
    pub fn committed(&mut self, reader: Reader, partition: i32, offset: i64) {
        let reader = self.reader(reader);
        if let (Some(index), Ok(offset)) = (self.partition(partition), u64::try_from(offset)) {
            let stint = self.partitions[index].stints.of(reader);
            stint.committed = stint.committed.max(offset);
        }
    }

    /// A reader has ended, cleanly or not. One that never ends has not ended cleanly.
    pub fn ended(&mut self, reader: Reader, clean: bool) {
        let index = self.reader(reader);
        if let Some(known) = self.readers.get_mut(index as usize) {
            known.clean = clean;
        }
    }

    /// A frame of a reader's journal.
    pub fn journal(&mut self, reader: Reader, event: &Event<'_>) {
        match event {
            Event::Hello(reader) => {
                self.reader(*reader);
            }
            Event::Assigned { partition, start } => self.assigned(reader, *partition, *start),
            Event::Read { time_us, entries } => entries.iter().for_each(|entry| self.read(reader, *time_us, &entry)),
            Event::Committed { partition, offset } => self.committed(reader, *partition, *offset),
            Event::Bye => self.ended(reader, true),
        }
    }

    /// A reader has processed a message, or left it behind as the settings have it.
    pub fn read(&mut self, reader: Reader, time_us: u64, entry: &Entry) {
        let index = self.reader(reader);
        let (Some(at), Ok(offset)) = (self.partition(entry.partition), u64::try_from(entry.offset)) else { return };
        let example = |example: Example| example.at(at, offset).by(reader).when(time_us);
        let partition = &mut self.partitions[at];
        let stint = partition.stints.of(index);
        let movement = stint.read(offset);
        let new = partition.read.insert(offset);
        if !new && movement.forward {
            stint.read_again(offset, time_us, entry);
        }
        if movement.back {
            self.findings.add(Finding::WentBack, |it| example(it).of_entry(entry));
        } else if !movement.jumped.is_empty() {
            partition.jump(movement.jumped, reader, time_us);
        }
        if !new {
            self.tally.redelivered += 1;
            if !movement.forward {
                self.findings.add(Finding::RedeliveredUnexplained, |it| {
                    let it = example(it).of_entry(entry);
                    it.because("the same reader has read it before, or what comes after it")
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

    /// Something was read at an offset for the first time.
    fn found(
        &mut self,
        at: usize,
        offset: u64,
        frontier: bool,
        entry: &Entry,
        example: impl Fn(Example) -> Example + Copy,
    ) {
        let Entry { run, producer, sequence, .. } = *entry;
        let of = |it: Example| example(it).of(run, producer, sequence);
        if entry.stamped && !entry.intact {
            self.findings.add(Finding::Corrupt, |it| of(it).because("so the stamp says, which may be damaged too"));
            if !self.scope.acknowledgements && self.claimed < CLAIMS {
                self.claimed += usize::from(self.claims.entry((run, producer)).or_default().insert(sequence));
            }
            return self.meet(at, offset, Holds::Corrupt, of);
        }
        let message = Message::new(producer, sequence).filter(|_| entry.stamped);
        let known = message.and_then(|message| Some((message, self.producers.index(run, producer)?)));
        let Some((message, index)) = known else {
            let why = if entry.stamped { "of another run" } else { "without a stamp" };
            self.findings.add(Finding::Foreign, |it| {
                let it = if entry.stamped { of(it) } else { example(it) };
                it.because(why)
            });
            return self.meet(at, offset, Holds::Foreign, example);
        };
        if entry.misplaced {
            self.findings.add(Finding::Misplaced, of);
        }
        match entry.kind {
            Kind::Regular | Kind::Duplicate => {}
            Kind::Corrupt => self.tally.deliberate.corrupt += 1,
            Kind::Oversized => self.tally.deliberate.oversized += 1,
        }
        let maker = self.producers.at(index);
        let copy = entry.kind == Kind::Duplicate;
        let seen = if copy { &mut maker.copies } else { &mut maker.processed };
        if !seen.insert(sequence) {
            self.findings.add(Finding::Duplicated, |it| of(it).because("the message stands at another offset, too"));
        } else if copy {
            self.tally.deliberate.duplicated += 1;
        } else if frontier && self.partitions[at].is_reordered(index, sequence) {
            self.findings.add(Finding::Reordered, |it| of(it).because("a later one of its producer stands before it"));
        }
        self.meet(at, offset, Holds::Message(message), of);
    }

    /// Holds what was read against what was acknowledged.
    fn meet(&mut self, at: usize, offset: u64, holds: Holds, example: impl Fn(Example) -> Example) {
        if !self.scope.acknowledgements {
            return;
        }
        match self.partitions[at].found(offset, holds, self.conflicts < CONFLICTS) {
            Met::Waits | Met::Agree => {}
            Met::Conflict => self.conflicts += 1,
            Met::Mismatch => self.findings.add(Finding::OffsetMismatch, |it| {
                example(it).because("another message was acknowledged at this offset")
            }),
        }
    }
}
