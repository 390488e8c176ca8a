//! An embedded broker in this process: librdkafka's mock cluster.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::error::KafkaError;
use crate::os::signal_mask::block_all_signals;

/// A notice about what the embedded broker is.
pub const MOCK_BROKER_NOTICE: &str = "an embedded broker: in memory, gone at the end, not Apache Kafka (it is librdkafka's mock \
    cluster): it shows this program, and proves nothing about Kafka";

/// The maximum total size of unread messages: the broker drops messages above 5 MiB per partition, and one partition
/// may hold all of them.
pub const MAX_RETAINED_BYTES: u64 = 4 << 20;

/// The embedded broker. It stops when this value is dropped, on the thread that created it.
pub struct MockBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl MockBroker {
    /// Starts a broker with one topic.
    ///
    /// # Errors
    /// The operating system provides no port or thread.
    pub fn start(topic: &str, partitions: i32) -> Result<Self, KafkaError> {
        let failed = |error| KafkaError::request("the embedded broker could not be started", &error);
        // A signal that interrupts the broker's thread would stop the broker.
        let cluster = block_all_signals(|| MockCluster::new(1)).map_err(failed)?;
        cluster.create_topic(topic, partitions, 1).map_err(failed)?;
        Ok(Self { cluster })
    }

    /// The bootstrap servers.
    pub fn brokers(&self) -> Vec<String> {
        self.cluster.bootstrap_servers().split(',').map(str::to_owned).collect()
    }
}
