//! Queries of the cluster, on a dedicated thread: they block.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, debug, warn};

use super::group_check::{StartError, refuse_locked, refuse_shared};
use super::messages::{CommittedOffsets, DiscoveredPartition, GroupCommits, NotFound, TopicEnds};
use super::start_offsets::{rewind_warnings, start_at, start_no_lower, start_of_recreated};
use crate::consumer::protocol::PartitionAssignment;
use crate::consumer::start_offset::KnownOffsets;
use crate::exit::ExitStatus;
use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::commit_metadata::{CommitMetadata, of_topic_before};
use crate::kafka::error::KafkaError;
use crate::kafka::offset_gaps::GapFinder;
use crate::kafka::offsets::{Commits, Offsets, Watermarks};
use crate::kafka::startup::StartupRetry;
use crate::kafka::topic_id::TopicIds;
use crate::record::TopicPartition;
use crate::settings::{Assignment, OffsetOutOfRange, Settings, StartOffset};

mod handlers;

/// The timeout for the leaders to return watermarks. A query for commits may wait behind this one, and has 5 s
/// (actions.rs). If some replies are missing, the next query follows 2 s later.
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(3);
/// Queries the topics: their partitions, watermarks, and the group's committed offsets.
pub(super) struct ClusterQueries {
    settings: Arc<Settings>,
    /// The group's name was generated for this run, so that no other client can know it.
    own_group: bool,
    /// Start offsets that take precedence over the settings.
    starts: Option<Offsets>,
    /// The metadata of offsets that this run commits.
    metadata: CommitMetadata,
    /// The ids of the consumed topics.
    topic_ids: TopicIds,
    logger: Logger,
    cluster: Option<ClusterClient>,
    /// Created on first use.
    gap_finder: Option<GapFinder>,
    /// Whether the client has reached the cluster before.
    connected: bool,
    /// Since when each topic has been missing.
    missing: BTreeMap<String, Instant>,
}

impl ClusterQueries {
    /// Starts the actor on its thread.
    pub(super) fn start(
        settings: Arc<Settings>,
        own_group: bool,
        starts: Option<Offsets>,
        metadata: CommitMetadata,
        logger: Logger,
    ) -> Addr<Self> {
        SyncArbiter::start(1, move || Self {
            settings: Arc::clone(&settings),
            own_group,
            starts: starts.clone(),
            metadata: metadata.clone(),
            topic_ids: TopicIds::new(),
            logger: logger.clone(),
            cluster: None,
            gap_finder: None,
            connected: false,
            missing: BTreeMap::new(),
        })
    }

    fn cluster(&mut self) -> Result<&ClusterClient, KafkaError> {
        let cluster = match self.cluster.take() {
            Some(cluster) => cluster,
            None if self.connected => ClusterClient::reconnect(&self.settings, &self.logger)?,
            None => ClusterClient::connect(&self.settings, &self.logger)?,
        };
        self.connected = true;
        Ok(self.cluster.insert(cluster))
    }

    /// Sends a query to the cluster. After a failed query the next one uses a new client: a client that keeps an
    /// address at which there is no broker any more is of no use.
    fn ask<T>(&mut self, question: impl FnOnce(&ClusterClient) -> Result<T, KafkaError>) -> Result<T, KafkaError> {
        let reply = question(self.cluster()?);
        if matches!(reply, Err(KafkaError::Request { .. } | KafkaError::NotReady { .. })) {
            self.cluster.take().into_iter().for_each(ClusterClient::leave);
        }
        reply
    }

    /// Runs a step of the start, again and again while the cluster is not ready.
    fn when_ready<T>(&mut self, step: impl Fn(&mut Self) -> Result<T, StartError>) -> Result<T, ExitStatus> {
        let mut retry = StartupRetry::new(&self.settings.kafka);
        loop {
            match step(self) {
                Err(StartError::Kafka(failure)) if retry.pause_before_retry(&failure, &self.logger) => {
                    self.cluster.take().into_iter().for_each(ClusterClient::leave);
                    self.connected = false;
                }
                result => return result.map_err(ExitStatus::from),
            }
        }
    }

    /// Checks that the topics exist.
    fn find_topics(&mut self) -> Result<(), StartError> {
        let topics = self.settings.consumed_topics();
        let cluster = self.cluster()?;
        topics.iter().try_for_each(|topic| cluster.partitions(topic).map(drop))?;
        Ok(())
    }

