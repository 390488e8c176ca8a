//! `verify`: what is to be proven, and how it is told.

use std::time::SystemTime;

use slog::{Logger, info, warn};

use super::run::{Proof, Proven};
use super::run_file;
use crate::cli::{NewTopic, Verify};
use crate::exit::Exit;
use crate::judge::{Scope, Verdict};
use crate::kafka::cluster::Cluster;
use crate::kafka::error::Failure;
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;
use crate::settings::{Loaded, Settings, Start};
use crate::topics;

/// Which sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Producers and workers, at once.
    Both,
    /// Producers; what is acknowledged is written down.
    Producing,
    /// Workers: what was written down is judged, or what the topic's messages say of themselves.
    Consuming,
}

/// What is going to be done.
pub struct Plan {
    /// The settings, as the command changes them.
    pub settings: Settings,
    /// Which sides run.
    pub sides: Sides,
    /// What is proven.
    pub proof: Proof,
    /// Where the workers start; `None`: at the end, since everything is written from now on.
    pub starts: Option<Offsets>,
    /// The topic was made for this run, and is deleted at its end if all is well.
    own_topic: bool,
}

/// Finds or makes the topic, opens the run file, and adapts the settings.
///
/// # Errors
/// What the brokers say, or the run file's problem.
pub fn prepare(verify: &Verify, loaded: Loaded, logger: &Logger) -> Result<Plan, Exit> {
    let sides = match (verify.produce_only, verify.consume_only) {
        (true, _) => Sides::Producing,
        (_, true) => Sides::Consuming,
        _ => Sides::Both,
    };
    let to_write = match (&verify.run_file, sides) {
        // Before anything is made: a file that cannot be written is known now.
        (Some(path), Sides::Producing | Sides::Both) => Some(run_file::Opened::new(path).map_err(no_run_file)?),
        _ => None,
    };
    let file = match (&verify.run_file, sides) {
        (Some(path), Sides::Consuming) => Some(run_file::Reader::open(path).map_err(no_run_file)?),
        _ => None,
    };
    let run = match (&file, sides) {
        (Some((header, _)), _) => Some(header.run),
        (None, Sides::Consuming) => None,
        (None, _) => Some(rand::random()),
    };
    let topic_given = loaded.is_given("kafka.topic");
    let own_topic = !topic_given && sides == Sides::Both;
    let mut settings = adapt(&loaded, sides, run);
    if let Some((header, _)) = &file {
        the_same_topic(topic_given, &settings.kafka.topic, &header.topic)?;
        settings.kafka.topic.clone_from(&header.topic);
    }
    if own_topic {
        settings.kafka.topic = format!("kafka-actors-verify-{:016x}", run.unwrap_or_default());
    }
    if sides != Sides::Consuming {
        let new = NewTopic {
            name: settings.kafka.topic.clone(),
            partitions: verify.partitions,
            replication: verify.replication,
        };
        topics::ensure(&settings, new, logger)?;
    }
    let clean_up = CleanUp { settings: settings.clone(), own_topic };
    let planned = plan(settings, sides, run, file, to_write, logger);
    let planned = planned.map(|plan| Plan { own_topic, ..plan });
    planned.inspect_err(|exit| clean_up.run(exit, logger))
}

/// What remains to be done once there is a topic.
fn plan(
    settings: Settings,
    sides: Sides,
    run: Option<u64>,
    file: Option<(run_file::Header, run_file::Reader)>,
    to_write: Option<run_file::Opened>,
    logger: &Logger,
) -> Result<Plan, Exit> {
    let (beginnings, ends) = bounds(&settings, logger)?;
    let starts = match (&file, sides) {
        (Some((header, _)), _) => Some(offsets(&settings, &header.starts)),
        (None, Sides::Consuming) => Some(Offsets::new()),
        (None, _) => None,
    };
    let scope = Scope {
        run,
        acknowledgements: run.is_some(),
        // What retention has deleted at the beginning is no gap.
        from_start: file.is_none() && sides == Sides::Consuming && beginnings.values().all(|beginning| *beginning == 0),
        // As many as there were when keys were given to partitions: the topic may have grown since.
        partitions: file.as_ref().map_or(ends.len(), |(header, _)| header.starts.len()),
        shared: false,
    };
    let run_file = match (to_write, run) {
        (Some(opened), Some(run)) => Some(opened.begin(&header(&settings, run, &ends)).map_err(no_run_file)?),
        _ => None,
    };
    info!(logger, "verifying"; "topic" => &settings.kafka.topic, "partitions" => ends.len(),
        "run" => run.map_or_else(|| "any".to_owned(), |run| format!("{run:016x}")));
    let proof = Proof { scope, acknowledged: file.map(|(_, reader)| reader), run_file };
    Ok(Plan { settings, sides, proof, starts, own_topic: false })
}

