//! `verify`: what is to be proven, and how it is told.

use std::path::Path;
use std::time::SystemTime;

use slog::{Logger, info, warn};

use super::run::{Proof, Proven};
use super::run_file;
use crate::cli::{NewTopic, Verify};
use crate::exit::Exit;
use crate::judge::{Scope, Verdict};
use crate::kafka::cluster::{Cluster, Offsets};
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
    let file = match (&verify.run_file, sides) {
        (Some(path), Sides::Consuming) => {
            Some(run_file::Reader::open(path).map_err(|it| Exit::failed(it.to_string()))?)
        }
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
    let ends = ends(&settings, logger)?;
    let starts = match (&file, sides) {
        (Some((header, _)), _) => Some(offsets(&settings, &header.starts)),
        (None, Sides::Consuming) => Some(Offsets::new()),
        (None, _) => None,
    };
    let scope = Scope {
        run,
        acknowledgements: run.is_some(),
        from_start: file.is_none() && sides == Sides::Consuming,
        partitions: ends.len(),
    };
    let written = match (&verify.run_file, run, sides) {
        (Some(path), Some(run), Sides::Producing | Sides::Both) => Some(create(path, &settings, run, &ends)?),
        _ => None,
    };
    info!(logger, "verifying"; "topic" => &settings.kafka.topic, "partitions" => ends.len(),
        "run" => run.map_or_else(|| "any".to_owned(), |run| format!("{run:016x}")));
    let proof = Proof { scope, acknowledged: file.map(|(_, reader)| reader), run_file: written };
    Ok(Plan { settings, sides, proof, starts, own_topic })
}

fn create(path: &Path, settings: &Settings, run: u64, ends: &Offsets) -> Result<run_file::Writer, Exit> {
    let starts = ends.values().copied().collect();
    let started = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let header = run_file::Header::new(run, &settings.kafka.topic, starts, settings.producer.threads as u32, started);
    run_file::Writer::create(path, &header).map_err(|error| Exit::failed(error.to_string()))
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

/// The ends of all partitions, before anything of this run is written.
fn ends(settings: &Settings, logger: &Logger) -> Result<Offsets, Exit> {
    let cluster = Cluster::connect(settings, logger)?;
    let topic = &settings.kafka.topic;
    let partitions: Vec<_> =
        cluster.partitions(topic)?.into_iter().map(|number| TopicPartition::new(topic, number)).collect();
    Ok(cluster.ends(&partitions)?)
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
    /// Deletes it if all is well. One with findings is kept, to be looked at.
    pub fn run(self, exit: &Exit, logger: &Logger) {
        let topic = &self.settings.kafka.topic;
        if !self.own_topic {
            return;
        }
        if !exit.is_clean() {
            info!(logger, "the topic is kept, to be looked at"; "topic" => topic);
            return;
        }
        if let Err(failure) = topics::remove(&self.settings, topic, logger) {
            warn!(logger, "the topic of this run could not be deleted: {failure}");
        }
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
