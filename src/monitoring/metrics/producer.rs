//! The metrics of the producer.

use super::exposition::{Labels, MetricFamilies};
use super::{kafka_clients, reasons};
use crate::monitoring::status::{ProduceStatus, ThreadStatus};

pub(super) fn add(produce: &ProduceStatus, families: &mut MetricFamilies) {
    let topic: Labels = vec![("topic", produce.topic.clone())];
    let threads = |count: fn(&ThreadStatus) -> u64| {
        let row = |thread: &ThreadStatus| {
            let labels = [topic.clone(), vec![("producer", thread.producer.to_string())]].concat();
            (labels, count(thread) as f64)
        };
        produce.threads.iter().map(row).collect::<Vec<_>>()
    };
    families.gauge(
        "producer_requested_messages",
        "Number of requested messages; no series if it is not limited.",
        produce.requested.map(|requested| (topic.clone(), requested as f64)),
    );
    families.counter(
        "producer_sent_messages_total",
        "Messages passed to the client, also those that it refused and intentional duplicates.",
        threads(|thread| thread.sent),
    );
    families.counter(
        "producer_sent_bytes_total",
        "Bytes of the keys and values that were sent.",
        [(topic.clone(), produce.sent_bytes as f64)],
    );
    families.counter(
        "producer_acknowledged_messages_total",
        "Messages that the brokers acknowledged.",
        threads(|thread| thread.acknowledged),
    );
    families.counter(
        "producer_unacknowledged_messages_total",
        "Messages that were sent with acks=0: it is unknown whether the brokers received them.",
        threads(|thread| thread.unacknowledged),
    );
    families.counter(
        "producer_failed_messages_total",
        "Messages that were not delivered.",
        threads(|thread| thread.failed),
    );
    families.counter(
        "producer_failures_total",
        "Messages that were not delivered, by reason. The series of a reason starts with its first message.",
        reasons("reason", &produce.failed, &topic),
    );
    families.histogram(
        "producer_acknowledgement_seconds",
        "Latency from the scheduled time of a message to its acknowledgement.",
        topic,
        &produce.acknowledgement,
    );
    let rows = produce.threads.iter().filter_map(|row| Some((row.producer, row.client.as_ref()?)));
    kafka_clients::add("producer", "producer", &rows.collect::<Vec<_>>(), families);
    let rows = produce.threads.iter().filter_map(|row| Some((row.producer, row.health.as_ref()?)));
    kafka_clients::add_health("producer", "producer", &rows.collect::<Vec<_>>(), families);
}
