//! What the consuming side tells: of the run, of partitions, of workers.

use std::collections::BTreeMap;

use super::families::{Families, Labels};
use super::{ROWS, clients, flag, reasons};
use crate::monitoring::status::{ConsumeStatus, PartitionStatus, WorkerState, WorkerStatus};

pub(super) fn add(consume: &ConsumeStatus, families: &mut Families) {
    let info = vec![("group", consume.group.clone()), ("assignment", consume.assignment.clone())];
    families.gauge("consume_info", "Always 1; the consumer group, and who deals its partitions.", [(info, 1.0)]);
    partitions(&consume.partitions, families);
    families.counter(
        "consume_rebalances_total",
        "How often a worker was given partitions by its group, or gave some back.",
        [(Vec::new(), consume.rebalances as f64)],
    );
    for (name, help, times) in [
        ("consume_processing_seconds", "How long processing took, a message each.", &consume.processing),
        (
            "consume_end_to_end_seconds",
            "From a message's being due to its being processed; of messages with a stamp.",
            &consume.end_to_end,
        ),
        (
            "consume_commit_seconds",
            "From being processed to being committed, of the oldest message of each partition of a commit: what a crash would repeat.",
            &consume.commit,
        ),
    ] {
        families.histogram(name, help, Vec::new(), times);
    }
    workers(&consume.workers, families);
    families.counter(
        "worker_restart_causes_total",
        "How often a worker was started again, by cause; a cause is there from its first time on.",
        reasons("cause", &consume.restarts, &Vec::new()),
    );
    let rows = consume.workers.iter().filter_map(|row| Some((row.slot, row.client.as_ref()?)));
    clients::add("consume", "worker", &rows.collect::<Vec<_>>(), families);
}

fn partitions(partitions: &[PartitionStatus], families: &mut Families) {
    let many = partitions.len() > ROWS;
    let labels = |row: &PartitionStatus| {
        let mut labels: Labels = vec![("topic", row.topic.clone())];
        if !many {
            labels.push(("partition", row.partition.to_string()));
        }
        labels
    };
    let rows = |value: fn(&PartitionStatus) -> f64| partitions.iter().map(move |row| (labels(row), value(row)));

    let mut topics = BTreeMap::<_, u32>::new();
    partitions.iter().for_each(|row| *topics.entry(&row.topic).or_default() += 1);
    let counts = topics.into_iter().map(|(topic, count)| (vec![("topic", topic.clone())], f64::from(count)));
    families.gauge("consume_partitions", "Partitions that are known.", counts);
    families.gauge(
        "consume_partitions_summed",
        "1 if there are too many partitions for rows of their own: each topic has one. Else 0.",
        [(Vec::new(), flag(many))],
    );

    for (name, help, value) in COUNTERS {
        families.counter(name, help, rows(value));
    }
    for (name, help, value) in GAUGES {
        families.gauge(name, help, rows(value));
    }
    for (name, help, value) in TIMES {
        families.largest(name, help, rows(value));
    }
    if many {
        return;
    }
    families.gauge(
        "consume_next_offset",
        "The next offset to be processed.",
        partitions.iter().map(|row| (labels(row), row.next as f64)),
    );
    families.gauge(
        "consume_committed_offset",
        "The next offset after a restart; not there if nothing is committed.",
        partitions.iter().filter_map(|row| Some((labels(row), row.committed? as f64))),
    );
    families.gauge(
        "consume_end_offset",
        "The next offset that will be written.",
        partitions.iter().map(|row| (labels(row), row.end as f64)),
    );
    families.largest(
        "consume_partition_owner_info",
        "Always 1; which worker reads the partition. Not there if none does.",
        partitions
            .iter()
            .filter_map(|row| Some(([labels(row), vec![("worker", row.worker?.to_string())]].concat(), 1.0))),
    );
}

type Row<T> = (&'static str, &'static str, fn(&T) -> f64);

const COUNTERS: [Row<PartitionStatus>; 5] = [
    ("consume_processed_messages_total", "Messages that were processed.", |row| row.processed as f64),
    ("consume_failed_messages_total", "Messages whose processing failed and that were skipped.", |row| {
        row.failed as f64
    }),
    (
        "consume_dead_lettered_messages_total",
        "Messages whose processing failed, and of which a copy is in the dead-letter topic.",
        |row| row.dead_lettered as f64,
    ),
    ("consume_retries_total", "How often a message was tried again.", |row| row.retried as f64),
    ("consume_read_bytes_total", "Bytes of the keys and values that were read.", |row| row.read_bytes as f64),
];

const GAUGES: [Row<PartitionStatus>; 3] = [
    ("consume_lag_messages", "Messages that wait to be processed: end offset less next offset.", |row| row.lag as f64),
    (
        "consume_retrying_partitions",
        "1 if the message in hand has failed and waits to be tried again, else 0.",
        |row| flag(row.retrying),
    ),
    ("consume_stopped_partitions", "1 if the partition is read no further: /status says why. Else 0.", |row| {
        flag(row.stopped.is_some())
    }),
];

const TIMES: [Row<PartitionStatus>; 2] = [
    ("consume_in_flight_seconds", "For how long the message in hand has been in processing; 0 if none is.", |row| {
        row.in_flight.as_ref().map_or(0.0, |message| message.age_seconds)
    }),
    ("consume_still_seconds", "For how long reading has not moved although messages wait; 0 if none does.", |row| {
        row.still_seconds
    }),
];

fn workers(workers: &[WorkerStatus], families: &mut Families) {
    let labels = |row: &WorkerStatus| vec![("worker", row.slot.to_string())];
    let states = workers.iter().flat_map(|row| {
        STATES.map(|(state, name)| ([labels(row), vec![("state", name.to_owned())]].concat(), flag(row.state == state)))
    });
    families.largest("worker_state", "1 for the state that the worker is in, 0 for the others.", states);
    families.largest(
        "worker_uptime_seconds",
        "For how long its process has lived; not there without one.",
        workers.iter().filter_map(|row| Some((labels(row), row.uptime_seconds?))),
    );
    families.largest(
        "worker_resident_memory_bytes",
        "Resident memory of its process; not there without one.",
        workers.iter().filter_map(|row| Some((labels(row), row.resident_bytes? as f64))),
    );
    families.largest(
        "worker_partitions",
        "Partitions that it reads.",
        workers.iter().map(|row| (labels(row), row.partitions as f64)),
    );
    let counters: [Row<WorkerStatus>; 3] = [
        ("worker_cpu_seconds_total", "Processor time of all its processes.", |row| row.cpu_seconds),
        (
            "worker_processed_messages_total",
            "Messages that its processes have dealt with: processed, skipped or dead-lettered.",
            |row| row.processed as f64,
        ),
        ("worker_restarts_total", "How often it was started again.", |row| row.restarts as f64),
    ];
    for (name, help, value) in counters {
        families.counter(name, help, workers.iter().map(|row| (labels(row), value(row))));
    }
}

const STATES: [(WorkerState, &str); 8] = [
    (WorkerState::Starting, "starting"),
    (WorkerState::Reading, "reading"),
    (WorkerState::StandingBy, "standing_by"),
    (WorkerState::Ending, "ending"),
    (WorkerState::Waiting, "waiting"),
    (WorkerState::Parked, "parked"),
    (WorkerState::Removed, "removed"),
    (WorkerState::Ended, "ended"),
];
