//! Parses every message into a struct: the first step of most consumers, and the workload of `benches/compare`.
//!
//! `cargo run --release --example parse -- consume --from-beginning --until-end`
//!
//! It consumes the messages that `kafka-actors produce` sends. A message that is not such JSON fails, and `consumer.on_failure`
//! defines what happens to it.

use kafka_actors::ProcessError;
use kafka_actors::Program;
use kafka_actors::Record;
use serde::Deserialize;

/// The payload that `generate_message()` creates. Other fields, such as the stamp, are ignored.
#[derive(Deserialize)]
struct Message {
    id: u64,
    producer: usize,
    sequence: u64,
    timestamp_ms: u64,
    text: String,
}

fn main() -> std::process::ExitCode {
    Program::new().processor(parse).run()
}

fn parse(record: &Record<'_>) -> Result<(), ProcessError> {
    let message: Message = serde_json::from_slice(record.value.unwrap_or_default())?;
    // Replace this by your own processing. Without `black_box`, the compiler may remove the parsing of unused fields.
    std::hint::black_box((message.id, message.producer, message.sequence, message.timestamp_ms, message.text));
    Ok(())
}
