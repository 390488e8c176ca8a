//! The history of a worker: the messages that it has processed, sent to the verifier over a socket before their
//! offsets are stored.
//!
//! The messages of a killed worker count as processed, so another process must know them. The history is a stream of
//! little-endian frames:
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | the kind, see [`HistoryEvent`] |
//! | 3 | 0 |
//! | 4 | length of the body in bytes |
//!
//! The first frame is [`HistoryEvent::Hello`]; the last frame of a worker that exits cleanly is
//! [`HistoryEvent::Bye`]. A killed worker may leave an incomplete frame; [`HistoryDecoder::finish`] returns its size.

mod decoder;
mod entry;
mod writer;

#[cfg(feature = "verify")]
pub use decoder::{HistoryDecoder, HistoryError};
pub use entry::{ENTRY, Entries, HistoryEntry};
pub use writer::Writer;

/// The version of this format.
pub const HISTORY_VERSION: u32 = 1;
/// The upper limit of partition numbers; no cluster has a topic with that many.
pub(crate) const PARTITIONS: i32 = 1 << 20;
/// The magic bytes after the header of the first frame.
const MAGIC: [u8; 4] = *b"KAJ\n";
/// The size of a frame header.
const HEAD: usize = 8;
/// The maximum size of a frame, which a decoder buffers.
const MAX_FRAME_BYTES: usize = 1 << 20;
/// The maximum number of entries in a frame.
pub const MOST_ENTRIES: usize = (MAX_FRAME_BYTES - 8) / ENTRY;

/// Identifies a worker process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId {
    /// The worker's number.
    pub slot: u32,
    /// The process id.
    pub process: u32,
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HistoryEvent<'a> {
    /// 1: the first frame: version, worker, process.
    Hello(WorkerId),
    /// 2: the worker consumes a partition from now on.
    Assigned {
        /// The partition.
        partition: i32,
        /// The first offset that it fetches.
        start: i64,
    },
    /// 3: messages were processed, in this order.
    Read {
        /// The time in µs since the Unix epoch.
        time_us: u64,
        /// The messages.
        entries: Entries<'a>,
    },
    /// 4: the brokers accepted a commit.
    Committed {
        /// The partition.
        partition: i32,
        /// The committed offset.
        offset: i64,
    },
    /// 5: the worker exits cleanly; no frame follows.
    Bye,
}

/// The kinds of frames.
mod kind {
    pub(super) const OPEN: u8 = 1;
    pub(super) const ASSIGNED: u8 = 2;
    pub(super) const READ: u8 = 3;
    pub(super) const COMMITTED: u8 = 4;
    pub(super) const CLOSE: u8 = 5;
}
