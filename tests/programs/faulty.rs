//! A program whose generator or processor misbehaves; the variable FAULT says how.

#![allow(clippy::print_stdout, reason = "its tests read there what it was given")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use kafka_actors::Program;
use kafka_actors::message::{GenerateError, Generator, Message, Outgoing, Source, generate_message};
use kafka_actors::processing::{Failure, Processor, WorkerContext, asynchronous};
use kafka_actors::record::{OwnedRecord, Record};

fn main() -> std::process::ExitCode {
    let program = Program::new().generator(generate);
    match std::env::var("FAULT").as_deref() {
        Ok("processor") => program.processor(panic_once).run(),
        Ok("bytes") => program.generator(Bytes).run(),
        Ok("large") => program.generator(|_: &Source| "x".repeat(2_000_000)).run(),
        Ok("unready") => program.processor_with(never_made).run(),
        Ok("hang") => program.generator(hang).run(),
        Ok("slow") => program.processor_with(|_| Ok(Box::new(asynchronous(sleep)))).run(),
        Ok("picky") => program
            .processor_with(|_| {
                let attempts = Attempts::default();
                Ok(Box::new(move |record: &Record<'_>| attempts.process(record)))
            })
            .run(),
        Ok("picky_later") => program
            .processor_with(|_| {
                let attempts = Attempts::default();
                Ok(Box::new(asynchronous(move |record: OwnedRecord| picky_later(attempts.clone(), record))))
            })
            .run(),
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

fn never_made(_: &WorkerContext) -> Result<Box<dyn Processor>, Failure> {
    loop {
        std::thread::park();
    }
}

/// Producer 1 comes to its sixth message, and no further.
fn hang(source: &Source) -> Message {
    if (source.producer, source.sequence) == (1, 5) {
        loop {
            std::thread::park();
        }
    }
    generate_message(source)
}

async fn sleep(_: OwnedRecord) -> Result<(), Failure> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}

/// How often each message was processed in this worker.
#[derive(Clone, Default)]
struct Attempts(Rc<RefCell<HashMap<(i32, i64), u32>>>);

impl Attempts {
    /// What a message says becomes of it: "bad" fails, "panic" panics, "twice" fails two times. Each attempt is a line on
    /// stdout: partition, offset, the attempt's number, the value.
    fn process(&self, record: &Record<'_>) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
        let mut attempts = self.0.borrow_mut();
        let attempt = attempts.entry((record.partition, record.offset)).or_default();
        *attempt += 1;
        println!("{} {} {attempt} {text}", record.partition, record.offset);
        assert!(!text.contains("panic"), "cannot digest this");
        let fails = text.contains("bad") || (text.contains("twice") && *attempt <= 2);
        if fails { Err(Failure::Message("not to my taste".to_owned())) } else { Ok(()) }
    }
}

/// Two lines more, around a wait: who else is processed meanwhile stands between them.
async fn picky_later(attempts: Attempts, record: OwnedRecord) -> Result<(), Failure> {
    println!("begin {} {}", record.partition, record.offset);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let result = attempts.process(&record.borrow());
    println!("end {} {}", record.partition, record.offset);
    result
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