    fn discover(&mut self) -> Result<Vec<DiscoveredPartition>, StartError> {
        let (settings, starts, logger) = (Arc::clone(&self.settings), self.starts.clone(), self.logger.clone());
        let read_only = settings.consumer.read_only;
        let is_group = settings.consumer.assignment == Assignment::Group;
        let may_be_shared = !self.own_group && !read_only && !is_group;
        let may_be_locked = !self.own_group && settings.consumer.supervisor_lock && is_group;
        let cluster = self.cluster()?;
        if may_be_shared {
            refuse_shared(cluster, &settings)?;
        }
        if may_be_locked {
            refuse_locked(cluster, &settings, &logger)?;
        }
        let mut partitions = Vec::new();
        // Read first: if a topic is created again while it is read, its next id reveals that.
        let topic_ids = ids_of(cluster, &settings, &logger);
        for topic in settings.consumed_topics() {
            let numbers = cluster.partitions(&topic)?;
            partitions.extend(numbers.into_iter().map(|number| TopicPartition::new(&topic, number)));
        }
        // In this order: the other members of a group commit meanwhile, and high watermarks increase.
        let committed = match (read_only, settings.consumer.start) {
            (false, _) | (true, StartOffset::Committed) => cluster.committed_with_metadata(&partitions)?,
            (true, _) => Commits::new(),
        };
        let watermarks = cluster.watermarks(&partitions)?;
        let at_time = match settings.consumer.start {
            StartOffset::Time(time) => cluster.offsets_for_times(&partitions, time)?,
            _ => Offsets::new(),
        };
        let found = watermarks.into_iter().map(|(partition, watermarks)| {
            let known = KnownOffsets {
                watermarks,
                committed: committed.get(&partition).map(|committed| committed.offset),
                at_time: at_time.get(&partition).copied(),
            };
            let start = match &starts {
                Some(starts) => {
                    // Without a start offset: from offset 0, so that deleted messages are reported.
                    let start = starts.get(&partition).copied().unwrap_or(0);
                    start_no_lower(start, &logger, &partition, watermarks)
                }
                None => {
                    let (now, committed) = (topic_ids.get(&partition.topic), committed.get(&partition));
                    match committed.and_then(|committed| of_topic_before(&partition.topic, committed, now)) {
                        Some(recreated) if settings.consumer.start == StartOffset::Committed => {
                            start_of_recreated(&settings, &logger, &partition, watermarks, &recreated)?
                        }
                        _ => start_at(&settings, &logger, &partition, known)?,
                    }
                }
            };
            let until = settings.consumer.until_end.then_some(watermarks.high);
            let committed = known.committed.filter(|_| !read_only);
            let topic_id = topic_ids.get(&partition.topic).cloned();
            let start = PartitionAssignment { partition, start, until, topic_id };
            Ok(DiscoveredPartition { start, end: watermarks.high, committed })
        });
        let found = found.collect::<Result<Vec<_>, StartError>>()?;
        // Logged before anything is processed.
        rewind_warnings(&settings.consumer.group_id, &found).iter().for_each(|text| warn!(logger, "{text}"));
        self.topic_ids = topic_ids;
        Ok(self.commit_starts(found)?)
    }

    /// Commits the start offsets: a partition without messages has a position, too, from which a later start
    /// continues. From now on an offset of the group without this run's metadata is another client's. (Members
    /// of a group commit themselves.)
    fn commit_starts(&mut self, mut found: Vec<DiscoveredPartition>) -> Result<Vec<DiscoveredPartition>, KafkaError> {
        if self.owns_commits() {
            let starts = found.iter().map(|found| (found.start.partition.clone(), found.start.start)).collect();
            self.commit(&starts)?;
            found.iter_mut().for_each(|found| found.committed = Some(found.start.start));
        }
        Ok(found)
    }

    /// Whether only this run may commit for the group.
    fn owns_commits(&self) -> bool {
        self.settings.consumer.assignment == Assignment::Manual && !self.settings.consumer.read_only
    }

    fn commit(&mut self, offsets: &Offsets) -> Result<(), KafkaError> {
        let (metadata, topic_ids) = (self.metadata.clone(), self.topic_ids.clone());
        self.ask(|cluster| cluster.commit(offsets, &metadata, &topic_ids))
    }

