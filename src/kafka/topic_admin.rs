//! Lists, creates, describes, alters and deletes topics. Each call blocks up to a deadline.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewPartitions, NewTopic as Definition, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;
use serde::Serialize;
use slog::Logger;

use super::acl::{Needs, Right};
use super::client_config;
use super::client_context::ClientContext;
use super::cluster_client::ClusterClient;
use super::error::{KafkaError, code_text, creation, is_not_ready, reason};
use super::offsets::Watermarks;
use super::startup::when_ready;
use crate::record::TopicPartition;
use crate::settings::Settings;

/// How long the brokers may take to report a created or deleted topic.
const PROPAGATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a topic cannot have fewer partitions.
const NONE_REMOVED: &str =
    "Kafka cannot remove partitions: create another topic, or delete this one and create it again";

/// The topic property.
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// The result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicResult {
    /// The change was made now.
    Now,
    /// The topic was already in this state.
    Before,
}

/// Creates a topic with these properties and waits until the brokers report it.
///
/// # Errors
/// The broker's error, such as too few brokers for the replication factor.
pub fn create(
    settings: &Settings,
    cluster: &ClusterClient,
    logger: &Logger,
    name: &str,
    partitions: i32,
    replication: i32,
    properties: &[(&str, &str)],
) -> Result<TopicResult, KafkaError> {
    let definition = Definition::new(name, partitions, TopicReplication::Fixed(replication));
    let definition = properties.iter().fold(definition, |topic, (name, value)| topic.set(name, value));
    let result = block_on(admin(settings, logger)?.create_topics([&definition], &options(cluster.remaining())));
    match single(name, result)? {
        None => {
            let appears = Instant::now() + PROPAGATION_TIMEOUT;
            while cluster.partitions_if_exists(name)?.is_none_or(|found| found.len() < partitions as usize) {
                pause_until(appears, name, "was created, but the brokers do not know it yet")?;
            }
            Ok(TopicResult::Now)
        }
        Some(RDKafkaErrorCode::TopicAlreadyExists) => {
            check_partitions(cluster, name, partitions).map(|()| TopicResult::Before)
        }
        // While brokers are fenced, the controller counts too few of them.
        Some(code @ RDKafkaErrorCode::InvalidReplicationFactor)
            if usize::try_from(replication).is_ok_and(|replication| replication <= cluster.broker_count()) =>
        {
            Err(KafkaError::NotReady { what: format!("the topic {name:?}"), reason: code_text(code) })
        }
        Some(code) => Err(refused(name, Right::CreateTopic(name.to_owned()), code)),
    }
}

/// Checks that an existing topic has the number of partitions that it was to be created with.
fn check_partitions(cluster: &ClusterClient, name: &str, partitions: i32) -> Result<(), KafkaError> {
    let (found, wanted) = (cluster.partitions(name)?.len(), partitions as usize);
    match found.cmp(&wanted) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(KafkaError::too_few_partitions(name, found, wanted, cluster.brokers())),
        Ordering::Greater => {
            let reason = format!("it exists already, with {found} partitions and not {wanted}; {NONE_REMOVED}");
            Err(KafkaError::Topic { topic: name.to_owned(), reason })
        }
    }
}

/// Adds partitions to a topic, up to this number, and waits until the brokers report them.
///
/// # Errors
/// [`KafkaError::TopicMissing`]; [`KafkaError::Topic`] if the topic has more; or the brokers' error.
pub fn add_partitions(
    settings: &Settings,
    cluster: &ClusterClient,
    logger: &Logger,
    name: &str,
    partitions: i32,
) -> Result<TopicResult, KafkaError> {
    let (found, wanted) = (cluster.partitions(name)?.len(), partitions as usize);
    match found.cmp(&wanted) {
        Ordering::Less => {}
        Ordering::Equal => return Ok(TopicResult::Before),
        Ordering::Greater => {
            let reason = format!("it has {found} partitions, more than {wanted}; {NONE_REMOVED}");
            return Err(KafkaError::Topic { topic: name.to_owned(), reason });
        }
    }
    let more = NewPartitions::new(name, wanted);
    let result = block_on(admin(settings, logger)?.create_partitions([&more], &options(cluster.remaining())));
    if let Some(code) = single(name, result)? {
        return Err(refused(name, Right::AlterTopic(name.to_owned()), code));
    }
    let appear = Instant::now() + PROPAGATION_TIMEOUT;
    while cluster.partitions_if_exists(name)?.is_none_or(|found| found.len() < wanted) {
        pause_until(appear, name, "has more partitions, but the brokers do not know them yet")?;
    }
    Ok(TopicResult::Now)
}

