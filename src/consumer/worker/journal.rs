//! The worker's journal: what it has processed, told to a verifying process before the offset is stored.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::consumer::control::{JournalPlace, StartPartition};
use crate::journal::{Entry, Reader, Writer};
use crate::partitioner::partition_of_key;
use crate::record::Record;
use crate::stamp::Found;

/// How long the verifying process may take nothing: it has a thread for each journal, and needs no broker.
const PATIENCE: Duration = Duration::from_secs(30);

/// Written by the processing thread and, for commits, by kafka-poll. Waiting for the verifying process is
/// backpressure on both.
pub(super) struct Journal {
    sent: Mutex<Sent>,
    /// Of the topic, if its keys are to be where Kafka's own partitioning puts them.
    partitions: Option<u32>,
}

struct Sent {
    socket: UnixStream,
    frames: Writer,
}

impl Journal {
    /// Connects to the verifying process.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn open(place: &JournalPlace, slot: usize) -> io::Result<Arc<Self>> {
        let socket = UnixStream::connect(&place.socket)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let frames = Writer::new(Reader { slot: slot as u32, process: std::process::id() });
        Ok(Arc::new(Self { sent: Mutex::new(Sent { socket, frames }), partitions: place.partitions }))
    }

    /// A message's entry.
    pub(super) fn entry(&self, record: &Record<'_>, found: Option<&Found>) -> Entry {
        let home = |key: &[u8]| self.partitions.map(|partitions| partition_of_key(key, partitions));
        let misplaced = record.key.and_then(home).is_some_and(|home| home != record.partition);
        Entry { misplaced, ..Entry::new(record.partition, record.offset, found) }
    }

    /// These partitions will be read.
    ///
    /// # Errors
    /// Of all these calls: the verifying process is gone, or has taken nothing for [`PATIENCE`].
    pub(super) fn assigned(&self, partitions: &[StartPartition]) -> io::Result<()> {
        self.send(|frames| {
            partitions.iter().for_each(|start| frames.assigned(start.partition.partition, start.start));
        })
    }

    /// These messages are processed, by now (µs since 1970 UTC).
    pub(super) fn processed(&self, now_us: u64, entries: &[Entry]) -> io::Result<()> {
        self.send(|frames| frames.read(now_us, entries))
    }

    /// The brokers have taken a commit.
    pub(super) fn committed(&self, partition: i32, offset: i64) -> io::Result<()> {
        self.send(|frames| frames.committed(partition, offset))
    }

    /// Nothing more will be processed, and everything is committed.
    pub(super) fn bye(&self) -> io::Result<()> {
        self.send(Writer::bye)
    }

    fn send(&self, write: impl FnOnce(&mut Writer)) -> io::Result<()> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let Sent { socket, frames } = &mut *sent;
        write(frames);
        socket.write_all(frames.bytes())?;
        frames.clear();
        Ok(())
    }
}

/// Without the journal nothing may be stored.
pub(super) fn no_journal(error: &io::Error) -> String {
    format!("what is processed could not be told to the verifying process: {error}")
}
