//! The blocks of a run file.

use std::collections::HashMap;

use super::Record;
use crate::varint::{at_distance, distance, put, take};

/// Bytes of a block's head.
pub(super) const HEAD: usize = 16;
/// A block is written when its records have so many bytes.
pub(super) const FULL: usize = 1 << 16;
/// No body is longer: a record has 45 bytes at most.
const LONGEST: usize = FULL + 64;

/// The kinds of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The checksum of the file's first line.
    FirstLine = 1,
    /// See [`Codec`].
    Records = 2,
    /// How many acknowledgements and failures there are.
    End = 3,
}

/// A block's head, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// What the block is.
    pub kind: Kind,
    /// Bytes of its body.
    pub length: usize,
    /// The body's CRC-32.
    pub checksum: u32,
}

impl Head {
    /// The head of a body.
    pub(super) fn of(kind: Kind, body: &[u8]) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[0] = kind as u8;
        head[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
        head[8..12].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        let own = crc32fast::hash(&head[..12]);
        head[12..].copy_from_slice(&own.to_le_bytes());
        head
    }

    /// Reads a head.
    pub(super) fn read(head: &[u8; HEAD]) -> Result<Self, String> {
        let word = |at: usize| head[at..at + 4].iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        if word(12) != crc32fast::hash(&head[..12]) {
            return Err("the checksum of a block's head does not fit".to_owned());
        }
        let kinds = [Kind::FirstLine, Kind::Records, Kind::End];
        let Some(kind) = kinds.into_iter().find(|kind| *kind as u8 == head[0]) else {
            return Err(format!("a block of the kind {}", head[0]));
        };
        let length = word(4) as usize;
        if length > LONGEST {
            return Err(format!("a block of {length} bytes; the longest has {LONGEST}"));
        }
        Ok(Self { kind, length, checksum: word(8) })
    }
}

/// Writes records small and reads them back; both sides remember the same, and forget it with each block.
///
/// A record begins with a number whose lowest two bits say what it is:
/// - 0: a message of the same producer in the same partition as the one before. The rest of the number is the distance of its
///   sequence from the expected one, the next number is that of its offset.
/// - 1: an acknowledged message, the rest of the number is its producer; partition and both distances follow.
/// - 2: a failed message, the rest of the number is its producer; its sequence follows.
#[derive(Debug, Default)]
pub(super) struct Codec {
    /// The sequence and the offset that are expected next, by producer and partition.
    expected: HashMap<(u16, i32), (u64, u64)>,
    /// The producer and partition of the message before.
    last: Option<(u16, i32)>,
    next: (u64, u64),
}

const SAME: u64 = 0;
const OTHER: u64 = 1;
const FAILED: u64 = 2;

impl Codec {
    /// A block begins.
    pub(super) fn begin(&mut self) {
        self.expected.clear();
        self.last = None;
        self.next = (0, 0);
    }

    fn turn_to(&mut self, key: (u16, i32)) {
        if let Some(last) = self.last.replace(key) {
            self.expected.insert(last, self.next);
        }
        self.next = self.expected.get(&key).copied().unwrap_or_default();
    }

    fn passed(&mut self, sequence: u64, offset: u64) {
        self.next = (sequence.wrapping_add(1), offset.wrapping_add(1));
    }

    /// Appends a record.
    pub(super) fn write(&mut self, body: &mut Vec<u8>, record: &Record) {
        match *record {
            Record::Acknowledged { producer, sequence, partition, offset } => {
                let (key, offset) = ((producer, partition), offset as u64);
                let same = self.last == Some(key) && distance(self.next.0, sequence) >> 62 == 0;
                if !same {
                    self.turn_to(key);
                }
                let far = (distance(self.next.0, sequence), distance(self.next.1, offset));
                if same {
                    put(body, far.0 << 2 | SAME);
                } else {
                    put(body, u64::from(producer) << 2 | OTHER);
                    put(body, distance(0, i64::from(partition) as u64));
                    put(body, far.0);
                }
                put(body, far.1);
                self.passed(sequence, offset);
            }
            Record::Failed { producer, sequence } => {
                put(body, u64::from(producer) << 2 | FAILED);
                put(body, sequence);
            }
        }
    }

    /// Takes the record that `body` begins with; `None` if there is none.
    pub(super) fn read(&mut self, body: &mut &[u8]) -> Option<Record> {
        let first = take(body)?;
        let (what, rest) = (first & 3, first >> 2);
        let far = match what {
            SAME => rest,
            OTHER => {
                let partition = at_distance(0, take(body)?) as i64;
                self.turn_to((rest.try_into().ok()?, partition.try_into().ok()?));
                take(body)?
            }
            FAILED => return Some(Record::Failed { producer: rest.try_into().ok()?, sequence: take(body)? }),
            _ => return None,
        };
        let (producer, partition) = self.last?;
        let (sequence, offset) = (at_distance(self.next.0, far), at_distance(self.next.1, take(body)?));
        self.passed(sequence, offset);
        Some(Record::Acknowledged { producer, sequence, partition, offset: offset as i64 })
    }
}