    /// Separates this run's committed offsets from those of other clients.
    fn separate(&self, mut commits: Commits) -> GroupCommits {
        if !self.owns_commits() {
            let committed = commits.into_iter().map(|(partition, committed)| (partition, committed.offset));
            return GroupCommits { committed: committed.collect(), foreign: Vec::new() };
        }
        remove_of_topics_before(&mut commits, &self.topic_ids);
        let (committed, foreign) = self.metadata.separate(commits);
        GroupCommits { committed, foreign }
    }

    fn read_back(
        &mut self,
        partitions: &[TopicPartition],
        ends: impl FnOnce(&ClusterClient) -> Offsets,
    ) -> Result<CommittedOffsets, KafkaError> {
        let read_only = self.settings.consumer.read_only;
        let (settings, logger, owns_commits) = (Arc::clone(&self.settings), self.logger.clone(), self.owns_commits());
        let ((commits, unknown), ends) = self.ask(|cluster| {
            let mut commits = if read_only { Default::default() } else { cluster.committed_or_unknown(partitions)? };
            if !read_only && !owns_commits {
                // The members of a group fetch the topics' ids from the brokers: the ids of the start may be out
                // of date here.
                remove_of_topics_before(&mut commits.0, &ids_of(cluster, &settings, &logger));
            }
            Ok((commits, ends(cluster)))
        })?;
        let GroupCommits { mut committed, foreign } = self.separate(commits);
        committed.extend(foreign.iter().map(|foreign| (foreign.partition.clone(), foreign.offset)));
        Ok(CommittedOffsets { foreign, committed, unknown, ends })
    }
}

impl ClusterQueries {
    /// Finds partitions that were added to the topics. They are consumed from their low watermark, so that no
    /// message is missed.
    fn find_new(&mut self, known: &[TopicPartition]) -> Result<Vec<DiscoveredPartition>, NotFound> {
        let (settings, all) = (Arc::clone(&self.settings), self.own_group);
        let cluster = self.cluster().map_err(NotFound::from)?;
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for topic in settings.consumed_topics() {
            match cluster.partitions_if_exists(&topic).map_err(NotFound::from)? {
                Some(numbers) => new.extend(numbers.into_iter().map(|number| TopicPartition::new(&topic, number))),
                None => gone.push(topic),
            }
        }
        new.retain(|partition| !known.contains(partition));
        let bounds = if new.is_empty() { Ok(BTreeMap::new()) } else { watermarks_of_led(cluster, new, all) };
        self.note_missing(&gone)?;
        let watermarks = bounds.map_err(NotFound::from)?;
        if watermarks.is_empty() {
            return Ok(Vec::new());
        }
        let topic_ids = self.ask(|cluster| read_topic_ids(cluster, &settings))?;
        let found = watermarks.into_iter().map(|(partition, Watermarks { low, high })| {
            let topic_id = topic_ids.get(&partition.topic).cloned();
            DiscoveredPartition {
                start: PartitionAssignment { partition, start: low, until: None, topic_id },
                end: high,
                committed: None,
            }
        });
        let found = found.collect();
        // If the brokers do not accept the commit, the partition is found again the next time.
        self.commit_starts(found).map_err(NotFound::Unanswered)
    }

    /// Fetches the high watermarks of the partitions and the topics' ids.
    fn ends(&mut self, partitions: &[TopicPartition]) -> Result<TopicEnds, NotFound> {
        let (all, settings) = (self.own_group, Arc::clone(&self.settings));
        let topic_ids = self.ask(|cluster| read_topic_ids(cluster, &settings))?;
        // A group revokes the partitions of a deleted topic, and may assign them again later.
        if self.settings.consumer.assignment == Assignment::Manual {
            let topics = settings.consumed_topics();
            let gone =
                topics.into_iter().filter(|topic| self.topic_ids.contains_key(topic) && !topic_ids.contains_key(topic));
            self.note_missing(&gone.collect::<Vec<_>>())?;
        }
        let ends = self.ask(|cluster| cluster.high_watermarks_within(partitions, WATERMARK_TIMEOUT))?;
        match partitions.iter().find(|partition| !ends.contains_key(partition)) {
            Some(missing) if all => Err(NotFound::Unanswered(end_unknown(missing))),
            _ => Ok(TopicEnds { ends, topic_ids }),
        }
    }

