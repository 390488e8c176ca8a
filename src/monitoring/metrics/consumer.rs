//! The metrics of the consumer: of the run, the partitions and the workers.

use std::collections::BTreeMap;

use super::exposition::{Labels, MetricFamilies};
use super::{ROWS, flag, kafka_clients, reasons};
use crate::monitoring::status::{ConsumeStatus, PartitionStatus, WorkerState, WorkerStatus};
use crate::report::RestartKind;

pub(super) fn add(consume: &ConsumeStatus, families: &mut MetricFamilies) {
    let info = vec![("group", consume.group.clone()), ("assignment", consume.assignment.clone())];
    families.gauge(
        "consumer_info",
        "Always 1. The consumer group, and whether partitions are assigned manually or by the group.",
        [(info, 1.0)],
    );
    partitions(&consume.partitions, families);
    families.counter(
        "consumer_rebalances_total",
        "Rebalances in which the group assigned partitions to a worker or revoked some.",
        [(Vec::new(), consume.rebalances as f64)],
    );
    for (name, help, times) in [
        ("consumer_processing_seconds", "Processing time of a message.", &consume.processing),
        (
            "consumer_end_to_end_seconds",
            "Latency from the scheduled time of a message to the end of its processing, of messages with an intact stamp that were scheduled after this process started.",
            &consume.end_to_end,
        ),
        (
            "consumer_commit_seconds",
            "Time from processing to commit, of the oldest message of each partition in a commit: a crash in this time causes reprocessing.",
            &consume.commit,
        ),
    ] {
        families.histogram(name, help, Vec::new(), times);
    }
    families.counter(
        "consumer_failures_total",
        "Messages that were skipped or dead-lettered, by reason. The series of a reason starts with its first message.",
        reasons("reason", &consume.failures, &Vec::new()),
    );
    workers(&consume.workers, families);
    let rows = consume.workers.iter().filter_map(|row| Some((row.slot, row.client.as_ref()?)));
    kafka_clients::add("consumer", "worker", &rows.collect::<Vec<_>>(), families);
    let rows = consume.workers.iter().filter_map(|row| Some((row.slot, row.health.as_ref()?)));
    kafka_clients::add_health("consumer", "worker", &rows.collect::<Vec<_>>(), families);
    let labels = |row: &WorkerStatus| vec![("worker", row.slot.to_string())];
    families.counter(
        "consumer_commit_failures_total",
        "Commits that failed or timed out.",
        consume.workers.iter().map(|row| (labels(row), row.commit_failures as f64)),
    );
    let overdue = |row: &WorkerStatus| (row.uncommitted_seconds - consume.commit_interval_seconds).max(0.0);
    families.largest(
        "consumer_commit_overdue_seconds",
        "Time by which the commit of the worker's oldest uncommitted message exceeds consumer.commit_interval; 0 if it does not.",
        consume.workers.iter().map(|row| (labels(row), overdue(row))),
    );
}

fn partitions(partitions: &[PartitionStatus], families: &mut MetricFamilies) {
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
    families.gauge("consumer_partitions", "Number of partitions.", counts);
    families.gauge(
        "consumer_partitions_aggregated",
        "1 if the series of partitions are aggregated by topic, since there are too many partitions. Else 0.",
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
        "consumer_position",
        "The next offset to process.",
        partitions.iter().map(|row| (labels(row), row.position as f64)),
    );
    families.gauge(
        "consumer_committed_offset",
        "The committed offset; no series if nothing is committed.",
        partitions.iter().filter_map(|row| Some((labels(row), row.committed? as f64))),
    );
    families.gauge(
        "consumer_high_watermark",
        "The high watermark; with isolation.level = read_committed the last stable offset.",
        partitions.iter().map(|row| (labels(row), row.high_watermark as f64)),
    );
    families.largest(
        "consumer_partition_owner_info",
        "Always 1. The worker that the partition is assigned to; no series without one.",
        partitions
            .iter()
            .filter_map(|row| Some(([labels(row), vec![("worker", row.worker?.to_string())]].concat(), 1.0))),
    );
}

