//! `dlq list | replay`: shows the records of dead-letter topics, and sends them back to their original topics.
//!
//! - `format`: formats a record. `range_reader`: reads an offset range. `replay`: sends records back.
//! - `targets`: the topics to which they may be sent. `progress`: the progress per record, over all runs.
//!
//! The progress is committed for the group `consumer.group_id` with `.dlq`: a record is sent back only once.

use std::collections::BTreeMap;
use std::io::Write;

use slog::{Logger, info, warn};

use crate::blocking_command::Stop;
use crate::cli::{DlqCommand, ListDeadLetters};
use crate::dead_letter::DeadLetter;
use crate::exit::ExitStatus;
use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::error::KafkaError;
use crate::kafka::offsets::Watermarks;
use crate::kafka::startup::when_ready;
use crate::record::TopicPartition;
use crate::report::ReplayReport;
use crate::settings::Settings;

mod format;
mod progress;
mod range_reader;
mod replay;
mod replay_result;
mod targets;

use progress::Progress;
use range_reader::{OffsetRange, RangeReader};

/// Runs the command; `out` gets the listing, `report` the result of a replay. A replay that is stopped finishes its
/// batch.
pub fn run(
    command: &DlqCommand,
    settings: &Settings,
    logger: &Logger,
    out: &mut dyn Write,
    report: &mut Option<ReplayReport>,
    stop: &Stop,
) -> ExitStatus {
    let mut settings = settings.clone();
    settings.consumer.group_id.push_str(".dlq");
    // The reading client commits nothing; the progress of a replay is committed separately.
    settings.consumer.read_only = true;
    let result = match command {
        DlqCommand::List(list) => show(list, &settings, logger, out),
        DlqCommand::Replay(order) => {
            replay::run(order, &settings, logger, out, report.insert(ReplayReport::default()), stop)
        }
    };
    result.unwrap_or_else(ExitStatus::from)
}

/// The dead-letter topics as of the start of the command.
struct DeadLetterTopics {
    /// The offset ranges with records.
    spans: Vec<OffsetRange>,
    /// The progress of replays in each partition.
    progress: BTreeMap<TopicPartition, Progress>,
}

/// Reads the state of these topics; at least one must exist.
fn read_topics(cluster: &ClusterClient, topics: &[String], logger: &Logger) -> Result<DeadLetterTopics, KafkaError> {
    let mut partitions = Vec::new();
    let mut missing = None;
    for topic in topics {
        match cluster.partitions(topic) {
            Ok(found) => partitions.extend(found.into_iter().map(|number| TopicPartition::new(topic, number))),
            Err(failure @ KafkaError::TopicMissing { .. }) => missing = missing.or(Some(failure)),
            Err(failure) => return Err(failure),
        }
    }
    if let Some(missing) = missing.filter(|_| partitions.is_empty()) {
        return Err(missing);
    }
    let watermarks = cluster.watermarks(&partitions)?;
    let committed = cluster.committed_with_metadata(&partitions)?;
    let (mut spans, mut progress) = (Vec::new(), BTreeMap::new());
    for (partition, Watermarks { low: from, high: to }) in watermarks {
        // A re-created topic starts again.
        let known = committed.get(&partition).map(Progress::of).filter(|known| known.position() <= to);
        let mut own = known.unwrap_or_else(|| Progress::new(from));
        let lost = own.begin_at(from);
        if lost > 0 {
            warn!(logger, "dead-letter records were deleted by retention before they were sent back: {lost}";
                "topic" => &partition.topic, "partition" => partition.partition);
        }
        progress.insert(partition.clone(), own);
        spans.push(OffsetRange { partition, from, to });
    }
    Ok(DeadLetterTopics { spans, progress })
}

fn topics(topic: Option<&String>, settings: &Settings) -> Vec<String> {
    match topic {
        Some(topic) => vec![topic.clone()],
        None => settings.dead_letter_topics_of_all(),
    }
}

fn show(
    list: &ListDeadLetters,
    settings: &Settings,
    logger: &Logger,
    out: &mut dyn Write,
) -> Result<ExitStatus, KafkaError> {
    let topics = topics(list.which.topic.as_ref(), settings);
    let DeadLetterTopics { spans, progress } =
        when_ready(settings, logger, |cluster| read_topics(&cluster, &topics, logger))?;
    let mut reader = RangeReader::open(settings, &spans, logger)?;
    let (mut shown, mut written) = (0_u64, Ok(()));
    while written.is_ok() && list.which.max.is_none_or(|max| shown < max) {
        let Some(record) = reader.read_next()? else { break };
        let dead_letter = DeadLetter::from_headers(&record);
        let partition = TopicPartition::new(record.topic.clone(), record.partition);
        let done = progress.get(&partition).is_some_and(|progress| progress.is_done(record.offset));
        let text = match (list.json, shown) {
            (true, _) => format::in_json(&record, dead_letter.as_ref(), done),
            (false, 0) => format::table_header() + &format::in_table(&record, dead_letter.as_ref(), done),
            (false, _) => format::in_table(&record, dead_letter.as_ref(), done),
        };
        written = out.write_all(text.as_bytes());
        shown += 1;
    }
    reader.close();
    if shown == 0 {
        info!(logger, "no dead-letter records");
    }
    Ok(ExitStatus::from_stdout_result(written.and_then(|()| out.flush())))
}
