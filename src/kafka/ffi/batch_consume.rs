//! librdkafka's batch consume call, for which rdkafka has no safe function.
//!
//! One call takes all queued messages of a partition, up to a limit, with one wake-up and one lock per message,
//! instead of a poll, an allocation and two reference counts per message: a consumer needs half the CPU time.
//!
//! Why it is safe:
//! - A message is destroyed exactly once: by the next `advance`, or with the queue. It borrows the queue, so no
//!   caller can keep it.
//! - Messages, queue and client are dropped in this order: a [`BatchQueue`] holds its client.
//! - librdkafka does not allow two concurrent batch calls of one client: all queues of a client share a lock.
//! - Fetching is paused and resumed between two batch calls (the same lock), at the position after the last message
//!   taken: see [`crate::kafka::fetch_control`]. The messages in flight of a revoked partition are dropped with its
//!   queue, before the partition is unassigned.

use std::ffi::CString;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka_sys as sys;

use super::message::RawMessage;
use super::queue::FetchQueue;

/// Serializes the batch calls of all queues of a client.
pub(in crate::kafka) type BatchLock = Arc<Mutex<()>>;

/// A partition queue and the batch that was taken from it last.
pub(in crate::kafka) struct BatchQueue<C: ConsumerContext> {
    /// The batch. Messages before `at` are destroyed; this value owns the rest.
    messages: Vec<*mut sys::rd_kafka_message_t>,
    at: usize,
    /// Whether the message at `at` is lent out.
    lent: bool,
    /// Fields are dropped after `drop` below, so queue and client outlive the messages.
    queue: Arc<FetchQueue<C>>,
    /// The position after the last message taken; written while `turn` is locked.
    position: Arc<AtomicI64>,
    turn: BatchLock,
    topic: CString,
    partition: i32,
}

// SAFETY: any thread may use librdkafka's messages, one thread at a time, which `&mut self` guarantees.
unsafe impl<C: ConsumerContext> Send for BatchQueue<C> {}

impl<C: ConsumerContext> BatchQueue<C> {
    /// Creates the batch queue of a partition; it updates `position`.
    pub(in crate::kafka) fn new(
        queue: Arc<FetchQueue<C>>,
        position: Arc<AtomicI64>,
        turn: &BatchLock,
        topic: &str,
        partition: i32,
    ) -> Option<Self> {
        let (topic, turn) = (CString::new(topic).ok()?, Arc::clone(turn));
        Some(Self { messages: Vec::new(), at: 0, lent: false, queue, position, turn, topic, partition })
    }

    /// The partition's high watermark from the last fetch response; `None` before the first.
    pub(in crate::kafka) fn high_watermark(&self) -> Option<i64> {
        let (mut low, mut high) = (0, 0);
        let client = self.queue.client().client().native_ptr();
        // SAFETY: the client lives and the name is a C string during the call. The call sends no request and writes
        // both numbers before it returns.
        let found = unsafe {
            let (low, high) = (&raw mut low, &raw mut high);
            sys::rd_kafka_get_watermark_offsets(client, self.topic.as_ptr(), self.partition, low, high)
        };
        (found == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// Takes up to `max` queued messages without waiting, and returns their number. Drops the rest of the previous
    /// batch.
    pub(in crate::kafka) fn fill(&mut self, max: usize) -> usize {
        self.destroy_rest();
        self.messages.reserve(max);
        let one_at_a_time = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the vector is empty and has capacity for `max` pointers. librdkafka writes them from the start and
        // returns their number, or -1. This value owns the queue.
        unsafe {
            let taken = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.messages.as_mut_ptr(), max);
            self.messages.set_len(usize::try_from(taken).unwrap_or(0).min(max));
        }
        let position = self.messages.iter().rev().find_map(|message| {
            // SAFETY: librdkafka has just returned the message, and it is destroyed later.
            unsafe { message.as_ref() }.map(RawMessage::new).and_then(RawMessage::next_position)
        });
        if let Some(position) = position {
            self.position.store(position, Ordering::Relaxed);
        }
        drop(one_at_a_time);
        self.messages.len()
    }

    /// Destroys the current message and moves to the next one of the batch; `false` at the end.
    pub(in crate::kafka) fn advance(&mut self) -> bool {
        self.release();
        self.lent = self.at < self.messages.len();
        self.lent
    }

    /// The current message.
    pub(in crate::kafka) fn current(&self) -> Option<RawMessage<'_>> {
        let message = self.messages.get(self.at).filter(|_| self.lent)?;
        // SAFETY: librdkafka returned the message. It is not destroyed before `self` is borrowed mutably, and no other code
        // writes to it.
        unsafe { message.as_ref() }.map(RawMessage::new)
    }

    /// Destroys the current message; [`BatchQueue::current`] returns `None` until the next `advance`.
    pub(in crate::kafka) fn release(&mut self) {
        if std::mem::take(&mut self.lent) {
            destroy(self.messages[self.at]);
            self.at += 1;
        }
    }

    fn destroy_rest(&mut self) {
        self.lent = false;
        let from = std::mem::take(&mut self.at);
        self.messages.drain(..).skip(from).for_each(destroy);
    }
}

/// Returns a message to librdkafka; must be called once per message.
fn destroy(message: *mut sys::rd_kafka_message_t) {
    // SAFETY: callers pass each pointer of a batch call exactly once: they clear it or advance `at` past it.
    unsafe {
        sys::rd_kafka_message_destroy(message);
    }
}

