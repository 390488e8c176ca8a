//! Messages by offset that are known from one side only: an acknowledgement or a worker.
//!
//! The side that comes first stores the message at its offset; the other side removes and compares it. So the memory
//! is proportional to the messages that are acknowledged and not yet processed. The comparison is exact, without
//! hashes: a message is a producer and a sequence number in 64 bits. Offsets are stored in chunks of [`CHUNK`]; the
//! last used chunks are open, with 8 bytes per offset, the others are packed. A packed message takes 1.3 bytes where
//! producers write batches, because the next message is nearly always that producer's next one.

use std::collections::BTreeMap;

use crate::util::varint::{at_distance, decode, distance, encode};

/// Offsets per chunk. Small, because each partition has open chunks: 1,000 partitions may have 8 MB of them.
const CHUNK: u64 = 256;
/// The number of open chunks: for acknowledgements, for workers, and between them.
const OPEN: usize = 4;
/// Words of a chunk's bitmap.
const WORDS_PER_CHUNK: usize = (CHUNK / 64) as usize;
/// The upper limit of sequence numbers: 70 trillion messages per producer.
const SEQUENCES: u64 = 1 << 46;
/// Marks a slot set by an acknowledgement.
const ACKNOWLEDGED: u64 = 1 << 63;
/// Marks a slot set by a worker.
const READ: u64 = 1 << 62;

/// A message of the run: its producer and sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message(u64);

impl Message {
    /// `None` if no producer of this program reaches the number: the stamp is forged or of another program.
    pub(super) fn new(producer: u16, sequence: u64) -> Option<Self> {
        (sequence < SEQUENCES).then(|| Self(u64::from(producer) * SEQUENCES + sequence))
    }

    /// The producer.
    pub(super) fn producer(self) -> u16 {
        (self.0 / SEQUENCES) as u16
    }

    /// The sequence number.
    pub(super) fn sequence(self) -> u64 {
        self.0 % SEQUENCES
    }
}

/// The side that a message is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventSide {
    /// The acknowledgement.
    Acknowledged,
    /// A worker.
    Read,
}

/// An open chunk; an empty slot is 0.
struct Chunk {
    slots: [u64; CHUNK as usize],
    held: u32,
}

/// The messages known from one side only.
#[derive(Default)]
pub(super) struct UnmatchedEvents {
    /// The last used chunks, latest first.
    open: Vec<(u64, Box<Chunk>)>,
    packed: BTreeMap<u64, Box<[u8]>>,
}

fn slot(side: EventSide, message: Message) -> u64 {
    message.0 | if side == EventSide::Acknowledged { ACKNOWLEDGED } else { READ }
}

fn decode_slot(slot: u64) -> Option<(EventSide, Message)> {
    let side = if slot & ACKNOWLEDGED != 0 { EventSide::Acknowledged } else { EventSide::Read };
    (slot != 0).then_some((side, Message(slot & !(ACKNOWLEDGED | READ))))
}

impl UnmatchedEvents {
    /// Records `message` at an offset. A message of the other side is removed and returned; one of the same side
    /// stays and is returned.
    pub(super) fn record(&mut self, offset: u64, side: EventSide, message: Message) -> Option<(EventSide, Message)> {
        let chunk = self.chunk_for(offset / CHUNK);
        let place = &mut chunk.slots[(offset % CHUNK) as usize];
        let before = decode_slot(*place);
        match before {
            None => {
                *place = slot(side, message);
                chunk.held += 1;
            }
            Some((other, _)) if other != side => {
                *place = 0;
                chunk.held -= 1;
            }
            Some(_) => {}
        }
        before
    }

    /// Removes and returns the acknowledged message of an offset.
    pub(super) fn take_acknowledged(&mut self, offset: u64) -> Option<Message> {
        let chunk = self.chunk_for(offset / CHUNK);
        let place = &mut chunk.slots[(offset % CHUNK) as usize];
        let (EventSide::Acknowledged, message) = decode_slot(*place)? else { return None };
        *place = 0;
        chunk.held -= 1;
        Some(message)
    }

