//! The state of a partition, and the comparison of acknowledgements with processed messages.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::anomalies::EXAMPLES;
use super::offset_set::DenseSet;
use super::sessions::Sessions;
use super::unmatched::{EventSide, Message, UnmatchedEvents};
use crate::history::WorkerId;

/// The maximum length of a recorded jump in offsets: its bitmap takes 13 MB. Of a longer jump only the end is kept.
const MAX_JUMP: u64 = 1 << 34;

/// The content of a processed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OffsetContent {
    /// A message of the run.
    Message(Message),
    /// A message with a wrong checksum: it may be any message.
    Corrupt,
    /// No message of the run.
    Foreign,
}

/// An offset with contradictory acknowledgements, or whose acknowledgement differs from the processed message.
#[derive(Clone, Debug, Default)]
pub(super) struct OffsetConflict {
    /// The processed content.
    pub holds: Option<OffsetContent>,
    /// The acknowledged messages; without the first one while nothing is processed, because that one is still in
    /// `places`.
    pub acknowledged: Vec<Message>,
}

impl OffsetConflict {
    /// The number of acknowledgements with a wrong offset.
    pub(super) fn mismatches(&self) -> u64 {
        let right = match self.holds {
            None => return 0,
            Some(OffsetContent::Message(message)) => self.acknowledged.contains(&message),
            Some(OffsetContent::Corrupt) => true,
            Some(OffsetContent::Foreign) => false,
        };
        self.acknowledged.len() as u64 - u64::from(right)
    }
}

/// The result of recording one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchResult {
    /// The other side is not known yet.
    Waits,
    /// Both sides agree.
    Agree,
    /// They differ, which is kept as an [`OffsetConflict`].
    Conflict,
    /// They differ, which is counted at once.
    Mismatch,
}

/// A jump of a worker's position.
#[derive(Clone, Debug)]
pub(super) struct OffsetGap {
    over: std::ops::Range<u64>,
    /// The worker process.
    pub worker: WorkerId,
    /// Its time in µs since the Unix epoch.
    pub time_us: u64,
}

/// The state of a partition.
#[derive(Default)]
pub(super) struct Partition {
    /// Acknowledged offsets.
    pub acknowledged: DenseSet,
    /// The end of the acknowledged offsets.
    pub acknowledged_to: u64,
    /// Processed offsets.
    pub read: DenseSet,
    /// The end of the processed offsets.
    pub reach: u64,
    /// The highest start offset of a worker: no worker consumes the offsets before it.
    pub started: u64,
    /// The log start offset, as far as known.
    pub log_start: u64,
    /// Messages known from one side only.
    pub places: UnmatchedEvents,
    /// Offsets where the sides differ.
    pub conflicts: BTreeMap<u64, OffsetConflict>,
    /// Offsets without a message of the run; kept only with acknowledgements.
    pub foreign: DenseSet,
    /// Offsets with a wrong checksum, likewise.
    pub corrupt: DenseSet,
    /// Offsets that a worker jumped over.
    pub jumped: RoaringTreemap,
    /// The first jumps, as many as there are samples.
    jumps: Vec<OffsetGap>,
    /// Messages acknowledged without an offset, by producer.
    pub unplaced: BTreeMap<u16, RoaringTreemap>,
    /// The sessions of its workers.
    pub sessions: Sessions,
    /// One more than the highest sequence number so far in the log, by producer index.
    sequences: Vec<u64>,
}

/// The partitions of the topic by number. An unknown one takes 8 bytes, so that a forged number costs little.
#[derive(Default)]
pub(super) struct Partitions(Vec<Option<Box<Partition>>>);

impl Partitions {
    /// The partition, which is created if it is missing.
    pub(super) fn entry(&mut self, number: usize) -> &mut Partition {
        if self.0.len() <= number {
            self.0.resize_with(number + 1, || None);
        }
        self.0[number].get_or_insert_default()
    }

    /// The partition, if known.
    pub(super) fn get(&self, number: usize) -> Option<&Partition> {
        self.0.get(number)?.as_deref()
    }

    /// The known partitions with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Partition)> {
        let all = self.0.iter().enumerate();
        all.filter_map(|(number, partition)| Some((number, partition.as_deref()?)))
    }
}

