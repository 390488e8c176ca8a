//! What stands where, as long as one side only has told it: the acknowledgement or the reader.
//!
//! The side that comes first leaves the message at its offset; the other one takes it away and compares. So the memory
//! goes with what is acknowledged and not yet read. It is exact, there is no hash in it: a message is a producer and a
//! sequence in 64 bits. Offsets are kept in chunks of [`CHUNK`]; the few that were asked for last are open, 8 bytes an offset, the
//! others are packed. A packed message takes 1.3 bytes where producers write batches, because the next one is nearly always
//! that producer's next.

use std::collections::BTreeMap;

use crate::varint::{at_distance, distance, put, take};

/// Offsets in a chunk. Small, because each partition has open ones: 1,000 partitions may have 8 MB of them.
const CHUNK: u64 = 256;
/// Open chunks: where acknowledgements come in, where reading is, and what is between them.
const OPEN: usize = 4;
/// Words of a bitmap of a chunk.
const WORDS: usize = (CHUNK / 64) as usize;
/// Sequences below this can be told apart: 70 million million messages of a producer.
const SEQUENCES: u64 = 1 << 46;
/// Marks a slot that the acknowledgement came to first.
const ACKNOWLEDGED: u64 = 1 << 63;
/// Marks a slot that a reader came to first.
const READ: u64 = 1 << 62;

/// A message of the run: its producer and sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message(u64);

impl Message {
    /// `None` if no producer of this program has come so far.
    pub(super) fn new(producer: u16, sequence: u64) -> Option<Self> {
        (sequence < SEQUENCES).then_some(Self(u64::from(producer) * SEQUENCES + sequence))
    }

    /// Who made it.
    pub(super) fn producer(self) -> u16 {
        (self.0 / SEQUENCES) as u16
    }

    /// The how-manieth it is.
    pub(super) fn sequence(self) -> u64 {
        self.0 % SEQUENCES
    }
}

/// Who tells that a message stands somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The brokers' acknowledgement.
    Acknowledged,
    /// A reader.
    Read,
}

/// An open chunk; a slot is 0 if nothing is there.
struct Chunk {
    slots: [u64; CHUNK as usize],
    held: u32,
}

/// What one side only has told.
#[derive(Default)]
pub(super) struct Places {
    /// Those asked for last, the latest first.
    open: Vec<(u64, Box<Chunk>)>,
    packed: BTreeMap<u64, Box<[u8]>>,
}

fn slot(side: Side, message: Message) -> u64 {
    message.0 | if side == Side::Acknowledged { ACKNOWLEDGED } else { READ }
}

fn told(slot: u64) -> Option<(Side, Message)> {
    let side = if slot & ACKNOWLEDGED != 0 { Side::Acknowledged } else { Side::Read };
    (slot != 0).then_some((side, Message(slot & !(ACKNOWLEDGED | READ))))
}

impl Places {
    /// Tells that `message` stands at an offset. If the other side has told something before, that is taken away
    /// and returned; if this side has, it stays and is returned.
    pub(super) fn tell(&mut self, offset: u64, side: Side, message: Message) -> Option<(Side, Message)> {
        let chunk = self.open(offset / CHUNK);
        let place = &mut chunk.slots[(offset % CHUNK) as usize];
        let before = told(*place);
        match before {
            None => {
                *place = slot(side, message);
                chunk.held += 1;
            }
            Some((teller, _)) if teller != side => {
                *place = 0;
                chunk.held -= 1;
            }
            Some(_) => {}
        }
        before
    }

    /// What the acknowledgement told of an offset, which is taken away.
    pub(super) fn take_acknowledged(&mut self, offset: u64) -> Option<Message> {
        let chunk = self.open(offset / CHUNK);
        let place = &mut chunk.slots[(offset % CHUNK) as usize];
        let (Side::Acknowledged, message) = told(*place)? else { return None };
        *place = 0;
        chunk.held -= 1;
        Some(message)
    }

