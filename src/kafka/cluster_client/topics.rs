//! Topics: their partitions, leaders and ids.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};

use super::{ClusterClient, time_left};
use crate::kafka::acl::{Needs, Right};
use crate::kafka::error::{KafkaError, code_text};
use crate::kafka::ffi::topic_ids;
use crate::kafka::topic_id::TopicIds;
use crate::record::TopicPartition;

/// How long a newly created topic may be unknown to the queried broker.
const TOPIC_PROPAGATION_TIMEOUT: Duration = Duration::from_millis(1_500);

impl ClusterClient {
    /// The partitions of `topic` in ascending order.
    ///
    /// # Errors
    /// [`KafkaError::TopicMissing`], or the broker's error.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>, KafkaError> {
        let deadline = Instant::now() + TOPIC_PROPAGATION_TIMEOUT;
        loop {
            let found = self.partitions_if_exists(topic)?;
            match found {
                Some(partitions) => return Ok(partitions),
                None if Instant::now() >= deadline => return Err(KafkaError::topic_missing(topic, &self.brokers)),
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// The partitions of `topic`, or `None` if it does not exist.
    ///
    /// # Errors
    /// The broker's error.
    pub fn partitions_if_exists(&self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
        let metadata = self.metadata(topic, self.remaining())?;
        let Some(found) = metadata.topics().iter().find(|candidate| candidate.name() == topic) else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
            Some(RDKafkaErrorCode::LeaderNotAvailable) if found.partitions().is_empty() => return Ok(None),
            Some(RDKafkaErrorCode::LeaderNotAvailable) => {}
            Some(code) => {
                let right = Needs::of_topic(Right::DescribeTopic(topic.to_owned())).missing(code);
                return Err(match right {
                    Some(right) => KafkaError::denied(format!("the topic {topic:?}"), right, code),
                    None => KafkaError::Topic { topic: topic.to_owned(), reason: code_text(code) },
                });
            }
        }
        let mut partitions: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
        partitions.sort_unstable();
        Ok((!partitions.is_empty()).then_some(partitions))
    }

    /// The names of all topics, with the replica ids of each partition.
    ///
    /// # Errors
    /// The broker's error.
    pub fn topics(&self) -> Result<BTreeMap<String, Vec<Vec<i32>>>, KafkaError> {
        let reply = self.client.fetch_metadata(None, self.remaining());
        self.serve_events();
        let metadata = reply.map_err(|error| self.failed("the topics could not be listed", &error))?;
        let replicas = |topic: &MetadataTopic| topic.partitions().iter().map(|it| it.replicas().to_vec()).collect();
        Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), replicas(topic))).collect())
    }

    fn metadata(&self, topic: &str, timeout: Duration) -> Result<Metadata, KafkaError> {
        let what = format!("the metadata of the topic {topic:?} could not be read");
        let reply = self.client.fetch_metadata(Some(topic), timeout);
        self.serve_events();
        reply.map_err(|error| self.failed(what, &error))
    }

    /// The ids of the topics that exist; topics without an id are left out.
    ///
    /// # Errors
    /// The brokers' error.
    pub fn topic_ids(&self, topics: &[String]) -> Result<TopicIds, KafkaError> {
        let reply = topic_ids::topic_ids(&self.client, topics, self.remaining());
        self.serve_events();
        reply.map_err(|code| self.failed("the topics' ids could not be read", &RdKafkaError::MetadataFetch(code)))
    }

    /// Groups the partitions by leader; those without one are left out.
    pub(super) fn per_leader(
        &self,
        partitions: &[TopicPartition],
        deadline: Instant,
    ) -> Result<BTreeMap<i32, Vec<TopicPartition>>, KafkaError> {
        let topics: BTreeSet<_> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
        let mut leaders = BTreeMap::new();
        for topic in topics {
            let metadata = self.metadata(topic, time_left(deadline))?;
            for found in metadata.topics().iter().filter(|found| found.name() == topic) {
                let led = found.partitions().iter().filter(|partition| partition.leader() >= 0);
                leaders.extend(led.map(|partition| ((topic, partition.id()), partition.leader())));
            }
        }
        let mut by_leader: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for partition in partitions {
            if let Some(leader) = leaders.get(&(partition.topic.as_str(), partition.partition)) {
                by_leader.entry(*leader).or_default().push(partition.clone());
            }
        }
        Ok(by_leader)
    }
}
