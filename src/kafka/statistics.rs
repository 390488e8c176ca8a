//! librdkafka's statistics of a client: queues and connections.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::quota_throttle::{MAX_THROTTLE_TIME, Throttle, Throttled, Throttles};
use crate::record::TopicPartition;
use crate::settings::{LibrdkafkaConfig, Settings};

/// librdkafka's property for the interval of statistics.
pub(super) const INTERVAL: &str = "statistics.interval.ms";
/// The interval with monitoring enabled.
const MONITORED_INTERVAL: Duration = Duration::from_secs(1);
/// The interval otherwise: throttling must be known, but statistics of thousands of partitions cost CPU time.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
/// The minimum interval.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The interval of a client's statistics: several times within `consumer.watchdog.stall_timeout`, so that throttling
/// is known before a partition counts as stalled.
pub(super) fn interval(settings: &Settings) -> Duration {
    let interval = if settings.monitoring.listen.is_some() { MONITORED_INTERVAL } else { DEFAULT_INTERVAL };
    match settings.consumer.watchdog.stall_timeout {
        Duration::ZERO => interval,
        timeout => interval.min((timeout / 4).max(MIN_INTERVAL)),
    }
}

/// A client's statistics report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientReport {
    /// The part for the run's status.
    pub status: ClientStatus,
    /// The current throttling, if any.
    pub throttled: Option<Throttled>,
}

/// The state of a client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct ClientStatus {
    /// Messages in the client's queues: waiting to be sent, or fetched and not yet processed.
    pub queued_messages: u64,
    /// The size of these messages.
    pub queued_bytes: u64,
    /// The connected brokers, by id.
    pub brokers: Vec<BrokerStatus>,
}

/// A client's connection to a broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct BrokerStatus {
    /// The broker's id.
    pub broker: i32,
    /// The mean round-trip time of requests in the last interval.
    pub rtt_mean_seconds: f64,
    /// The 99th percentile of the round-trip time in the last interval.
    pub rtt_p99_seconds: f64,
    /// The broker's throttle time per response (a quota of the cluster); 0: it does not throttle.
    pub throttle_seconds: f64,
    /// Requests waiting to be sent.
    pub queued_requests: u64,
    /// Requests in flight.
    pub in_flight_requests: u64,
}

/// Whether the user enabled librdkafka's statistics log lines with its own property, for all clients or in the `own`
/// table of this client's side.
pub(super) fn is_logged(settings: &Settings, own: &LibrdkafkaConfig) -> bool {
    [&settings.kafka.properties, own].into_iter().any(|table| table.contains_key(INTERVAL))
}

/// The used part of librdkafka's JSON; its STATISTICS.md describes all of it.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    msg_cnt: u64,
    #[serde(default)]
    msg_size: u64,
    brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i32,
    state: String,
    outbuf_cnt: i64,
    waitresp_cnt: i64,
    rtt: Option<Window>,
    /// In milliseconds.
    throttle: Option<Window>,
    /// Partitions that the client has at this broker.
    #[serde(default)]
    toppars: HashMap<String, Toppar>,
}

#[derive(Deserialize)]
struct Window {
    avg: i64,
    max: i64,
    p99: i64,
}

#[derive(Deserialize)]
struct Toppar {
    topic: String,
    partition: i32,
}

#[derive(Deserialize)]
struct Topic {
    partitions: HashMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    #[serde(default)]
    fetchq_cnt: i64,
    #[serde(default)]
    fetchq_size: u64,
}

impl Broker {
    fn throttle(&self) -> Option<Throttle> {
        let time = self.throttle.as_ref().filter(|window| self.nodeid >= 0 && window.max > 0)?.max;
        let partitions = self.toppars.values().map(|toppar| TopicPartition::new(&toppar.topic, toppar.partition));
        let time = Duration::from_millis(time.unsigned_abs()).min(MAX_THROTTLE_TIME);
        Some(Throttle { broker: self.nodeid, time, partitions: partitions.collect() })
    }
}

