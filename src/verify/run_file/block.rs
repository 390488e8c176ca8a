//! The blocks of a run file.

use std::collections::HashMap;

use super::RunFileRecord;
use crate::util::varint::{at_distance, decode, distance, encode};

/// The size of a block header.
pub(super) const HEAD: usize = 16;
/// The size of the records at which a block is written.
pub(super) const FULL: usize = 1 << 16;
/// The maximum size of a body: a record has at most 45 bytes.
const MAX_BODY_BYTES: usize = FULL + 64;

/// The kinds of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The checksum of the file's first line.
    FirstLine = 1,
    /// See [`Codec`].
    Records = 2,
    /// The numbers of acknowledgements and failures.
    End = 3,
}

/// A parsed block header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    /// The kind of block.
    pub kind: Kind,
    /// The size of its body.
    pub length: usize,
    /// The CRC-32 of its body.
    pub checksum: u32,
}

impl BlockHeader {
    /// Encodes the header of a body.
    pub(super) fn of(kind: Kind, body: &[u8]) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[0] = kind as u8;
        head[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
        head[8..12].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        let own = crc32fast::hash(&head[..12]);
        head[12..].copy_from_slice(&own.to_le_bytes());
        head
    }

    /// Parses a header.
    pub(super) fn read(head: &[u8; HEAD]) -> Result<Self, String> {
        let word = |at: usize| head[at..at + 4].iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        if word(12) != crc32fast::hash(&head[..12]) {
            return Err("the checksum of a block's header does not match".to_owned());
        }
        let kinds = [Kind::FirstLine, Kind::Records, Kind::End];
        let Some(kind) = kinds.into_iter().find(|kind| *kind as u8 == head[0]) else {
            return Err(format!("a block of the kind {}", head[0]));
        };
        let length = word(4) as usize;
        if length > MAX_BODY_BYTES {
            return Err(format!("a block of {length} bytes; the maximum is {MAX_BODY_BYTES}"));
        }
        Ok(Self { kind, length, checksum: word(8) })
    }
}

/// Encodes and decodes records in a compact form; both sides keep the same state, which each block resets.
///
/// A record starts with a number whose lowest two bits are its type:
/// - 0: a message of the same producer and partition as the previous one. The rest of the number is the distance of
///   its sequence number from the expected one, the next number is that of its offset.
/// - 1: an acknowledged message; the rest of the number is its producer; partition and both distances follow.
/// - 2: a failed message; the rest of the number is its producer; its sequence number follows.
#[derive(Debug, Default)]
pub(super) struct Codec {
    /// The expected next sequence number and offset, by producer and partition.
    expected: HashMap<(u16, i32), (u64, u64)>,
    /// The producer and partition of the previous message.
    last: Option<(u16, i32)>,
    next: (u64, u64),
}

const SAME: u64 = 0;
const OTHER: u64 = 1;
const FAILED: u64 = 2;

impl Codec {
    /// Starts a block.
    pub(super) fn begin(&mut self) {
        self.expected.clear();
        self.last = None;
        self.next = (0, 0);
    }

    fn switch_producer(&mut self, key: (u16, i32)) {
        if let Some(last) = self.last.replace(key) {
            self.expected.insert(last, self.next);
        }
        self.next = self.expected.get(&key).copied().unwrap_or_default();
    }

    fn passed(&mut self, sequence: u64, offset: u64) {
        self.next = (sequence.wrapping_add(1), offset.wrapping_add(1));
    }

    /// Appends a record.
    pub(super) fn write(&mut self, body: &mut Vec<u8>, record: &RunFileRecord) {
        match *record {
            RunFileRecord::Acknowledged { producer, sequence, partition, offset } => {
                let (key, offset) = ((producer, partition), offset as u64);
                let same = self.last == Some(key) && distance(self.next.0, sequence) >> 62 == 0;
                if !same {
                    self.switch_producer(key);
                }
                let far = (distance(self.next.0, sequence), distance(self.next.1, offset));
                if same {
                    encode(body, far.0 << 2 | SAME);
                } else {
                    encode(body, u64::from(producer) << 2 | OTHER);
                    encode(body, distance(0, i64::from(partition) as u64));
                    encode(body, far.0);
                }
                encode(body, far.1);
                self.passed(sequence, offset);
            }
            RunFileRecord::Failed { producer, sequence } => {
                encode(body, u64::from(producer) << 2 | FAILED);
                encode(body, sequence);
            }
        }
    }

    /// Decodes the record at the start of `body`; `None` if there is none.
    pub(super) fn read(&mut self, body: &mut &[u8]) -> Option<RunFileRecord> {
        let first = decode(body)?;
        let (what, rest) = (first & 3, first >> 2);
        let far = match what {
            SAME => rest,
            OTHER => {
                let partition = at_distance(0, decode(body)?) as i64;
                self.switch_producer((rest.try_into().ok()?, partition.try_into().ok()?));
                decode(body)?
            }
            FAILED => return Some(RunFileRecord::Failed { producer: rest.try_into().ok()?, sequence: decode(body)? }),
            _ => return None,
        };
        let (producer, partition) = self.last?;
        let (sequence, offset) = (at_distance(self.next.0, far), at_distance(self.next.1, decode(body)?));
        self.passed(sequence, offset);
        Some(RunFileRecord::Acknowledged { producer, sequence, partition, offset: offset as i64 })
    }
}
