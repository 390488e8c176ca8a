//! A program whose generator or processor misbehaves; the variable FAULT says how.

use std::time::Duration;

use kafka_actors::Program;
use kafka_actors::message::{Message, Source, generate_message};
use kafka_actors::processing::{Failure, asynchronous};
use kafka_actors::record::{OwnedRecord, Record};

fn main() -> std::process::ExitCode {
    let program = Program::new().generator(generate);
    match std::env::var("FAULT").as_deref() {
        Ok("processor") => program.processor(panic_once).run(),
        Ok("slow") => program.processor_with(|_| Ok(Box::new(asynchronous(sleep)))).run(),
        _ => program.run(),
    }
}

fn generate(source: &Source) -> Message {
    let fault = std::env::var("FAULT").as_deref() == Ok("generator");
    assert!(!(fault && source.producer == 2 && source.sequence == 5), "no more ideas");
    generate_message(source)
}

fn panic_once(record: &Record<'_>) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(record.value.unwrap_or_default());
    assert!(!text.contains("message 7 of producer 1"), "cannot stomach this");
    Ok(())
}

async fn sleep(_: OwnedRecord) -> Result<(), Failure> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}