type Row<T> = (&'static str, &'static str, fn(&T) -> f64);

const COUNTERS: [Row<PartitionStatus>; 5] = [
    ("consumer_processed_messages_total", "Messages that were processed.", |row| row.counts.processed as f64),
    ("consumer_failed_messages_total", "Messages whose processing failed and that were skipped.", |row| {
        row.counts.failed as f64
    }),
    (
        "consumer_dead_lettered_messages_total",
        "Messages whose processing failed and that were written to the dead-letter topic.",
        |row| row.counts.dead_lettered as f64,
    ),
    ("consumer_retries_total", "Retries of messages.", |row| row.counts.retried as f64),
    ("consumer_read_bytes_total", "Bytes of the keys and values that were read.", |row| row.counts.read_bytes as f64),
];

const GAUGES: [Row<PartitionStatus>; 3] = [
    ("consumer_lag_messages", "The lag: high watermark minus position.", |row| row.lag as f64),
    ("consumer_retrying_partitions", "1 if the message in flight has failed and waits for its retry, else 0.", |row| {
        flag(row.retrying)
    }),
    ("consumer_stopped_partitions", "1 if the partition is stopped, for the reason in /status; else 0.", |row| {
        flag(row.stopped.is_some())
    }),
];

const TIMES: [Row<PartitionStatus>; 2] = [
    ("consumer_in_flight_seconds", "Time since the processing of the message in flight began; 0 without one.", |row| {
        row.in_flight.as_ref().map_or(0.0, |message| message.age_seconds)
    }),
    (
        "consumer_stalled_seconds",
        "Time without progress although messages are available; 0 if there are none.",
        |row| row.stalled_seconds,
    ),
];

fn workers(workers: &[WorkerStatus], families: &mut MetricFamilies) {
    let labels = |row: &WorkerStatus| vec![("worker", row.slot.to_string())];
    let states = workers.iter().flat_map(|row| {
        STATES.map(|(state, name)| ([labels(row), vec![("state", name.to_owned())]].concat(), flag(row.state == state)))
    });
    families.largest("worker_state", "1 for the current state of the worker, 0 for the others.", states);
    families.largest(
        "worker_uptime_seconds",
        "Uptime of the worker's process; no series without one.",
        workers.iter().filter_map(|row| Some((labels(row), row.uptime_seconds?))),
    );
    families.largest(
        "worker_resident_memory_bytes",
        "Resident memory of the worker's process; no series without one.",
        workers.iter().filter_map(|row| Some((labels(row), row.resident_bytes? as f64))),
    );
    families.largest(
        "worker_partitions",
        "Number of partitions assigned to the worker.",
        workers.iter().map(|row| (labels(row), row.partitions as f64)),
    );
    let counters: [Row<WorkerStatus>; 2] = [
        ("worker_cpu_seconds_total", "CPU time of all processes of the worker.", |row| row.cpu_seconds),
        (
            "worker_processed_messages_total",
            "Messages that the worker handled: processed, skipped or dead-lettered.",
            |row| row.processed as f64,
        ),
    ];
    for (name, help, value) in counters {
        families.counter(name, help, workers.iter().map(|row| (labels(row), value(row))));
    }
    // All causes exist from the start: `increase()` does not count the first event of a new series.
    let restarts = workers.iter().flat_map(|row| {
        let mut causes: BTreeMap<_, _> = RestartKind::ALL.iter().map(|kind| (kind.to_string(), 0)).collect();
        causes.extend(row.restart_causes.iter().map(|(cause, count)| (cause.clone(), *count)));
        reasons("cause", &causes, &labels(row))
    });
    families.counter("worker_restarts_total", "Restarts of the worker, by cause.", restarts);
}

const STATES: [(WorkerState, &str); 8] = [
    (WorkerState::Starting, "starting"),
    (WorkerState::Running, "running"),
    (WorkerState::Standby, "standby"),
    (WorkerState::Stopping, "stopping"),
    (WorkerState::Backoff, "backoff"),
    (WorkerState::Failed, "failed"),
    (WorkerState::ScaledDown, "scaled_down"),
    (WorkerState::Ended, "ended"),
];