/// A topic in `topics list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The number of partitions.
    pub partitions: usize,
    /// The replication factor: the maximum of all partitions during a reassignment.
    pub replication_factor: usize,
}

/// All topics by name, including Kafka's internal ones.
///
/// # Errors
/// The brokers' error. The brokers leave out topics that the user may not describe.
pub fn list(cluster: &ClusterClient) -> Result<Vec<Listed>, KafkaError> {
    let listed = |(name, partitions): (String, Vec<Vec<i32>>)| Listed {
        name,
        replication_factor: partitions.iter().map(Vec::len).max().unwrap_or(0),
        partitions: partitions.len(),
    };
    Ok(cluster.topics()?.into_iter().map(listed).collect())
}

/// Deletes a topic with all its messages, and waits until it is gone; repeats that while the cluster is not ready.
///
/// # Errors
/// [`KafkaError::TopicMissing`], or the broker's error.
pub fn delete(settings: &Settings, logger: &Logger, name: &str) -> Result<(), KafkaError> {
    let mut attempts = 0;
    when_ready(settings, logger, |cluster| {
        attempts += 1;
        match delete_once(settings, &cluster, logger, name) {
            // An earlier attempt has deleted it, without a reply.
            Err(KafkaError::TopicMissing { .. }) if attempts > 1 => Ok(()),
            result => result,
        }
    })
}

fn delete_once(settings: &Settings, cluster: &ClusterClient, logger: &Logger, name: &str) -> Result<(), KafkaError> {
    let result = block_on(admin(settings, logger)?.delete_topics(&[name], &options(cluster.remaining())));
    match single(name, result)? {
        None => {
            let vanishes = Instant::now() + PROPAGATION_TIMEOUT;
            while cluster.partitions_if_exists(name)?.is_some() {
                pause_until(vanishes, name, "was deleted, but the brokers still know it")?;
            }
            Ok(())
        }
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Err(KafkaError::topic_missing(name, cluster.brokers()))
        }
        Some(code) => Err(refused(name, Right::DeleteTopic(name.to_owned()), code)),
    }
}

/// What removes messages from a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// `cleanup.policy` has `compact`: a later message may replace an earlier one of the same key.
    pub compacts: bool,
    /// `retention.ms`, if `cleanup.policy` has `delete`; `None`: no limit.
    pub age: Option<Duration>,
    /// `retention.bytes`, likewise.
    pub bytes: Option<u64>,
}

/// Reads what removes messages from a topic.
///
/// # Errors
/// The brokers' error; needs the right to describe the topic's configuration.
pub fn retention(settings: &Settings, logger: &Logger, name: &str) -> Result<Retention, KafkaError> {
    let found = properties(settings, logger, name)?;
    let value = |property: &str| found.get(property).and_then(|entry| entry.value.clone()).unwrap_or_default();
    Ok(retention_of(&value("cleanup.policy"), &value("retention.ms"), &value("retention.bytes")))
}

fn retention_of(policy: &str, ms: &str, bytes: &str) -> Retention {
    let has = |word| policy.split(',').any(|policy| policy.trim() == word);
    // -1: no limit.
    let limit = |text: &str| text.trim().parse::<u64>().ok().filter(|_| has("delete"));
    Retention { compacts: has("compact"), age: limit(ms).map(Duration::from_millis), bytes: limit(bytes) }
}

/// A partition in `topics describe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// The partition.
    pub partition: TopicPartition,
    /// The low watermark.
    pub beginning: i64,
    /// The high watermark.
    pub end: i64,
    /// The committed offset of `consumer.group_id`.
    pub committed: Option<i64>,
}

