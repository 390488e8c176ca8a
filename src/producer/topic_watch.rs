//! Detects the deletion of the topic. librdkafka holds messages to a deleted topic back for up to 30 s and then fails
//! each with "Unknown partition"; `topic_check` queries the brokers as soon as acknowledgements stop.

use std::sync::Weak;
use std::time::Duration;

use slog::{Logger, debug};

use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::error::KafkaError;
use crate::kafka::producer::ProducerClient;
use crate::settings::Settings;

/// The check interval: the topic is checked when no acknowledgement arrived for this time.
pub(super) const TOPIC_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a client may take to refresh the metadata of a topic that it considered missing.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// The coordinator's knowledge of its topic.
#[derive(Debug, Default)]
pub(super) struct TopicWatch {
    /// The number of delivered messages at the last check.
    pub(super) delivered: u64,
    pub(super) is_checking: bool,
    pub(super) is_deleted: bool,
}

/// Asks a new client, and confirms a missing topic by several brokers' replies within 1 to 2 s, because a broker that
/// has just started may not know all topics. Clients that considered an existing topic missing refresh their
/// metadata.
pub(super) fn is_deleted(settings: &Settings, clients: &[Weak<ProducerClient>], logger: &Logger) -> bool {
    let settings = &Settings { kafka: settings.kafka.limited(), ..settings.clone() };
    let found = ClusterClient::connect(settings, logger).and_then(|cluster| {
        let found = cluster.partitions(&settings.kafka.topic);
        cluster.leave();
        found
    });
    match found {
        Ok(_) => {
            for client in clients.iter().filter_map(Weak::upgrade) {
                if client.deliveries().is_topic_missing() {
                    client.deliveries().set_topic_missing(false);
                    // Without a reply the next check repeats the request.
                    client.warm_up(METADATA_TIMEOUT).ok();
                }
            }
            false
        }
        Err(KafkaError::TopicMissing { .. }) => true,
        Err(failure) => {
            debug!(logger, "could not check whether the topic still exists: {failure}");
            false
        }
    }
}
