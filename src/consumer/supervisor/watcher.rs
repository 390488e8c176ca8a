//! Questions to the cluster, on a thread of its own: they block.

use std::sync::Arc;

use actix::prelude::*;
use slog::{Logger, warn};

use super::messages::{Found, Prepare, ReadBack, ReadCommitted, ReadEnds};
use super::start::{Begin, Known, begin};
use crate::consumer::control::StartPartition;
use crate::exit::Exit;
use crate::kafka::cluster::{Cluster, Offsets};
use crate::kafka::error::Failure;
use crate::record::TopicPartition;
use crate::settings::{Settings, Start};

/// Knows the topics: their partitions, ends, and what the group has committed.
pub(super) struct TopicWatcher {
    settings: Arc<Settings>,
    /// Where to start, whatever the settings say.
    starts: Option<Offsets>,
    logger: Logger,
    cluster: Option<Cluster>,
}

impl TopicWatcher {
    /// Starts it on its thread.
    pub(super) fn start(settings: Arc<Settings>, starts: Option<Offsets>, logger: Logger) -> Addr<Self> {
        SyncArbiter::start(1, move || Self {
            settings: Arc::clone(&settings),
            starts: starts.clone(),
            logger: logger.clone(),
            cluster: None,
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
        let cluster = self.cluster()?;
        let mut partitions = Vec::new();
        for topic in settings.consumed_topics() {
            let numbers = cluster.partitions(&topic)?;
            partitions.extend(numbers.into_iter().map(|number| TopicPartition::new(&topic, number)));
        }
        let (beginnings, ends) = (cluster.beginnings(&partitions)?, cluster.ends(&partitions)?);
        let committed = cluster.committed(&partitions)?;
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
        Begin::AfterGap { at, missing } => {
            warn!(logger, "{partition}: {missing} messages after the committed offset are gone from the log, \
                unprocessed: retention was shorter than the pause; going on at the oldest that is left"; "offset" => at);
            Ok(at)
        }
        Begin::BeyondEnd { committed } => Err(Exit::failed(format!(
            "{partition}: the group {:?} has committed offset {committed}, but the log ends at {}: the topic was deleted \
             and made again, or has lost messages; start with --from-beginning, or take another consumer.group",
            settings.consumer.group, known.end
        ))),
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
        MessageResult(self.cluster().and_then(|cluster| cluster.ends(&partitions)))
    }
}

impl Handler<ReadCommitted> for TopicWatcher {
    type Result = MessageResult<ReadCommitted>;

    fn handle(&mut self, ReadCommitted(partitions): ReadCommitted, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.cluster().and_then(|cluster| {
            let committed = cluster.committed(&partitions)?;
            // A partition without a leader has commits all the same.
            Ok(ReadBack { committed, ends: cluster.ends(&partitions).unwrap_or_default() })
        }))
    }
}
