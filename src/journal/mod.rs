//! A worker's journal: what it has processed, told to the verifying process over a socket before the offset is stored.
//!
//! What a killed worker had processed counts as processed, so it has to be known outside that process. The journal is a
//! stream of frames, little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the kind, see [`Event`] |
//! | 3 | 0 |
//! | 4 | bytes that follow |
//!
//! The first frame is [`Event::Hello`]; the last one of a worker that ends cleanly is [`Event::Bye`]. A worker that is
//! killed leaves half a frame; [`Decoder::finish`] says how much of it there is.

mod decoder;
mod entry;
mod writer;

pub use decoder::{Decoder, End, JournalError};
pub use entry::{ENTRY, Entries, Entry};
pub use writer::Writer;

/// The version of this format.
pub const VERSION: u32 = 1;
/// Partitions below this are told apart; no cluster has a topic of so many.
pub(crate) const PARTITIONS: i32 = 1 << 20;
/// What a journal begins with, behind its first frame's head.
const MAGIC: [u8; 4] = *b"KAJ\n";
/// Bytes of a frame's head.
const HEAD: usize = 8;
/// The longest frame, in bytes: what a reader keeps of one that has come in part.
const LONGEST: usize = 1 << 20;
/// Entries in a frame at most.
pub const MOST_ENTRIES: usize = (LONGEST - 8) / ENTRY;

/// Which process of which worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reader {
    /// The worker's number.
    pub slot: u32,
    /// The process id.
    pub process: u32,
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// 1: the first one: version, worker, process.
    Hello(Reader),
    /// 2: from here on the reader reads a partition.
    Assigned {
        /// The partition.
        partition: i32,
        /// The first offset that it will ask for.
        start: i64,
    },
    /// 3: messages were processed, in this order.
    Read {
        /// When, in µs since 1970 UTC.
        time_us: u64,
        /// Which.
        entries: Entries<'a>,
    },
    /// 4: the brokers have taken a commit.
    Committed {
        /// The partition.
        partition: i32,
        /// The next offset to be read.
        offset: i64,
    },
    /// 5: the reader has ended cleanly; nothing follows.
    Bye,
}

/// The kinds of frames.
mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const ASSIGNED: u8 = 2;
    pub(super) const READ: u8 = 3;
    pub(super) const COMMITTED: u8 = 4;
    pub(super) const BYE: u8 = 5;
}
