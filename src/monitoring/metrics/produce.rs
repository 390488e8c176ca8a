//! What the producing side tells.

use super::families::{Families, Labels};
use super::{clients, reasons};
use crate::monitoring::status::{ProduceStatus, ThreadStatus};

pub(super) fn add(produce: &ProduceStatus, families: &mut Families) {
    let topic: Labels = vec![("topic", produce.topic.clone())];
    let threads = |count: fn(&ThreadStatus) -> u64| {
        let row = |thread: &ThreadStatus| {
            let labels = [topic.clone(), vec![("producer", thread.producer.to_string())]].concat();
            (labels, count(thread) as f64)
        };
        produce.threads.iter().map(row).collect::<Vec<_>>()
    };
    families.gauge(
        "produce_requested_messages",
        "Messages that are asked for; not there if that is not known.",
        produce.requested.map(|requested| (topic.clone(), requested as f64)),
    );
    families.counter(
        "produce_sent_messages_total",
        "Messages made, handed over or refused, second copies included.",
        threads(|thread| thread.sent),
    );
    families.counter(
        "produce_sent_bytes_total",
        "Bytes of the keys and values that were sent.",
        [(topic.clone(), produce.sent_bytes as f64)],
    );
    families.counter(
        "produce_acknowledged_messages_total",
        "Messages that the brokers have acknowledged.",
        threads(|thread| thread.acknowledged),
    );
    families.counter("produce_failed_messages_total", "Messages that were given up.", threads(|thread| thread.failed));
    families.counter(
        "produce_failures_total",
        "Messages that were given up, by reason; a reason is there from its first message on.",
        reasons("reason", &produce.failed, &topic),
    );
    families.histogram(
        "produce_acknowledgement_seconds",
        "From a message's being due to its being acknowledged.",
        topic,
        &produce.acknowledgement,
    );
    let rows = produce.threads.iter().filter_map(|row| Some((row.producer, row.client.as_ref()?)));
    clients::add("produce", "producer", &rows.collect::<Vec<_>>(), families);
}
