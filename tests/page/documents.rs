//! Statuses for the page.

use std::time::{Duration, SystemTime};

use kafka_actors::internal::PartitionCounts;
use kafka_actors::internal::status::{
    BrokerStatus, ClientStatus, ConsumeStatus, Event, EventLevel, HistogramStatus, InFlightStatus, PartitionStatus,
    Phase, ProduceStatus, RateSample, STATUS_VERSION, Status, ThreadStatus, WorkerState, WorkerStatus,
};

/// The start time of the runs in these documents, in seconds since 1970.
const BEGUN: u64 = 1_900_000_000;
/// The approximate number of messages per second of all workers.
const RATE: u64 = 12_000;

/// A healthy run, this number of seconds after its start: `workers` workers read `partitions` partitions.
pub fn consuming(second: u64, workers: usize, partitions: usize) -> Status {
    let processed = processed(second);
    let partitions: Vec<_> = (0..partitions)
        .map(|number| {
            let position = 40_000 + i64::try_from(processed / partitions as u64).unwrap();
            let lag = (number as u64 * 37 + second) % 90;
            PartitionStatus {
                topic: if number % 3 == 2 { "payments" } else { "orders" }.to_owned(),
                partition: i32::try_from(number).unwrap(),
                worker: Some(number % workers),
                start_offset: 40_000,
                position,
                committed: Some(position - 211),
                high_watermark: position + i64::try_from(lag).unwrap(),
                lag,
                counts: PartitionCounts { processed: processed / partitions as u64, ..PartitionCounts::default() },
                in_flight: (lag > 0).then_some(InFlightStatus { offset: position, age_seconds: 0.0021 }),
                ..PartitionStatus::default()
            }
        })
        .collect();
    let consume = ConsumeStatus {
        group: "shipping".to_owned(),
        assignment: "manual".to_owned(),
        topics: vec!["orders".to_owned(), "payments".to_owned()],
        processed,
        read_bytes: processed * 412,
        lag: partitions.iter().map(|partition| partition.lag).sum(),
        workers: (0..workers).map(|slot| worker(second, slot, workers, &partitions)).collect(),
        partitions,
        end_to_end: times(processed, 0.0062, 0.041, 0.38),
        processing: times(processed, 0.000_31, 0.0024, 0.091),
        commit: times(second / 5 * workers as u64, 0.0031, 0.012, 0.055),
        ..ConsumeStatus::default()
    };
    let history = (second.saturating_sub(299)..=second)
        .map(|at| RateSample {
            at: (BEGUN + at) as f64,
            processed: self::processed(at),
            lag: if at == second { consume.lag } else { 300 + at * at * 7 % 211 },
            acknowledged: 0,
            unacknowledged: 0,
        })
        .collect();
    Status {
        version: STATUS_VERSION,
        program: "0.1.0".to_owned(),
        command: "consume".to_owned(),
        host: "kafka-7".to_owned(),
        pid: 4_210,
        started_at: at(0),
        at: at(second),
        uptime_seconds: second as f64,
        phase: Phase::Running,
        consume: Some(consume),
        history,
        events: vec![
            event(0, 0, EventLevel::Info, "phase", None, "the run has begun"),
            event(1, 2, EventLevel::Info, "ready", None, "each partition has a reader"),
        ],
        ..Status::default()
    }
}

/// The same run, which also produces.
pub fn verifying(second: u64) -> Status {
    let mut status = consuming(second, 3, 12);
    status.command = "verify".to_owned();
    let acknowledged = processed(second) + status.consume.as_ref().unwrap().lag;
    status.produce = Some(ProduceStatus {
        topic: "orders".to_owned(),
        requested: Some(12_000_000),
        sent: acknowledged + 640,
        sent_bytes: acknowledged * 412,
        acknowledged,
        threads: (0..4)
            .map(|producer| ThreadStatus {
                producer,
                requested: Some(3_000_000),
                sent: acknowledged / 4 + 160,
                acknowledged: acknowledged / 4,
                client: Some(client(160)),
                ..ThreadStatus::default()
            })
            .collect(),
        acknowledgement: times(acknowledged, 0.0041, 0.022, 0.19),
        ..ProduceStatus::default()
    });
    for sample in &mut status.history {
        sample.acknowledged = sample.processed + sample.lag + sample.at as u64 % 7 * 90;
    }
    status
}

