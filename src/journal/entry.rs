//! One message in a journal.

use crate::stamp::{Found, Kind};

/// Bytes of an entry.
pub const ENTRY: usize = 32;

const STAMPED: u8 = 1;
const INTACT: u8 = 2;
const MISPLACED: u8 = 4;
const FAILED: u8 = 8;

/// A message that was processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub offset: i64,
    /// See [`crate::stamp::Stamp`]; 0 without a stamp.
    pub sequence: u64,
    /// See [`crate::stamp::Stamp`]; 0 without a stamp.
    pub run: u64,
    /// Where it stands.
    pub partition: i32,
    /// See [`crate::stamp::Stamp`]; 0 without a stamp.
    pub producer: u16,
    /// What it was made as; regular without a stamp.
    pub kind: Kind,
    /// It carries a stamp.
    pub stamped: bool,
    /// The stamp's checksum fits the message.
    pub intact: bool,
    /// It has a key, and does not stand in that key's partition.
    pub misplaced: bool,
    /// Its processing failed for good. It was dealt with as the settings have it: skipped, or a copy of it was acknowledged.
    pub failed: bool,
}

impl Entry {
    /// A message at this place, with the stamp that was found in it.
    pub fn new(partition: i32, offset: i64, found: Option<&Found>) -> Self {
        let place = Self { partition, offset, ..Self::default() };
        match found {
            None => place,
            Some(Found { stamp, intact }) => Self {
                sequence: stamp.sequence,
                run: stamp.run,
                producer: stamp.producer,
                kind: stamp.kind,
                stamped: true,
                intact: *intact,
                ..place
            },
        }
    }

    /// Its bytes.
    pub(super) fn to_bytes(self) -> [u8; ENTRY] {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let mut bytes = [0; ENTRY];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.run.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.partition.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.producer.to_le_bytes());
        bytes[30] = self.kind as u8;
        bytes[31] = flag(self.stamped, STAMPED)
            | flag(self.intact, INTACT)
            | flag(self.misplaced, MISPLACED)
            | flag(self.failed, FAILED);
        bytes
    }

    /// The entry of these bytes.
    pub(super) fn from_bytes(bytes: &[u8; ENTRY]) -> Self {
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let is = |flag: u8| bytes[31] & flag != 0;
        Self {
            offset: number(0..8) as i64,
            sequence: number(8..16),
            run: number(16..24),
            partition: number(24..28) as u32 as i32,
            producer: number(28..30) as u16,
            // The decoder has refused what is none.
            kind: Kind::from_byte(bytes[30]).unwrap_or_default(),
            stamped: is(STAMPED),
            intact: is(INTACT),
            misplaced: is(MISPLACED),
            failed: is(FAILED),
        }
    }
}

/// The entries of a frame, read when asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entries<'a>(pub(super) &'a [u8]);

impl Entries<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len() / ENTRY
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry> {
        self.0.as_chunks().0.iter().map(Entry::from_bytes)
    }
}
