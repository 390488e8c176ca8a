//! `config check --connect`: checks that the brokers have what the settings name, line by line.

use std::io::{self, Write};

use slog::Logger;

use crate::consumer::supervisor::group_check;
use crate::exit::ExitStatus;
use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::error::KafkaError;
use crate::record::TopicPartition;
use crate::settings::Settings;

/// Queries the brokers and writes a line per check; returns the exit status. Each request has the timeout
/// `kafka.connect_timeout`. Nothing is written to the cluster, and no group is joined.
pub fn run(settings: &Settings, logger: &Logger, out: &mut dyn Write) -> ExitStatus {
    let mut lines = Lines { out, failed: None, unwritten: None };
    check(settings, logger, &mut lines);
    match (lines.failed, lines.unwritten) {
        (Some(exit), _) => exit,
        (None, Some(error)) => ExitStatus::from_stdout_result(Err(error)),
        (None, None) => ExitStatus::clean("the settings are in order, and the brokers have what they name"),
    }
}

/// The lines of the result.
struct Lines<'a> {
    out: &'a mut dyn Write,
    /// The first failure.
    failed: Option<ExitStatus>,
    unwritten: Option<io::Error>,
}

impl Lines<'_> {
    /// Writes the result of a check; returns the value found.
    fn add<T>(&mut self, what: &str, result: Result<(T, String), ExitStatus>) -> Option<T> {
        let (word, text, found) = match result {
            Ok((found, text)) => ("ok", text, Some(found)),
            Err(exit) => {
                let text = exit.reason.clone();
                self.failed.get_or_insert(exit);
                ("FAILED", text, None)
            }
        };
        if let Err(error) = writeln!(self.out, "{word:<7} {what:<18} {text}") {
            self.unwritten.get_or_insert(error);
        }
        found
    }
}

fn check(settings: &Settings, logger: &Logger, lines: &mut Lines<'_>) {
    let connected = ClusterClient::connect(settings, logger).map(|cluster| {
        let text =
            format!("{} replies; brokers of the cluster: {}", settings.kafka.brokers.join(","), cluster.broker_count());
        (cluster, text)
    });
    let Some(cluster) = lines.add("brokers", connected.map_err(ExitStatus::from)) else { return };
    let mut topics = settings.consumed_topics();
    if !topics.contains(&settings.kafka.topic) {
        topics.insert(0, settings.kafka.topic.clone());
    }
    let mut partitions = Vec::new();
    for topic in &topics {
        partitions.extend(lines.add("topic", existing(&cluster, topic).map_err(ExitStatus::from)).unwrap_or_default());
    }
    let dead_letters = settings.dead_letter_topics();
    for topic in &dead_letters {
        lines.add("dead-letter topic", existing(&cluster, topic).map_err(ExitStatus::from));
    }
    if dead_letters.is_empty() {
        let text = format!("none is used (consumer.on_failure = {})", settings.consumer.on_failure.word());
        lines.add("dead-letter topic", Ok(((), text)));
    }
    lines.add("group", group_check::check(&cluster, settings, logger).map(|text| ((), text)));
    if !partitions.is_empty() {
        lines.add("committed offsets", committed(&cluster, &partitions).map_err(ExitStatus::from));
    }
    let text =
        "none of these requests was denied; READ and WRITE on topics are not tried, since nothing is read or written";
    if lines.failed.is_none() {
        lines.add("rights", Ok(((), text.to_owned())));
    }
}

/// The partitions of a topic with readable high watermarks.
fn existing(cluster: &ClusterClient, topic: &str) -> Result<(Vec<TopicPartition>, String), KafkaError> {
    let numbers = cluster.partitions(topic)?;
    let partitions: Vec<_> = numbers.into_iter().map(|number| TopicPartition::new(topic, number)).collect();
    let ends = cluster.high_watermarks(&partitions)?;
    let text =
        format!("{topic:?}: partitions: {}; sum of their ends: {}", partitions.len(), ends.values().sum::<i64>());
    Ok((partitions, text))
}

fn committed(cluster: &ClusterClient, partitions: &[TopicPartition]) -> Result<((), String), KafkaError> {
    let committed = cluster.committed(partitions)?;
    Ok(((), format!("in {} of {} partitions", committed.len(), partitions.len())))
}
