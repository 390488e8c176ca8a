//! The pieces that decide how fast messages are made and read, one by one: `cargo bench --bench micro`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench that cannot go on fails; criterion's macro is undocumented"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kafka_actors::consumer::control::{FromWorker, PartitionProgress};
use kafka_actors::journal::{Entry, Reader};
use kafka_actors::judge::{Judge, Scope};
use kafka_actors::message::{Generator, Outgoing, Source, generate_message};
use kafka_actors::payload::template::Template;
use kafka_actors::record::TopicPartition;
use kafka_actors::stamp::{self, Stamp};

/// About 200 bytes.
const TEMPLATE: &str = r#"{"id": {"$sequence": {}}, "customer": {"$integer": [1, 1000000]}, "order": {"$uuid": {}},
    "state": {"$choice": ["new", "paid", "sent"], "weights": [6, 3, 1]}, "amount": {"$float": [1, 99], "digits": 2},
    "express": {"$boolean": 0.1}, "note": {"$word": {}, "count": 6}}"#;

fn generate(criterion: &mut Criterion, name: &str, mut generator: impl Generator) {
    let mut source = Source { producer: 1, producers: 4, sequence: 0, due_us: 0 };
    let mut message = Outgoing::default();
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
        &generate_message(&Source { producer: 1, producers: 4, sequence: 0, due_us: 0 }),
    )
    .unwrap();
    let length = payload.len();
    criterion.bench_function("stamp put", |bencher| {
        bencher.iter(|| {
            payload.truncate(length - 1);
            payload.push(b'}');
            black_box(stamp.put(None, &mut payload));
        });
    });
    criterion.bench_function("stamp found and checked", |bencher| {
        bencher.iter(|| black_box(stamp::find(None, Some(black_box(&payload)), || None)));
    });
    criterion.bench_function("stamp's due time", |bencher| {
        bencher.iter(|| black_box(stamp::due_us(Some(black_box(&payload)), || None)));
    });
}

/// A message on both sides: its bits in two bitmaps, and the place where one side waits for the other.
fn judge(criterion: &mut Criterion) {
    let scope = Scope { run: Some(42), acknowledgements: true, from_start: false, partitions: 12, shared: false };
    let (mut judge, mut number) = (Judge::new(scope), 0_u64);
    let reader = Reader { slot: 0, process: 1 };
    (0..12).for_each(|partition| judge.assigned(reader, partition, 0));
    criterion.bench_function("judge: acknowledged and read", |bencher| {
        bencher.iter(|| {
            let (partition, offset) = ((number % 12) as i32, (number / 12) as i64);
            judge.acknowledged(1, number, partition, offset);
            let stamp = Stamp { run: 42, producer: 1, sequence: number, ..Stamp::default() };
            let entry = Entry::new(partition, offset, Some(&stamp::Found { stamp, intact: true }));
            judge.read(reader, 0, &entry);
            number += 1;
        });
    });
}

/// A heartbeat of 100 partitions, as the supervisor reads it ten times a second from each worker.
fn control_frames(criterion: &mut Criterion) {
    let progress = (0..100).map(|number| PartitionProgress {
        partition: TopicPartition::new("test-topic", number),
        next: 1_000_000,
        end: None,
        committed: Some(999_000),
        processed: 1_000_000,
        failed: 0,
        dead_lettered: 0,
        retried: 0,
        read_bytes: 0,
        in_flight: None,
        retrying: false,
        waits_for_turn: false,
        read_up_to: None,
    });
    let frame = serde_json::to_vec(&FromWorker::Progress(progress.collect())).unwrap();
    criterion.bench_function("control frame of 100 partitions, parsed", |bencher| {
        bencher.iter(|| black_box(serde_json::from_slice::<FromWorker>(black_box(&frame)).unwrap()));
    });
}

criterion_group!(benches, generators, stamps, judge, control_frames);
criterion_main!(benches);