/// Worker 1 was killed five seconds ago, after many other failures.
pub fn troubled(second: u64) -> Status {
    let mut status = consuming(second, 4, 16);
    status.not_ready_reasons = vec![
        "orders/1 waits for worker 1, which is not running".to_owned(),
        "payments/2 is stopped: 10 messages in a row have failed".to_owned(),
    ];
    let consume = status.consume.as_mut().unwrap();
    consume.workers[1] = WorkerStatus {
        state: WorkerState::Backoff,
        pid: None,
        uptime_seconds: None,
        resident_bytes: None,
        restarts: 2,
        last_exit: Some("killed by SIGKILL, perhaps for want of memory, after 4 min".to_owned()),
        client: None,
        ..consume.workers[1].clone()
    };
    consume.workers[3].state = WorkerState::Failed;
    consume.workers[3].last_exit = Some("panicked: index out of bounds".to_owned());
    consume.restarts = [("signal".to_owned(), 2), ("silent".to_owned(), 1)].into();
    (consume.dead_lettered, consume.retried, consume.failed) = (14, 420, 3);
    consume.failures = [("no stock for #".to_owned(), 17)].into();
    for partition in &mut consume.partitions {
        match partition.partition {
            number if number % 4 == 1 => {
                partition.in_flight = None;
                partition.lag = 21_000;
                partition.high_watermark = partition.position + 21_000;
                partition.stalled_seconds = 5.2;
            }
            2 => partition.stopped = Some("10 messages in a row have failed".to_owned()),
            6 => {
                (partition.retrying, partition.counts.retried, partition.counts.dead_lettered) = (true, 420, 14);
            }
            number if number % 4 == 3 => partition.worker = Some(0),
            _ => {}
        }
    }
    for worker in &mut consume.workers {
        let its = |partition: &&PartitionStatus| partition.worker == Some(worker.slot);
        worker.partitions = consume.partitions.iter().filter(its).count();
    }
    consume.lag = consume.partitions.iter().map(|partition| partition.lag).sum();
    let lag = consume.lag;
    let samples = status.history.len();
    for (index, sample) in status.history.iter_mut().enumerate() {
        let left = samples - index;
        if left <= 60 {
            sample.lag = lag * (61 - left as u64) / 60;
        }
    }
    status.events.extend([
        event(2, second - 130, EventLevel::Warning, "exit", Some(3), "panicked: index out of bounds"),
        event(3, second - 120, EventLevel::Error, "exit", Some(3), "exited 5 times in 60 s, is not restarted"),
        event(4, second - 62, EventLevel::Error, "stopped", Some(2), "payments/2: 10 messages in a row have failed"),
        event(5, second - 5, EventLevel::Warning, "exit", Some(1), "process 4301 was killed by SIGKILL"),
    ]);
    status
}

/// An event at that second.
pub fn event(id: u64, second: u64, level: EventLevel, kind: &str, worker: Option<usize>, text: &str) -> Event {
    Event { id, at: at(second), level, kind: kind.to_owned(), worker, text: text.to_owned() }
}

fn processed(second: u64) -> u64 {
    let minutes = second as f64 / 60.0;
    (second as f64 * RATE as f64 + 60_000.0 * (minutes * 2.0).sin() + 9_000.0 * (minutes * 17.0).sin()).max(0.0) as u64
}

fn at(second: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(BEGUN + second);
    humantime::format_rfc3339_millis(time).to_string()
}

fn worker(second: u64, slot: usize, workers: usize, partitions: &[PartitionStatus]) -> WorkerStatus {
    WorkerStatus {
        slot,
        state: WorkerState::Running,
        pid: Some(4_300 + u32::try_from(slot).unwrap()),
        uptime_seconds: Some(second as f64 - 1.0),
        resident_bytes: Some((61 + slot as u64 * 3) << 20),
        cpu_seconds: second as f64 * (0.31 + slot as f64 / 50.0),
        processed: processed(second) / workers as u64,
        partitions: partitions.iter().filter(|partition| partition.worker == Some(slot)).count(),
        client: Some(client(90 + slot as u64)),
        ..WorkerStatus::default()
    }
}

fn client(queued: u64) -> ClientStatus {
    let broker = |broker| BrokerStatus {
        broker,
        rtt_mean_seconds: 0.0012 * f64::from(broker),
        rtt_p99_seconds: 0.009 * f64::from(broker),
        throttle_seconds: 0.0,
        in_flight_requests: 1,
        ..BrokerStatus::default()
    };
    ClientStatus { queued_messages: queued, queued_bytes: queued * 412, brokers: vec![broker(1), broker(2)] }
}

fn times(count: u64, p50_seconds: f64, p99_seconds: f64, max_seconds: f64) -> HistogramStatus {
    HistogramStatus {
        count,
        sum_seconds: count as f64 * p50_seconds,
        p50_seconds,
        p99_seconds,
        max_seconds,
        buckets: Vec::new(),
    }
}
