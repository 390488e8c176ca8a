//! A producer client for dead-letter records, to a dead-letter topic and back from it; reports the delivery of each
//! record.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use slog::{Logger, warn};
use tokio::sync::oneshot;

use super::acl::{self, Right};
use super::client_config;
pub use super::client_config::Batching;
use super::client_context::{ClientContext, delegate_client_events};
use super::cluster_client::ClusterClient;
use super::error::{KafkaError, creation, reason};
use super::producer::to_headers;
use crate::settings::Settings;

/// How long a worker's start waits for the check of the dead-letter topics; after that it starts anyway.
const CHECK: Duration = Duration::from_secs(3);

/// A dead-letter record to send.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetterRecord<'a> {
    /// The destination topic; the key determines the partition.
    pub topic: &'a str,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: Option<&'a [u8]>,
    /// All headers, in order.
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

/// The delivery result of a record: all in-sync replicas have it, or the error. It resolves within the client's
/// `message.timeout.ms`, or is dropped if the client closes.
pub type DeliveryFuture = oneshot::Receiver<Result<(), KafkaError>>;

/// A producer client that is created with the first record. Its polling thread ends with it.
pub struct DeadLetterProducer {
    settings: Arc<Settings>,
    batching: Batching,
    logger: Logger,
    client: Mutex<Option<ThreadedProducer<DeadLetterContext>>>,
}

impl DeadLetterProducer {
    /// Creates the producer without connecting.
    pub fn new(settings: &Arc<Settings>, batching: Batching, logger: &Logger) -> Self {
        Self { settings: Arc::clone(settings), batching, logger: logger.clone(), client: Mutex::new(None) }
    }

    /// Enqueues one record without waiting.
    ///
    /// # Errors
    /// The record is rejected: it is too large, the queue is full, or the topic is known to be missing.
    pub fn send(&self, record: DeadLetterRecord<'_>) -> Result<DeliveryFuture, KafkaError> {
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|client| client.client().fatal_error().is_some()) {
            // A failed client accepts no more records; dropping it fails its outstanding ones.
            *held = None;
        }
        let client = match held.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        let client = held.insert(client);
        let (sender, delivery) = oneshot::channel();
        let promise = Box::new(DeliveryPromise { topic: record.topic.to_owned(), sender });
        let mut message = BaseRecord::<[u8], [u8], Box<DeliveryPromise>>::with_opaque_to(record.topic, promise);
        (message.key, message.payload, message.headers) = (
            record.key,
            record.value,
            Some(to_headers(record.headers.iter().map(|(name, value)| (name, value.as_ref())))),
        );
        match client.send(message) {
            Ok(()) => Ok(delivery),
            Err((error, _)) => Err(undelivered(record.topic, &error, client.context())),
        }
    }

    fn connect(&self) -> Result<ThreadedProducer<DeadLetterContext>, KafkaError> {
        let brokers = self.settings.kafka.brokers.join(",");
        let events = DeadLetterContext { client: ClientContext::new(&self.logger), brokers };
        ThreadedProducer::from_config_and_context(&client_config::dead_letters(&self.settings, self.batching), events)
            .map_err(|error| creation(&error))
    }
}

/// The sender of a record's delivery result.
struct DeliveryPromise {
    topic: String,
    sender: oneshot::Sender<Result<(), KafkaError>>,
}

struct DeadLetterContext {
    client: ClientContext,
    brokers: String,
}

delegate_client_events!(DeadLetterContext);

impl ProducerContext for DeadLetterContext {
    type DeliveryOpaque = Box<DeliveryPromise>;

    fn delivery(&self, result: &DeliveryResult<'_>, promise: Box<DeliveryPromise>) {
        let DeliveryPromise { topic, sender } = *promise;
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| undelivered(&topic, error, self));
        // The receiver is dropped when its partition was stopped meanwhile.
        sender.send(result).ok();
    }
}

fn undelivered(topic: &str, error: &RdKafkaError, client: &DeadLetterContext) -> KafkaError {
    use RDKafkaErrorCode::{
        Fatal, MessageSizeTooLarge, MessageTimedOut, PurgeInflight, PurgeQueue, UnknownTopic, UnknownTopicOrPartition,
    };
    let topic = topic.to_owned();
    match error.rdkafka_error_code() {
        Some(UnknownTopic | UnknownTopicOrPartition) => KafkaError::topic_missing(&topic, &client.brokers),
        Some(code) if acl::is_denied(code) => denied_copy(&topic, code),
        // The client has failed and accepts no more records.
        Some(PurgeQueue | PurgeInflight | Fatal) if client.client.denied().is_some() => {
            denied_copy(&topic, RDKafkaErrorCode::ClusterAuthorizationFailed)
        }
        // A timeout has no cause; the connection's last error does.
        Some(MessageTimedOut) => {
            let last = client.client.last_error().map(|last| format!(" ({last})")).unwrap_or_default();
            KafkaError::Unavailable { topic, reason: format!("delivery timed out{last}") }
        }
        Some(code) if is_unavailable(code) => KafkaError::Unavailable { topic, reason: reason(error) },
        Some(MessageSizeTooLarge) => KafkaError::Topic {
            topic,
            reason: format!(
                "{}: with its headers the message is larger than this topic's max.message.bytes: raise that limit",
                reason(error)
            ),
        },
        _ => KafkaError::Topic { topic, reason: reason(error) },
    }
}

/// Returns whether an error concerns the client, its brokers or the topic's replicas, not the message.
fn is_unavailable(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::QueueFull
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::PurgeQueue
            | Code::PurgeInflight
            | Code::Fatal
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
    )
}

fn denied_copy(topic: &str, code: RDKafkaErrorCode) -> KafkaError {
    KafkaError::denied(format!("the topic {topic:?}"), Right::WriteTopic(topic.to_owned()), code)
}

/// Checks that the dead-letter topics exist, if they are configured. Blocks for a few seconds at most. Unreachable
/// brokers are no error here, because the consumer waits for them anyway.
///
/// # Errors
/// [`KafkaError::TopicMissing`], [`KafkaError::Denied`].
pub fn check(settings: &Settings, logger: &Logger) -> Result<(), KafkaError> {
    let topics = settings.dead_letter_topics();
    if topics.is_empty() {
        return Ok(());
    }
    let mut hasty = settings.clone();
    hasty.kafka.connect_timeout = hasty.kafka.request_timeout().min(CHECK);
    let unknown = |failure| warn!(logger, "it is not known whether the dead-letter topic exists: {failure}");
    let cluster = match ClusterClient::connect(&hasty, logger) {
        Ok(cluster) => cluster,
        Err(failure) => {
            unknown(failure);
            return Ok(());
        }
    };
    for topic in topics {
        match cluster.partitions(&topic) {
            Ok(_) => {}
            Err(failure @ (KafkaError::TopicMissing { .. } | KafkaError::Denied { .. })) => return Err(failure),
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
        let built = to_headers(list.iter().map(|(name, value)| (name, value.as_ref())));
        let read: Vec<_> =
            built.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect();
        assert_eq!(read, list);
    }
}
