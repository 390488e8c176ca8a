//! The path of a record in a worker: partition queue → processor → stored offset, with a queue in memory instead of
//! librdkafka's.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use criterion::{Criterion, Throughput};
use kafka_actors::internal::record_path::consume_until;
use kafka_actors::internal::stamp::Stamp;
use kafka_actors::internal::{KafkaError, LoadOptions, MessageQueue, PollResult, TopicPartition, load};
use kafka_actors::{Processor, Record};

/// A partition whose messages all have the same payload.
struct MemoryQueue {
    partition: TopicPartition,
    payload: Vec<u8>,
    /// The offset of the current message.
    offset: i64,
    stored: Arc<AtomicI64>,
}

impl MemoryQueue {
    fn record(&self) -> Record<'_> {
        Record {
            topic: &self.partition.topic,
            partition: self.partition.partition,
            offset: self.offset,
            timestamp_ms: None,
            key: None,
            value: Some(&self.payload),
            headers: &(),
        }
    }
}

impl MessageQueue for MemoryQueue {
    fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    fn on_ready(&mut self, _: Box<dyn Fn() + Send + Sync>) {}

    fn poll_next(&mut self) -> PollResult<'_> {
        self.offset += 1;
        PollResult::Message(self.record())
    }

    fn current(&self) -> Option<Record<'_>> {
        Some(self.record())
    }

    fn release(&mut self) {}

    fn finish(&self) {}

    fn high_watermark(&self) -> Option<i64> {
        None
    }

    fn take_bytes(&mut self) -> u64 {
        0
    }

    fn store(&self, next: i64) -> Result<(), KafkaError> {
        self.stored.store(next, Ordering::Relaxed);
        Ok(())
    }
}

/// Measures the time per record, for messages with and without a stamp.
pub fn record_path(criterion: &mut Criterion) {
    let (processors, sets) = (vec!["own".to_owned()], vec!["consumer.processor=own".to_owned()]);
    let options = LoadOptions { processors, sets, ..LoadOptions::default() };
    let settings = Arc::new(load(options).unwrap().settings);
    let plain = br#"{"id":1,"text":"a message without a stamp"}"#.to_vec();
    let mut stamped = plain.clone();
    Stamp { run: 42, producer: 3, sequence: 1_000_000, ..Stamp::default() }.append(None, &mut stamped);
    let mut group = criterion.benchmark_group("record path");
    group.throughput(Throughput::Elements(1));
    for (name, payload) in [("plain", plain), ("stamped", stamped)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|records| {
                let partition = TopicPartition::new("test-topic", 0);
                let stored = Arc::new(AtomicI64::new(0));
                let queue =
                    MemoryQueue { partition, payload: payload.clone(), offset: -1, stored: Arc::clone(&stored) };
                let processor = |record: &Record<'_>| {
                    black_box(record.value);
                    Ok(())
                };
                let processor = Arc::new(move |_: &_| Ok(Box::new(processor) as Box<dyn Processor>));
                let took = consume_until(&settings, processor, Box::new(queue), records as i64).unwrap();
                assert_eq!(stored.load(Ordering::Relaxed), records as i64);
                took
            });
        });
    }
}
