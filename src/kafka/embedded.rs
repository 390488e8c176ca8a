//! A broker in this process: librdkafka's mock cluster.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::error::Failure;
use crate::os::signal_mask::deaf;

/// What it is, and what it is not.
pub const WHAT_IT_IS: &str = "an embedded broker: in memory, gone at the end, not Apache Kafka (it is librdkafka's mock \
    cluster): it shows this program, and proves nothing about Kafka";

/// How much may wait to be read, over all partitions: the broker forgets what exceeds 5 MiB in one of them, and all
/// of it may be in one.
pub const UNREAD_BYTES: u64 = 4 << 20;

/// The broker; it lives as long as this value, which stays on the thread that made it.
pub struct Embedded {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Embedded {
    /// Starts it with one topic.
    ///
    /// # Errors
    /// When the operating system gives no port or thread.
    pub fn start(topic: &str, partitions: i32) -> Result<Self, Failure> {
        let failed = |error| Failure::request("the embedded broker could not be started", &error);
        // A signal that interrupted its thread would end it, and with it the broker.
        let cluster = deaf(|| MockCluster::new(1)).map_err(failed)?;
        cluster.create_topic(topic, partitions, 1).map_err(failed)?;
        Ok(Self { cluster })
    }

    /// Its address.
    pub fn brokers(&self) -> Vec<String> {
        self.cluster.bootstrap_servers().split(',').map(str::to_owned).collect()
    }
}
