//! A consumer client of a worker, and the queues of its partitions.
//!
//! Each partition has a queue of its own, so that a slow one holds up no other. A queue is split off *before* its
//! partition is assigned: afterwards the first messages could already be in the common queue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use slog::Logger;

use super::config;
use super::error::{Failure, code_text, creation, reason};
use super::events::ClientEvents;
use super::native::batch::{BatchQueue, Turn};
use super::native::message::NativeMessage;
use crate::record::{Headers, Record, TopicPartition};
use crate::settings::Settings;

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The group's offsets in these partitions.
    Done(Vec<(TopicPartition, i64)>),
    /// Not done, and why; the next one tries again.
    Failed(String),
    /// The group belongs to somebody else: no commit of ours will ever be taken.
    Refused(String),
}

type OnCommit = Box<dyn Fn(Commit) + Send + Sync>;

struct ReaderEvents {
    client: ClientEvents,
    on_commit: OnCommit,
}

impl ClientContext for ReaderEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.client.stats_raw(statistics);
    }
}

impl ConsumerContext for ReaderEvents {
    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Some(commit) = commit_of(result, offsets) {
            (self.on_commit)(commit);
        }
    }
}

fn commit_of(result: KafkaResult<()>, offsets: &TopicPartitionList) -> Option<Commit> {
    if let Err(error) = result.and_then(|()| offsets.elements().iter().try_for_each(|element| element.error())) {
        return match error.rdkafka_error_code() {
            // Nothing new was processed.
            Some(RDKafkaErrorCode::NoOffset) => None,
            Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::IllegalGeneration) => {
                Some(Commit::Refused(reason(&error)))
            }
            _ => Some(Commit::Failed(reason(&error))),
        };
    }
    let offsets = offsets.elements();
    let done = offsets.iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some((TopicPartition::new(element.topic(), element.partition()), offset)),
        _ => None,
    });
    Some(Commit::Done(done.collect()))
}

/// The most messages of one batch call.
const MOST: usize = 4_096;
/// And about how many bytes: what is taken out of a queue is fetched anew, beyond the memory budget.
const BATCH_BYTES: usize = 512 << 10;

/// The client. It has to be polled, and ends when it is closed.
pub struct Reader {
    consumer: Arc<BaseConsumer<ReaderEvents>>,
    /// Messages that came out of the common queue: there must be none.
    leaked: AtomicU64,
    turn: Turn,
}

impl Reader {
    /// Makes the client; it connects by itself. With `report_ends`, [`PartitionStream::read_next`] says [`Next::End`].
    ///
    /// # Errors
    /// [`Failure::Settings`].
    pub fn new(
        settings: &Settings,
        partitions: usize,
        report_ends: bool,
        logger: &Logger,
        on_commit: impl Fn(Commit) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let events = ReaderEvents { client: ClientEvents::new(logger), on_commit: Box::new(on_commit) };
        let consumer: BaseConsumer<_> = config::reader(settings, partitions, report_ends)
            .create_with_context(events)
            .map_err(|error| creation(&error))?;
        Ok(Self { consumer: Arc::new(consumer), leaked: AtomicU64::new(0), turn: Turn::default() })
    }

    /// The queue of a partition that is going to be assigned.
    ///
    /// # Errors
    /// When librdkafka has no such queue; none is expected.
    pub fn split(&self, partition: &TopicPartition) -> Result<PartitionStream, Failure> {
        let TopicPartition { topic, partition: number } = partition;
        let split = self.consumer.split_partition_queue(topic, *number);
        let batch = BatchQueue::new(&self.consumer, &self.turn, topic, *number);
        let (Some(split), Some(batch)) = (split, batch) else {
            let reason = "its queue could not be split off".to_owned();
            return Err(Failure::Request { what: partition.to_string(), reason });
        };
        let client = Arc::downgrade(&self.consumer);
        Ok(PartitionStream { batch, split, partition: partition.clone(), client, messages: 0, bytes: 0 })
    }

    /// Starts reading: the partitions and the offsets to begin at.
    ///
    /// # Errors
    /// What librdkafka says.
    pub fn assign(&self, starts: &[(TopicPartition, i64)]) -> Result<(), Failure> {
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for (partition, offset) in starts {
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
                .map_err(|error| Failure::request(format!("{partition} at {offset}"), &error))?;
        }
        self.consumer.assign(&list).map_err(|error| Failure::request("the partitions could not be assigned", &error))
    }

    /// Serves log lines, errors and commits for up to `timeout`.
    ///
    /// # Errors
    /// When the client is broken for good, or a message came where none may come.
    pub fn poll(&self, timeout: Duration) -> Result<(), Failure> {
        let broken = |reason: String| Failure::Request { what: "the consumer client".to_owned(), reason };
        match self.consumer.poll(timeout) {
            None => {}
            Some(Ok(message)) => {
                let leaked = self.leaked.fetch_add(1, Ordering::Relaxed) + 1;
                let place = format!("{}/{}@{}", message.topic(), message.partition(), message.offset());
                return Err(broken(format!("{leaked} message(s) came past their partition's queue, the last {place}")));
            }
            // Reported to the context already; what is about one partition comes out of its queue.
            Some(Err(_)) => {}
        }
        match self.consumer.client().fatal_error() {
            Some((_, text)) => Err(broken(text)),
            None => Ok(()),
        }
    }

    /// Commits what was stored, and waits for the brokers as long as it takes: whoever calls it is ended at the
    /// shutdown's deadline.
    pub fn commit(&self) -> Commit {
        let result = self.consumer.commit_consumer_state(CommitMode::Sync);
        // Nothing new is no failure: all of it is committed.
        commit_of(result, &TopicPartitionList::new()).unwrap_or(Commit::Done(Vec::new()))
    }

    /// Gives the partitions back and ends the client. All streams have to be gone.
    pub fn close(self) {
        // Ended with the client anyway.
        let _unassigned = self.consumer.unassign();
    }

    /// Whether a stream still holds the client.
    pub fn in_use(&self) -> bool {
        Arc::strong_count(&self.consumer) > 1
    }
}

/// One partition's messages.
pub struct PartitionStream {
    batch: BatchQueue<ReaderEvents>,
    /// Keeps the partition's messages out of the common queue, and calls when some have come.
    split: PartitionQueue<ReaderEvents>,
    partition: TopicPartition,
    client: Weak<BaseConsumer<ReaderEvents>>,
    /// Of the last batch.
    messages: usize,
    bytes: usize,
}

/// What a partition's queue had.
pub enum Next<'a> {
    /// A message.
    Message(ReceivedMessage<'a>),
    /// Everything up to the partition's end has been read; more may come.
    End,
    /// Nothing now.
    Empty,
    /// Reading cannot go on here, and why: the offset is gone, access was withdrawn.
    Broken(String),
}

impl PartitionStream {
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
                (self.messages, self.bytes) = (0, 0);
                continue;
            }
            let error = self.batch.current().and_then(NativeMessage::error);
            match error {
                None => break,
                Some(RDKafkaErrorCode::PartitionEOF) => return Next::End,
                Some(code) if is_lasting(code) => return Next::Broken(code_text(code)),
                // Brokers come and go; the client deals with it and the context has logged it.
                Some(_) => {}
            }
        }
        let Some(message) = self.batch.current() else { return Next::Empty };
        self.messages += 1;
        self.bytes += message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len);
        Next::Message(ReceivedMessage { message, partition: &self.partition })
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

fn is_lasting(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
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
