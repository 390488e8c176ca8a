//! The worker's journal: what it has processed, told to a verifying process before the offset is stored.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// What was processed here is processed elsewhere again: the end is no clean one.
    unclean: AtomicBool,
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
        Ok(Arc::new(Self {
            sent: Mutex::new(Sent { socket, frames }),
            partitions: place.partitions,
            unclean: AtomicBool::new(false),
        }))
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

    /// A partition was lost before everything of it was committed.
    pub(super) fn lost(&self) {
        self.unclean.store(true, Ordering::Relaxed);
    }

    /// Nothing more will be processed, and everything is committed.
    pub(super) fn bye(&self) -> io::Result<()> {
        if self.unclean.load(Ordering::Relaxed) {
            // As after a crash: the verifying process expects that some of it comes again.
            return Ok(());
        }
        self.send(Writer::bye)
    }

    fn send(&self, write: impl FnOnce(&mut Writer)) -> io::Result<()> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let Sent { socket, frames } = &mut *sent;
        write(frames);
        let written = socket.write_all(frames.bytes());
        // Also after a failure: a part of these bytes may be there, and frames behind half a frame could not be read.
        frames.clear();
        if written.is_err() {
            // Whoever tries again fails as well; it fails itself only where the other side is gone already.
            let _gone = socket.shutdown(Shutdown::Both);
        }
        written
    }
}

/// Without the journal nothing may be stored.
pub(super) fn no_journal(error: &io::Error) -> String {
    format!("what is processed could not be told to the verifying process: {error}")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::journal::Decoder;

    #[test]
    fn after_a_failure_nothing_more_is_told() {
        let (socket, mut reading) = UnixStream::pair().unwrap();
        socket.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let frames = Writer::new(Reader { slot: 1, process: 2 });
        let journal =
            Journal { sent: Mutex::new(Sent { socket, frames }), partitions: None, unclean: AtomicBool::new(false) };
        let entries = vec![Entry::default(); 10_000];
        // Nobody reads: the socket's buffer is full in the middle of a frame.
        while journal.processed(0, &entries).is_ok() {}
        assert_eq!(journal.bye().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (mut told, mut decoder) = (Vec::new(), Decoder::default());
        reading.read_to_end(&mut told).unwrap();
        decoder.push(&told, |_| {}).unwrap();
        let end = decoder.finish();
        assert!(!end.clean && end.discarded > 0, "{end:?}");
    }
}
