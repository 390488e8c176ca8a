//! What librdkafka counts of a client: its queues and its connections.

use rdkafka::Statistics;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::{Properties, Settings};

/// librdkafka's setting for how often it tells.
pub(super) const INTERVAL: &str = "statistics.interval.ms";
/// What it is set to when somebody looks, in ms.
pub(super) const OFTEN: &str = "1000";

/// What librdkafka says of a client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientStatus {
    /// Messages in the client's queues: waiting to be sent, or fetched and not yet processed.
    pub queued_messages: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// The brokers that it is connected to, by number.
    pub brokers: Vec<BrokerStatus>,
}

/// A client's connection to a broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BrokerStatus {
    /// The broker's number.
    pub broker: i32,
    /// Time from a request to its answer, the mean of the last interval.
    pub round_trip_mean_seconds: f64,
    /// The 99th percentile.
    pub round_trip_p99_seconds: f64,
    /// Requests that wait to be sent.
    pub waiting_requests: u64,
    /// Requests that wait for their answers.
    pub open_requests: u64,
}

/// Whether somebody looks at what clients count.
pub(super) fn is_watched(settings: &Settings) -> bool {
    settings.monitoring.listen.is_some()
}

/// Whether the user has asked for librdkafka's own lines, by its own property: of all clients, or in the `own` table of this
/// one's side.
pub(super) fn is_logged(settings: &Settings, own: &Properties) -> bool {
    [&settings.kafka.properties, own].into_iter().any(|table| table.contains_key(INTERVAL))
}

/// Reads librdkafka's JSON; `None` if it is none that is known.
pub(super) fn read(json: &[u8]) -> Option<ClientStatus> {
    let statistics: Statistics = serde_json::from_slice(json).ok()?;
    let partitions = || statistics.topics.values().flat_map(|topic| topic.partitions.values());
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let seconds = |us: i64| us as f64 / 1e6;
    // One number stands for librdkafka's own connections: to find the others, and to the group's coordinator.
    let mut brokers: Vec<_> =
        statistics.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.state == "UP").collect();
    brokers.sort_by_key(|broker| broker.nodeid);
    brokers.dedup_by_key(|broker| broker.nodeid);
    let broker = |broker: &rdkafka::statistics::Broker| BrokerStatus {
        broker: broker.nodeid,
        round_trip_mean_seconds: broker.rtt.as_ref().map_or(0.0, |window| seconds(window.avg)),
        round_trip_p99_seconds: broker.rtt.as_ref().map_or(0.0, |window| seconds(window.p99)),
        waiting_requests: count(broker.outbuf_cnt),
        open_requests: count(broker.waitresp_cnt),
    };
    Some(ClientStatus {
        queued_messages: statistics.msg_cnt + partitions().map(|partition| count(partition.fetchq_cnt)).sum::<u64>(),
        queued_bytes: statistics.msg_size + partitions().map(|partition| partition.fetchq_size).sum::<u64>(),
        brokers: brokers.into_iter().map(broker).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_asks_for_is_not_logged_of_the_other() {
        let mut settings = crate::settings::defaults();
        let logged = |settings: &Settings| {
            [&settings.producer.properties, &settings.consumer.properties].map(|own| is_logged(settings, own))
        };
        assert_eq!(logged(&settings), [false, false]);
        settings.producer.properties.insert(INTERVAL.to_owned(), "60000".to_owned());
        assert_eq!(logged(&settings), [true, false]);
        settings.kafka.properties.insert(INTERVAL.to_owned(), "60000".to_owned());
        assert_eq!(logged(&settings), [true, true]);
    }
}