impl Partition {
    /// Records an acknowledgement at this offset. `room`: whether another conflict can be kept.
    pub(super) fn acknowledge(&mut self, offset: u64, message: Message, room: bool) -> MatchResult {
        let second = !self.acknowledged.insert(offset);
        self.acknowledged_to = self.acknowledged_to.max(offset + 1);
        if let Some(conflict) = self.conflicts.get_mut(&offset)
            && second
        {
            conflict.acknowledged.push(message);
            return MatchResult::Conflict;
        }
        let waits = offset >= self.reach || !self.read.contains(offset);
        if second {
            // The first acknowledgement was right, or still waits for a worker.
            if !waits || !room {
                return MatchResult::Mismatch;
            }
            self.conflicts.insert(offset, OffsetConflict { holds: None, acknowledged: vec![message] });
            return MatchResult::Conflict;
        }
        if !waits && self.corrupt.contains(offset) {
            return MatchResult::Agree;
        }
        let holds = if !waits && self.foreign.contains(offset) {
            OffsetContent::Foreign
        } else {
            match self.places.record(offset, EventSide::Acknowledged, message) {
                None => return MatchResult::Waits,
                Some((_, found)) if found == message => return MatchResult::Agree,
                Some((_, found)) => OffsetContent::Message(found),
            }
        };
        self.conflict(offset, holds, message, room)
    }

    fn conflict(&mut self, offset: u64, holds: OffsetContent, acknowledged: Message, room: bool) -> MatchResult {
        if !room {
            return MatchResult::Mismatch;
        }
        let acknowledged = vec![acknowledged];
        self.conflicts.insert(offset, OffsetConflict { holds: Some(holds), acknowledged });
        MatchResult::Conflict
    }

    /// Records the first processing of an offset.
    pub(super) fn found(&mut self, offset: u64, holds: OffsetContent, room: bool) -> MatchResult {
        let acknowledged = match holds {
            OffsetContent::Message(message) => {
                self.places.record(offset, EventSide::Read, message).map(|(_, before)| before)
            }
            OffsetContent::Corrupt => {
                self.corrupt.insert(offset);
                self.places.take_acknowledged(offset)
            }
            OffsetContent::Foreign => {
                self.foreign.insert(offset);
                self.places.take_acknowledged(offset)
            }
        };
        let Some(acknowledged) = acknowledged else { return MatchResult::Waits };
        if let Some(conflict) = self.conflicts.get_mut(&offset) {
            conflict.holds = Some(holds);
            conflict.acknowledged.push(acknowledged);
            return MatchResult::Conflict;
        }
        if holds == OffsetContent::Corrupt || holds == OffsetContent::Message(acknowledged) {
            return MatchResult::Agree;
        }
        self.conflict(offset, holds, acknowledged, room)
    }

    /// Returns whether a message follows a later one of its producer in the log.
    pub(super) fn is_reordered(&mut self, producer: usize, sequence: u64) -> bool {
        if self.sequences.len() <= producer {
            self.sequences.resize(producer + 1, 0);
        }
        let highest = &mut self.sequences[producer];
        let reordered = sequence < *highest;
        *highest = (*highest).max(sequence.saturating_add(1));
        reordered
    }

    /// The end of the offsets that were processed or will never be.
    pub(super) fn passed(&self) -> u64 {
        self.reach.max(self.started)
    }

    /// Records a jump of a worker.
    pub(super) fn jump(&mut self, over: std::ops::Range<u64>, worker: WorkerId, time_us: u64) {
        let start = over.start.max(over.end.saturating_sub(MAX_JUMP));
        self.jumped.insert_range(start..over.end);
        if self.jumps.len() < EXAMPLES {
            self.jumps.push(OffsetGap { over, worker, time_us });
        }
    }

    /// The jump over an offset, if it is among the recorded ones.
    pub(super) fn jump_over(&self, offset: u64) -> Option<&OffsetGap> {
        self.jumps.iter().find(|jump| jump.over.contains(&offset))
    }

    /// The number of messages that a worker jumped over, and the first `max` of them.
    pub(super) fn skipped(&self, max: usize) -> (u64, Vec<u64>) {
        let (mut count, mut examples) = (0, Vec::new());
        if self.jumped.is_empty() {
            return (count, examples);
        }
        for block in self.acknowledged.blocks() | self.read.blocks() {
            let offsets = DenseSet::range(block);
            let jumped = self.jumped.range_cardinality(offsets.clone());
            if jumped == 0 {
                continue;
            }
            let (acknowledged, read) = (self.acknowledged.words(block), self.read.words(block));
            let stands: Vec<_> = acknowledged.iter().zip(&read).map(|(one, other)| one | other).collect();
            if stands.iter().all(|word| *word == u64::MAX) && examples.len() == max {
                count += jumped;
                continue;
            }
            let words = offsets.clone().step_by(64).zip(stands);
            for (start, word) in words.filter(|(_, word)| *word != 0) {
                let bits = (0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| start + bit);
                for offset in bits.filter(|offset| self.jumped.contains(*offset)) {
                    count += 1;
                    if examples.len() < max {
                        examples.push(offset);
                    }
                }
            }
        }
        (count, examples)
    }
}
