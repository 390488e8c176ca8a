//! Produces to one topic with `rd_kafka_produce`.
//!
//! rdkafka's own call copies the topic name and looks it up for each message.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka_sys as sys;

/// A client and its destination topic.
pub(in crate::kafka) struct ProducerTopic<C: ProducerContext<DeliveryOpaque = usize> + 'static> {
    topic: NonNull<sys::rd_kafka_topic_t>,
    /// Fields are dropped after `drop` below: the client outlives the topic handle.
    producer: Arc<BaseProducer<C>>,
}

// SAFETY: several threads may use librdkafka's topics and clients concurrently.
unsafe impl<C: ProducerContext<DeliveryOpaque = usize> + 'static> Send for ProducerTopic<C> {}
// SAFETY: as above.
unsafe impl<C: ProducerContext<DeliveryOpaque = usize> + 'static> Sync for ProducerTopic<C> {}

impl<C: ProducerContext<DeliveryOpaque = usize> + 'static> ProducerTopic<C> {
    /// Creates the handle of the topic, which need not exist. `None` if the name is invalid.
    pub(in crate::kafka) fn new(producer: Arc<BaseProducer<C>>, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: the client lives and the name is a C string during the call; without its own configuration the
        // topic uses the client's. The returned handle is reference-counted and released in `drop`.
        let topic = unsafe { sys::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        Some(Self { topic: NonNull::new(topic)?, producer })
    }

    /// The client.
    pub(in crate::kafka) fn producer(&self) -> &BaseProducer<C> {
        &self.producer
    }

    /// Enqueues a copy of one message. Its delivery report returns `opaque`.
    ///
    /// # Errors
    /// librdkafka's code; the message was not enqueued and has no delivery report.
    pub(in crate::kafka) fn send(
        &self,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        opaque: usize,
    ) -> Result<(), RDKafkaErrorCode> {
        let (key, key_length) = start_and_length(key);
        let (payload, length) = start_and_length(payload);
        // SAFETY: topic and client live. Key and payload are only read during the call (the flag makes librdkafka
        // copy both). `opaque` is no pointer: rdkafka returns it as the same `usize`.
        let result = unsafe {
            sys::rd_kafka_produce(
                self.topic.as_ptr(),
                // The partitioner chooses the partition.
                -1,
                sys::RD_KAFKA_MSG_F_COPY,
                payload.cast_mut(),
                length,
                key,
                key_length,
                opaque as *mut c_void,
            )
        };
        if result == 0 {
            return Ok(());
        }
        // SAFETY: reads this thread's last error, which librdkafka has just set: no broker is involved.
        Err(unsafe { sys::rd_kafka_last_error() }.into())
    }
}

/// The pointer is null for `None` only, not for an empty slice.
fn start_and_length(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr().cast(), bytes.len()))
}

impl<C: ProducerContext<DeliveryOpaque = usize> + 'static> Drop for ProducerTopic<C> {
    fn drop(&mut self) {
        // SAFETY: this is the counted handle from `new`. The client still lives.
        unsafe { sys::rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::DeliveryResult;
    use rdkafka::mocking::MockCluster;
    use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

    use super::*;

    #[derive(Clone, Default)]
    struct Delivered(Arc<Mutex<Vec<usize>>>);

    impl ClientContext for Delivered {}

    impl ProducerContext for Delivered {
        type DeliveryOpaque = usize;

        fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
            assert!(result.is_ok());
            self.0.lock().unwrap().push(opaque);
        }
    }

    #[test]
    fn what_is_sent_arrives_as_it_is_and_comes_back_with_its_word() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let delivered = Delivered::default();
        let producer: BaseProducer<_> = config.create_with_context(delivered.clone()).unwrap();
        let topic = ProducerTopic::new(Arc::new(producer), "t").unwrap();
        type Bytes = Option<&'static [u8]>;
        let sent: [(Bytes, Bytes); 4] =
            [(Some(b"k"), Some(b"v")), (None, Some(b"")), (Some(b""), None), (None, Some(&[0xff, 0]))];
        for (number, (key, payload)) in sent.into_iter().enumerate() {
            // The caller may drop its message before it is sent.
            let (key, payload) = (key.map(<[u8]>::to_vec), payload.map(<[u8]>::to_vec));
            topic.send(key.as_deref(), payload.as_deref(), usize::MAX - number).unwrap();
        }
        topic.producer().flush(Duration::from_secs(30)).unwrap();
        drop(topic);
        assert_eq!(*delivered.0.lock().unwrap(), [0, 1, 2, 3].map(|number| usize::MAX - number));

        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        for (key, payload) in sent {
            let message = std::iter::repeat_with(|| consumer.poll(Duration::from_millis(100))).flatten().next();
            let message = message.unwrap().unwrap();
            assert_eq!((message.key(), message.payload()), (key, payload));
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_refused_with_its_code() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:9").set("message.max.bytes", "1000");
        let producer: BaseProducer<_> = config.create_with_context(Delivered::default()).unwrap();
        let producer = Arc::new(producer);
        let topic = ProducerTopic::new(Arc::clone(&producer), "t").unwrap();
        let refused = topic.send(None, Some(&[b'x'; 2_000]), 1);
        assert_eq!(refused, Err(RDKafkaErrorCode::MessageSizeTooLarge));
        assert!(ProducerTopic::new(producer, "a\0b").is_none());
    }
}
