//! One partition's messages, out of a queue of its own.

use std::sync::{Arc, Weak};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::error::{Failure, code_text};
use super::native::batch::{BatchQueue, Turn};
use super::native::message::NativeMessage;
use super::reader_events::ReaderEvents;
use crate::record::{Headers, Record, TopicPartition};

/// The most messages of one batch call.
const MOST: usize = 4_096;
/// And about how many bytes: what is taken out of a queue is fetched anew, beyond the memory budget.
const BATCH_BYTES: usize = 512 << 10;

/// One partition's messages.
pub struct PartitionStream {
    batch: BatchQueue<ReaderEvents>,
    /// Keeps the partition's messages out of the common queue, and calls when some have come.
    split: PartitionQueue<ReaderEvents>,
    partition: TopicPartition,
    client: Weak<BaseConsumer<ReaderEvents>>,
    /// A group deals it: a topic that is gone is taken away, and is no error here.
    dealt: bool,
    /// Of the last batch.
    messages: usize,
    bytes: usize,
    /// Of the batches before it that [`PartitionStream::take_bytes`] has not told.
    untold: usize,
    /// Of `bytes`, what it has told.
    told: usize,
}

/// What a partition's queue had.
pub enum Next<'a> {
    /// A message.
    Message(ReceivedMessage<'a>),
    /// Everything up to the partition's end has been read, which is here; more may come.
    End(i64),
    /// Nothing now.
    Empty,
    /// What is to be read next is not in the log. Nothing more comes out of this queue.
    OutOfRange,
    /// Something is wrong for now, and what: the client tries again by itself.
    Trouble(String),
    /// A part of the log cannot be read, and why. What comes out of this queue next may stand behind it.
    Unreadable(String),
    /// Reading cannot go on here, and why: access was withdrawn.
    Broken(String),
}

impl PartitionStream {
    /// Splits the queue off; `None` if librdkafka has no such queue.
    pub(super) fn new(
        client: &Arc<BaseConsumer<ReaderEvents>>,
        turn: &Turn,
        partition: &TopicPartition,
        dealt: bool,
    ) -> Option<Self> {
        let split = client.split_partition_queue(&partition.topic, partition.partition)?;
        let batch = BatchQueue::new(client, turn, &partition.topic, partition.partition)?;
        let client = Arc::downgrade(client);
        Some(Self {
            batch,
            split,
            partition: partition.clone(),
            client,
            dealt,
            messages: 0,
            bytes: 0,
            untold: 0,
            told: 0,
        })
    }

    /// Which partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Calls `ready` whenever the empty queue gets something, from a librdkafka thread that holds the queue's lock:
    /// it must not block, panic, or touch the queue. Things may be waiting already when this is called.
    pub fn on_ready(&mut self, ready: impl Fn() + Send + Sync + 'static) {
        self.split.set_nonempty_callback(ready);
    }