impl<C: ConsumerContext> Drop for BatchQueue<C> {
    fn drop(&mut self) {
        self.destroy_rest();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rdkafka::ClientConfig;
    use rdkafka::consumer::BaseConsumer;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
    use rdkafka::{Offset, TopicPartitionList};

    use super::*;

    type Client = Arc<BaseConsumer>;

    /// A broker with `messages` in each of two partitions, a client that consumes them, and both partition queues.
    fn reading(messages: usize) -> (MockCluster<'static, DefaultProducerContext>, Client, Vec<Read>) {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 2, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let producer: BaseProducer = config.create().unwrap();
        for number in 0..messages {
            for partition in 0..2 {
                let headers = rdkafka::message::OwnedHeaders::new()
                    .insert(rdkafka::message::Header { key: "n", value: Some(&number.to_string()) })
                    .insert(rdkafka::message::Header { key: "n", value: None::<&[u8]> });
                let text = format!("message {number}");
                let record = BaseRecord::to("t").partition(partition).key("k").payload(&text).headers(headers);
                producer.send(record).map_err(|(error, _)| error).unwrap();
            }
        }
        producer.flush(Duration::from_secs(30)).unwrap();
        let client: Client = Arc::new(config.create().unwrap());
        let turn = BatchLock::default();
        let queues = (0..2).map(|partition| {
            let split = client.split_partition_queue("t", partition).unwrap();
            let queue = Arc::new(FetchQueue::new(&client, "t", partition).unwrap());
            let batch = BatchQueue::new(queue, Arc::default(), &turn, "t", partition).unwrap();
            Read { batch, _split: split }
        });
        let queues = queues.collect();
        let mut list = TopicPartitionList::new();
        (0..2).for_each(|partition| list.add_partition_offset("t", partition, Offset::Beginning).unwrap());
        client.assign(&list).unwrap();
        (cluster, client, queues)
    }

    /// A queue, and the split that keeps its messages out of the common one.
    struct Read {
        batch: BatchQueue<rdkafka::consumer::DefaultConsumerContext>,
        _split: rdkafka::consumer::base_consumer::PartitionQueue<rdkafka::consumer::DefaultConsumerContext>,
    }

    impl Read {
        /// Waits for a batch.
        fn fill(&mut self, client: &Client, max: usize) -> usize {
            let begun = Instant::now();
            loop {
                assert!(client.poll(Duration::from_millis(10)).is_none(), "a message came past its queue");
                let taken = self.batch.fill(max);
                if taken > 0 {
                    return taken;
                }
                assert!(begun.elapsed() < Duration::from_secs(60), "no messages came");
            }
        }

        fn read(&mut self, client: &Client, messages: usize) {
            let mut read = 0;
            while read < messages {
                self.fill(client, 7);
                while self.batch.advance() {
                    let message = self.batch.current().unwrap();
                    assert_eq!((message.error(), message.offset()), (None, read as i64));
                    assert_eq!(message.payload().unwrap(), format!("message {read}").as_bytes());
                    assert_eq!(message.key(), Some(b"k".as_slice()));
                    assert_eq!(message.headers(), [("n", Some(read.to_string().as_bytes())), ("n", None)]);
                    assert!(message.timestamp().is_some());
                    read += 1;
                }
                assert!(self.batch.current().is_none());
            }
        }
    }

    #[test]
    fn every_message_comes_once_and_in_order() {
        let (_cluster, client, mut queues) = reading(100);
        queues.iter_mut().for_each(|queue| queue.read(&client, 100));
        let ends: Vec<_> = queues.iter().map(|queue| queue.batch.high_watermark()).collect();
        assert_eq!(ends, [Some(100), Some(100)]);
        queues.iter_mut().for_each(|queue| assert_eq!(queue.batch.fill(10), 0, "nothing is left"));
    }

    #[test]
    fn a_batch_that_is_left_in_the_middle_is_freed_with_its_queue() {
        let (_cluster, client, mut queues) = reading(100);
        for queue in &mut queues {
            assert!(queue.fill(&client, 50) > 0);
            assert!(queue.batch.advance(), "one is in hand, the others are not begun");
        }
        // Revocation: the queues are dropped first, then the partitions are unassigned.
        drop(queues);
        client.unassign().unwrap();
        assert_eq!(Arc::strong_count(&client), 1, "no queue holds the client any more");
    }

    #[test]
    fn a_panic_of_a_handler_frees_its_message_once() {
        let (_cluster, client, mut queues) = reading(100);
        let queue = &mut queues[0];
        queue.fill(&client, 20);
        let mut handled = 0;
        while queue.batch.advance() {
            let message = queue.batch.current().unwrap();
            let outcome = crate::util::panic::catch_panic(|| assert_ne!(message.offset() % 2, 1, "odd"));
            handled += usize::from(outcome.is_ok());
        }
        assert!(handled > 0);
        // A panic outside of a guard.
        let last = queue.fill(&client, 20);
        let unguarded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let mut queue = queues.remove(0);
            queue.batch.advance();
            assert_eq!(last, 0, "the queue is dropped by unwinding");
        }));
        assert!(unguarded.is_err());
    }

    #[test]
    fn a_new_batch_frees_what_was_left_of_the_last_one() {
        let (_cluster, client, mut queues) = reading(100);
        let queue = &mut queues[1];
        queue.fill(&client, 10);
        queue.batch.advance();
        let next = queue.batch.messages.len() as i64;
        queue.fill(&client, 10);
        assert!(queue.batch.advance());
        assert_eq!(queue.batch.current().unwrap().offset(), next);
    }

    #[test]
    fn a_seek_leaves_no_message_of_before_it() {
        let (_cluster, client, mut queues) = reading(100);
        queues[0].read(&client, 50);
        client.seek("t", 0, Offset::Offset(10), Duration::from_secs(10)).unwrap();
        queues[0].fill(&client, 1);
        assert!(queues[0].batch.advance());
        assert_eq!(queues[0].batch.current().unwrap().offset(), 10);
    }
}