    /// Records missing topics. A topic may be unknown to a broker for a moment, or is being created again: an
    /// error only if some of them were missing in the poll before as well.
    fn note_missing(&mut self, gone: &[String]) -> Result<(), NotFound> {
        self.missing.retain(|topic, _| gone.contains(topic));
        for topic in gone {
            self.missing.entry(topic.clone()).or_insert_with(Instant::now);
        }
        let timeout = self.settings.consumer.metadata_refresh_interval;
        match self.missing.iter().find(|(_, since)| since.elapsed() >= timeout) {
            None => Ok(()),
            Some((topic, _)) => Err(NotFound::Deleted(ExitStatus::failed(format!(
                "the topic {topic:?} was deleted while it was read; make it again (`topics create`), or read another one"
            )))),
        }
    }

    /// Returns all partitions of topics that were created again. Their start offsets follow the rule for offsets
    /// out of range.
    fn reopen(&mut self, topics: &[String]) -> Result<Vec<DiscoveredPartition>, KafkaError> {
        let (settings, logger) = (Arc::clone(&self.settings), self.logger.clone());
        let cluster = self.cluster()?;
        let topic_ids = ids_of(cluster, &settings, &logger);
        let mut partitions = Vec::new();
        for topic in topics {
            let numbers = cluster.partitions(topic)?;
            partitions.extend(numbers.into_iter().map(|number| TopicPartition::new(topic, number)));
        }
        let watermarks = watermarks_of_led(cluster, partitions, true)?;
        let found = watermarks.into_iter().map(|(partition, Watermarks { low, high })| {
            let start = match settings.consumer.offset_out_of_range {
                OffsetOutOfRange::Latest => high,
                OffsetOutOfRange::Earliest | OffsetOutOfRange::Stop => low,
            };
            let topic_id = topic_ids.get(&partition.topic).cloned();
            let until = settings.consumer.until_end.then_some(high);
            DiscoveredPartition {
                start: PartitionAssignment { partition, start, until, topic_id },
                end: high,
                committed: None,
            }
        });
        let found = found.collect();
        self.topic_ids.extend(topic_ids);
        self.commit_starts(found)
    }
}

/// Removes committed offsets that belong to an earlier topic of the same name: they are not valid.
fn remove_of_topics_before(commits: &mut Commits, topic_ids: &TopicIds) {
    commits.retain(|partition, committed| {
        of_topic_before(&partition.topic, committed, topic_ids.get(&partition.topic)).is_none()
    });
}

/// The topics' ids; empty if they cannot be read: a topic that is created again is not detected then.
fn ids_of(cluster: &ClusterClient, settings: &Settings, logger: &Logger) -> TopicIds {
    read_topic_ids(cluster, settings).unwrap_or_else(|failure| {
        debug!(logger, "{failure}");
        TopicIds::new()
    })
}

/// The ids of the consumed topics; empty if the run does not check for topics that are deleted or created again.
fn read_topic_ids(cluster: &ClusterClient, settings: &Settings) -> Result<TopicIds, KafkaError> {
    if settings.consumer.metadata_refresh_interval.is_zero() {
        return Ok(TopicIds::new());
    }
    cluster.topic_ids(&settings.consumed_topics())
}

/// Fetches low and high watermarks. A partition without a leader is left out and found when it has one, unless
/// `all` are required.
fn watermarks_of_led(
    cluster: &ClusterClient,
    mut partitions: Vec<TopicPartition>,
    all: bool,
) -> Result<BTreeMap<TopicPartition, Watermarks>, KafkaError> {
    let ends = cluster.high_watermarks_within(&partitions, WATERMARK_TIMEOUT)?;
    partitions.retain(|partition| all || ends.contains_key(partition));
    if let Some(partition) = partitions.iter().find(|partition| !ends.contains_key(partition)) {
        return Err(end_unknown(partition));
    }
    cluster.watermarks(&partitions)
}

fn end_unknown(partition: &TopicPartition) -> KafkaError {
    KafkaError::Request {
        what: format!("the end of {partition} could not be read"),
        reason: format!("its leader is away, or has not answered within {WATERMARK_TIMEOUT:?}"),
    }
}