    /// Opens the chunk.
    fn chunk_for(&mut self, index: u64) -> &mut Chunk {
        match self.open.iter().position(|(open, _)| *open == index) {
            Some(0) => {}
            Some(at) => self.open[..=at].rotate_right(1),
            None => {
                let next = match self.packed.remove(&index) {
                    Some(packed) => unpack(&packed),
                    None => Chunk { slots: [0; CHUNK as usize], held: 0 },
                };
                if self.open.len() < OPEN {
                    self.open.insert(0, (index, Box::new(next)));
                } else {
                    self.open.rotate_right(1);
                    let (before, chunk) = &mut self.open[0];
                    if chunk.held > 0 {
                        self.packed.insert(*before, pack(chunk));
                    }
                    **chunk = next;
                    *before = index;
                }
            }
        }
        &mut self.open[0].1
    }

    /// Calls `on` for each message, ordered by offset.
    pub(super) fn each(&self, mut on: impl FnMut(u64, EventSide, Message)) {
        let mut open: BTreeMap<_, _> = self.open.iter().map(|(index, chunk)| (*index, chunk)).collect();
        let mut all = |index: u64, chunk: &Chunk| {
            for (offset, slot) in (index * CHUNK..).zip(&chunk.slots) {
                if let Some((side, message)) = decode_slot(*slot) {
                    on(offset, side, message);
                }
            }
        };
        for (index, packed) in &self.packed {
            while let Some(before) = open.first_entry().filter(|before| before.key() < index) {
                let (index, chunk) = before.remove_entry();
                all(index, chunk);
            }
            all(*index, &unpack(packed));
        }
        open.into_iter().for_each(|(index, chunk)| all(index, chunk));
    }
}

/// The format: two bitmaps (the used slots, and which of them are acknowledgements), then each message's [`distance`]
/// from the expected one. A change of producer is marked by 1 and the producer before the distance; the expected
/// sequence number is kept per producer.
fn pack(chunk: &Chunk) -> Box<[u8]> {
    let mut bitmaps = [0_u64; 2 * WORDS_PER_CHUNK];
    let mut bytes = vec![0; 16 * WORDS_PER_CHUNK];
    let mut expected = SequencePredictor::default();
    for (at, slot) in chunk.slots.iter().enumerate() {
        let Some((side, message)) = decode_slot(*slot) else { continue };
        bitmaps[at / 64] |= 1 << (at % 64);
        if side == EventSide::Acknowledged {
            bitmaps[WORDS_PER_CHUNK + at / 64] |= 1 << (at % 64);
        }
        let other = expected.turn_to(message.producer());
        if other {
            encode(&mut bytes, 1);
            encode(&mut bytes, message.producer().into());
        }
        let next = expected.next();
        // Twice the distance, so that an odd number marks a change of producer; sequence numbers have 46 bits.
        encode(&mut bytes, distance(*next, message.sequence()) << 1);
        *next = message.sequence() + 1;
    }
    for (word, bits) in bytes.chunks_exact_mut(8).zip(bitmaps) {
        word.copy_from_slice(&bits.to_le_bytes());
    }
    bytes.into_boxed_slice()
}

