//! Parses every message into a struct: what most consumers begin with, and what `benches/compare` measures.
//!
//! `cargo run --release --example parse -- consume --from-beginning --until-end`
//!
//! It reads what `kafka-actors produce` writes. A message that is no such JSON fails, and `consumer.on_failure` decides.

use kafka_actors::Program;
use kafka_actors::processing::Failure;
use kafka_actors::record::Record;
use serde::Deserialize;

/// What `generate_message()` says. Members that are not named here, such as the stamp, are skipped.
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

fn parse(record: &Record<'_>) -> Result<(), Failure> {
    let message: Message = serde_json::from_slice(record.value.unwrap_or_default())?;
    // Put your own work here. What is never used, the compiler need not make.
    std::hint::black_box((message.id, message.producer, message.sequence, message.timestamp_ms, message.text));
    Ok(())
}
