//! The worker's side.

use super::{ENTRY, Entry, HEAD, MAGIC, MOST_ENTRIES, Reader, VERSION, kind};

/// Frames that wait to be sent. Sending is the caller's: it takes [`Writer::bytes`], and calls [`Writer::clear`].
#[derive(Clone, Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// Begins the journal of this process.
    pub fn new(reader: Reader) -> Self {
        let mut writer = Self::default();
        let Reader { slot, process } = reader;
        let numbers = [VERSION, slot, process].map(u32::to_le_bytes);
        writer.frame(kind::HELLO, &[&MAGIC, numbers.as_flattened()]);
        writer
    }

    /// A partition will be read from this offset on.
    pub fn assigned(&mut self, partition: i32, start: i64) {
        self.frame(kind::ASSIGNED, &[&partition.to_le_bytes(), &start.to_le_bytes()]);
    }

    /// These were processed by now (in µs since 1970 UTC).
    pub fn read(&mut self, time_us: u64, entries: &[Entry]) {
        for entries in entries.chunks(MOST_ENTRIES) {
            self.head(kind::READ, 8 + entries.len() * ENTRY);
            self.buffer.extend_from_slice(&time_us.to_le_bytes());
            self.buffer.reserve(entries.len() * ENTRY);
            entries.iter().for_each(|entry| self.buffer.extend_from_slice(&entry.to_bytes()));
        }
    }

    /// The brokers have taken a commit.
    pub fn committed(&mut self, partition: i32, offset: i64) {
        self.frame(kind::COMMITTED, &[&partition.to_le_bytes(), &offset.to_le_bytes()]);
    }

    /// This is a clean end.
    pub fn bye(&mut self) {
        self.frame(kind::BYE, &[]);
    }

    /// What waits to be sent.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// It was sent. The memory stays for what comes.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    fn head(&mut self, kind: u8, length: usize) {
        let mut head = [kind, 0, 0, 0, 0, 0, 0, 0];
        // No frame is longer than a megabyte.
        head[4..HEAD].copy_from_slice(&(length as u32).to_le_bytes());
        self.buffer.extend_from_slice(&head);
    }

    fn frame(&mut self, kind: u8, parts: &[&[u8]]) {
        self.head(kind, parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
    }
}
