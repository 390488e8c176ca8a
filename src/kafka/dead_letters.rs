//! Sends copies of messages, to a dead-letter topic and back from it, and tells of each what became of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use slog::{Logger, warn};
use tokio::sync::oneshot;

use super::cluster::Cluster;
use super::config;
use super::error::{Failure, creation, reason};
use super::events::{ClientEvents, tell_client_events};
use crate::settings::Settings;

/// How long a worker's start waits for an answer about the dead-letter topics: without one it begins all the same.
const CHECK: Duration = Duration::from_secs(3);

/// A copy that is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// To which topic; the key says to which partition.
    pub topic: &'a str,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: Option<&'a [u8]>,
    /// All headers, in order.
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

/// What becomes of a copy: all replicas have it, or why they have not. It comes within the client's `message.timeout.ms`;
/// without an answer the client has ended.
pub type Delivery = oneshot::Receiver<Result<(), Failure>>;

/// A producer client that is made when the first copy is sent. Its thread, which calls back, ends with it.
pub struct DeadLetters {
    settings: Arc<Settings>,
    logger: Logger,
    client: Mutex<Option<ThreadedProducer<CopyEvents>>>,
}

impl DeadLetters {
    /// Nothing is connected yet.
    pub fn new(settings: &Arc<Settings>, logger: &Logger) -> Self {
        Self { settings: Arc::clone(settings), logger: logger.clone(), client: Mutex::new(None) }
    }

    /// Hands one copy over, without waiting for anything.
    ///
    /// # Errors
    /// When it is not taken, such as for its size, for a full queue, or for a topic that is known to be missing.
    pub fn send(&self, copy: Letter<'_>) -> Result<Delivery, Failure> {
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|client| client.client().fatal_error().is_some()) {
            // It takes nothing any more; what it had is given up, and told so.
            *held = None;
        }
        let client = match held.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        let client = held.insert(client);
        let (tell, delivery) = oneshot::channel();
        let told = Box::new(Told { topic: copy.topic.to_owned(), tell });
        let mut record = BaseRecord::<[u8], [u8], Box<Told>>::with_opaque_to(copy.topic, told);
        (record.key, record.payload, record.headers) = (copy.key, copy.value, Some(headers(copy.headers)));
        match client.send(record) {
            Ok(()) => Ok(delivery),
            Err((error, _)) => Err(undelivered(copy.topic, &error, client.context())),
        }
    }

    fn connect(&self) -> Result<ThreadedProducer<CopyEvents>, Failure> {
        let brokers = self.settings.kafka.brokers.join(",");
        let events = CopyEvents { client: ClientEvents::new(&self.logger), brokers };
        ThreadedProducer::from_config_and_context(&config::dead_letters(&self.settings), events)
            .map_err(|error| creation(&error))
    }
}

/// Whom to tell what became of a copy.
struct Told {
    topic: String,
    tell: oneshot::Sender<Result<(), Failure>>,
}

struct CopyEvents {
    client: ClientEvents,
    brokers: String,
}

tell_client_events!(CopyEvents);

impl ProducerContext for CopyEvents {
    type DeliveryOpaque = Box<Told>;

    fn delivery(&self, result: &DeliveryResult<'_>, told: Box<Told>) {
        let Told { topic, tell } = *told;
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| undelivered(&topic, error, self));
        // A partition that was stopped meanwhile does not wait any more.
        let _unheard = tell.send(result);
    }
}

fn undelivered(topic: &str, error: &KafkaError, client: &CopyEvents) -> Failure {
    use RDKafkaErrorCode::{MessageTimedOut, UnknownTopic, UnknownTopicOrPartition};
    match error.rdkafka_error_code() {
        Some(UnknownTopic | UnknownTopicOrPartition) => Failure::topic_missing(topic, &client.brokers),
        // A time-out says nothing; the connection's last error does.
        Some(MessageTimedOut) => {
            let last = client.client.last_error().map(|last| format!(" ({last})")).unwrap_or_default();
            Failure::Topic { topic: topic.to_owned(), reason: format!("no acknowledgement has come in time{last}") }
        }
        _ => Failure::Topic { topic: topic.to_owned(), reason: reason(error) },
    }
}

fn headers(list: &[(String, Option<Vec<u8>>)]) -> OwnedHeaders {
    let header = |headers: OwnedHeaders, (name, value): &(String, Option<Vec<u8>>)| {
        headers.insert(Header { key: name, value: value.as_ref() })
    };
    list.iter().fold(OwnedHeaders::new_with_capacity(list.len()), header)
}

/// Looks whether the dead-letter topics exist, if there is use for them. It blocks, for a few seconds at most; brokers that
/// do not answer are no failure: reading will wait for them anyway.
///
/// # Errors
/// [`Failure::TopicMissing`].
pub fn check(settings: &Settings, logger: &Logger) -> Result<(), Failure> {
    let topics = settings.dead_letter_topics();
    if topics.is_empty() {
        return Ok(());
    }
    let mut hasty = settings.clone();
    hasty.kafka.connect_timeout = hasty.kafka.connect_timeout.min(CHECK);
    let unknown = |failure| warn!(logger, "it is not known whether the dead-letter topic exists: {failure}");
    let cluster = match Cluster::connect(&hasty, logger) {
        Ok(cluster) => cluster,
        Err(failure) => {
            unknown(failure);
            return Ok(());
        }
    };
    for topic in topics {
        match cluster.partitions(&topic) {
            Ok(_) => {}
            Err(missing @ Failure::TopicMissing { .. }) => return Err(missing),
            Err(failure) => unknown(failure),
        }
    }
    cluster.leave();
    Ok(())
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;

    use super::*;

    #[test]
    fn headers_keep_their_order_repetitions_and_nulls() {
        let list = vec![("a".to_owned(), Some(vec![0, 0xff])), ("a".to_owned(), None), (String::new(), Some(vec![]))];
        let built = headers(&list);
        let read: Vec<_> =
            built.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect();
        assert_eq!(read, list);
    }
}