fn no_run_file(error: run_file::RunFileError) -> Exit {
    Exit::failed(error.to_string())
}

fn header(settings: &Settings, run: u64, ends: &Offsets) -> run_file::Header {
    let starts = ends.values().copied().collect();
    let started = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    run_file::Header::new(run, &settings.kafka.topic, starts, settings.producer.threads as u32, started)
}

/// What the command changes in the settings.
fn adapt(loaded: &Loaded, sides: Sides, run: Option<u64>) -> Settings {
    let mut settings = loaded.settings.clone();
    let consumer = &mut settings.consumer;
    if !loaded.is_given("consumer.group") {
        // Its own each time: where another run has committed says nothing about this one.
        let number = run.filter(|_| sides == Sides::Both).unwrap_or_else(rand::random);
        consumer.group = format!("kafka-actors-verify-{number:016x}");
    }
    if !loaded.is_given("consumer.processor") && !loaded.is_given("consumer.command") {
        consumer.processor = "count".to_owned();
    }
    consumer.topics.clear();
    consumer.start = Start::End;
    consumer.until_end = false;
    consumer.max_messages = 0;
    consumer.idle_exit = std::time::Duration::ZERO;
    if sides == Sides::Both {
        // One half for the messages that are under way, one for the workers' end.
        settings.shutdown.deadline /= 2;
    }
    settings
}

fn the_same_topic(given: bool, topic: &str, of_file: &str) -> Result<(), Exit> {
    if given && topic != of_file {
        return Err(Exit::failed(format!(
            "the run file is about the topic {of_file:?}, and kafka.topic is {topic:?}: leave the topic out, or name the other file"
        )));
    }
    Ok(())
}

/// The beginnings and ends of all partitions, before anything of this run is written.
fn bounds(settings: &Settings, logger: &Logger) -> Result<(Offsets, Offsets), Failure> {
    let cluster = Cluster::connect(settings, logger)?;
    let topic = &settings.kafka.topic;
    let partitions: Vec<_> =
        cluster.partitions(topic)?.into_iter().map(|number| TopicPartition::new(topic, number)).collect();
    Ok((cluster.beginnings(&partitions)?, cluster.ends(&partitions)?))
}

fn offsets(settings: &Settings, starts: &[i64]) -> Offsets {
    let partition = |number| TopicPartition::new(&settings.kafka.topic, number);
    (0..).map(partition).zip(starts.iter().copied()).collect()
}

impl Plan {
    /// What has to be done about the topic when all has ended; to be called before the plan is carried out.
    pub fn clean_up(&self) -> CleanUp {
        CleanUp { settings: self.settings.clone(), own_topic: self.own_topic }
    }
}

/// Deletes the topic that was made for a run.
pub struct CleanUp {
    settings: Settings,
    own_topic: bool,
}

impl CleanUp {
    /// Deletes it if all is well, or if nothing stands in it. One with findings is kept, to be looked at.
    pub fn run(self, exit: &Exit, logger: &Logger) {
        let topic = &self.settings.kafka.topic;
        if !self.own_topic {
            return;
        }
        if !exit.is_clean() && !self.is_empty(logger) {
            info!(logger, "the topic is kept, to be looked at"; "topic" => topic);
            return;
        }
        if let Err(failure) = topics::remove(&self.settings, topic, logger) {
            warn!(logger, "the topic of this run could not be deleted: {failure}"; "topic" => topic);
        }
    }

    fn is_empty(&self, logger: &Logger) -> bool {
        bounds(&self.settings, logger).is_ok_and(|(_, ends)| ends.values().all(|end| *end == 0))
    }
}

/// What is shown at the end, if anything was judged.
pub fn summary(proven: &Proven) -> String {
    let Proven { verdict, problems, outcome } = proven;
    let mut text = String::from("\n");
    if let Some(consumed) = &outcome.consumed {
        let restarts: usize = consumed.report.workers.iter().map(|worker| worker.restarts.len()).sum();
        text.push_str(&indented(&counts(verdict, restarts)));
    }
    text.push_str(&indented(&verdict.summary()));
    for problem in problems {
        text.push_str(&indented(&format!("not everything could be judged: {problem}")));
    }
    text
}

/// One line: how many there were of everything that is no finding.
fn counts(verdict: &Verdict, restarts: usize) -> String {
    format!(
        "{} acknowledged, {} failed to be sent, {} processed, {} processed again, {restarts} worker restarts",
        verdict.acknowledged, verdict.failed, verdict.processed, verdict.redelivered
    )
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
