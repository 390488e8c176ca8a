//! The plan of a `verify` command.

use std::time::{Duration, SystemTime};

use slog::{Logger, info, warn};

use super::run::{VerifyResult, VerifyRun};
use super::run_file;
use super::run_topic;
use crate::cli::{TopicSpec, Verify};
use crate::exit::{ExitCode, ExitStatus};
use crate::kafka;
use crate::kafka::error::KafkaError;
use crate::kafka::offsets::Offsets;
use crate::kafka::startup::when_ready;
use crate::kafka::topic_admin;
use crate::record::TopicPartition;
use crate::run_summary;
use crate::settings::{Acks, Layer, LoadedSettings, Settings, StartOffset};
use crate::verify::checker::CheckScope;

/// The sides that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyMode {
    /// Producer and consumer at the same time.
    Both,
    /// The producer; acknowledged messages are stored in a run file.
    Producing,
    /// The consumer; checked against a run file, or by the stamps of the messages alone.
    Consuming,
}

/// The plan of a run.
pub struct VerifyPlan {
    /// The settings as changed by the command.
    pub settings: Settings,
    /// The sides that run.
    pub sides: VerifyMode,
    /// What is verified.
    pub proof: VerifyRun,
    /// The start offsets; `None`: the high watermarks, because all messages are produced from now on.
    pub starts: Option<Offsets>,
    /// The topic was created for this run and is deleted at its end if the verdict holds.
    own_topic: bool,
}

/// Finds or creates the topic, opens the run file, and adapts the settings.
///
/// # Errors
/// The brokers' error, or the run file's.
pub fn prepare(verify: &Verify, loaded: LoadedSettings, logger: &Logger) -> Result<VerifyPlan, ExitStatus> {
    let sides = match (verify.produce_only, verify.consume_only) {
        (true, _) => VerifyMode::Producing,
        (_, true) => VerifyMode::Consuming,
        _ => VerifyMode::Both,
    };
    if sides != VerifyMode::Consuming {
        require_acknowledgements(&loaded)?;
    }
    let to_write = match (&verify.run_file, sides) {
        // Opened first, to report a file that is not writable before anything is created.
        (Some(path), VerifyMode::Producing | VerifyMode::Both) => {
            Some(run_file::OpenFile::new(path).map_err(no_run_file)?)
        }
        _ => None,
    };
    let file = match (&verify.run_file, sides) {
        (Some(path), VerifyMode::Consuming) => Some(run_file::Reader::open(path).map_err(no_run_file)?),
        _ => None,
    };
    let run = match (&file, sides) {
        (Some((header, _)), _) => Some(header.run),
        (None, VerifyMode::Consuming) => None,
        (None, _) => Some(rand::random()),
    };
    // A topic from a settings file or an environment variable is for other commands: a run of both sides would fill
    // it.
    let topic_given = loaded.origin("kafka.topic").layer() >= Layer::Set;
    let own_topic = !topic_given && sides == VerifyMode::Both;
    let mut settings = adapt(&loaded, sides, run);
    if let Some((header, _)) = &file {
        the_same_topic(topic_given, &settings.kafka.topic, &header.topic)?;
        settings.kafka.topic.clone_from(&header.topic);
    }
    if own_topic {
        settings.kafka.topic = format!("kafka-actors-verify-{:016x}", run.unwrap_or_default());
    }
    if sides != VerifyMode::Consuming {
        let new = TopicSpec {
            name: settings.kafka.topic.clone(),
            partitions: verify.partitions,
            replication: verify.replication,
        };
        run_topic::ensure(&settings, &new, logger)?;
    }
    let clean_up = Cleanup { settings: settings.clone(), own_topic };
    let planned = require_retention(&settings, settings.verify.timeout, logger)
        .and_then(|()| plan(settings, sides, run, file, to_write, logger));
    let planned = planned.map(|plan| VerifyPlan { own_topic, ..plan });
    planned.inspect_err(|exit| clean_up.run(exit, logger))
}

