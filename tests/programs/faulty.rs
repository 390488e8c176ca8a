//! A program whose generator or processor misbehaves; the variable FAULT says how.

use std::time::Duration;

use kafka_actors::Program;
use kafka_actors::message::{GenerateError, Generator, Message, Outgoing, Source, generate_message};
use kafka_actors::processing::{Failure, asynchronous};
use kafka_actors::record::{OwnedRecord, Record};

fn main() -> std::process::ExitCode {
    let program = Program::new().generator(generate);
    match std::env::var("FAULT").as_deref() {
        Ok("processor") => program.processor(panic_once).run(),
        Ok("bytes") => program.generator(Bytes).run(),
        Ok("large") => program.generator(|_: &Source| "x".repeat(2_000_000)).run(),
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

/// Payloads that are no text.
#[derive(Clone)]
struct Bytes;

impl Generator for Bytes {
    fn generate(&mut self, _: &Source, message: &mut Outgoing) -> Result<(), GenerateError> {
        message.payload.extend_from_slice(&[0xff, 0, 0xfe]);
        Ok(())
    }

    fn clone_boxed(&self) -> Box<dyn Generator> {
        Box::new(self.clone())
    }
}
