//! The message queue of one partition.

use std::sync::{Arc, Weak};

use rdkafka::consumer::base_consumer::PartitionQueue as RdPartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::acl::{self, Right};
use super::consumer_context::ConsumerContext;
use super::error::{KafkaError, code_text};
use super::fetch_control::FetchState;
use super::ffi::batch_consume::{BatchLock, BatchQueue};
use super::ffi::message::RawMessage;
use super::ffi::queue::FetchQueue;
use super::offsets::list_to_commit;
use crate::record::{Headers, Record, TopicPartition};

/// The maximum number of messages of a batch call.
const MAX_BATCH: usize = 4_096;
/// The approximate maximum size of a batch: messages taken out of the queue are replaced by new fetches, beyond the
/// memory budget.
const BATCH_BYTES: usize = 512 << 10;

/// The queue that a partition's consumer drains. [`PartitionQueue`] is the one of Kafka; benches have their own.
pub trait MessageQueue {
    /// The partition of this queue.
    fn partition(&self) -> &TopicPartition;

    /// Sets a callback for when the empty queue receives something. A librdkafka thread calls it with the queue's
    /// lock held: it must not block, panic, or use the queue. The queue may already have messages at this call.
    fn on_ready(&mut self, ready: Box<dyn Fn() + Send + Sync>);

    /// The next message or event, without waiting.
    fn poll_next(&mut self) -> PollResult<'_>;

    /// The last message of [`MessageQueue::poll_next`], until the next call.
    fn current(&self) -> Option<Record<'_>>;

    /// Frees the last message of [`MessageQueue::poll_next`].
    fn release(&mut self);

    /// Marks the queue as finished: further messages are dropped.
    fn finish(&self);

    /// The partition's high watermark from the last fetch response; `None` before the first.
    fn high_watermark(&self) -> Option<i64>;

    /// The size of keys and values of the messages read since the last call.
    fn take_bytes(&mut self) -> u64;

    /// Stores `next` for the next commit: all messages before it are processed.
    ///
    /// # Errors
    /// The partition is no longer assigned.
    fn store(&self, next: i64) -> Result<(), KafkaError>;
}

/// The message queue of one partition.
pub struct PartitionQueue {
    batch: BatchQueue<ConsumerContext>,
    fetching: Arc<FetchState>,
    /// Keeps the partition's messages out of the common queue, and calls back when messages arrive.
    split: RdPartitionQueue<ConsumerContext>,
    partition: TopicPartition,
    client: Weak<BaseConsumer<ConsumerContext>>,
    /// The metadata of stored offsets.
    metadata: Arc<str>,
    /// The number of messages in the last batch.
    messages: usize,
    bytes: usize,
    /// The bytes of earlier batches that [`MessageQueue::take_bytes`] has not returned yet.
    unreported_before: usize,
    /// The part of `bytes` that [`MessageQueue::take_bytes`] has returned.
    reported: usize,
}

/// The result of a poll.
pub enum PollResult<'a> {
    /// A message.
    Message(Record<'a>),
    /// The position has reached the end of the partition, at this offset; more messages may arrive.
    End(i64),
    /// No message at the moment.
    Empty,
    /// The position is not in the log any more. The queue returns nothing more.
    OutOfRange,
    /// A transient error; the client retries.
    Trouble(String),
    /// A part of the log cannot be read, for this reason. The next message may be after it.
    Unreadable(String),
    /// The partition cannot be read any more, for this reason, such as a revoked right.
    Broken(String),
}

impl PartitionQueue {
    /// Splits the queue off; `None` if librdkafka has no such queue.
    pub(super) fn new(
        client: &Arc<BaseConsumer<ConsumerContext>>,
        turn: &BatchLock,
        partition: &TopicPartition,
        metadata: &Arc<str>,
    ) -> Option<Self> {
        let split = client.split_partition_queue(&partition.topic, partition.partition)?;
        let queue = FetchQueue::new(client, &partition.topic, partition.partition)?;
        let fetching = Arc::new(FetchState::new(partition, queue));
        let (queue, position) = (Arc::clone(&fetching.queue), Arc::clone(&fetching.position));
        let batch = BatchQueue::new(queue, position, turn, &partition.topic, partition.partition)?;
        let client = Arc::downgrade(client);
        Some(Self {
            batch,
            fetching,
            split,
            partition: partition.clone(),
            client,
            metadata: Arc::clone(metadata),
            messages: 0,
            bytes: 0,
            unreported_before: 0,
            reported: 0,
        })
    }

    pub(super) fn fetching(&self) -> &Arc<FetchState> {
        &self.fetching
    }

    /// A view of the current message.
    fn record<'a>(&'a self, message: RawMessage<'a>) -> Record<'a> {
        Record {
            topic: &self.partition.topic,
            partition: self.partition.partition,
            offset: message.offset(),
            timestamp_ms: message.timestamp(),
            key: message.key(),
            value: message.payload(),
            headers: self,
        }
    }

    /// The maximum number of messages of the next batch, by the mean message size of the last one.
    fn max_batch(&self) -> usize {
        match self.bytes.checked_div(self.messages) {
            // Without a known size, messages may be large.
            None => 1,
            Some(average) => (BATCH_BYTES / average.max(1)).clamp(1, MAX_BATCH),
        }
    }
}

