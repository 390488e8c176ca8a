//! Checks before the first message, and the creation of the clients.

use std::sync::Arc;

use slog::{Logger, debug, o};

use crate::exit::ExitStatus;
use crate::kafka::delivery_reports::DeliveryObserver;
use crate::kafka::producer::ProducerClient;
use crate::kafka::startup::when_ready;
use crate::kafka::topic_admin;
use crate::os::limits;
use crate::record::TopicPartition;
use crate::settings::Settings;

/// Descriptors per client: its own, plus a connection and a wake-up pipe per broker.
const CLIENT_DESCRIPTORS: usize = 2;
const BROKER_DESCRIPTORS: usize = 3;
/// Threads of a producer and its client, in addition to one per broker.
const PRODUCER_THREADS: usize = 4;
/// Descriptors of a run without any client.
const OWN_DESCRIPTORS: usize = 16;

/// Rejects more threads than the operating system's limits allow, before one is started: librdkafka retries silently
/// when it has no descriptor for a connection.
fn check_limits(threads: usize, brokers: usize) -> Result<(), String> {
    let user = format!("producer.threads = {threads} with {brokers} brokers");
    let descriptors = OWN_DESCRIPTORS + threads * (CLIENT_DESCRIPTORS + BROKER_DESCRIPTORS * brokers);
    limits::check_descriptors(descriptors as u64, &user)?;
    limits::check_threads(threads * (PRODUCER_THREADS + brokers), &user)
}

/// The topic's limit for a batch. Without a reply batches have no such limit; the error of a rejected batch explains
/// that.
fn max_message_bytes(settings: &Settings, logger: &Logger) -> Option<u64> {
    topic_admin::max_message_bytes(settings, logger, &settings.kafka.topic)
        .inspect_err(|failure| {
            debug!(
                logger,
                "batch.size does not follow the topic's max.message.bytes, which could not be read: {failure}"
            )
        })
        .ok()
}

/// The limit of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchLimit {
    /// The topic's `max.message.bytes`.
    OfTopic,
    /// That of the client: the brokers do not report topic properties.
    OfClient,
}

/// Checks that the topic exists, and creates a client per thread.
pub(super) fn prepare(
    settings: &Settings,
    max_batch: BatchLimit,
    outcomes: Option<&Arc<dyn DeliveryObserver>>,
    logger: &Logger,
) -> Result<Vec<ProducerClient>, ExitStatus> {
    let topic = &settings.kafka.topic;
    let broker_count = when_ready(settings, logger, |cluster| {
        let partitions: Vec<_> =
            cluster.partitions(topic)?.into_iter().map(|number| TopicPartition::new(topic, number)).collect();
        // Metadata comes from the bootstrap server; this request reaches the advertised addresses.
        cluster.high_watermarks(&partitions)?;
        let broker_count = cluster.broker_count();
        cluster.leave();
        Ok(broker_count)
    })?;
    check_limits(settings.producer.threads, broker_count).map_err(ExitStatus::failed)?;
    let limit = (max_batch == BatchLimit::OfTopic).then(|| max_message_bytes(settings, logger)).flatten();
    let clients = (0..settings.producer.threads)
        .map(|number| ProducerClient::new(settings, limit, outcomes.cloned(), &logger.new(o!("producer" => number))));
    let clients = clients.collect::<Result<Vec<_>, _>>()?;
    clients.iter().try_for_each(|client| client.warm_up(settings.kafka.request_timeout()))?;
    Ok(clients)
}
