//! A status in which every field is present and every number is different.

use kafka_actors::internal::PartitionCounts;
use kafka_actors::internal::status::{
    BrokerStatus, BucketStatus, ClientHealth, ClientStatus, ConsumeStatus, HistogramStatus, InFlightStatus,
    PartitionStatus, Phase, ProduceStatus, STATUS_VERSION, Status, ThreadStatus, WorkerState, WorkerStatus,
};

/// The status of a run with two producer threads and two workers, one of which has failed, on three partitions of two topics.
pub fn full_status() -> Status {
    Status {
        version: STATUS_VERSION,
        program: "1.2.3".to_owned(),
        command: "verify".to_owned(),
        host: "host".to_owned(),
        pid: 7,
        started_at: "2026-11-25T10:00:00.500Z".to_owned(),
        at: "2026-11-25T10:01:00Z".to_owned(),
        uptime_seconds: 59.5,
        phase: Phase::Running,
        not_ready_reasons: vec!["orders/1 is not assigned to a worker".to_owned()],
        produce: Some(produce()),
        consume: Some(consume()),
        ..Status::default()
    }
}

fn produce() -> ProduceStatus {
    let thread = |producer, sent| ThreadStatus {
        producer,
        requested: Some(1_000),
        sent,
        acknowledged: sent - 10,
        unacknowledged: 0,
        failed: 3,
        client: Some(client(100)),
        health: Some(health(2.5)),
    };
    ProduceStatus {
        topic: "orders".to_owned(),
        requested: Some(2_000),
        sent: 1_100,
        sent_bytes: 123_456,
        acks: "all".to_owned(),
        acknowledged: 1_080,
        unacknowledged: 0,
        failed: [("MessageTimedOut".to_owned(), 4), ("MessageSizeTooLarge".to_owned(), 2)].into(),
        threads: vec![thread(0, 500), thread(1, 600)],
        acknowledgement: times(1_080),
    }
}

fn consume() -> ConsumeStatus {
    let partition = |topic: &str, partition, worker| PartitionStatus {
        topic: topic.to_owned(),
        partition,
        worker,
        start_offset: 10,
        position: 210 + i64::from(partition),
        committed: Some(200 + i64::from(partition)),
        high_watermark: 250,
        stop_offset: Some(250),
        lag: 40,
        counts: PartitionCounts { processed: 190, failed: 4, dead_lettered: 6, retried: 8, read_bytes: 20_000 },
        in_flight: Some(InFlightStatus { offset: 210, age_seconds: 0.25 }),
        retrying: true,
        stalled_seconds: 1.5,
        stopped: None,
    };
    let nobodys = PartitionStatus {
        committed: None,
        in_flight: None,
        retrying: false,
        stopped: Some("too much failed".to_owned()),
        ..partition("orders", 1, None)
    };
    let worker = WorkerStatus {
        slot: 0,
        state: WorkerState::Running,
        pid: Some(8),
        uptime_seconds: Some(50.0),
        resident_bytes: Some(30_000_000),
        cpu_seconds: 12.5,
        processed: 600,
        partitions: 2,
        restarts: 1,
        restart_causes: [("killed".to_owned(), 1)].into(),
        last_exit: Some("SIGKILL".to_owned()),
        client: Some(client(200)),
        health: Some(health(3.5)),
        uncommitted_seconds: 8.0,
        commit_failures: 7,
    };
    let restart_causes = [("killed".to_owned(), 8), ("exit".to_owned(), 2)].into();
    let failed =
        WorkerStatus { slot: 1, state: WorkerState::Failed, restarts: 10, restart_causes, ..WorkerStatus::default() };
    ConsumeStatus {
        group: "billing".to_owned(),
        read_only: false,
        assignment: "manual".to_owned(),
        commit_interval_seconds: 5.0,
        topics: vec!["orders".to_owned(), "audit".to_owned()],
        processed: 570,
        failed: 12,
        dead_lettered: 18,
        failures: [("no stock for #".to_owned(), 20), ("refused".to_owned(), 10)].into(),
        retried: 24,
        read_bytes: 60_000,
        lag: 120,
        rebalances: 5,
        restarts: [("killed".to_owned(), 9), ("exit".to_owned(), 2)].into(),
        workers: vec![worker, failed],
        partitions: vec![partition("orders", 0, Some(0)), nobodys, partition("audit", 0, Some(0))],
        end_to_end: times(570),
        processing: times(571),
        commit: times(9),
    }
}

fn health(last_response_age_seconds: f64) -> ClientHealth {
    ClientHealth {
        last_response_age_seconds,
        coordinator_unavailable_seconds: 1.25,
        authentication_failures: 11,
        authentication_error: None,
    }
}

fn client(messages: u64) -> ClientStatus {
    let broker = |broker| BrokerStatus {
        broker,
        rtt_mean_seconds: 0.002,
        rtt_p99_seconds: 0.02,
        throttle_seconds: 0.5,
        queued_requests: 1,
        in_flight_requests: 2,
    };
    ClientStatus { queued_messages: messages, queued_bytes: 1_000 * messages, brokers: vec![broker(1), broker(2)] }
}

fn times(count: u64) -> HistogramStatus {
    let bucket = |le_seconds, count| BucketStatus { le_seconds, count };
    HistogramStatus {
        count,
        sum_seconds: 3.75,
        p50_seconds: 0.004,
        p99_seconds: 0.9,
        max_seconds: 2.0,
        buckets: vec![bucket(0.001, 0), bucket(0.005, count / 2), bucket(1.0, count - 1)],
    }
}