/// Parses librdkafka's JSON; `None` if it has an unknown format. `throttles` keeps throttle times until they are
/// over, because each is in the statistics of one interval only.
pub(super) fn read(json: &[u8], interval: Duration, throttles: &mut Throttles) -> Option<ClientReport> {
    let statistics: Statistics = serde_json::from_slice(json).ok()?;
    let now = Instant::now();
    throttles.add(statistics.brokers.values().filter_map(Broker::throttle), interval, now);
    let partitions = || statistics.topics.values().flat_map(|topic| topic.partitions.values());
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let seconds = |us: i64| us as f64 / 1e6;
    // Brokers with id -1 are librdkafka's bootstrap and coordinator connections.
    let mut brokers: Vec<_> =
        statistics.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.state == "UP").collect();
    brokers.sort_by_key(|broker| broker.nodeid);
    brokers.dedup_by_key(|broker| broker.nodeid);
    let broker = |broker: &Broker| BrokerStatus {
        broker: broker.nodeid,
        rtt_mean_seconds: broker.rtt.as_ref().map_or(0.0, |window| seconds(window.avg)),
        rtt_p99_seconds: broker.rtt.as_ref().map_or(0.0, |window| seconds(window.p99)),
        throttle_seconds: throttles.time(broker.nodeid, now).as_secs_f64(),
        queued_requests: count(broker.outbuf_cnt),
        in_flight_requests: count(broker.waitresp_cnt),
    };
    let status = ClientStatus {
        queued_messages: statistics.msg_cnt + partitions().map(|partition| count(partition.fetchq_cnt)).sum::<u64>(),
        queued_bytes: statistics.msg_size + partitions().map(|partition| partition.fetchq_size).sum::<u64>(),
        brokers: brokers.into_iter().map(broker).collect(),
    };
    Some(ClientReport { status, throttled: throttles.current(now) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttle_times_are_read_with_the_partitions_that_wait() {
        let json = |throttle: i64| {
            format!(
                r#"{{"brokers": {{"a:1/1": {{"nodeid": 1, "state": "UP", "outbuf_cnt": 2, "waitresp_cnt": 3,
                    "rtt": {{"avg": 1000, "max": 9, "p99": 3000}}, "throttle": {{"avg": 0, "max": {throttle}, "p99": 0}},
                    "toppars": {{"t-4": {{"topic": "t", "partition": 4}}}}}}}},
                    "topics": {{"t": {{"partitions": {{"4": {{"fetchq_cnt": 5, "fetchq_size": 60}}}}}}}}}}"#
            )
        };
        let (mut throttles, second) = (Throttles::default(), Duration::from_secs(1));
        let free = read(json(0).as_bytes(), second, &mut throttles).unwrap();
        assert_eq!((free.throttled, free.status.brokers[0].throttle_seconds), (None, 0.0));
        assert_eq!((free.status.queued_messages, free.status.queued_bytes), (5, 60));
        for time in [11_000, 0] {
            let held = read(json(time).as_bytes(), second, &mut throttles).unwrap();
            let throttled = held.throttled.unwrap();
            assert_eq!((&throttled.brokers, &throttled.partitions), (&vec![1], &vec![TopicPartition::new("t", 4)]));
            assert!(throttled.remaining > 11 * second, "{throttled:?}");
            assert_eq!(held.status.brokers[0].throttle_seconds, 11.0);
        }
    }

    #[test]
    fn what_is_throttled_is_known_before_it_counts_as_stalled() {
        let mut settings = crate::settings::defaults();
        assert_eq!(interval(&settings), DEFAULT_INTERVAL);
        settings.monitoring.listen = Some(([127, 0, 0, 1], 1).into());
        assert_eq!(interval(&settings), MONITORED_INTERVAL);
        settings.consumer.watchdog.stall_timeout = Duration::from_secs(2);
        assert_eq!(interval(&settings), Duration::from_millis(500));
    }

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
