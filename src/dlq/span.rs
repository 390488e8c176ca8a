//! Reads what stands in the partitions of a topic from one offset to another, on the calling thread.

use std::time::{Duration, Instant};

use slog::Logger;

use crate::kafka::error::Failure;
use crate::kafka::reader::{Broken, Commit, Reader, Role};
use crate::kafka::stream::{Next, PartitionStream};
use crate::record::{OwnedRecord, TopicPartition};
use crate::settings::Settings;

/// How long the client is served before the queues are looked at again, when they are empty.
const POLL: Duration = Duration::from_millis(10);

/// What is to be read of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) partition: TopicPartition,
    /// The first offset.
    pub(super) from: i64,
    /// The first one that is not meant.
    pub(super) to: i64,
}

/// A client that reads spans for `consumer.group`, and commits when it is told to.
pub(super) struct SpanReader {
    reading: Vec<Reading>,
    /// Which of them is looked at first.
    turn: usize,
    reader: Reader,
    patience: Duration,
}

struct Reading {
    stream: PartitionStream,
    to: i64,
    done: bool,
}

impl SpanReader {
    /// Begins to read.
    pub(super) fn open(settings: &Settings, spans: &[Span], logger: &Logger) -> Result<Self, Failure> {
        let reader = Reader::new(settings, Role::Manual, spans.len(), true, logger, |_| {})?;
        let reading = spans.iter().map(|span| {
            let stream = reader.split(&span.partition)?;
            Ok(Reading { stream, to: span.to, done: span.from >= span.to })
        });
        let reading = reading.collect::<Result<Vec<_>, Failure>>()?;
        let left = spans.iter().filter(|span| span.from < span.to);
        let starts: Vec<_> = left.map(|span| (span.partition.clone(), span.from)).collect();
        reader.assign(&starts)?;
        Ok(Self { reading, turn: 0, reader, patience: settings.kafka.connect_timeout })
    }

    /// The next message, in order within a partition; `None` when all spans are read.
    ///
    /// # Errors
    /// When nothing has come for `kafka.connect_timeout`, or an offset is gone.
    pub(super) fn read_next(&mut self) -> Result<Option<OwnedRecord>, Failure> {
        let begun = Instant::now();
        loop {
            if let Some(record) = self.look()? {
                return Ok(Some(record));
            }
            if self.reading.iter().all(|reading| reading.done) {
                return Ok(None);
            }
            if begun.elapsed() >= self.patience {
                let late = self.reading.iter().find(|reading| !reading.done);
                let what = late.map(|reading| reading.stream.partition().to_string()).unwrap_or_default();
                let reason = format!("no message has come within {:?} (kafka.connect_timeout)", self.patience);
                return Err(Failure::Request { what, reason });
            }
            self.reader.poll(POLL).map_err(broken)?;
        }
    }

    /// A message that has come already.
    fn look(&mut self) -> Result<Option<OwnedRecord>, Failure> {
        for _ in 0..self.reading.len() {
            let count = self.reading.len();
            let reading = &mut self.reading[self.turn % count];
            while !reading.done {
                let to = reading.to;
                match reading.stream.read_next() {
                    Next::Message(message) => {
                        let record = message.record();
                        let (next, meant) = (record.offset + 1, record.offset < to);
                        let record = meant.then(|| record.to_owned());
                        reading.done = next >= to;
                        if record.is_some() {
                            return Ok(record);
                        }
                    }
                    // The last offsets may have no message: a transaction's mark is none, and a compacted topic has gaps.
                    Next::End(_) => reading.done = true,
                    Next::Empty => break,
                    Next::OutOfRange => {
                        let reason = "its next offset is not in the log any more".to_owned();
                        return Err(Failure::Request { what: reading.stream.partition().to_string(), reason });
                    }
                    // Tried again, as long as there is patience.
                    Next::Trouble(_) => break,
                    Next::Unreadable(reason) | Next::Broken(reason) => {
                        return Err(Failure::Request { what: reading.stream.partition().to_string(), reason });
                    }
                }
            }
            self.turn = (self.turn + 1) % count;
        }
        Ok(None)
    }

    /// Reads no more of this partition.
    pub(super) fn give_up(&mut self, partition: &TopicPartition) {
        self.reading.iter_mut().filter(|reading| reading.stream.partition() == partition).for_each(|it| it.done = true);
    }

    /// Commits the next offsets, and waits for it.
    pub(super) fn commit<'a>(
        &self,
        next: impl IntoIterator<Item = (&'a TopicPartition, &'a i64)>,
    ) -> Result<(), Failure> {
        for (partition, next) in next {
            let reading = self.reading.iter().find(|reading| reading.stream.partition() == partition);
            reading.map_or(Ok(()), |reading| reading.stream.store(*next))?;
        }
        match self.reader.commit_all() {
            Commit::Done(_) => Ok(()),
            Commit::Failed(reason) | Commit::Refused(reason) => {
                Err(Failure::Request { what: "what was sent back could not be committed".to_owned(), reason })
            }
        }
    }

    /// Ends the client.
    pub(super) fn close(self) {
        let Self { reading, reader, .. } = self;
        drop(reading);
        reader.close(true);
    }
}

fn broken(broken: Broken) -> Failure {
    let (Broken::Lasting(reason) | Broken::Passing(reason) | Broken::IdTaken(reason)) = broken;
    Failure::Request { what: "the consumer client".to_owned(), reason }
}
