//! Micro benchmarks of the code that limits the throughput of producers and consumers: `cargo bench --bench micro`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench that cannot go on fails; criterion's macro is undocumented"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kafka_actors::internal::PartitionCounts;
use kafka_actors::internal::Template;
use kafka_actors::internal::TopicPartition;
use kafka_actors::internal::checker::{CheckScope, Checker};
use kafka_actors::internal::protocol::{PartitionProgress, WorkerEvent};
use kafka_actors::internal::stamp::{self, Stamp};
use kafka_actors::internal::{HistoryEntry, WorkerId};
use kafka_actors::{Generator, MessageBuffer, MessageContext, generate_message};

#[path = "micro/record_path.rs"]
mod record_path;

/// The template of a message of about 200 bytes.
const TEMPLATE: &str = r#"{"id": {"$sequence": {}}, "customer": {"$integer": [1, 1000000]}, "order": {"$uuid": {}},
    "state": {"$choice": ["new", "paid", "sent"], "weights": [6, 3, 1]}, "amount": {"$float": [1, 99], "digits": 2},
    "express": {"$boolean": 0.1}, "note": {"$word": {}, "count": 6}}"#;

fn generate(criterion: &mut Criterion, name: &str, mut generator: impl Generator) {
    let mut source = MessageContext { producer: 1, producers: 4, sequence: 0, due_us: 0 };
    let mut message = MessageBuffer::default();
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            message.clear();
            source.sequence += 1;
            generator.generate(&source, &mut message).unwrap();
            black_box(&message.payload);
        });
    });
}

fn generators(criterion: &mut Criterion) {
    generate(criterion, "generate_message as JSON", generate_message);
    generate(criterion, "a template of 200 bytes", Template::new(TEMPLATE, None, 7).unwrap());
}

fn stamps(criterion: &mut Criterion) {
    let stamp = Stamp { run: 42, producer: 3, sequence: 1_000_000, ..Stamp::default() };
    let mut payload = Vec::new();
    serde_json::to_writer(
        &mut payload,
        &generate_message(&MessageContext { producer: 1, producers: 4, sequence: 0, due_us: 0 }),
    )
    .unwrap();
    let length = payload.len();
    criterion.bench_function("stamp put", |bencher| {
        bencher.iter(|| {
            payload.truncate(length - 1);
            payload.push(b'}');
            black_box(stamp.append(None, &mut payload));
        });
    });
    criterion.bench_function("stamp found and checked", |bencher| {
        bencher.iter(|| black_box(stamp::find(None, Some(black_box(&payload)), || None)));
    });
    criterion.bench_function("stamp found without its checksum", |bencher| {
        bencher.iter(|| black_box(stamp::parse_unchecked(Some(black_box(&payload)), || None)));
    });
}

/// Checks a message on both sides: its bits in two bitmaps, and the entry in which one side waits for the other.
fn checker(criterion: &mut Criterion) {
    let scope = CheckScope { run: Some(42), acknowledgements: true, from_start: false, partitions: 12, shared: false };
    let (mut checker, mut number) = (Checker::new(scope), 0_u64);
    let worker = WorkerId { slot: 0, process: 1 };
    (0..12).for_each(|partition| checker.assigned(worker, partition, 0));
    criterion.bench_function("checker: acknowledged and read", |bencher| {
        bencher.iter(|| {
            let (partition, offset) = ((number % 12) as i32, (number / 12) as i64);
            checker.acknowledged(1, number, partition, offset);
            let stamp = Stamp { run: 42, producer: 1, sequence: number, ..Stamp::default() };
            let entry = HistoryEntry::new(partition, offset, Some(&stamp::StampCheck { stamp, intact: true }));
            checker.read(worker, 0, &entry);
            number += 1;
        });
    });
}

/// Parses a heartbeat with 100 partitions, which the supervisor receives ten times per second from each worker.
fn control_frames(criterion: &mut Criterion) {
    let progress = (0..100).map(|number| PartitionProgress {
        partition: TopicPartition::new("test-topic", number),
        next: 1_000_000,
        end: None,
        committed: Some(999_000),
        counts: PartitionCounts { processed: 1_000_000, ..PartitionCounts::default() },
        in_flight: None,
        retrying: false,
        waits_for_turn: false,
    });
    let frame = serde_json::to_vec(&WorkerEvent::Progress(progress.collect())).unwrap();
    criterion.bench_function("control frame of 100 partitions, parsed", |bencher| {
        bencher.iter(|| black_box(serde_json::from_slice::<WorkerEvent>(black_box(&frame)).unwrap()));
    });
}

criterion_group!(benches, record_path::record_path, generators, stamps, checker, control_frames);
criterion_main!(benches);
