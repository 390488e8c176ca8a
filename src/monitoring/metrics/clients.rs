//! What librdkafka tells of its clients: one a producer thread, one a worker.

use super::ROWS;
use super::families::{Families, Labels};
use crate::monitoring::status::{BrokerStatus, ClientStatus};

/// Of one side's clients: `owner` is the label that says whose each is.
pub(super) fn add(side: &str, owner: &'static str, clients: &[(usize, &ClientStatus)], families: &mut Families) {
    let whose = |number: usize| -> Labels { vec![(owner, number.to_string())] };
    let name = |what: &str| format!("{side}_client_{what}");
    for (what, help, value) in QUEUES {
        let rows = clients.iter().map(|(number, client)| (whose(*number), value(client) as f64));
        families.gauge(&name(what), help, rows);
    }
    let many = clients.iter().map(|(_, client)| client.brokers.len()).sum::<usize>() > ROWS;
    let brokers = clients.iter().flat_map(|(number, client)| client.brokers.iter().map(move |row| (*number, row)));
    let brokers: Vec<_> = brokers
        .map(|(number, row)| {
            let mut labels = if many { Labels::new() } else { whose(number) };
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

type Row<T, V> = (&'static str, &'static str, fn(&T) -> V);

const QUEUES: [Row<ClientStatus, u64>; 2] = [
    (
        "queued_messages",
        "Messages in the client's queues: waiting to be sent, or fetched and not yet processed.",
        |row| row.queued_messages,
    ),
    ("queued_bytes", "Bytes of the messages in the client's queues.", |row| row.queued_bytes),
];

const TIMES: [Row<BrokerStatus, f64>; 2] = [
    (
        "round_trip_mean_seconds",
        "From a request to the broker's answer: the mean of the client's last interval.",
        |row| row.round_trip_mean_seconds,
    ),
    (
        "round_trip_p99_seconds",
        "From a request to the broker's answer: the 99th percentile of the last interval.",
        |row| row.round_trip_p99_seconds,
    ),
];

const REQUESTS: [Row<BrokerStatus, f64>; 2] = [
    ("waiting_requests", "Requests to the broker that wait to be sent.", |row| row.waiting_requests as f64),
    ("open_requests", "Requests that wait for the broker's answers.", |row| row.open_requests as f64),
];
