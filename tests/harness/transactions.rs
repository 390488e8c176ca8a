//! A transactional producer, which Kafka's own command-line tools do not offer: the messages of a transaction, and its commit or
//! abort.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::kafka::Topic;
use super::unique;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A producer with a unique transactional id, for partition 0 of a topic.
pub struct Transactions<'a> {
    producer: BaseProducer,
    topic: &'a Topic,
}

/// A transaction that is open until it is committed or aborted.
pub struct Transaction<'a>(&'a Transactions<'a>);

impl<'a> Transactions<'a> {
    pub fn new(topic: &'a Topic) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &topic.brokers).set("transactional.id", unique("transactional"));
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(TIMEOUT).unwrap();
        Self { producer, topic }
    }

    /// Begins a transaction with this number of messages, and returns when the brokers have stored them.
    pub fn begin(&self, messages: usize) -> Transaction<'_> {
        self.producer.begin_transaction().unwrap();
        for number in 0..messages {
            let text = format!("{{\"n\": {number}}}");
            let record = BaseRecord::to(&self.topic.name).partition(0).key("k").payload(&text);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.producer.flush(TIMEOUT).unwrap();
        Transaction(self)
    }
}

impl Transaction<'_> {
    pub fn commit(self) {
        self.0.producer.commit_transaction(TIMEOUT).unwrap();
    }

    pub fn abort(self) {
        self.0.producer.abort_transaction(TIMEOUT).unwrap();
    }
}
