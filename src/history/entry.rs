//! An entry of a history: one processed message.

use crate::stamp::{StampCheck, StampKind};

/// The size of an entry in bytes.
pub const ENTRY: usize = 32;

const STAMPED: u8 = 1;
const INTACT: u8 = 2;
const MISPLACED: u8 = 4;
const FAILED: u8 = 8;

/// A processed message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The message's offset.
    pub offset: i64,
    /// See [`crate::stamp::Stamp`]; 0 without a stamp.
    pub sequence: u64,
    /// See [`crate::stamp::Stamp`]; 0 without a stamp.
    pub run: u64,
    /// The message's partition.
    pub partition: i32,
    /// See [`crate::stamp::Stamp`]; 0 without a stamp.
    pub producer: u16,
    /// The kind of message in its stamp; regular without a stamp.
    pub kind: StampKind,
    /// The message has a stamp.
    pub stamped: bool,
    /// The stamp's checksum matches the message.
    pub intact: bool,
    /// The message has a key and is not in that key's partition.
    pub misplaced: bool,
    /// Processing failed permanently, and the message was handled as configured: skipped, or written to the
    /// dead-letter topic.
    pub failed: bool,
}

impl HistoryEntry {
    /// Creates the entry of a message with the stamp found in it.
    pub fn new(partition: i32, offset: i64, found: Option<&StampCheck>) -> Self {
        let place = Self { partition, offset, ..Self::default() };
        match found {
            None => place,
            Some(StampCheck { stamp, intact }) => Self {
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

    /// Encodes the entry.
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

    /// Decodes an entry.
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
            // The decoder has rejected invalid kinds.
            kind: StampKind::from_byte(bytes[30]).unwrap_or_default(),
            stamped: is(STAMPED),
            intact: is(INTACT),
            misplaced: is(MISPLACED),
            failed: is(FAILED),
        }
    }
}

/// The entries of a frame, decoded on access.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entries<'a>(pub(super) &'a [u8]);

impl Entries<'_> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len() / ENTRY
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = HistoryEntry> {
        self.0.as_chunks().0.iter().map(HistoryEntry::from_bytes)
    }
}