fn unpack(packed: &[u8]) -> Chunk {
    let mut chunk = Chunk { slots: [0; CHUNK as usize], held: 0 };
    let (bitmaps, mut rest) = packed.split_at(packed.len().min(16 * WORDS_PER_CHUNK));
    let mut words = [0_u64; 2 * WORDS_PER_CHUNK];
    for (word, bytes) in words.iter_mut().zip(bitmaps.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    }
    let mut expected = SequencePredictor::default();
    for (at, place) in chunk.slots.iter_mut().enumerate() {
        let is_in = |bitmap: usize| words[bitmap + at / 64] >> (at % 64) & 1 == 1;
        if !is_in(0) {
            continue;
        }
        let Some(mut number) = decode(&mut rest) else { break };
        if number & 1 == 1 {
            let (Some(producer), Some(sequence)) = (decode(&mut rest), decode(&mut rest)) else { break };
            expected.turn_to(producer as u16);
            number = sequence;
        }
        let next = expected.next();
        let sequence = at_distance(*next, number >> 1);
        *next = sequence + 1;
        let message = Message(u64::from(expected.producer()) * SEQUENCES + sequence % SEQUENCES);
        *place = slot(if is_in(WORDS_PER_CHUNK) { EventSide::Acknowledged } else { EventSide::Read }, message);
        chunk.held += 1;
    }
    chunk
}

/// The expected next sequence number per producer, the last producer first.
struct SequencePredictor(Vec<(u16, u64)>);

impl Default for SequencePredictor {
    fn default() -> Self {
        Self(vec![(0, 0)])
    }
}

impl SequencePredictor {
    /// Returns whether `producer` differs from the previous one.
    fn turn_to(&mut self, producer: u16) -> bool {
        match self.0.iter().position(|(known, _)| *known == producer) {
            Some(0) => return false,
            Some(at) => self.0.swap(0, at),
            None => {
                self.0.push((producer, 0));
                let last = self.0.len() - 1;
                self.0.swap(0, last);
            }
        }
        true
    }

    fn producer(&self) -> u16 {
        self.0[0].0
    }

    fn next(&mut self) -> &mut u64 {
        &mut self.0[0].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(producer: u16, sequence: u64) -> Message {
        Message::new(producer, sequence).unwrap()
    }

    #[test]
    fn the_second_side_removes_what_the_first_has_added() {
        let mut places = UnmatchedEvents::default();
        let (one, other) = (message(3, 7), message(u16::MAX, SEQUENCES - 1));
        assert_eq!(places.record(9, EventSide::Read, one), None);
        assert_eq!(places.record(9, EventSide::Read, other), Some((EventSide::Read, one)));
        assert_eq!(places.take_acknowledged(9), None);
        assert_eq!(places.record(9, EventSide::Acknowledged, other), Some((EventSide::Read, one)));
        assert_eq!(places.record(9, EventSide::Acknowledged, other), None);
        assert_eq!(places.take_acknowledged(9), Some(other));
        places.each(|offset, _, _| panic!("{offset}"));
        assert_eq!(Message::new(0, SEQUENCES), None);
    }

    #[test]
    fn what_is_not_yet_read_takes_little_more_than_a_byte() {
        let mut places = UnmatchedEvents::default();
        for offset in 0..100 * CHUNK {
            let batch = offset / 500;
            places.record(
                offset,
                EventSide::Acknowledged,
                message((batch % 4) as u16, 1_000_000 + batch / 4 * 500 + offset % 500),
            );
        }
        let bytes: usize = places.packed.values().map(|packed| packed.len()).sum();
        assert!(bytes < places.packed.len() * CHUNK as usize * 4 / 3, "{bytes} in {}", places.packed.len());
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            decode_slot in prop::collection::vec((0_u64..3_000, 0_u16..6, 0_u64..1 << 46, 0_u32..46, any::<bool>()), 0..4_000),
        ) {
            let (mut places, mut model) = (UnmatchedEvents::default(), BTreeMap::new());
            for (offset, producer, sequence, bits, read) in decode_slot {
                let side = if read { EventSide::Read } else { EventSide::Acknowledged };
                let message = message(producer * 9_000, sequence >> bits);
                let before = model.get(&offset).copied();
                prop_assert_eq!(places.record(offset, side, message), before);
                match before {
                    None => { model.insert(offset, (side, message)); }
                    Some((other, _)) if other != side => { model.remove(&offset); }
                    Some(_) => {}
                }
            }
            let mut found = Vec::new();
            places.each(|offset, side, message| found.push((offset, (side, message))));
            prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
        }
    }
}
