//! `produce --dry-run`: prints the messages to stdout instead of sending them; needs no broker.

use std::io::Write;
use std::time::Instant;

use super::message_builder::MessageBuilder;
use crate::exit::ExitStatus;
use crate::generator::{Generator, MessageBuffer, MessageContext};
use crate::processor::json;
use crate::settings;
use crate::stamp::StampKind;
use crate::util::clock::ClockAnchor;
use crate::util::panic::catch_panic;

/// Prints `count` messages of all threads in turn, each as a line of JSON: `producer`, `sequence`, `fault` (if one
/// was injected), `key`, `value`, `headers`. Injected duplicates follow their originals. Each message is scheduled at
/// its creation.
pub(crate) fn run(
    settings: &settings::Producer,
    generator: &dyn Generator,
    run: Option<u64>,
    count: u64,
    out: &mut dyn Write,
) -> ExitStatus {
    let producers = settings.threads;
    let mut builders: Vec<_> =
        (0..producers).map(|_| MessageBuilder::new(settings, generator.clone_boxed(), run)).collect();
    let mut out = std::io::BufWriter::new(out);
    let mut message = MessageBuffer::default();
    for sequence in 0..=count / producers as u64 {
        for (producer, builder) in builders.iter_mut().enumerate() {
            let due_us = ClockAnchor::now().unix_us(Instant::now());
            let source = MessageContext { producer, producers, sequence, due_us };
            if source.number() >= count {
                return ExitStatus::from_stdout_result(out.flush());
            }
            let failed = |text: String| {
                ExitStatus::failed(format!("producer {producer}, message {sequence}: the generator {text}"))
            };
            let built = match catch_panic(|| builder.build(&source, &mut message)) {
                Ok(Ok(built)) => built,
                Ok(Err(error)) => return failed(format!("says: {error}")),
                Err(panic) => return failed(panic),
            };
            if let Err(error) = write_line(&mut out, &source, built.kind, &message) {
                return ExitStatus::from_stdout_result(Err(error));
            }
            if built.repeat {
                builder.repeat(&source, &mut message);
                if let Err(error) = write_line(&mut out, &source, StampKind::Duplicate, &message) {
                    return ExitStatus::from_stdout_result(Err(error));
                }
            }
        }
    }
    ExitStatus::from_stdout_result(out.flush())
}

fn write_line(
    out: &mut dyn Write,
    source: &MessageContext,
    kind: StampKind,
    message: &MessageBuffer,
) -> std::io::Result<()> {
    let mut line = format!("{{\"producer\":{},\"sequence\":{}", source.producer, source.sequence).into_bytes();
    let fault = match kind {
        StampKind::Regular => "",
        StampKind::Duplicate => ",\"fault\":\"duplicate\"",
        StampKind::Corrupt => ",\"fault\":\"corrupt\"",
        StampKind::Oversized => ",\"fault\":\"oversized\"",
    };
    line.extend_from_slice(fault.as_bytes());
    let headers: Vec<_> = message.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_slice()))).collect();
    let value = (!message.tombstone).then_some(message.payload.as_slice());
    json::write_message(&mut line, message.key.as_deref(), value, &headers)?;
    line.extend_from_slice(b"}\n");
    out.write_all(&line)
}