    /// The chunk, open.
    fn open(&mut self, index: u64) -> &mut Chunk {
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

    /// Everything that one side only has told, by offset.
    pub(super) fn each(&self, mut on: impl FnMut(u64, Side, Message)) {
        let mut open: BTreeMap<_, _> = self.open.iter().map(|(index, chunk)| (*index, chunk)).collect();
        let mut all = |index: u64, chunk: &Chunk| {
            for (offset, slot) in (index * CHUNK..).zip(&chunk.slots) {
                if let Some((side, message)) = told(*slot) {
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

/// Two bitmaps, which slots hold something and which of them the acknowledgement came to; then each one's [`distance`]
/// from what follows the one before. Another producer than the one before is a distance of more than a sequence, so
/// each producer's last one is remembered: 1 and the producer stand before such a message.
fn pack(chunk: &Chunk) -> Box<[u8]> {
    let mut bitmaps = [0_u64; 2 * WORDS];
    let mut bytes = vec![0; 16 * WORDS];
    let mut expected = Expected::default();
    for (at, slot) in chunk.slots.iter().enumerate() {
        let Some((side, message)) = told(*slot) else { continue };
        bitmaps[at / 64] |= 1 << (at % 64);
        if side == Side::Acknowledged {
            bitmaps[WORDS + at / 64] |= 1 << (at % 64);
        }
        let other = expected.turn_to(message.producer());
        if other {
            put(&mut bytes, 1);
            put(&mut bytes, message.producer().into());
        }
        let next = expected.next();
        // Twice the distance, so that an odd number is another producer; sequences have 46 bits.
        put(&mut bytes, distance(*next, message.sequence()) << 1);
        *next = message.sequence() + 1;
    }
    for (word, bits) in bytes.chunks_exact_mut(8).zip(bitmaps) {
        word.copy_from_slice(&bits.to_le_bytes());
    }
    bytes.into_boxed_slice()
}

fn unpack(packed: &[u8]) -> Chunk {
    let mut chunk = Chunk { slots: [0; CHUNK as usize], held: 0 };
    let (bitmaps, mut rest) = packed.split_at(packed.len().min(16 * WORDS));
    let mut words = [0_u64; 2 * WORDS];
    for (word, bytes) in words.iter_mut().zip(bitmaps.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    }
    let mut expected = Expected::default();
    for (at, place) in chunk.slots.iter_mut().enumerate() {
        let is_in = |bitmap: usize| words[bitmap + at / 64] >> (at % 64) & 1 == 1;
        if !is_in(0) {
            continue;
        }
        let Some(mut number) = take(&mut rest) else { break };
        if number & 1 == 1 {
            let (Some(producer), Some(sequence)) = (take(&mut rest), take(&mut rest)) else { break };
            expected.turn_to(producer as u16);
            number = sequence;
        }
        let next = expected.next();
        let sequence = at_distance(*next, number >> 1);
        *next = sequence + 1;
        let message = Message(u64::from(expected.producer()) * SEQUENCES + sequence % SEQUENCES);
        *place = slot(if is_in(WORDS) { Side::Acknowledged } else { Side::Read }, message);
        chunk.held += 1;
    }
    chunk
}

/// The sequence that each producer's next message should have, the producer of the last message first.
struct Expected(Vec<(u16, u64)>);

impl Default for Expected {
    fn default() -> Self {
        Self(vec![(0, 0)])
    }
}

impl Expected {
    /// Whether `producer` is another one than before.
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
    fn the_second_side_takes_away_what_the_first_has_told() {
        let mut places = Places::default();
        let (one, other) = (message(3, 7), message(u16::MAX, SEQUENCES - 1));
        assert_eq!(places.tell(9, Side::Read, one), None);
        assert_eq!(places.tell(9, Side::Read, other), Some((Side::Read, one)));
        assert_eq!(places.take_acknowledged(9), None);
        assert_eq!(places.tell(9, Side::Acknowledged, other), Some((Side::Read, one)));
        assert_eq!(places.tell(9, Side::Acknowledged, other), None);
        assert_eq!(places.take_acknowledged(9), Some(other));
        places.each(|offset, _, _| panic!("{offset}"));
        assert_eq!(Message::new(0, SEQUENCES), None);
    }

    #[test]
    fn what_is_not_yet_read_takes_little_more_than_a_byte() {
        let mut places = Places::default();
        for offset in 0..100 * CHUNK {
            let batch = offset / 500;
            places.tell(
                offset,
                Side::Acknowledged,
                message((batch % 4) as u16, 1_000_000 + batch / 4 * 500 + offset % 500),
            );
        }
        let bytes: usize = places.packed.values().map(|packed| packed.len()).sum();
        assert!(bytes < places.packed.len() * CHUNK as usize * 4 / 3, "{bytes} in {}", places.packed.len());
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            told in prop::collection::vec((0_u64..3_000, 0_u16..6, 0_u64..1 << 46, 0_u32..46, any::<bool>()), 0..4_000),
        ) {
            let (mut places, mut model) = (Places::default(), BTreeMap::new());
            for (offset, producer, sequence, bits, read) in told {
                let side = if read { Side::Read } else { Side::Acknowledged };
                let message = message(producer * 9_000, sequence >> bits);
                let before = model.get(&offset).copied();
                prop_assert_eq!(places.tell(offset, side, message), before);
                match before {
                    None => { model.insert(offset, (side, message)); }
                    Some((teller, _)) if teller != side => { model.remove(&offset); }
                    Some(_) => {}
                }
            }
            let mut found = Vec::new();
            places.each(|offset, side, message| found.push((offset, (side, message))));
            prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
        }
    }
}
