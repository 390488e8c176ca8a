//! The worker's history: what it has processed, sent to a verifying process before the offset is stored.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::consumer::protocol::{HistoryEndpoint, PartitionAssignment};
use crate::history::{HistoryEntry, WorkerId, Writer};
use crate::partitioner::murmur2_partition;
use crate::record::Record;
use crate::stamp::StampCheck;

/// How long a write may block. The verifying process has a thread for each history, and needs no broker.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Written by the processing thread and, for commits, by kafka-poll. A wait for the verifying process is
/// backpressure on both.
pub(super) struct HistoryWriter {
    sent: Mutex<Sent>,
    /// The number of partitions of the topic, if keys have to be in the partition that Kafka's default
    /// partitioner selects.
    partitions: Option<u32>,
    /// Messages that were processed here are processed elsewhere again: the history does not end cleanly.
    unclean: AtomicBool,
}

struct Sent {
    socket: UnixStream,
    frames: Writer,
}

impl HistoryWriter {
    /// Connects to the verifying process.
    ///
    /// # Errors
    /// The verifying process is gone.
    pub(super) fn open(endpoint: &HistoryEndpoint, slot: usize) -> io::Result<Arc<Self>> {
        let socket = UnixStream::connect(&endpoint.socket)?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let frames = Writer::new(WorkerId { slot: slot as u32, process: std::process::id() });
        Ok(Arc::new(Self {
            sent: Mutex::new(Sent { socket, frames }),
            partitions: endpoint.partitions,
            unclean: AtomicBool::new(false),
        }))
    }

    /// The history entry of a message.
    pub(super) fn entry(&self, record: &Record<'_>, stamp: Option<&StampCheck>) -> HistoryEntry {
        let home = |key: &[u8]| self.partitions.map(|partitions| murmur2_partition(key, partitions));
        let misplaced = record.key.and_then(home).is_some_and(|home| home != record.partition);
        HistoryEntry { misplaced, ..HistoryEntry::new(record.partition, record.offset, stamp) }
    }

    /// Records that these partitions are assigned.
    ///
    /// # Errors
    /// For this and the following calls: the verifying process is gone, or has read nothing for
    /// [`WRITE_TIMEOUT`].
    pub(super) fn assigned(&self, partitions: &[PartitionAssignment]) -> io::Result<()> {
        self.send(|frames| {
            partitions.iter().for_each(|start| frames.assigned(start.partition.partition, start.start));
        })
    }

    /// Records that these messages were processed by `now_us` (µs since 1970 UTC).
    pub(super) fn processed(&self, now_us: u64, entries: &[HistoryEntry]) -> io::Result<()> {
        self.send(|frames| frames.read(now_us, entries))
    }

    /// Records that the brokers have accepted a commit.
    pub(super) fn committed(&self, partition: i32, offset: i64) -> io::Result<()> {
        self.send(|frames| frames.committed(partition, offset))
    }

    /// Records that a partition was lost before all of its processed messages were committed.
    pub(super) fn record_lost_assignment(&self) {
        self.unclean.store(true, Ordering::Relaxed);
    }

    /// Ends the history: nothing more is processed, and everything is committed.
    pub(super) fn finish(&self) -> io::Result<()> {
        if self.unclean.load(Ordering::Relaxed) {
            // As after a crash: the verifying process expects that some messages are processed again.
            return Ok(());
        }
        self.send(Writer::bye)
    }

    fn send(&self, write: impl FnOnce(&mut Writer)) -> io::Result<()> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let Sent { socket, frames } = &mut *sent;
        write(frames);
        let written = socket.write_all(frames.bytes());
        // Also after a failure: a part of these bytes may have been written, and frames after an incomplete
        // frame could not be parsed.
        frames.clear();
        if written.is_err() {
            // A retry fails as well. The shutdown itself fails only if the peer is gone already.
            socket.shutdown(Shutdown::Both).ok();
        }
        written
    }
}

/// The error text when the history cannot be written: without it no offset may be stored.
pub(super) fn no_history(error: &io::Error) -> String {
    format!("the history could not be sent to the checker: {error}")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::history::HistoryDecoder;

    #[test]
    fn nothing_is_written_after_a_failure() {
        let (socket, mut reading) = UnixStream::pair().unwrap();
        socket.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let frames = Writer::new(WorkerId { slot: 1, process: 2 });
        let history = HistoryWriter {
            sent: Mutex::new(Sent { socket, frames }),
            partitions: None,
            unclean: AtomicBool::new(false),
        };
        let entries = vec![HistoryEntry::default(); 10_000];
        // The peer does not read: the socket's buffer is full in the middle of a frame.
        while history.processed(0, &entries).is_ok() {}
        assert_eq!(history.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (mut reported, mut decoder) = (Vec::new(), HistoryDecoder::default());
        reading.read_to_end(&mut reported).unwrap();
        decoder.push(&reported, |_| {}).unwrap();
        let end = decoder.finish();
        assert!(!end.clean && end.discarded > 0, "{end:?}");
    }
}
