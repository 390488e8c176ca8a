//! The statistics of the Kafka clients: one client per producer thread, one per worker.

use super::ROWS;
use super::exposition::{Labels, MetricFamilies};
use crate::monitoring::status::{BrokerStatus, ClientHealth, ClientStatus};

/// Adds the metrics of the clients of `side` (`producer` or `consumer`); `owner` is the label that names the client's thread or worker.
pub(super) fn add(side: &str, owner: &'static str, clients: &[(usize, &ClientStatus)], families: &mut MetricFamilies) {
    let owner_label = |number: usize| -> Labels { vec![(owner, number.to_string())] };
    let name = |what: &str| format!("{side}_client_{what}");
    for (what, help, value) in QUEUES {
        let rows = clients.iter().map(|(number, client)| (owner_label(*number), value(client) as f64));
        families.gauge(&name(what), help, rows);
    }
    let many = clients.iter().map(|(_, client)| client.brokers.len()).sum::<usize>() > ROWS;
    let brokers = clients.iter().flat_map(|(number, client)| client.brokers.iter().map(move |row| (*number, row)));
    let brokers: Vec<_> = brokers
        .map(|(number, row)| {
            let mut labels = if many { Labels::new() } else { owner_label(number) };
            labels.push(("broker", row.broker.to_string()));
            (labels, row)
        })
        .collect();
    let rows = |value: fn(&BrokerStatus) -> f64| brokers.iter().map(move |(labels, row)| (labels.clone(), value(row)));
    for (what, help, value) in TIMES {
        families.largest(&name(what), help, rows(value));
    }
    for (what, help, value) in REQUESTS {
        families.gauge(&name(what), help, rows(value));
    }
}

/// Adds whether the clients reach the cluster; the labels are those of [`add`].
pub(super) fn add_health(
    side: &str,
    owner: &'static str,
    clients: &[(usize, &ClientHealth)],
    families: &mut MetricFamilies,
) {
    let owner_label = |number: usize| -> Labels { vec![(owner, number.to_string())] };
    let rows = |value: fn(&ClientHealth) -> f64| {
        clients.iter().map(move |(number, health)| (owner_label(*number), value(health))).collect::<Vec<_>>()
    };
    families.largest(
        &format!("{side}_client_last_response_age_seconds"),
        "Time since the client's last response from a broker; 0 while it is connected and no request is pending.",
        rows(|health| health.last_response_age_seconds),
    );
    families.counter(
        &format!("{side}_client_authentication_failures_total"),
        "Failed authentications: the brokers refused the login, or the client their certificate.",
        rows(|health| health.authentication_failures as f64),
    );
    if side == "consumer" {
        families.largest(
            "consumer_client_coordinator_unavailable_seconds",
            "Time since the client lost its group coordinator; 0 while it reaches it.",
            rows(|health| health.coordinator_unavailable_seconds),
        );
    }
}

type Row<T, V> = (&'static str, &'static str, fn(&T) -> V);

const QUEUES: [Row<ClientStatus, u64>; 2] = [
    (
        "queued_messages",
        "Messages in the client's queues: waiting to be sent, or fetched and not yet processed.",
        |row| row.queued_messages,
    ),
    ("queued_bytes", "Bytes of the messages in the client's queues.", |row| row.queued_bytes),
];

const TIMES: [Row<BrokerStatus, f64>; 3] = [
    ("rtt_mean_seconds", "Round-trip time of requests: the mean of the last statistics interval.", |row| {
        row.rtt_mean_seconds
    }),
    ("rtt_p99_seconds", "Round-trip time of requests: the 99th percentile of the last statistics interval.", |row| {
        row.rtt_p99_seconds
    }),
    (
        "throttle_seconds",
        "Throttle time of the broker's responses (a quota of the cluster); 0 if it does not throttle.",
        |row| row.throttle_seconds,
    ),
];

const REQUESTS: [Row<BrokerStatus, f64>; 2] = [
    ("queued_requests", "Requests that wait to be sent to the broker.", |row| row.queued_requests as f64),
    ("in_flight_requests", "Requests that were sent to the broker and have no response yet.", |row| {
        row.in_flight_requests as f64
    }),
];
