//! What is known of a partition, and how the two sides meet at an offset.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::findings::EXAMPLES;
use super::places::{Message, Places, Side};
use super::seen::Seen;
use super::stints::Stints;
use crate::journal::Reader;

/// The longest jump that is kept, in offsets: its bitmap has 13 MB. Of a longer one the end is kept.
const LONGEST_JUMP: u64 = 1 << 34;

/// What stands at an offset that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// A message of the run.
    Message(Message),
    /// Something with a wrong checksum: it may be any message.
    Corrupt,
    /// Nothing of the run.
    Foreign,
}

/// An offset of which the acknowledgements and the readers tell different things, or two acknowledgements do.
#[derive(Clone, Debug, Default)]
pub(super) struct Conflict {
    /// What was read there.
    pub holds: Option<Holds>,
    /// What was acknowledged there; without the first one as long as nothing was read, because that one is among the
    /// places still.
    pub acknowledged: Vec<Message>,
}

impl Conflict {
    /// How many acknowledgements name the wrong place.
    pub(super) fn mismatches(&self) -> u64 {
        let right = match self.holds {
            None => return 0,
            Some(Holds::Message(message)) => self.acknowledged.contains(&message),
            Some(Holds::Corrupt) => true,
            Some(Holds::Foreign) => false,
        };
        self.acknowledged.len() as u64 - u64::from(right)
    }
}

/// What came of an acknowledgement or a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// The other side has not come yet.
    Waits,
    /// Both sides tell the same.
    Agree,
    /// They do not; it is kept as a [`Conflict`].
    Conflict,
    /// A conflict that is counted at once.
    Mismatch,
}

/// A jump of a reader.
#[derive(Clone, Debug)]
pub(super) struct Jump {
    over: std::ops::Range<u64>,
    /// Whose.
    pub reader: Reader,
    /// When it was told, in µs since 1970 UTC.
    pub time_us: u64,
}

/// A partition.
#[derive(Default)]
pub(super) struct Partition {
    /// Offsets that were acknowledged.
    pub acknowledged: Seen,
    /// Behind the highest of them.
    pub acknowledged_to: u64,
    /// Offsets that were read.
    pub read: Seen,
    /// Behind the highest of them.
    pub reach: u64,
    /// Where the reader began that began furthest: what stands before it is read by nobody.
    pub started: u64,
    /// What one side only has told.
    pub places: Places,
    /// Where they do not agree.
    pub conflicts: BTreeMap<u64, Conflict>,
    /// Offsets with nothing of the run, and with a wrong checksum; kept only if there are acknowledgements.
    pub foreign: Seen,
    /// See above.
    pub corrupt: Seen,
    /// Offsets that a reader jumped over.
    pub jumped: RoaringTreemap,
    /// The first jumps, as many as there are examples.
    jumps: Vec<Jump>,
    /// Messages that were acknowledged without an offset, by producer.
    pub unplaced: BTreeMap<u16, RoaringTreemap>,
    /// Its readers.
    pub stints: Stints,
    /// Behind the highest sequence so far in the log, by the producer's index.
    sequences: Vec<u64>,
}

impl Partition {
    /// The brokers say that a message stands at this offset. `room` tells whether another conflict can be kept.
    pub(super) fn acknowledge(&mut self, offset: u64, message: Message, room: bool) -> Met {
        let second = !self.acknowledged.insert(offset);
        self.acknowledged_to = self.acknowledged_to.max(offset + 1);
        if let Some(conflict) = self.conflicts.get_mut(&offset)
            && second
        {
            conflict.acknowledged.push(message);
            return Met::Conflict;
        }
        let waits = offset >= self.reach || !self.read.contains(offset);
        if second {
            // Whoever came first was right, or waits for a reader.
            if !waits || !room {
                return Met::Mismatch;
            }
            self.conflicts.insert(offset, Conflict { holds: None, acknowledged: vec![message] });
            return Met::Conflict;
        }
        if !waits && self.corrupt.contains(offset) {
            return Met::Agree;
        }
        let holds = if !waits && self.foreign.contains(offset) {
            Holds::Foreign
        } else {
            match self.places.tell(offset, Side::Acknowledged, message) {
                None => return Met::Waits,
                Some((_, found)) if found == message => return Met::Agree,
                Some((_, found)) => Holds::Message(found),
            }
        };
        self.conflict(offset, holds, message, room)
    }

