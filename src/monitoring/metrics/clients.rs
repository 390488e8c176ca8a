//! What librdkafka tells of its clients: one a producer thread, one a worker.

use super::ROWS;
use super::families::{Families, Labels};
use crate::monitoring::status::{BrokerStatus, ClientStatus, Status};

pub(super) fn add(status: &Status, families: &mut Families) {
    let threads = status.produce.iter().flat_map(|produce| &produce.threads);
    let threads = threads.filter_map(|row| Some((("producer", row.producer), row.client.as_ref()?)));
    let workers = status.consume.iter().flat_map(|consume| &consume.workers);
    let workers = workers.filter_map(|row| Some((("worker", row.slot), row.client.as_ref()?)));
    let clients: Vec<_> = threads.chain(workers).collect();

    let whose = |(name, number): (&'static str, usize)| -> Labels { vec![(name, number.to_string())] };
    let rows =
        |value: fn(&ClientStatus) -> u64| clients.iter().map(move |(owner, row)| (whose(*owner), value(row) as f64));
    families.largest(
        "client_queued_messages",
        "Messages in the client's queues: waiting to be sent, or fetched and not yet processed.",
        rows(|client| client.queued_messages),
    );
    families.largest("client_queued_bytes", "Their bytes.", rows(|client| client.queued_bytes));

    let many = clients.iter().map(|(_, client)| client.brokers.len()).sum::<usize>() > ROWS;
    let brokers: Vec<_> = clients
        .iter()
        .flat_map(|(owner, client)| client.brokers.iter().map(move |broker| (*owner, broker)))
        .map(|(owner, broker)| {
            let mut labels = if many { Vec::new() } else { whose(owner) };
            labels.push(("broker", broker.broker.to_string()));
            (labels, broker)
        })
        .collect();
    let rows = |value: fn(&BrokerStatus) -> f64| brokers.iter().map(move |(labels, row)| (labels.clone(), value(row)));
    families.largest(
        "client_round_trip_mean_seconds",
        "From a request to the broker's answer, the mean of librdkafka's last interval.",
        rows(|broker| broker.round_trip_mean_seconds),
    );
    families.largest(
        "client_round_trip_p99_seconds",
        "The same, the 99th percentile.",
        rows(|broker| broker.round_trip_p99_seconds),
    );
    families.gauge(
        "client_waiting_requests",
        "Requests to the broker that wait to be sent.",
        rows(|broker| broker.waiting_requests as f64),
    );
    families.gauge(
        "client_open_requests",
        "Requests that wait for the broker's answers.",
        rows(|broker| broker.open_requests as f64),
    );
}
