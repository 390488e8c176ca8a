//! Sends dead letters back to where they came from.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::{Logger, error, info, warn};

use super::span::{Span, SpanReader};
use super::{look_at, row};
use crate::cli::ReplayDeadLetters;
use crate::dead_letter::DeadLetter;
use crate::exit::{Exit, ExitCode};
use crate::kafka::dead_letters::{DeadLetters, Delivery, Letter};
use crate::kafka::error::Failure;
use crate::record::{OwnedRecord, TopicPartition};
use crate::report::ReplayReport;
use crate::settings::Settings;

/// Messages under way before their acknowledgements are waited for. When one fails, or the program is killed, so many may be
/// sent back once more the next time.
const BATCH: usize = 500;
/// How often the log tells how far it is.
const TOLD: Duration = Duration::from_secs(5);

/// Sends back what was not sent back yet.
pub(super) fn run(
    order: &ReplayDeadLetters,
    settings: &Settings,
    logger: &Logger,
    out: &mut dyn Write,
    report: &mut ReplayReport,
) -> Result<Exit, Failure> {
    let letters = look_at(order.which.topic.as_ref(), settings, logger)?;
    let next = &letters.next;
    let left = letters.all.iter().map(|span| Span { from: next[&span.partition].max(span.from), ..span.clone() });
    let left: Vec<_> = left.collect();
    let mut reader = SpanReader::open(settings, &left, logger)?;
    let result = if order.dry_run {
        show(order, &mut reader, out, report)
    } else {
        let sender = DeadLetters::new(&Arc::new(settings.clone()), logger);
        let mut replay = Replay { sender, report, logger, failed: BTreeSet::new() };
        replay.send_all(order, &mut reader)
    };
    reader.close();
    result
}

/// What would be sent.
fn show(
    order: &ReplayDeadLetters,
    reader: &mut SpanReader,
    out: &mut dyn Write,
    report: &mut ReplayReport,
) -> Result<Exit, Failure> {
    let mut written = out.write_all(row::head().as_bytes());
    while written.is_ok() && order.which.max.is_none_or(|max| report.read < max) {
        let Some(copy) = reader.read_next()? else { break };
        let letter = DeadLetter::of(&copy);
        report.read += 1;
        report.foreign += u64::from(letter.is_none());
        written = out.write_all(row::in_table(&copy, letter.as_ref(), false).as_bytes());
    }
    Ok(Exit::shown(written.and_then(|()| out.flush())))
}

struct Replay<'a> {
    sender: DeadLetters,
    report: &'a mut ReplayReport,
    logger: &'a Logger,
    /// Partitions of which nothing more is sent: behind what failed, nothing may be committed.
    failed: BTreeSet<TopicPartition>,
}

/// A message of a batch.
struct Sent {
    from: TopicPartition,
    next: i64,
    /// To where, and what becomes of it; `None` for what cannot be sent back.
    delivery: Option<(String, Result<Delivery, Failure>)>,
}

impl Replay<'_> {
    fn send_all(&mut self, order: &ReplayDeadLetters, reader: &mut SpanReader) -> Result<Exit, Failure> {
        let mut told = Instant::now();
        loop {
            let left = order.which.max.map_or(u64::MAX, |max| max.saturating_sub(self.report.read));
            let (mut batch, mut read) = (Vec::new(), Ok(()));
            while (batch.len() as u64) < left.min(BATCH as u64) {
                match reader.read_next() {
                    Ok(Some(copy)) => batch.push(self.send(&copy)),
                    Ok(None) => break,
                    Err(failure) => {
                        read = Err(failure);
                        break;
                    }
                }
            }
            let is_over = batch.is_empty();
            let next = self.wait_for(batch);
            reader.commit(&next)?;
            // Only now: what was sent is sent.
            read?;
            if is_over {
                break;
            }
            self.failed.iter().for_each(|partition| reader.give_up(partition));
            if told.elapsed() >= TOLD {
                told = Instant::now();
                info!(self.logger, "sending back"; "acknowledged" => self.report.acknowledged);
            }
        }
        Ok(self.exit())
    }

    fn send(&mut self, copy: &OwnedRecord) -> Sent {
        self.report.read += 1;
        let from = TopicPartition::new(copy.topic.clone(), copy.partition);
        let Some(letter) = DeadLetter::of(copy) else {
            warn!(self.logger, "{} does not say where it came from: it is passed over, and stays there", copy.borrow());
            self.report.foreign += 1;
            return Sent { from, next: copy.offset + 1, delivery: None };
        };
        let headers = letter.replayed_headers();
        let (topic, key, value) = (letter.origin.topic, copy.key.as_deref(), copy.value.as_deref());
        let delivery = self.sender.send(Letter { topic: &topic, key, value, headers: &headers });
        Sent { from, next: copy.offset + 1, delivery: Some((topic, delivery)) }
    }

    /// Waits for all of a batch; where each partition is then, up to its first failure.
    fn wait_for(&mut self, batch: Vec<Sent>) -> BTreeMap<TopicPartition, i64> {
        let mut reached = BTreeMap::new();
        for Sent { from, next, delivery } in batch {
            let result = match delivery {
                None => Ok(()),
                Some((_, Err(failure))) => Err(failure),
                Some((topic, Ok(delivery))) => delivery
                    .blocking_recv()
                    .unwrap_or_else(|_| Err(Failure::Topic { topic, reason: "the client has ended".to_owned() }))
                    .inspect(|()| self.report.acknowledged += 1),
            };
            match result {
                Ok(()) if self.failed.contains(&from) => {}
                Ok(()) => drop(reached.insert(from, next)),
                Err(failure) => {
                    error!(self.logger, "{from}@{} could not be sent back: {failure}", next - 1);
                    *self.report.failed.entry(failure.to_string()).or_default() += 1;
                    self.failed.insert(from);
                }
            }
        }
        reached
    }

    fn exit(&self) -> Exit {
        let ReplayReport { acknowledged, failed, foreign, .. } = &*self.report;
        let failed: u64 = failed.values().sum();
        if failed + foreign == 0 {
            return Exit::clean(format!("{acknowledged} dead letters are back where they came from"));
        }
        let reason = format!(
            "{acknowledged} dead letters were sent back, {failed} could not be, {foreign} do not say where they came from"
        );
        Exit::new(ExitCode::Failed, reason)
    }
}
