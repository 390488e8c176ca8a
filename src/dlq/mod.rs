//! `dlq list | replay`: what is in the dead-letter topics, and back with it to where it came from.
//!
//! - `row`: a message as it is shown. `span`: reads a topic from here to there. `replay`: sends messages back.
//!
//! What was sent back is committed for the group `consumer.group` and `.dlq`: another `replay` goes on behind it.

use std::io::Write;

use slog::{Logger, info, warn};

use crate::cli::{DlqCommand, ListDeadLetters};
use crate::dead_letter::DeadLetter;
use crate::exit::Exit;
use crate::kafka::cluster::Cluster;
use crate::kafka::error::Failure;
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;
use crate::report::ReplayReport;
use crate::settings::Settings;

mod replay;
mod row;
mod span;

use span::{Span, SpanReader};

/// Runs the command; `out` gets what is shown, `report` what was sent back.
pub fn run(
    command: &DlqCommand,
    settings: &Settings,
    logger: &Logger,
    out: &mut dyn Write,
    report: &mut Option<ReplayReport>,
) -> Exit {
    let mut settings = settings.clone();
    settings.consumer.group.push_str(".dlq");
    let result = match command {
        DlqCommand::List(list) => show(list, &settings, logger, out),
        DlqCommand::Replay(order) => replay::run(order, &settings, logger, out, report.insert(ReplayReport::default())),
    };
    result.unwrap_or_else(Exit::from)
}

/// A dead-letter topic, as it is when the command begins.
struct Letters {
    /// All that stands in it.
    all: Vec<Span>,
    /// Where the next replay begins.
    next: Offsets,
}

/// Looks at these topics, or at those of the settings. Without one that is named, one that exists is enough.
fn look_at(topic: Option<&String>, settings: &Settings, logger: &Logger) -> Result<Letters, Failure> {
    let cluster = Cluster::connect(settings, logger)?;
    let mut partitions = Vec::new();
    let mut missing = None;
    for topic in topics(topic, settings) {
        match cluster.partitions(&topic) {
            Ok(found) => partitions.extend(found.into_iter().map(|number| TopicPartition::new(topic.clone(), number))),
            Err(failure @ Failure::TopicMissing { .. }) => missing = missing.or(Some(failure)),
            Err(failure) => return Err(failure),
        }
    }
    if let Some(missing) = missing.filter(|_| partitions.is_empty()) {
        return Err(missing);
    }
    let (beginnings, ends) = (cluster.beginnings(&partitions)?, cluster.ends(&partitions)?);
    let committed = cluster.committed(&partitions)?;
    cluster.leave();
    let at = |offsets: &Offsets, partition: &TopicPartition| offsets.get(partition).copied().unwrap_or(0);
    let mut next = Offsets::new();
    for partition in &partitions {
        let (beginning, end) = (at(&beginnings, partition), at(&ends, partition));
        let committed = committed.get(partition).copied();
        if let Some(committed) = committed.filter(|committed| *committed < beginning) {
            warn!(logger, "{} dead letters are gone that were not sent back: the topic's retention was shorter",
                beginning - committed; "topic" => &partition.topic, "partition" => partition.partition);
        }
        // A topic that was made anew begins anew.
        let known = committed.filter(|committed| *committed <= end);
        next.insert(partition.clone(), known.unwrap_or(beginning).max(beginning));
    }
    let span = |partition: TopicPartition| {
        let (from, to) = (at(&beginnings, &partition), at(&ends, &partition));
        Span { partition, from, to }
    };
    Ok(Letters { all: partitions.into_iter().map(span).collect(), next })
}

fn topics(topic: Option<&String>, settings: &Settings) -> Vec<String> {
    match topic {
        Some(topic) => vec![topic.clone()],
        None => settings.dead_letter_topics_of_all(),
    }
}

fn show(list: &ListDeadLetters, settings: &Settings, logger: &Logger, out: &mut dyn Write) -> Result<Exit, Failure> {
    let letters = look_at(list.which.topic.as_ref(), settings, logger)?;
    let mut reader = SpanReader::open(settings, &letters.all, logger)?;
    let (mut shown, mut written) = (0_u64, Ok(()));
    while written.is_ok() && list.which.max.is_none_or(|max| shown < max) {
        let Some(copy) = reader.read_next()? else { break };
        let letter = DeadLetter::of(&copy);
        let partition = TopicPartition::new(copy.topic.clone(), copy.partition);
        let replayed = letters.next.get(&partition).is_some_and(|next| copy.offset < *next);
        let text = match (list.json, shown) {
            (true, _) => row::in_json(&copy, letter.as_ref(), replayed),
            (false, 0) => row::head() + &row::in_table(&copy, letter.as_ref(), replayed),
            (false, _) => row::in_table(&copy, letter.as_ref(), replayed),
        };
        written = out.write_all(text.as_bytes());
        shown += 1;
    }
    reader.close();
    if shown == 0 {
        info!(logger, "no dead letters");
    }
    Ok(Exit::shown(written.and_then(|()| out.flush())))
}
