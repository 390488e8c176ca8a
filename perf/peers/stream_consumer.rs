//! A peer of `perf/compare`: the consumer that a Rust user writes by rdkafka's own documentation, a `StreamConsumer`
//! with its defaults, one `recv().await` a message, each parsed into a struct.
//!
//! `stream_consumer BROKER_TIMEOUT TOPIC MESSAGES` reads all partitions from their beginning, ends after so many messages, and
//! prints how many it was.

use std::error::Error;
use std::future::Future;
use std::io::Write;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, DefaultConsumerContext, StreamConsumer};
use rdkafka::util::AsyncRuntime;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use serde::Deserialize;

/// The same struct as in `examples/parse.rs`.
#[derive(Deserialize)]
struct Message {
    id: u64,
    producer: usize,
    sequence: u64,
    timestamp_ms: u64,
    text: String,
}

/// What rdkafka's feature "tokio" would bring; the crate builds without that.
struct Tokio;

impl AsyncRuntime for Tokio {
    type Delay = tokio::time::Sleep;

    fn spawn<T: Future<Output = ()> + Send + 'static>(task: T) {
        tokio::spawn(task);
    }

    fn delay_for(duration: Duration) -> Self::Delay {
        tokio::time::sleep(duration)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [brokers, topic, messages] = arguments.as_slice() else {
        return Err("usage: stream_consumer BROKERS TOPIC MESSAGES".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let read = runtime.block_on(consume(brokers, topic, messages.parse()?))?;
    Ok(writeln!(std::io::stdout(), "{read}")?)
}

async fn consume(brokers: &str, topic: &str, messages: u64) -> Result<u64, Box<dyn Error>> {
    let consumer: StreamConsumer<DefaultConsumerContext, Tokio> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("stream-consumer-{}", std::process::id()))
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.assign(&partitions(&consumer, topic)?)?;
    let mut read = 0;
    while read < messages {
        let record = consumer.recv().await?;
        let message: Message = serde_json::from_slice(record.payload().unwrap_or_default())?;
        std::hint::black_box((message.id, message.producer, message.sequence, message.timestamp_ms, message.text));
        read += 1;
    }
    Ok(read)
}

/// All partitions of the topic, from their beginning.
fn partitions<R: AsyncRuntime>(
    consumer: &StreamConsumer<DefaultConsumerContext, R>,
    topic: &str,
) -> Result<TopicPartitionList, Box<dyn Error>> {
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    Ok(list)
}