/// Rejects acks=0, with which nothing could be verified.
///
/// # Errors
/// [`ExitCode::Usage`] with the property.
pub fn require_acknowledgements(loaded: &LoadedSettings) -> Result<(), ExitStatus> {
    if kafka::acks(&loaded.settings)? != Acks::None {
        return Ok(());
    }
    let key = loaded.settings.acks_key().unwrap_or_default();
    let text = format!(
        "{key} = 0 ({}): with acks=0 no message is acknowledged, so nothing can be verified; leave it out, \
         or set it to 1 or all",
        loaded.origin(&key)
    );
    Err(ExitStatus::new(ExitCode::Usage, text))
}

/// Rejects a topic whose compaction may remove messages, and warns of a retention that may delete some during the
/// run.
///
/// # Errors
/// What to do.
pub fn require_retention(settings: &Settings, reading: Duration, logger: &Logger) -> Result<(), ExitStatus> {
    let topic = &settings.kafka.topic;
    let retention = match topic_admin::retention(settings, logger, topic) {
        Ok(retention) => retention,
        Err(failure) => {
            warn!(logger, "the topic's retention could not be read, so compaction would count as loss: {failure}");
            return Ok(());
        }
    };
    if retention.compacts {
        return Err(ExitStatus::failed(format!(
            "the topic {topic:?} has cleanup.policy=compact: a message that compaction removes cannot be told from one that was \
             lost; take another topic, or none (the run then creates its own)"
        )));
    }
    let needed = settings.producer.duration + reading;
    if retention.age.is_some_and(|age| age < needed) {
        warn!(logger, "retention.ms of the topic is shorter than this run may take ({needed:?}): messages that are deleted before \
            they are processed count as lost, and as removed, in the verdict"; "topic" => topic);
    }
    Ok(())
}

/// The rest of the plan, once the topic exists.
fn plan(
    settings: Settings,
    sides: VerifyMode,
    run: Option<u64>,
    file: Option<(run_file::Header, run_file::Reader)>,
    to_write: Option<run_file::OpenFile>,
    logger: &Logger,
) -> Result<VerifyPlan, ExitStatus> {
    let (beginnings, ends) = bounds(&settings, logger)?;
    let starts = match (&file, sides) {
        (Some((header, _)), _) => Some(offsets(&settings, &header.starts)),
        (None, VerifyMode::Consuming) => Some(Offsets::new()),
        (None, _) => None,
    };
    let scope = CheckScope {
        run,
        acknowledgements: run.is_some(),
        // Messages deleted by retention before the run are no gap.
        from_start: file.is_none()
            && sides == VerifyMode::Consuming
            && beginnings.values().all(|beginning| *beginning == 0),
        // The number when keys were partitioned: the topic may have more by now.
        partitions: file.as_ref().map_or(ends.len(), |(header, _)| header.starts.len()),
        shared: false,
    };
    let run_file = match (to_write, run) {
        (Some(opened), Some(run)) => Some(opened.begin(&header(&settings, run, &ends)).map_err(no_run_file)?),
        _ => None,
    };
    info!(logger, "verifying"; "topic" => &settings.kafka.topic, "partitions" => ends.len(),
        "run" => run.map_or_else(|| "any".to_owned(), |run| format!("{run:016x}")));
    let proof = VerifyRun { scope, acknowledged: file.map(|(_, reader)| reader), run_file };
    Ok(VerifyPlan { settings, sides, proof, starts, own_topic: false })
}

fn no_run_file(error: run_file::RunFileError) -> ExitStatus {
    ExitStatus::failed(error.to_string())
}

fn header(settings: &Settings, run: u64, ends: &Offsets) -> run_file::Header {
    let starts = ends.values().copied().collect();
    let started = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    run_file::Header::new(run, &settings.kafka.topic, starts, settings.producer.threads as u32, started)
}

