//! The worker's side: encodes events.

use super::{ENTRY, HEAD, HISTORY_VERSION, HistoryEntry, MAGIC, MOST_ENTRIES, WorkerId, kind};

/// Encoded frames to send. The caller sends [`Writer::bytes`] and then calls [`Writer::clear`].
#[derive(Clone, Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// Starts the history of this process.
    pub fn new(reader: WorkerId) -> Self {
        let mut writer = Self::default();
        let WorkerId { slot, process } = reader;
        let numbers = [HISTORY_VERSION, slot, process].map(u32::to_le_bytes);
        writer.frame(kind::OPEN, &[&MAGIC, numbers.as_flattened()]);
        writer
    }

    /// Records that a partition will be consumed from this offset.
    pub fn assigned(&mut self, partition: i32, start: i64) {
        self.frame(kind::ASSIGNED, &[&partition.to_le_bytes(), &start.to_le_bytes()]);
    }

    /// Records that these messages were processed by now (in µs since the Unix epoch).
    pub fn read(&mut self, time_us: u64, entries: &[HistoryEntry]) {
        for entries in entries.chunks(MOST_ENTRIES) {
            self.head(kind::READ, 8 + entries.len() * ENTRY);
            self.buffer.extend_from_slice(&time_us.to_le_bytes());
            self.buffer.reserve(entries.len() * ENTRY);
            entries.iter().for_each(|entry| self.buffer.extend_from_slice(&entry.to_bytes()));
        }
    }

    /// Records a successful commit.
    pub fn committed(&mut self, partition: i32, offset: i64) {
        self.frame(kind::COMMITTED, &[&partition.to_le_bytes(), &offset.to_le_bytes()]);
    }

    /// Records a clean exit.
    pub fn bye(&mut self) {
        self.frame(kind::CLOSE, &[]);
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Discards the sent bytes and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    fn head(&mut self, kind: u8, length: usize) {
        let mut head = [kind, 0, 0, 0, 0, 0, 0, 0];
        // A frame has at most a megabyte.
        head[4..HEAD].copy_from_slice(&(length as u32).to_le_bytes());
        self.buffer.extend_from_slice(&head);
    }

    fn frame(&mut self, kind: u8, parts: &[&[u8]]) {
        self.head(kind, parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
    }
}
