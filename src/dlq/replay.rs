//! Sends dead-letter records back to their original topics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::{Logger, error, info, warn};

use super::progress::{BATCH, Progress};
use super::range_reader::{OffsetRange, RangeReader};
use super::replay_result::{exit_status, unsent};
use super::targets::Targets;
use super::{DeadLetterTopics, format, read_topics, topics};
use crate::blocking_command::Stop;
use crate::cli::ReplayDeadLetters;
use crate::dead_letter::DeadLetter;
use crate::exit::{ExitCode, ExitStatus};
use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::dead_letter_producer::{Batching, DeadLetterProducer, DeadLetterRecord};
use crate::kafka::error::KafkaError;
use crate::kafka::startup::when_ready;
use crate::record::{OwnedRecord, TopicPartition};
use crate::report::ReplayReport;
use crate::settings::Settings;
use crate::util::escape::escape_control;

/// The maximum size of the records in flight before their acknowledgements are awaited.
const BATCH_BYTES: usize = 32 << 20;
/// The interval of progress lines in the log.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// The maximum number of failed records that are logged; the report counts all.
const MAX_NAMED: u64 = 100;

/// Why a dead-letter record cannot be sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unsendable {
    /// It has no headers with its origin.
    Foreign,
    /// Its headers name a topic to which this replay may not send.
    Refused(String),
    /// Kafka rejects it.
    Rejected(String),
    /// Its topic accepts nothing at the moment.
    Unavailable(String),
}

/// What to do with a record that cannot be sent back.
enum OnUnsendable {
    /// It stays open: the next replay retries it.
    Keep,
    /// It counts as done and stays in the dead-letter topic.
    Skip,
    /// It is written to this topic and then counts as done.
    Park(String),
}

/// Sends back all records that are not done.
pub(super) fn run(
    order: &ReplayDeadLetters,
    settings: &Settings,
    logger: &Logger,
    out: &mut dyn Write,
    report: &mut ReplayReport,
    stop: &Stop,
) -> Result<ExitStatus, KafkaError> {
    let sources = topics(order.which.topic.as_ref(), settings);
    if let Some(park) = order.park.as_ref().filter(|park| sources.contains(park)) {
        let text = format!("--park {park}: this is the topic that is replayed; name another one");
        return Ok(ExitStatus::new(ExitCode::Usage, text));
    }
    let (cluster, found) = when_ready(settings, logger, |cluster| {
        if let Some(park) = &order.park {
            cluster.partitions(park)?;
        }
        let found = read_topics(&cluster, &sources, logger)?;
        Ok((cluster, found))
    })?;
    let DeadLetterTopics { spans, progress } = found;
    let targets = Targets::new(&sources, &order.allow_topic, settings);
    info!(logger, "replaying"; "topics" => sources.join(", "), "target_topics" => targets.names());
    let left = spans.into_iter().map(|span| OffsetRange { from: progress[&span.partition].first_open(), ..span });
    let left: Vec<_> = left.collect();
    let mut reader = RangeReader::open(settings, &left, logger)?;
    let on_unsendable = match (&order.park, order.skip_unsendable) {
        (Some(park), _) => OnUnsendable::Park(park.clone()),
        (None, true) => OnUnsendable::Skip,
        (None, false) => OnUnsendable::Keep,
    };
    let sender = DeadLetterProducer::new(&Arc::new(settings.clone()), Batching::Shared, logger);
    let closed = BTreeMap::new();
    let full = BTreeSet::new();
    let mut replay = Replayer { targets, sender, cluster, progress, on_unsendable, report, logger, closed, full };
    let result = match order.dry_run {
        true => replay.show(order, &mut reader, out),
        false => replay.send_all(order, &mut reader, stop),
    };
    reader.close();
    result
}

struct Replayer<'a> {
    targets: Targets,
    sender: DeadLetterProducer,
    cluster: ClusterClient,
    progress: BTreeMap<TopicPartition, Progress>,
    on_unsendable: OnUnsendable,
    report: &'a mut ReplayReport,
    logger: &'a Logger,
    /// Topics that rejected records, with the reason: this replay sends no more to them, to avoid repeated timeouts.
    closed: BTreeMap<String, KafkaError>,
    /// Partitions with the maximum number of open records.
    full: BTreeSet<TopicPartition>,
}