/// The settings as changed by the command.
fn adapt(loaded: &LoadedSettings, sides: VerifyMode, run: Option<u64>) -> Settings {
    let mut settings = loaded.settings.clone();
    let consumer = &mut settings.consumer;
    if !loaded.is_set("consumer.group_id") {
        // A new group each time: the committed offsets of another run do not apply.
        let number = run.filter(|_| sides == VerifyMode::Both).unwrap_or_else(rand::random);
        consumer.group_id = format!("kafka-actors-verify-{number:016x}");
    }
    if !loaded.is_set("consumer.processor") && !loaded.is_set("consumer.command") {
        consumer.processor = "count".to_owned();
    }
    consumer.topics.clear();
    consumer.read_only = false;
    consumer.start = StartOffset::Latest;
    consumer.until_end = false;
    consumer.max_messages = 0;
    consumer.idle_exit = std::time::Duration::ZERO;
    if sides == VerifyMode::Both {
        // Half of the timeout is for messages in flight, half for the workers' shutdown.
        settings.shutdown.timeout /= 2;
    }
    settings
}

fn the_same_topic(given: bool, topic: &str, of_file: &str) -> Result<(), ExitStatus> {
    if given && topic != of_file {
        return Err(ExitStatus::failed(format!(
            "the run file is about the topic {of_file:?}, and kafka.topic is {topic:?}: leave the topic out, or name the other file"
        )));
    }
    Ok(())
}

/// The low and high watermarks of all partitions before anything is produced.
fn bounds(settings: &Settings, logger: &Logger) -> Result<(Offsets, Offsets), KafkaError> {
    let topic = &settings.kafka.topic;
    when_ready(settings, logger, |cluster| {
        let partitions: Vec<_> =
            cluster.partitions(topic)?.into_iter().map(|number| TopicPartition::new(topic, number)).collect();
        Ok((cluster.low_watermarks(&partitions)?, cluster.high_watermarks(&partitions)?))
    })
}

fn offsets(settings: &Settings, starts: &[i64]) -> Offsets {
    let partition = |number| TopicPartition::new(&settings.kafka.topic, number);
    (0..).map(partition).zip(starts.iter().copied()).collect()
}

impl VerifyPlan {
    /// The cleanup of the topic at the end; must be called before the plan is executed.
    pub fn clean_up(&self) -> Cleanup {
        Cleanup::new(self.settings.clone(), self.own_topic)
    }
}

/// Deletes the topic of a run.
pub struct Cleanup {
    settings: Settings,
    own_topic: bool,
}

impl Cleanup {
    /// Creates the cleanup; `own_topic`: the topic was created for the run.
    pub fn new(settings: Settings, own_topic: bool) -> Self {
        let kafka = settings.kafka.limited();
        Self { settings: Settings { kafka, ..settings }, own_topic }
    }

    /// Deletes the topic if the run was successful or the topic is empty. A topic with anomalies is kept for
    /// inspection.
    pub fn run(self, exit: &ExitStatus, logger: &Logger) {
        let topic = &self.settings.kafka.topic;
        if !self.own_topic {
            return;
        }
        if !exit.is_clean() && !self.is_empty(logger) {
            info!(logger, "the topic is kept for inspection"; "topic" => topic);
            return;
        }
        match run_topic::delete(&self.settings, topic, logger) {
            Ok(()) => info!(logger, "the topic of this run is deleted"; "topic" => topic),
            Err(failure) => warn!(logger, "the topic of this run could not be deleted: {failure}"; "topic" => topic),
        }
    }

    fn is_empty(&self, logger: &Logger) -> bool {
        bounds(&self.settings, logger).is_ok_and(|(_, ends)| ends.values().all(|end| *end == 0))
    }
}

/// The final output, if a verdict was reached.
pub fn summary(proven: &VerifyResult, exit: &ExitStatus) -> String {
    let VerifyResult { verdict, problems, outcome } = proven;
    let mut text = String::from("\n");
    let produced = outcome.produced.as_ref().map(|produced| &produced.report);
    let consumed = outcome.consumed.as_ref().map(|consumed| &consumed.report);
    run_summary::verified(produced, consumed, verdict).iter().for_each(|line| text.push_str(&indented(line)));
    let anomalies = verdict.summary();
    text.push_str(&indented(&match run_summary::accounting(exit, verdict) {
        Some(accounting) if verdict.holds => format!("{accounting}: {anomalies}"),
        // The run has failed for another reason.
        None if verdict.holds => format!("no anomalies in what was consumed: {anomalies}"),
        _ => anomalies,
    }));
    for problem in problems {
        text.push_str(&indented(&format!("not everything could be checked: {problem}")));
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
