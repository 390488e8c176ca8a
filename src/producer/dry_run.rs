//! `produce --dry-run`: the messages that would be sent, on stdout, without a broker.

use std::io::Write;
use std::time::Instant;

use super::maker::Maker;
use crate::clock::Anchor;
use crate::exit::Exit;
use crate::message::{Generator, Outgoing, Source};
use crate::panics::guarded;
use crate::processing::json;
use crate::settings;
use crate::stamp::Kind;

/// Writes `count` messages, the threads in turn, each as one line of JSON: `producer`, `sequence`, `fault` (if it was
/// made wrong on purpose), `key`, `value`, `headers`. Second copies come in addition, as they would be sent. Each is due
/// when it is made.
pub(crate) fn run(
    settings: &settings::Producer,
    generator: &dyn Generator,
    run: Option<u64>,
    count: u64,
    out: &mut dyn Write,
) -> Exit {
    let producers = settings.threads;
    let mut makers: Vec<_> = (0..producers).map(|_| Maker::new(settings, generator.clone_boxed(), run)).collect();
    let mut out = std::io::BufWriter::new(out);
    let mut message = Outgoing::default();
    for sequence in 0..=count / producers as u64 {
        for (producer, maker) in makers.iter_mut().enumerate() {
            let due_us = Anchor::now().unix_us(Instant::now());
            let source = Source { producer, producers, sequence, due_us };
            if source.number() >= count {
                return Exit::shown(out.flush());
            }
            let failed =
                |text: String| Exit::failed(format!("producer {producer}, message {sequence}: the generator {text}"));
            let made = match guarded(|| maker.make(&source, &mut message)) {
                Ok(Ok(made)) => made,
                Ok(Err(error)) => return failed(format!("says: {error}")),
                Err(panic) => return failed(panic),
            };
            if let Err(error) = write_line(&mut out, &source, made.kind, &message) {
                return Exit::shown(Err(error));
            }
            if made.repeat {
                maker.repeat(&source, &mut message);
                if let Err(error) = write_line(&mut out, &source, Kind::Duplicate, &message) {
                    return Exit::shown(Err(error));
                }
            }
        }
    }
    Exit::shown(out.flush())
}

fn write_line(out: &mut dyn Write, source: &Source, kind: Kind, message: &Outgoing) -> std::io::Result<()> {
    let mut line = format!("{{\"producer\":{},\"sequence\":{}", source.producer, source.sequence).into_bytes();
    let fault = match kind {
        Kind::Regular => "",
        Kind::Duplicate => ",\"fault\":\"duplicate\"",
        Kind::Corrupt => ",\"fault\":\"corrupt\"",
        Kind::Oversized => ",\"fault\":\"oversized\"",
    };
    line.extend_from_slice(fault.as_bytes());
    let headers: Vec<_> = message.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_slice()))).collect();
    let value = (!message.tombstone).then_some(message.payload.as_slice());
    json::write_message(&mut line, message.key.as_deref(), value, &headers)?;
    line.extend_from_slice(b"}\n");
    out.write_all(&line)
}