    /// What comes next; does not wait.
    pub fn read_next(&mut self) -> Next<'_> {
        loop {
            if !self.batch.advance() {
                let most = self.most();
                if self.batch.fill(most) == 0 {
                    return Next::Empty;
                }
                self.untold += self.bytes - self.told;
                (self.messages, self.bytes, self.told) = (0, 0, 0);
                continue;
            }
            let current = self.batch.current();
            match current.and_then(NativeMessage::error) {
                None => break,
                // The next offset to fetch: behind marks of transactions and gaps, too.
                Some(RDKafkaErrorCode::PartitionEOF) => {
                    return Next::End(current.map_or(0, NativeMessage::offset));
                }
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                    return Next::OutOfRange;
                }
                Some(code) if is_gone(code) && self.dealt => {}
                Some(code) if is_gone(code) || is_lasting(code) => return Next::Broken(code_text(code)),
                Some(code) if is_unreadable(code) => return Next::Unreadable(code_text(code)),
                // The client tries again.
                Some(code) => return Next::Trouble(code_text(code)),
            }
        }
        let Some(message) = self.batch.current() else { return Next::Empty };
        self.messages += 1;
        self.bytes += message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len);
        Next::Message(ReceivedMessage { message, partition: &self.partition })
    }

    /// The offset behind the partition's last message, as the brokers have said with messages last; `None` before that.
    pub fn end(&self) -> Option<i64> {
        self.batch.high_watermark()
    }

    /// Keys' and values' bytes of the messages that were read since this was asked last.
    pub fn take_bytes(&mut self) -> u64 {
        let new = self.untold + self.bytes - self.told;
        (self.untold, self.told) = (0, self.bytes);
        new as u64
    }

    /// The message that [`PartitionStream::read_next`] gave last, until it is called again.
    pub fn current(&self) -> Option<ReceivedMessage<'_>> {
        let message = self.batch.current().filter(|message| message.error().is_none())?;
        Some(ReceivedMessage { message, partition: &self.partition })
    }

    /// How many messages the next batch may have, by the size of those in the last one.
    fn most(&self) -> usize {
        match self.bytes.checked_div(self.messages) {
            // Nothing is known yet.
            None => MOST / 64,
            Some(average) => (BATCH_BYTES / average.max(1)).clamp(1, MOST),
        }
    }

    /// Everything before `next` is processed: it will be committed.
    ///
    /// # Errors
    /// When the partition is not assigned any more.
    pub fn store(&self, next: i64) -> Result<(), Failure> {
        let Some(client) = self.client.upgrade() else { return Ok(()) };
        // This call, like its C original, takes the processed offset and stores the one behind it.
        client
            .store_offset(&self.partition.topic, self.partition.partition, next - 1)
            .map_err(|error| Failure::request(format!("{}: offset {next} could not be stored", self.partition), &error))
    }
}

fn is_gone(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition
    )
}

/// A part of the log that cannot be read. librdkafka goes on behind it, or asks for it again and again.
fn is_unreadable(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::BadCompression
            | RDKafkaErrorCode::NotImplemented
    )
}

fn is_lasting(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::Fatal
    )
}

/// A message in librdkafka's memory; it is gone when the next one is asked for.
pub struct ReceivedMessage<'a> {
    message: NativeMessage<'a>,
    partition: &'a TopicPartition,
}

impl ReceivedMessage<'_> {
    /// A view of it.
    pub fn record(&self) -> Record<'_> {
        Record {
            topic: &self.partition.topic,
            partition: self.partition.partition,
            offset: self.message.offset(),
            timestamp_ms: self.message.timestamp(),
            key: self.message.key(),
            value: self.message.payload(),
            headers: self,
        }
    }
}

impl Headers for ReceivedMessage<'_> {
    fn list(&self) -> Vec<(&str, Option<&[u8]>)> {
        self.message.headers()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kafka::embedded::Embedded;
    use crate::kafka::reader::{Commit, Reader, Role};

    #[test]
    fn a_partition_that_is_given_back_is_not_committed_behind_its_next_readers_back() {
        let broker = Embedded::start("t", 2).unwrap();
        let mut settings = crate::settings::defaults();
        settings.kafka.brokers = broker.brokers();
        settings.consumer.commit_interval = Duration::from_secs(3_600);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let reader = Reader::new(&settings, Role::Manual, 2, false, &logger, |_| ()).unwrap();
        let partitions = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        let [first, second] = partitions.each_ref().map(|partition| reader.split(partition).unwrap());
        reader.assign(&partitions.each_ref().map(|partition| (partition.clone(), 0))).unwrap();
        let begun = std::time::Instant::now();
        // Not before it is known what the topic has.
        while first.store(5).and_then(|()| second.store(7)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the partitions do not become known");
            reader.poll(Duration::from_millis(10)).unwrap();
        }
        drop((first, second));
        // The first one was lost; of the second one it was committed.
        let committed = vec![(partitions[1].clone(), 7)];
        assert_eq!(reader.commit(&committed), Commit::Done(committed.clone()));
        reader.unassign(&partitions).unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            reader.poll(Duration::from_millis(50)).unwrap();
        }
        let told = reader.committed(&partitions, Duration::from_secs(10)).unwrap();
        assert_eq!(told.into_iter().collect::<Vec<_>>(), committed);
        assert!(!reader.in_use());
        reader.close(false);
    }
}
