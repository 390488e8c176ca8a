//! The topic of a run of `verify` or `demo`: created before it, and deleted after it.

use slog::{Logger, info};

use crate::cli::TopicSpec;
use crate::exit::ExitStatus;
use crate::kafka::error::KafkaError;
use crate::kafka::startup::when_ready;
use crate::kafka::topic_admin::{self, TopicResult};
use crate::settings::Settings;

/// Keeps every message until the topic is deleted, whatever the brokers' defaults are: only the run itself may remove messages.
const RETAIN_ALL: [(&str, &str); 3] = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];

/// Creates the topic with unlimited retention unless it exists. Returns its number of partitions.
///
/// # Errors
/// The brokers cannot be reached, or deny the request.
pub fn ensure(settings: &Settings, new: &TopicSpec, logger: &Logger) -> Result<usize, ExitStatus> {
    let TopicSpec { name, partitions, replication } = new;
    Ok(when_ready(settings, logger, |cluster| {
        if let Some(found) = cluster.partitions_if_exists(name)? {
            info!(logger, "the topic exists"; "topic" => name, "partitions" => found.len());
            return Ok(found.len());
        }
        match topic_admin::create(settings, &cluster, logger, name, *partitions, *replication, &RETAIN_ALL)? {
            TopicResult::Now => {
                info!(logger, "topic created"; "topic" => name, "partitions" => partitions, "replication" => replication);
            }
            TopicResult::Before => info!(logger, "the topic exists"; "topic" => name),
        }
        Ok(usize::try_from(*partitions).unwrap_or_default())
    })?)
}

/// Deletes the topic.
///
/// # Errors
/// The brokers cannot be reached, or deny the request.
pub fn delete(settings: &Settings, topic: &str, logger: &Logger) -> Result<(), KafkaError> {
    topic_admin::delete(settings, logger, topic)
}
