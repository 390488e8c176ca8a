//! Questions to the cluster, on a thread of its own: they block.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, warn};

use super::messages::{CommitAgain, FindNew, Found, Prepare, ReadBack, ReadCommits, ReadCommitted, ReadEnds};
use super::start::{Begin, Known, begin};
use crate::consumer::control::StartPartition;
use crate::exit::Exit;
use crate::kafka::cluster::Cluster;
use crate::kafka::error::Failure;
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;
use crate::settings::{Assignment, OffsetOutOfRange, Settings, Start};

/// How long the leaders may take to tell ends. A question about commits may wait behind this one, and has 5 s (acting.rs);
/// without all answers, the next question is asked 2 s later.
const ENDS: Duration = Duration::from_secs(3);
/// How long they may take at the end, where commits are what counts and the shutdown's deadline may be near.
const LAST_ENDS: Duration = Duration::from_secs(1);

/// Knows the topics: their partitions, ends, and what the group has committed.
pub(super) struct TopicWatcher {
    settings: Arc<Settings>,
    /// Nobody else can know the group's name: it was made for this run.
    own_group: bool,
    /// Where to start, whatever the settings say.
    starts: Option<Offsets>,
    logger: Logger,
    cluster: Option<Cluster>,
    /// How often in a row each topic was not there.
    missing: BTreeMap<String, u32>,
}

impl TopicWatcher {
    /// Starts it on its thread.
    pub(super) fn start(
        settings: Arc<Settings>,
        own_group: bool,
        starts: Option<Offsets>,
        logger: Logger,
    ) -> Addr<Self> {
        SyncArbiter::start(1, move || Self {
            settings: Arc::clone(&settings),
            own_group,
            starts: starts.clone(),
            logger: logger.clone(),
            cluster: None,
            missing: BTreeMap::new(),
        })
    }

    fn cluster(&mut self) -> Result<&Cluster, Failure> {
        let connected = match self.cluster.take() {
            Some(cluster) => cluster,
            None => Cluster::connect(&self.settings, &self.logger)?,
        };
        Ok(self.cluster.insert(connected))
    }

    fn prepare(&mut self) -> Result<Vec<Found>, Exit> {
        let (settings, starts, logger) = (Arc::clone(&self.settings), self.starts.clone(), self.logger.clone());
        let may_be_shared = !self.own_group && settings.consumer.assignment == Assignment::Manual;
        let cluster = self.cluster()?;
        if may_be_shared {
            refuse_shared(cluster, &settings)?;
        }
        let mut partitions = Vec::new();
        for topic in settings.consumed_topics() {
            let numbers = cluster.partitions(&topic)?;
            partitions.extend(numbers.into_iter().map(|number| TopicPartition::new(&topic, number)));
        }
        // In this order: a group's other members commit meanwhile, and ends grow.
        let committed = cluster.committed(&partitions)?;
        let (beginnings, ends) = (cluster.beginnings(&partitions)?, cluster.ends(&partitions)?);
        let at_time = match settings.consumer.start {
            Start::Time(time) => cluster.at_time(&partitions, time)?,
            _ => Offsets::new(),
        };
        let found = partitions.into_iter().map(|partition| {
            let known = Known {
                beginning: beginnings.get(&partition).copied().unwrap_or(0),
                end: ends.get(&partition).copied().unwrap_or(0),
                committed: committed.get(&partition).copied(),
                at_time: at_time.get(&partition).copied(),
            };
            let start = match &starts {
                Some(starts) => {
                    start_no_lower(starts.get(&partition).copied().unwrap_or(0), &logger, &partition, known)
                }
                None => start_at(&settings, &logger, &partition, known)?,
            };
            let until = settings.consumer.until_end.then_some(known.end);
            Ok(Found { start: StartPartition { partition, start, until }, end: known.end, committed: known.committed })
        });
        found.collect()
    }
}

/// A topic may be unknown to a broker for a moment; so many looks in a row say that it is gone.
const GONE: u32 = 2;

impl TopicWatcher {
    /// Partitions that have been added; they are read from their beginning, so that nothing is missed.
    fn find_new(&mut self, known: &[TopicPartition]) -> Result<Vec<Found>, Exit> {
        let settings = Arc::clone(&self.settings);
        // Brokers that do not answer are asked again the next time.
        let Ok(cluster) = self.cluster() else { return Ok(Vec::new()) };
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for topic in settings.consumed_topics() {
            match cluster.look_for(&topic) {
                Ok(Some(numbers)) => new.extend(numbers.into_iter().map(|number| TopicPartition::new(&topic, number))),
                Ok(None) => gone.push(topic),
                Err(_) => return Ok(Vec::new()),
            }
        }
        new.retain(|partition| !known.contains(partition));
        let ends = cluster.ends_within(&new, ENDS);
        // One without a leader is found when it has one.
        new.retain(|partition| ends.as_ref().is_ok_and(|ends| ends.contains_key(partition)));
        let beginnings = if new.is_empty() { Ok(Offsets::new()) } else { cluster.beginnings(&new) };
        self.missing.retain(|topic, _| gone.contains(topic));
        gone.iter().for_each(|topic| *self.missing.entry(topic.clone()).or_default() += 1);
        if let Some((topic, _)) = self.missing.iter().find(|(_, times)| **times >= GONE) {
            return Err(Exit::failed(format!(
                "the topic {topic:?} was deleted while it was read; make it again (`topics create`), or read another one"
            )));
        }
        let (Ok(ends), Ok(beginnings)) = (ends, beginnings) else { return Ok(Vec::new()) };
        let found = new.into_iter().map(|partition| {
            let start = beginnings.get(&partition).copied().unwrap_or(0);
            let end = ends.get(&partition).copied().unwrap_or(start);
            Found { start: StartPartition { partition, start, until: None }, end, committed: None }
        });
        Ok(found.collect())
    }
}

