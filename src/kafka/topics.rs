//! Topics made, described, deleted. Every call blocks, each with a deadline.

use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as Definition, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use slog::Logger;

use super::cluster::Cluster;
use super::config;
use super::error::{Failure, code_text, creation};
use super::events::ClientEvents;
use crate::record::TopicPartition;
use crate::settings::Settings;

/// How long a created or deleted topic may take until the brokers say so too.
const TAKES_EFFECT: Duration = Duration::from_secs(10);

/// What was asked for has been done, or had been before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Just now.
    Now,
    /// It was so already.
    Before,
}

/// Makes a topic and waits until the brokers know it.
///
/// # Errors
/// What the broker says, such as a replication that it has too few brokers for.
pub fn create(
    settings: &Settings,
    cluster: &Cluster,
    logger: &Logger,
    name: &str,
    partitions: i32,
    replication: i32,
) -> Result<Done, Failure> {
    let definition = Definition::new(name, partitions, TopicReplication::Fixed(replication));
    let result = block_on(admin(settings, logger)?.create_topics([&definition], &options(settings)));
    match single(name, result)? {
        None => {
            let appears = Instant::now() + TAKES_EFFECT;
            while cluster.look_for(name)?.is_none_or(|found| found.len() < partitions as usize) {
                pause_until(appears, name, "was created, but the brokers do not know it yet")?;
            }
            Ok(Done::Now)
        }
        Some(RDKafkaErrorCode::TopicAlreadyExists) => Ok(Done::Before),
        Some(code) => Err(Failure::Topic { topic: name.to_owned(), reason: code_text(code) }),
    }
}

/// Deletes a topic with all its messages, and waits until it is gone.
///
/// # Errors
/// [`Failure::TopicMissing`], or what the broker says.
pub fn delete(settings: &Settings, cluster: &Cluster, logger: &Logger, name: &str) -> Result<(), Failure> {
    let result = block_on(admin(settings, logger)?.delete_topics(&[name], &options(settings)));
    match single(name, result)? {
        None => {
            let vanishes = Instant::now() + TAKES_EFFECT;
            while cluster.look_for(name)?.is_some() {
                pause_until(vanishes, name, "was deleted, but the brokers still know it")?;
            }
            Ok(())
        }
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Err(Failure::topic_missing(name, cluster.brokers()))
        }
        Some(code) => Err(Failure::Topic { topic: name.to_owned(), reason: code_text(code) }),
    }
}

/// One partition as `topics describe` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Which.
    pub partition: TopicPartition,
    /// The oldest offset that is still there.
    pub beginning: i64,
    /// The next offset that will be written.
    pub end: i64,
    /// What `consumer.group` has committed.
    pub committed: Option<i64>,
}

/// All partitions of a topic.
///
/// # Errors
/// [`Failure::TopicMissing`], or what the brokers say.
pub fn describe(cluster: &Cluster, name: &str) -> Result<Vec<Described>, Failure> {
    let partitions: Vec<_> =
        cluster.partitions(name)?.into_iter().map(|number| TopicPartition::new(name, number)).collect();
    let (beginnings, ends) = (cluster.beginnings(&partitions)?, cluster.ends(&partitions)?);
    let committed = cluster.committed(&partitions)?;
    Ok(partitions
        .into_iter()
        .map(|partition| Described {
            beginning: beginnings.get(&partition).copied().unwrap_or(0),
            end: ends.get(&partition).copied().unwrap_or(0),
            committed: committed.get(&partition).copied(),
            partition,
        })
        .collect())
}

fn admin(settings: &Settings, logger: &Logger) -> Result<AdminClient<ClientEvents>, Failure> {
    config::inquirer(settings).create_with_context(ClientEvents::quiet(logger)).map_err(|error| creation(&error))
}

fn options(settings: &Settings) -> AdminOptions {
    let timeout = Some(settings.kafka.connect_timeout);
    AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
}

type Results = rdkafka::error::KafkaResult<Vec<rdkafka::admin::TopicResult>>;

fn single(name: &str, results: Results) -> Result<Option<RDKafkaErrorCode>, Failure> {
    let results = results.map_err(|error| Failure::request(format!("the topic {name:?}"), &error))?;
    Ok(results.into_iter().find_map(|result| result.err().map(|(_, code)| code)))
}

fn pause_until(deadline: Instant, topic: &str, still: &str) -> Result<(), Failure> {
    if Instant::now() >= deadline {
        let reason = format!("it {still} after {TAKES_EFFECT:?}");
        return Err(Failure::Topic { topic: topic.to_owned(), reason });
    }
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}
