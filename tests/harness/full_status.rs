//! A status in which everything is there, and every figure is another one.

use kafka_actors::monitoring::status::{
    BrokerStatus, BucketStatus, ClientStatus, ConsumeStatus, HistogramStatus, InFlightStatus, PartitionStatus, Phase,
    ProduceStatus, Status, ThreadStatus, VERSION, WorkerState, WorkerStatus,
};

/// Of a run with two producer threads and two workers, one of which is parked, on three partitions of two topics.
pub fn full_status() -> Status {
    Status {
        version: VERSION,
        program: "1.2.3".to_owned(),
        command: "verify".to_owned(),
        host: "host".to_owned(),
        pid: 7,
        started_at: "2026-11-25T10:00:00.500Z".to_owned(),
        at: "2026-11-25T10:01:00Z".to_owned(),
        uptime_seconds: 59.5,
        phase: Phase::Running,
        unready: vec!["orders/1 is read by no worker".to_owned()],
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
        failed: 3,
        client: Some(client(100)),
    };
    ProduceStatus {
        topic: "orders".to_owned(),
        requested: Some(2_000),
        sent: 1_100,
        sent_bytes: 123_456,
        acknowledged: 1_080,
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
        first: 10,
        next: 210 + i64::from(partition),
        committed: Some(200 + i64::from(partition)),
        end: 250,
        until: Some(250),
        lag: 40,
        processed: 190,
        failed: 4,
        dead_lettered: 6,
        retried: 8,
        read_bytes: 20_000,
        in_flight: Some(InFlightStatus { offset: 210, age_seconds: 0.25 }),
        retrying: true,
        still_seconds: 1.5,
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
        state: WorkerState::Reading,
        pid: Some(8),
        uptime_seconds: Some(50.0),
        resident_bytes: Some(30_000_000),
        cpu_seconds: 12.5,
        processed: 600,
        partitions: 2,
        restarts: 1,
        last_death: Some("SIGKILL".to_owned()),
        client: Some(client(200)),
    };
    let parked = WorkerStatus { slot: 1, state: WorkerState::Parked, restarts: 10, ..WorkerStatus::default() };
    ConsumeStatus {
        group: "billing".to_owned(),
        assignment: "manual".to_owned(),
        topics: vec!["orders".to_owned(), "audit".to_owned()],
        processed: 570,
        failed: 12,
        dead_lettered: 18,
        retried: 24,
        read_bytes: 60_000,
        lag: 120,
        rebalances: 5,
        restarts: [("SIGKILL".to_owned(), 9), ("exit code 7".to_owned(), 2)].into(),
        workers: vec![worker, parked],
        partitions: vec![partition("orders", 0, Some(0)), nobodys, partition("audit", 0, Some(0))],
        end_to_end: times(570),
        processing: times(571),
        commit: times(9),
    }
}

fn client(messages: u64) -> ClientStatus {
    let broker = |broker| BrokerStatus {
        broker,
        round_trip_mean_seconds: 0.002,
        round_trip_p99_seconds: 0.02,
        waiting_requests: 1,
        open_requests: 2,
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