/// All partitions of a topic.
///
/// # Errors
/// [`KafkaError::TopicMissing`], or the brokers' error.
pub fn describe(cluster: &ClusterClient, name: &str) -> Result<Vec<TopicDescription>, KafkaError> {
    let partitions: Vec<_> =
        cluster.partitions(name)?.into_iter().map(|number| TopicPartition::new(name, number)).collect();
    let watermarks = cluster.watermarks(&partitions)?;
    let committed = cluster.committed(&partitions)?;
    Ok(watermarks
        .into_iter()
        .map(|(partition, Watermarks { low, high })| TopicDescription {
            beginning: low,
            end: high,
            committed: committed.get(&partition).copied(),
            partition,
        })
        .collect())
}

/// Reads a topic's `max.message.bytes`: the maximum size of a batch after compression.
///
/// # Errors
/// The broker's error, such as a missing right to describe the topic's configuration.
pub fn max_message_bytes(settings: &Settings, logger: &Logger, topic: &str) -> Result<u64, KafkaError> {
    let described = properties(settings, logger, topic)?;
    let value = described.get(MAX_MESSAGE_BYTES).and_then(|entry| entry.value.as_ref()?.parse().ok());
    value.ok_or_else(|| KafkaError::Topic {
        topic: topic.to_owned(),
        reason: format!("the broker does not report {MAX_MESSAGE_BYTES}"),
    })
}

/// A topic's configuration.
fn properties(settings: &Settings, logger: &Logger, topic: &str) -> Result<ConfigResource, KafkaError> {
    let failed = |reason| KafkaError::Topic { topic: topic.to_owned(), reason: format!("its configuration: {reason}") };
    let admin = admin(settings, logger)?;
    let described = block_on(
        admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options(settings.kafka.request_timeout())),
    );
    leave(admin);
    let described = described.map_err(|error| failed(reason(&error)))?;
    let described = described.into_iter().next().ok_or_else(|| failed("the broker has not replied".to_owned()))?;
    described.map_err(|code| failed(code_text(code)))
}

/// Closes the client on a separate thread, because librdkafka takes up to 100 ms.
fn leave(admin: AdminClient<ClientContext>) {
    // Without a thread the client closes here, a little later.
    std::thread::Builder::new().name("leave".to_owned()).spawn(move || drop(admin)).ok();
}

fn admin(settings: &Settings, logger: &Logger) -> Result<AdminClient<ClientContext>, KafkaError> {
    client_config::metadata_client(settings)
        .create_with_context(ClientContext::quiet(logger))
        .map_err(|error| creation(&error))
}

fn options(timeout: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}

type Results = rdkafka::error::KafkaResult<Vec<rdkafka::admin::TopicResult>>;

fn single(name: &str, results: Results) -> Result<Option<RDKafkaErrorCode>, KafkaError> {
    let results = results.map_err(|error| KafkaError::request(format!("the topic {name:?}"), &error))?;
    Ok(results.into_iter().find_map(|result| result.err().map(|(_, code)| code)))
}

fn refused(topic: &str, right: Right, code: RDKafkaErrorCode) -> KafkaError {
    match Needs::of_topic(right).missing(code) {
        Some(right) => KafkaError::denied(format!("the topic {topic:?}"), right, code),
        None if is_not_ready(code) => {
            KafkaError::NotReady { what: format!("the topic {topic:?}"), reason: code_text(code) }
        }
        None => KafkaError::Topic { topic: topic.to_owned(), reason: code_text(code) },
    }
}

fn pause_until(deadline: Instant, topic: &str, still: &str) -> Result<(), KafkaError> {
    if Instant::now() >= deadline {
        let reason = format!("it {still} after {PROPAGATION_TIMEOUT:?}");
        return Err(KafkaError::Topic { topic: topic.to_owned(), reason });
    }
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_determines_what_removes_messages() {
        let week = Some(Duration::from_secs(7 * 24 * 3_600));
        let deleted = Retention { compacts: false, age: week, bytes: None };
        assert_eq!(retention_of("delete", "604800000", "-1"), deleted);
        assert_eq!(retention_of("compact", "604800000", "5"), Retention { compacts: true, ..Retention::default() });
        assert_eq!(retention_of("compact, delete", "-1", "5"), Retention { compacts: true, age: None, bytes: Some(5) });
        assert_eq!(retention_of("", "", ""), Retention::default(), "nothing is known");
    }
}