/// Nobody else may commit for a group whose partitions the supervisor deals.
fn refuse_shared(cluster: &Cluster, settings: &Settings) -> Result<(), Exit> {
    let members = cluster.members()?;
    if members.is_empty() {
        return Ok(());
    }
    Err(Exit::failed(format!(
        "the group {:?} (consumer.group) is in use by other consumers, which subscribe with it: {}; choose another group, stop \
         them, or join them (consumer.assignment = \"group\")",
        settings.consumer.group,
        members.join(", ")
    )))
}

/// A start that was given: what is gone from the log below it cannot be read any more.
fn start_no_lower(start: i64, logger: &Logger, partition: &TopicPartition, known: Known) -> i64 {
    if start < known.beginning {
        warn!(logger, "{partition}: {} messages are gone from the log", known.beginning - start;
            "from" => start, "to" => known.beginning);
    }
    start.clamp(known.beginning, known.end)
}

fn start_at(settings: &Settings, logger: &Logger, partition: &TopicPartition, known: Known) -> Result<i64, Exit> {
    match begin(&settings.consumer, known) {
        Begin::At(offset) => Ok(offset),
        Begin::OutOfRange { committed } => {
            let group = &settings.consumer.group;
            let text = if committed < known.beginning {
                format!(
                    "{partition}: the group {group:?} has committed offset {committed}, but the log begins at {}: {} messages are \
                     gone, unprocessed: retention was shorter than the pause",
                    known.beginning,
                    known.beginning - committed
                )
            } else {
                format!(
                    "{partition}: the group {group:?} has committed offset {committed}, but the log ends at {}: the topic was \
                     deleted and made again, or has lost messages",
                    known.end
                )
            };
            let at = match settings.consumer.offset_out_of_range {
                OffsetOutOfRange::Stop => {
                    return Err(Exit::failed(format!(
                        "{text}; go on with consumer.offset_out_of_range = \"earliest\" or \"latest\", start with \
                         --from-beginning, or take another consumer.group"
                    )));
                }
                OffsetOutOfRange::Earliest => known.beginning,
                OffsetOutOfRange::Latest => known.end,
            };
            let unread = (at - committed).max(0);
            warn!(logger, "{text}; going on at {at}, {unread} messages further"; "consumer.offset_out_of_range" => settings.consumer.offset_out_of_range.word());
            Ok(at)
        }
    }
}

impl Actor for TopicWatcher {
    type Context = SyncContext<Self>;
}

impl Handler<Prepare> for TopicWatcher {
    type Result = MessageResult<Prepare>;

    fn handle(&mut self, _: Prepare, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.prepare())
    }
}

impl Handler<ReadEnds> for TopicWatcher {
    type Result = MessageResult<ReadEnds>;

    fn handle(&mut self, ReadEnds(partitions): ReadEnds, _: &mut Self::Context) -> Self::Result {
        let all = self.own_group;
        MessageResult(self.cluster().and_then(|cluster| {
            let ends = cluster.ends_within(&partitions, ENDS)?;
            match partitions.iter().find(|partition| !ends.contains_key(partition)) {
                Some(missing) if all => Err(Failure::Request {
                    what: format!("the end of {missing} could not be read"),
                    reason: format!("its leader is away, or has not answered within {ENDS:?}"),
                }),
                _ => Ok(ends),
            }
        }))
    }
}

impl Handler<ReadCommitted> for TopicWatcher {
    type Result = MessageResult<ReadCommitted>;

    fn handle(&mut self, ReadCommitted(partitions): ReadCommitted, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.cluster().and_then(|cluster| {
            let committed = cluster.committed(&partitions)?;
            // A partition without a leader has commits all the same.
            Ok(ReadBack { committed, ends: cluster.ends_within(&partitions, LAST_ENDS).unwrap_or_default() })
        }))
    }
}

impl Handler<CommitAgain> for TopicWatcher {
    type Result = MessageResult<CommitAgain>;

    fn handle(&mut self, CommitAgain(offsets, partitions): CommitAgain, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.cluster().and_then(|cluster| {
            cluster.commit(&offsets)?;
            let committed = cluster.committed(&partitions)?;
            Ok(ReadBack { committed, ends: Offsets::new() })
        }))
    }
}

impl Handler<ReadCommits> for TopicWatcher {
    type Result = MessageResult<ReadCommits>;

    fn handle(&mut self, ReadCommits { partitions, deadline }: ReadCommits, _: &mut Self::Context) -> Self::Result {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Asked anew meanwhile.
            return MessageResult(Err(Failure::Request {
                what: "the group's committed offsets could not be read".to_owned(),
                reason: "other questions took too long".to_owned(),
            }));
        }
        MessageResult(self.cluster().and_then(|cluster| cluster.committed_within(&partitions, left)))
    }
}

impl Handler<FindNew> for TopicWatcher {
    type Result = MessageResult<FindNew>;

    fn handle(&mut self, FindNew(known): FindNew, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.find_new(&known))
    }
}
