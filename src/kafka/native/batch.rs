//! librdkafka's batch call, for which rdkafka has no safe function.
//!
//! A call takes all messages that wait in a partition's queue, up to a number, under one lock per message and with one
//! wake-up, instead of one poll, one allocation and two reference counts for each of them: a reader needs half the
//! processor time.
//!
//! What makes it safe:
//! - A message is destroyed exactly once: when the next one is asked for, or with the queue. It is lent out as a
//!   borrow of the queue, so that nobody can keep it.
//! - Messages, queue and client go in this order: a [`BatchQueue`] holds its client.
//! - librdkafka calls two batch calls of one client at a time undefined: all queues of a client share a lock.
//! - Nothing is ever paused or sought; what a revoked partition still had in hand goes with its queue, before the
//!   partition is given back.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka_sys as sys;

use super::message::NativeMessage;

/// One call at a time for all queues of a client.
pub(in crate::kafka) type Turn = Arc<Mutex<()>>;

/// The queue of a partition, and the batch that was taken from it last.
pub(in crate::kafka) struct BatchQueue<C: ConsumerContext> {
    /// From `at` on they are ours to destroy; those before are destroyed.
    messages: Vec<*mut sys::rd_kafka_message_t>,
    at: usize,
    /// The message at `at` is lent out.
    lent: bool,
    queue: NonNull<sys::rd_kafka_queue_t>,
    turn: Turn,
    topic: CString,
    partition: i32,
    /// Fields are dropped after `drop` below: the client goes last.
    client: Arc<BaseConsumer<C>>,
}

// SAFETY: the pointers are to objects of librdkafka's that any thread may use, one at a time, which `&mut self` holds;
// the client is shared between threads anyway.
unsafe impl<C: ConsumerContext> Send for BatchQueue<C> {}

impl<C: ConsumerContext> BatchQueue<C> {
    /// The queue of a partition whose messages do not go to the client's common one any more.
    pub(in crate::kafka) fn new(
        client: &Arc<BaseConsumer<C>>,
        turn: &Turn,
        topic: &str,
        partition: i32,
    ) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the client lives, the name is a C string for the time of the call, and librdkafka keeps neither. The
        // handle that is returned is counted, and given back in `drop`.
        let queue =
            unsafe { sys::rd_kafka_queue_get_partition(client.client().native_ptr(), topic.as_ptr(), partition) };
        Some(Self {
            messages: Vec::new(),
            at: 0,
            lent: false,
            queue: NonNull::new(queue)?,
            turn: Arc::clone(turn),
            topic,
            partition,
            client: Arc::clone(client),
        })
    }

    /// The partition's high watermark, as the brokers have said with messages last; `None` before that.
    pub(in crate::kafka) fn high_watermark(&self) -> Option<i64> {
        let (mut low, mut high) = (0, 0);
        let client = self.client.client().native_ptr();
        // SAFETY: the client lives, the name is a C string for the time of the call, and both numbers are written before it
        // returns, which it does without asking anybody.
        let found = unsafe {
            let (low, high) = (&raw mut low, &raw mut high);
            sys::rd_kafka_get_watermark_offsets(client, self.topic.as_ptr(), self.partition, low, high)
        };
        (found == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// Takes up to `most` messages that wait, without waiting; how many. Those of the last batch have to be spent.
    pub(in crate::kafka) fn fill(&mut self, most: usize) -> usize {
        self.destroy_rest();
        self.messages.reserve(most);
        let one_at_a_time = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the vector is empty and has room for `most` pointers, which librdkafka fills from the first on; it
        // returns how many, or -1. The queue is ours.
        unsafe {
            let taken = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.messages.as_mut_ptr(), most);
            self.messages.set_len(usize::try_from(taken).unwrap_or(0).min(most));
        }
        drop(one_at_a_time);
        self.messages.len()
    }

    /// Goes on to the next message of the batch; `false` if there is none. The one before is destroyed.
    pub(in crate::kafka) fn advance(&mut self) -> bool {
        if std::mem::take(&mut self.lent) {
            destroy(self.messages[self.at]);
            self.at += 1;
        }
        self.lent = self.at < self.messages.len();
        self.lent
    }

    /// The message that [`BatchQueue::advance`] went to.
    pub(in crate::kafka) fn current(&self) -> Option<NativeMessage<'_>> {
        let message = self.messages.get(self.at).filter(|_| self.lent)?;
        // SAFETY: it came from librdkafka, is not destroyed before `self` is borrowed mutably again, and nobody writes
        // to it meanwhile.
        unsafe { message.as_ref() }.map(NativeMessage::new)
    }

    fn destroy_rest(&mut self) {
        self.lent = false;
        let from = std::mem::take(&mut self.at);
        self.messages.drain(..).skip(from).for_each(destroy);
    }
}

/// Gives a message back to librdkafka; to be called once for each.
fn destroy(message: *mut sys::rd_kafka_message_t) {
    // SAFETY: its callers hand over each pointer that a batch call returned exactly once: they forget it, or move their
    // place past it.
    unsafe {
        sys::rd_kafka_message_destroy(message);
    }
}

impl<C: ConsumerContext> Drop for BatchQueue<C> {
    fn drop(&mut self) {
        self.destroy_rest();
        // SAFETY: the handle is counted, and this is the one that `new` was given. The client still lives.
        unsafe {
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
    use rdkafka::{Offset, TopicPartitionList};

    use super::*;

    type Client = Arc<BaseConsumer>;

    /// A broker with `messages` in each of two partitions, and a client that reads them; both partitions' queues.
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
        let turn = Turn::default();
        let queues = (0..2).map(|partition| {
            let split = client.split_partition_queue("t", partition).unwrap();
            Read { batch: BatchQueue::new(&client, &turn, "t", partition).unwrap(), _split: split }
        });
        let queues = queues.collect();
        let mut list = TopicPartitionList::new();
        (0..2).for_each(|partition| list.add_partition_offset("t", partition, Offset::Beginning).unwrap());
        client.assign(&list).unwrap();
        (cluster, client, queues)
    }

    /// A queue, with what keeps its messages out of the common one.
    struct Read {
        batch: BatchQueue<rdkafka::consumer::DefaultConsumerContext>,
        _split: rdkafka::consumer::base_consumer::PartitionQueue<rdkafka::consumer::DefaultConsumerContext>,
    }

    impl Read {
        /// Waits for a batch.
        fn fill(&mut self, client: &Client, most: usize) -> usize {
            let begun = Instant::now();
            loop {
                assert!(client.poll(Duration::from_millis(10)).is_none(), "a message came past its queue");
                let taken = self.batch.fill(most);
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
        // Revoked: the queues go first, then the partitions are given back.
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
            let outcome = crate::panics::guarded(|| assert_ne!(message.offset() % 2, 1, "odd"));
            handled += usize::from(outcome.is_ok());
        }
        assert!(handled > 0);
        // And one that nobody guards.
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
