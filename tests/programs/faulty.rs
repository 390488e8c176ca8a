//! A program with a generator or processor that misbehaves; the variable FAULT selects the fault.

#![allow(clippy::print_stdout, reason = "its tests read there what it was given")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use kafka_actors::Program;
use kafka_actors::{GenerateError, GeneratedMessage, Generator, MessageBuffer, MessageContext, generate_message};
use kafka_actors::{OwnedRecord, Record};
use kafka_actors::{ProcessError, Processor, WorkerContext, from_async};

fn main() -> std::process::ExitCode {
    let program = Program::new().generator(generate);
    match std::env::var("FAULT").as_deref() {
        Ok("processor") => program.processor(panic_once).run(),
        Ok("bytes") => program.generator(Bytes).run(),
        Ok("large") => program.generator(|_: &MessageContext| "x".repeat(2_000_000)).run(),
        Ok("unready") => program.processor_with(never_made).run(),
        Ok("hang") => program.generator(hang).run(),
        Ok("slow") => program.processor_with(|_| Ok(Box::new(from_async(sleep)))).run(),
        Ok("picky") => program
            .processor_with(|_| {
                let attempts = Attempts::default();
                Ok(Box::new(move |record: &Record<'_>| attempts.process(record)))
            })
            .run(),
        Ok("picky_later") => program
            .processor_with(|_| {
                let attempts = Attempts::default();
                Ok(Box::new(from_async(move |record: OwnedRecord| picky_later(attempts.clone(), record))))
            })
            .run(),
        _ => program.run(),
    }
}

fn generate(source: &MessageContext) -> GeneratedMessage {
    let fault = std::env::var("FAULT").as_deref() == Ok("generator");
    assert!(!(fault && source.producer == 2 && source.sequence == 5), "no more ideas");
    generate_message(source)
}

fn panic_once(record: &Record<'_>) -> Result<(), ProcessError> {
    let text = String::from_utf8_lossy(record.value.unwrap_or_default());
    assert!(!text.contains("message 7 of producer 1"), "cannot stomach this");
    Ok(())
}

fn never_made(_: &WorkerContext) -> Result<Box<dyn Processor>, ProcessError> {
    loop {
        std::thread::park();
    }
}

/// Producer 1 hangs at its sixth message.
fn hang(source: &MessageContext) -> GeneratedMessage {
    if (source.producer, source.sequence) == (1, 5) {
        loop {
            std::thread::park();
        }
    }
    generate_message(source)
}

async fn sleep(_: OwnedRecord) -> Result<(), ProcessError> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}

/// The number of attempts of each message in this worker.
#[derive(Clone, Default)]
struct Attempts(Rc<RefCell<HashMap<(i32, i64), u32>>>);

impl Attempts {
    /// The value of a message selects its result: "bad" fails, "panic" panics, "twice" fails two times. Each attempt is a line on
    /// stdout: partition, offset, the attempt's number, the value.
    fn process(&self, record: &Record<'_>) -> Result<(), ProcessError> {
        let text = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
        let mut attempts = self.0.borrow_mut();
        let attempt = attempts.entry((record.partition, record.offset)).or_default();
        *attempt += 1;
        println!("{} {} {attempt} {text}", record.partition, record.offset);
        assert!(!text.contains("panic"), "cannot digest this");
        let fails = text.contains("bad") || (text.contains("twice") && *attempt <= 2);
        if fails { Err(ProcessError::Message("not to my taste".to_owned())) } else { Ok(()) }
    }
}

/// Two more lines, before and after a wait: lines of messages that are processed meanwhile are between them.
async fn picky_later(attempts: Attempts, record: OwnedRecord) -> Result<(), ProcessError> {
    println!("begin {} {}", record.partition, record.offset);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let result = attempts.process(&record.borrow());
    println!("end {} {}", record.partition, record.offset);
    result
}

/// Payloads that are not text.
#[derive(Clone)]
struct Bytes;

impl Generator for Bytes {
    fn generate(&mut self, _: &MessageContext, message: &mut MessageBuffer) -> Result<(), GenerateError> {
        message.payload.extend_from_slice(&[0xff, 0, 0xfe]);
        Ok(())
    }

    fn clone_boxed(&self) -> Box<dyn Generator> {
        Box::new(self.clone())
    }
}