    fn conflict(&mut self, offset: u64, holds: Holds, acknowledged: Message, room: bool) -> Met {
        if !room {
            return Met::Mismatch;
        }
        let acknowledged = vec![acknowledged];
        self.conflicts.insert(offset, Conflict { holds: Some(holds), acknowledged });
        Met::Conflict
    }

    /// A reader has found this at an offset where none was before.
    pub(super) fn found(&mut self, offset: u64, holds: Holds, room: bool) -> Met {
        let acknowledged = match holds {
            Holds::Message(message) => self.places.tell(offset, Side::Read, message).map(|(_, before)| before),
            Holds::Corrupt => {
                self.corrupt.insert(offset);
                self.places.take_acknowledged(offset)
            }
            Holds::Foreign => {
                self.foreign.insert(offset);
                self.places.take_acknowledged(offset)
            }
        };
        let Some(acknowledged) = acknowledged else { return Met::Waits };
        if let Some(conflict) = self.conflicts.get_mut(&offset) {
            conflict.holds = Some(holds);
            conflict.acknowledged.push(acknowledged);
            return Met::Conflict;
        }
        if holds == Holds::Corrupt || holds == Holds::Message(acknowledged) {
            return Met::Agree;
        }
        self.conflict(offset, holds, acknowledged, room)
    }

    /// Whether a message stands in the log behind a later one of its producer.
    pub(super) fn is_reordered(&mut self, producer: usize, sequence: u64) -> bool {
        if self.sequences.len() <= producer {
            self.sequences.resize(producer + 1, 0);
        }
        let highest = &mut self.sequences[producer];
        let reordered = sequence < *highest;
        *highest = (*highest).max(sequence.saturating_add(1));
        reordered
    }

    /// Behind everything that was read, or that nobody will read any more.
    pub(super) fn passed(&self) -> u64 {
        self.reach.max(self.started)
    }

    /// A reader jumped over these.
    pub(super) fn jump(&mut self, over: std::ops::Range<u64>, reader: Reader, time_us: u64) {
        let start = over.start.max(over.end.saturating_sub(LONGEST_JUMP));
        self.jumped.insert_range(start..over.end);
        if self.jumps.len() < EXAMPLES {
            self.jumps.push(Jump { over, reader, time_us });
        }
    }

    /// The jump over an offset, if it is among the first.
    pub(super) fn jump_over(&self, offset: u64) -> Option<&Jump> {
        self.jumps.iter().find(|jump| jump.over.contains(&offset))
    }

    /// How many messages a reader jumped over, and the first `most` of them.
    pub(super) fn skipped(&self, most: usize) -> (u64, Vec<u64>) {
        let (mut count, mut examples) = (0, Vec::new());
        if self.jumped.is_empty() {
            return (count, examples);
        }
        for block in self.acknowledged.blocks() | self.read.blocks() {
            let offsets = Seen::range(block);
            let jumped = self.jumped.range_cardinality(offsets.clone());
            if jumped == 0 {
                continue;
            }
            let (acknowledged, read) = (self.acknowledged.words(block), self.read.words(block));
            let stands: Vec<_> = acknowledged.iter().zip(&read).map(|(one, other)| one | other).collect();
            if stands.iter().all(|word| *word == u64::MAX) && examples.len() == most {
                count += jumped;
                continue;
            }
            let words = offsets.clone().step_by(64).zip(stands);
            for (start, word) in words.filter(|(_, word)| *word != 0) {
                let bits = (0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| start + bit);
                for offset in bits.filter(|offset| self.jumped.contains(*offset)) {
                    count += 1;
                    if examples.len() < most {
                        examples.push(offset);
                    }
                }
            }
        }
        (count, examples)
    }
}