impl Replayer<'_> {
    /// Shows what would be sent.
    fn show(
        &mut self,
        order: &ReplayDeadLetters,
        reader: &mut RangeReader,
        out: &mut dyn Write,
    ) -> Result<ExitStatus, KafkaError> {
        let mut written = out.write_all(format::table_header().as_bytes());
        while written.is_ok() && order.which.max.is_none_or(|max| self.report.read < max) {
            let Some(record) = self.read_open(reader)? else { break };
            self.report.read += 1;
            let dead_letter = DeadLetter::from_headers(&record);
            if let Err(why) = self.destination(dead_letter.as_ref()) {
                self.count(&record, &why);
            }
            written = out.write_all(format::in_table(&record, dead_letter.as_ref(), false).as_bytes());
        }
        match written.and_then(|()| out.flush()) {
            Ok(()) if unsent(self.report) > 0 => Ok(self.exit()),
            result => Ok(ExitStatus::from_stdout_result(result)),
        }
    }

    fn send_all(
        &mut self,
        order: &ReplayDeadLetters,
        reader: &mut RangeReader,
        stop: &Stop,
    ) -> Result<ExitStatus, KafkaError> {
        let mut logged = Instant::now();
        stop.begin();
        loop {
            let left = order.which.max.map_or(u64::MAX, |max| max.saturating_sub(self.report.acknowledged));
            let (batch, read) = self.read_batch(reader, left.min(BATCH as u64) as usize);
            let is_over = batch.is_empty();
            self.settle(batch)?;
            // Only now, after the progress of the sent records is committed.
            read?;
            if is_over {
                return Ok(self.exit());
            }
            if stop.is_requested() {
                let done = self.exit().reason;
                let text = format!("stopped by a signal: {done}; the next replay goes on from here");
                return Ok(ExitStatus::stopped(ExitCode::Failed, text));
            }
            self.full.iter().for_each(|partition| reader.skip_partition(partition));
            if logged.elapsed() >= LOG_INTERVAL {
                logged = Instant::now();
                info!(self.logger, "replaying dead-letter records"; "acknowledged" => self.report.acknowledged);
            }
        }
    }

    /// The next record that is not done.
    fn read_open(&self, reader: &mut RangeReader) -> Result<Option<OwnedRecord>, KafkaError> {
        loop {
            let Some(record) = reader.read_next()? else { return Ok(None) };
            if !self.progress.get(&place(&record)).is_some_and(|progress| progress.is_done(record.offset)) {
                return Ok(Some(record));
            }
        }
    }

    /// Up to `max` records, and the error that ended the batch.
    fn read_batch(&mut self, reader: &mut RangeReader, max: usize) -> (Vec<OwnedRecord>, Result<(), KafkaError>) {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < max && bytes < BATCH_BYTES {
            match self.read_open(reader) {
                Ok(Some(record)) => {
                    self.report.read += 1;
                    bytes += record.value.as_ref().map_or(0, Vec::len) + record.key.as_ref().map_or(0, Vec::len);
                    batch.push(record);
                }
                Ok(None) => break,
                Err(failure) => return (batch, Err(failure)),
            }
        }
        (batch, Ok(()))
    }

    /// Sends a batch, handles records that cannot be sent, and commits the progress.
    fn settle(&mut self, batch: Vec<OwnedRecord>) -> Result<(), KafkaError> {
        let dead_letters: Vec<_> = batch.iter().map(DeadLetter::from_headers).collect();
        let mut unsendable: Vec<(usize, Unsendable)> = Vec::new();
        let mut sendable = Vec::new();
        for (number, dead_letter) in dead_letters.iter().enumerate() {
            match self.destination(dead_letter.as_ref()) {
                Ok(dead_letter) => sendable.push((number, dead_letter, dead_letter.replayed_headers())),
                Err(why) => unsendable.push((number, why)),
            }
        }
        let messages: Vec<_> = sendable
            .iter()
            .map(|(number, dead_letter, headers)| message(&batch[*number], &dead_letter.origin.topic, headers))
            .collect();
        let results = self.deliver(&messages);
        let mut done = vec![false; batch.len()];
        for ((number, ..), result) in sendable.iter().zip(results) {
            match result {
                Ok(()) => {
                    self.report.acknowledged += 1;
                    done[*number] = true;
                }
                Err(failure) => unsendable.push((*number, unsendable_by(&failure))),
            }
        }
        unsendable.sort_by_key(|(number, _)| *number);
        for (number, why) in &unsendable {
            self.count(&batch[*number], why);
        }
        self.handle(&batch, &unsendable, &mut done);
        self.commit(&batch, &done)?;
        // Without the right, all other records would fail, too.
        self.closed.values().find(|failure| failure.is_denied()).map_or(Ok(()), |denied| Err(denied.clone()))
    }

    /// Skips or parks records that can permanently not be sent, but not because of an outage.
    fn handle(&mut self, batch: &[OwnedRecord], unsendable: &[(usize, Unsendable)], done: &mut [bool]) {
        let permanent = unsendable.iter().filter(|(_, why)| !matches!(why, Unsendable::Unavailable(_)));
        let permanent: Vec<_> = permanent.map(|(number, _)| *number).collect();
        match &self.on_unsendable {
            OnUnsendable::Keep => {}
            OnUnsendable::Skip => {
                permanent.iter().for_each(|number| done[*number] = true);
                self.report.skipped += permanent.len() as u64;
            }
            OnUnsendable::Park(topic) => {
                let topic = topic.clone();
                let parked: Vec<_> =
                    permanent.iter().map(|number| message(&batch[*number], &topic, &batch[*number].headers)).collect();
                for (number, result) in permanent.iter().zip(self.deliver(&parked)) {
                    match result {
                        Ok(()) => {
                            self.report.parked += 1;
                            done[*number] = true;
                        }
                        Err(failure) => {
                            error!(self.logger, "{} could not be parked: {failure}", batch[*number].borrow())
                        }
                    }
                }
            }
        }
    }

    /// Updates and commits the progress.
    fn commit(&mut self, batch: &[OwnedRecord], done: &[bool]) -> Result<(), KafkaError> {
        let mut changed = BTreeSet::new();
        for (record, done) in batch.iter().zip(done) {
            let partition = place(record);
            if let Some(progress) = self.progress.get_mut(&partition) {
                progress.note(record.offset, *done);
                changed.insert(partition);
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let mut committed = BTreeMap::new();
        for (partition, progress) in self.progress.iter().filter(|(partition, _)| changed.contains(*partition)) {
            if progress.is_full() && self.full.insert(partition.clone()) {
                error!(self.logger, "{partition}: too many records cannot be sent, so that their progress can no longer be stored; \
                    skip them (--skip-unsendable) or park them (--park TOPIC)"; "offset" => progress.position());
            }
            committed.insert(partition.clone(), progress.committed());
        }
        self.cluster.commit_with_metadata(&committed)
    }

    /// The dead-letter record, if it may be sent back to its origin.
    fn destination<'l>(&self, dead_letter: Option<&'l DeadLetter>) -> Result<&'l DeadLetter, Unsendable> {
        let dead_letter = dead_letter.ok_or(Unsendable::Foreign)?;
        let topic = &dead_letter.origin.topic;
        if self.targets.allows(topic) {
            Ok(dead_letter)
        } else {
            Err(Unsendable::Refused(escape_control(topic.as_bytes())))
        }
    }

    /// Sends these records and waits for all. Kafka rejects a batch as a whole: rejected records are sent again one
    /// by one.
    fn deliver(&mut self, messages: &[DeadLetterRecord<'_>]) -> Vec<Result<(), KafkaError>> {
        let mut results = self.send_together(messages);
        for (message, result) in messages.iter().zip(&mut results) {
            if matches!(result, Err(KafkaError::Topic { .. })) {
                *result = self.send_together(&[*message]).pop().unwrap_or(Ok(()));
            }
        }
        results
    }

    fn send_together(&mut self, messages: &[DeadLetterRecord<'_>]) -> Vec<Result<(), KafkaError>> {
        let mut deliveries = Vec::with_capacity(messages.len());
        for message in messages {
            deliveries.push(match self.closed.get(message.topic) {
                Some(failure) => Err(failure.clone()),
                None => self.sender.send(*message),
            });
        }
        let results = messages.iter().zip(deliveries).map(|(message, delivery)| {
            let client_closed = || KafkaError::Unavailable {
                topic: message.topic.to_owned(),
                reason: "the client was closed".to_owned(),
            };
            let result =
                delivery.and_then(|delivery| delivery.blocking_recv().unwrap_or_else(|_| Err(client_closed())));
            if let Err(
                failure
                @ (KafkaError::TopicMissing { .. } | KafkaError::Unavailable { .. } | KafkaError::Denied { .. }),
            ) = &result
            {
                self.closed.entry(message.topic.to_owned()).or_insert_with(|| failure.clone());
            }
            result
        });
        results.collect()
    }

    /// Counts and logs a record that cannot be sent.
    fn count(&mut self, record: &OwnedRecord, why: &Unsendable) {
        let report = &mut *self.report;
        let text = match why {
            Unsendable::Foreign => {
                report.foreign += 1;
                "it has no headers that say where it came from".to_owned()
            }
            Unsendable::Refused(topic) => {
                *report.refused.entry(topic.clone()).or_default() += 1;
                format!(
                    "it names the topic {topic}, to which this replay may not send; --allow-topic {topic} allows it"
                )
            }
            Unsendable::Rejected(reason) | Unsendable::Unavailable(reason) => {
                *report.failed.entry(reason.clone()).or_default() += 1;
                reason.clone()
            }
        };
        match unsent(self.report) {
            named if named <= MAX_NAMED => error!(self.logger, "{} cannot be sent back: {text}", record.borrow()),
            named if named == MAX_NAMED + 1 => {
                warn!(self.logger, "more records cannot be sent back; see the report for their number")
            }
            _ => {}
        }
    }

    fn exit(&self) -> ExitStatus {
        exit_status(self.report, !self.full.is_empty())
    }
}

fn place(record: &OwnedRecord) -> TopicPartition {
    TopicPartition::new(record.topic.clone(), record.partition)
}

fn message<'a>(
    record: &'a OwnedRecord,
    topic: &'a str,
    headers: &'a [(String, Option<Vec<u8>>)],
) -> DeadLetterRecord<'a> {
    DeadLetterRecord { topic, key: record.key.as_deref(), value: record.value.as_deref(), headers }
}

fn unsendable_by(failure: &KafkaError) -> Unsendable {
    match failure {
        // The record itself may be valid.
        KafkaError::Unavailable { .. } | KafkaError::Denied { .. } => Unsendable::Unavailable(failure.to_string()),
        _ => Unsendable::Rejected(failure.to_string()),
    }
}