impl MessageQueue for PartitionQueue {
    fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    fn on_ready(&mut self, ready: Box<dyn Fn() + Send + Sync>) {
        self.split.set_nonempty_callback(ready);
    }

    fn poll_next(&mut self) -> PollResult<'_> {
        loop {
            if !self.batch.advance() {
                let max_batch = self.max_batch();
                if self.batch.fill(max_batch) == 0 {
                    return PollResult::Empty;
                }
                self.fetching.read(self.messages, self.bytes);
                self.unreported_before += self.bytes - self.reported;
                (self.messages, self.bytes, self.reported) = (0, 0, 0);
                continue;
            }
            let current = self.batch.current();
            match current.and_then(RawMessage::error) {
                None => break,
                // The next offset to fetch, which is after transaction markers and gaps.
                Some(RDKafkaErrorCode::PartitionEOF) => {
                    return PollResult::End(current.map_or(0, RawMessage::offset));
                }
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                    return PollResult::OutOfRange;
                }
                // The supervisor checks whether the topic was deleted or re-created.
                Some(code) if is_unassigned(code) => {}
                Some(code) if acl::is_denied(code) => {
                    let right = Right::ReadTopic(self.partition.topic.clone());
                    return PollResult::Broken(
                        KafkaError::denied("its messages cannot be fetched", right, code).to_string(),
                    );
                }
                Some(RDKafkaErrorCode::Fatal) => return PollResult::Broken(code_text(RDKafkaErrorCode::Fatal)),
                Some(code) if is_unreadable(code) => return PollResult::Unreadable(code_text(code)),
                // The client retries.
                Some(code) => return PollResult::Trouble(code_text(code)),
            }
        }
        let Some(message) = self.batch.current() else { return PollResult::Empty };
        self.messages += 1;
        self.bytes += message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len);
        if self.messages == 1 {
            self.fetching.read(1, self.bytes);
        }
        PollResult::Message(self.record(message))
    }

    fn finish(&self) {
        self.fetching.end();
    }

    fn release(&mut self) {
        self.batch.release();
    }

    fn high_watermark(&self) -> Option<i64> {
        self.batch.high_watermark()
    }

    fn take_bytes(&mut self) -> u64 {
        let new = self.unreported_before + self.bytes - self.reported;
        (self.unreported_before, self.reported) = (0, self.bytes);
        new as u64
    }

    fn current(&self) -> Option<Record<'_>> {
        self.batch.current().filter(|message| message.error().is_none()).map(|message| self.record(message))
    }

    fn store(&self, next: i64) -> Result<(), KafkaError> {
        let Some(client) = self.client.upgrade() else { return Ok(()) };
        client.store_offsets(&list_to_commit([(&self.partition, next, &*self.metadata)])?).map_err(|error| {
            KafkaError::request(format!("{}: offset {next} could not be stored", self.partition), &error)
        })
    }
}

fn is_unassigned(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition
    )
}

/// A part of the log that cannot be read. librdkafka skips it or retries endlessly.
fn is_unreadable(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::BadCompression
            | RDKafkaErrorCode::NotImplemented
    )
}

/// The headers of the current message.
impl Headers for PartitionQueue {
    fn list(&self) -> Vec<(&str, Option<&[u8]>)> {
        self.batch.current().map(RawMessage::headers).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kafka::consumer::{CommitResult, Consumer, ConsumerRole, MembershipOperation};
    use crate::kafka::mock_cluster::MockBroker;

    #[test]
    fn a_revoked_partition_is_not_committed_after_its_next_owner_has_started() {
        let broker = MockBroker::start("t", 2).unwrap();
        let mut settings = crate::settings::defaults();
        settings.kafka.brokers = broker.brokers();
        settings.consumer.commit_interval = Duration::from_secs(3_600);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let consumer = Consumer::new(&settings, ConsumerRole::Member(None), 2, false, &logger, |_| ()).unwrap();
        let partitions = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        let [first, second] =
            partitions.each_ref().map(|partition| consumer.split_partition_queue(partition, None).unwrap());
        consumer.assign(&partitions.each_ref().map(|partition| (partition.clone(), 0))).unwrap();
        let begun = std::time::Instant::now();
        // Until the client has the topic's metadata.
        while first.store(5).and_then(|()| second.store(7)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the partitions do not become known");
            consumer.poll(Duration::from_millis(10)).unwrap();
        }
        drop((first, second));
        // The first partition is lost; the second one's offset is committed.
        let committed = vec![(partitions[1].clone(), 7)];
        assert_eq!(consumer.commit(&committed), CommitResult::Done(committed.clone()));
        consumer.unassign(&partitions).unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            consumer.poll(Duration::from_millis(50)).unwrap();
        }
        let stored = consumer.committed_with_metadata(&partitions, Duration::from_secs(10)).unwrap();
        let stored = stored.into_iter().map(|(partition, commit)| (partition, commit.offset));
        assert_eq!(stored.collect::<Vec<_>>(), committed);
        assert!(!consumer.in_use());
        consumer.close(MembershipOperation::RemainInGroup);
    }
}
