//! Offsets of the partitions' logs: watermarks, and offsets by time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};

use super::{ClusterClient, LEADER_POLL_INTERVAL, time_left};
use crate::kafka::acl::{Needs, Right};
use crate::kafka::error::KafkaError;
use crate::kafka::offsets::{Offsets, Watermarks, committed_of, list_of, offsets_of, watermarks_of};
use crate::record::TopicPartition;

impl ClusterClient {
    /// The low watermarks: the oldest offsets that the log still holds.
    ///
    /// # Errors
    /// The brokers' error.
    pub fn low_watermarks(&self, partitions: &[TopicPartition]) -> Result<Offsets, KafkaError> {
        self.query_offsets(partitions, Offset::Beginning)
    }

    /// The high watermarks: the next offsets that will be written (with `read_committed`: the last stable offsets).
    ///
    /// # Errors
    /// The brokers' error.
    pub fn high_watermarks(&self, partitions: &[TopicPartition]) -> Result<Offsets, KafkaError> {
        self.query_offsets(partitions, Offset::End)
    }

    /// Both watermarks of each partition.
    ///
    /// # Errors
    /// The brokers' error, or a reply without one of the partitions.
    pub fn watermarks(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Watermarks>, KafkaError> {
        watermarks_of(partitions, &self.low_watermarks(partitions)?, &self.high_watermarks(partitions)?)
    }

    /// Like [`ClusterClient::high_watermarks`], without the partitions whose leaders do not respond within `timeout`.
    ///
    /// # Errors
    /// The reason, if no leader responds.
    pub fn high_watermarks_within(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Offsets, KafkaError> {
        let what = "the partitions' ends could not be read";
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let deadline = Instant::now() + timeout;
        let query = &|led: &Vec<TopicPartition>| {
            let reply = self.client.offsets_for_times(list_of(led, Offset::End)?, time_left(deadline));
            Ok(committed_of(&reply.map_err(|error| self.failed(what, &error))?))
        };
        // librdkafka waits for all leaders of a request: one request per leader, in parallel, so that an unavailable
        // leader does not delay the others.
        let by_leader = self.per_leader(partitions, deadline)?;
        let replies: Vec<Result<Offsets, KafkaError>> = std::thread::scope(|scope| {
            // Without a thread the partitions of this leader are left out.
            let start = |led| std::thread::Builder::new().spawn_scoped(scope, move || query(led));
            let requests: Vec<_> = by_leader.values().filter_map(|led| start(led).ok()).collect();
            requests.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        self.serve_events();
        let (mut ends, mut failed) = (Offsets::new(), None);
        for reply in replies {
            match reply {
                Ok(some) => ends.extend(some),
                Err(failure) => failed = Some(failure),
            }
        }
        let no_leader =
            || KafkaError::Request { what: what.to_owned(), reason: "none of them has a leader".to_owned() };
        if ends.is_empty() { Err(failed.unwrap_or_else(no_leader)) } else { Ok(ends) }
    }

    /// The first offsets with a timestamp of at least `time_ms`; the high watermark where there is none.
    ///
    /// # Errors
    /// The brokers' error.
    pub fn offsets_for_times(&self, partitions: &[TopicPartition], time_ms: i64) -> Result<Offsets, KafkaError> {
        let mut found = self.query_offsets(partitions, Offset::Offset(time_ms))?;
        if found.len() < partitions.len() {
            for (partition, end) in self.high_watermarks(partitions)? {
                found.entry(partition).or_insert(end);
            }
        }
        Ok(found)
    }

    fn query_offsets(&self, partitions: &[TopicPartition], at: Offset) -> Result<Offsets, KafkaError> {
        let what = "the partitions' offsets could not be read";
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        loop {
            let reply = self.client.offsets_for_times(list_of(partitions, at)?, self.remaining());
            self.serve_events();
            // A new topic's partitions get their leaders one after the other.
            let waits = match &reply {
                Ok(list) => {
                    list.elements().iter().any(|element| element.error().is_err_and(|error| is_leaderless(&error)))
                }
                Err(error) => is_leaderless(error),
            };
            if waits && Instant::now() < self.first_contact {
                std::thread::sleep(LEADER_POLL_INTERVAL);
                continue;
            }
            let needs = Needs::of_topic(Right::DescribeTopic(partitions[0].topic.clone()));
            let failed = |error: &RdKafkaError| {
                KafkaError::of_denied(&needs, what, error).unwrap_or_else(|| self.failed(what, error))
            };
            return offsets_of(&reply.map_err(|error| failed(&error))?, what);
        }
    }
}

fn is_leaderless(error: &RdKafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                // The client's own code for a partition that the brokers list without a leader.
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}
