//! Reads the partitions of a topic from one offset to another, on the calling thread.

use std::time::{Duration, Instant};

use slog::Logger;

use crate::kafka::consumer::{Consumer, ConsumerError, ConsumerRole, MembershipOperation};
use crate::kafka::error::KafkaError;
use crate::kafka::partition_queue::{MessageQueue, PartitionQueue, PollResult};
use crate::record::{OwnedRecord, TopicPartition};
use crate::settings::Settings;

/// How long the client is polled between two checks of the empty queues.
const POLL_TIMEOUT: Duration = Duration::from_millis(10);

/// The offsets to read of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OffsetRange {
    pub(super) partition: TopicPartition,
    /// The first offset.
    pub(super) from: i64,
    /// The exclusive end.
    pub(super) to: i64,
}

/// A client that reads offset ranges and commits nothing.
pub(super) struct RangeReader {
    reading: Vec<RangeProgress>,
    /// The partition to check first.
    turn: usize,
    consumer: Consumer,
    timeout: Duration,
}

struct RangeProgress {
    stream: PartitionQueue,
    to: i64,
    done: bool,
}

impl RangeReader {
    /// Starts reading.
    pub(super) fn open(settings: &Settings, spans: &[OffsetRange], logger: &Logger) -> Result<Self, KafkaError> {
        let consumer = Consumer::new(settings, ConsumerRole::Manual, spans.len(), true, logger, |_| {})?;
        let reading = spans.iter().map(|span| {
            let stream = consumer.split_partition_queue(&span.partition, None)?;
            Ok(RangeProgress { stream, to: span.to, done: span.from >= span.to })
        });
        let reading = reading.collect::<Result<Vec<_>, KafkaError>>()?;
        let left = spans.iter().filter(|span| span.from < span.to);
        let starts: Vec<_> = left.map(|span| (span.partition.clone(), span.from)).collect();
        consumer.assign(&starts)?;
        Ok(Self { reading, turn: 0, consumer, timeout: settings.kafka.request_timeout() })
    }

    /// The next record, in order within a partition; `None` when all ranges are read.
    ///
    /// # Errors
    /// No record arrived for `kafka.connect_timeout`, or an offset is out of range.
    pub(super) fn read_next(&mut self) -> Result<Option<OwnedRecord>, KafkaError> {
        let begun = Instant::now();
        loop {
            if let Some(record) = self.poll_queues()? {
                return Ok(Some(record));
            }
            if self.reading.iter().all(|reading| reading.done) {
                return Ok(None);
            }
            if begun.elapsed() >= self.timeout {
                let late = self.reading.iter().find(|reading| !reading.done);
                let what = late.map(|reading| reading.stream.partition().to_string()).unwrap_or_default();
                let reason = format!("no record arrived within {:?} (kafka.connect_timeout)", self.timeout);
                return Err(KafkaError::Request { what, reason });
            }
            self.consumer.poll(POLL_TIMEOUT).map_err(broken)?;
        }
    }

    /// A record that has already arrived.
    fn poll_queues(&mut self) -> Result<Option<OwnedRecord>, KafkaError> {
        for _ in 0..self.reading.len() {
            let count = self.reading.len();
            let reading = &mut self.reading[self.turn % count];
            while !reading.done {
                let to = reading.to;
                match reading.stream.poll_next() {
                    PollResult::Message(record) => {
                        let (next, meant) = (record.offset + 1, record.offset < to);
                        let record = meant.then(|| record.to_owned());
                        reading.done = next >= to;
                        if record.is_some() {
                            return Ok(record);
                        }
                    }
                    // The last offsets may have no record: transaction markers, or gaps in a compacted topic.
                    PollResult::End(_) => reading.done = true,
                    PollResult::Empty => break,
                    PollResult::OutOfRange => {
                        let reason = "its next offset is not in the log any more".to_owned();
                        return Err(KafkaError::Request { what: reading.stream.partition().to_string(), reason });
                    }
                    // Retried until the timeout.
                    PollResult::Trouble(_) => break,
                    PollResult::Unreadable(reason) | PollResult::Broken(reason) => {
                        return Err(KafkaError::Request { what: reading.stream.partition().to_string(), reason });
                    }
                }
            }
            self.turn = (self.turn + 1) % count;
        }
        Ok(None)
    }

    /// Stops reading this partition.
    pub(super) fn skip_partition(&mut self, partition: &TopicPartition) {
        self.reading.iter_mut().filter(|reading| reading.stream.partition() == partition).for_each(|it| it.done = true);
    }

    /// Closes the client.
    pub(super) fn close(self) {
        let Self { reading, consumer, .. } = self;
        drop(reading);
        consumer.close(MembershipOperation::LeaveGroup);
    }
}

fn broken(broken: ConsumerError) -> KafkaError {
    let (ConsumerError::Permanent(reason) | ConsumerError::Transient(reason) | ConsumerError::InstanceIdInUse(reason)) =
        broken;
    KafkaError::Request { what: "the consumer client".to_owned(), reason }
}
