//! Periodic queries: the brokers for watermarks and new partitions, the operating system for its workers' memory
//! and for blocked writes to stdout and stderr.

use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, info, warn};

use super::actor::{ConsumerSupervisor, WATERMARK_INTERVAL};
use super::messages::{DiscoverNewPartitions, DiscoveredPartition, FetchWatermarks, FindGaps, NotFound, TopicEnds};
use super::policy::Event;
use super::stdio_guard::StdioStall;
use crate::consumer::protocol::{OffsetGap, WorkerCommand};
use crate::exit::ExitStatus;
use crate::kafka::offset_gaps;
use crate::monitoring::status::EventLevel as Level;
use crate::os::proc_stats;
use crate::os::stdio::StdioBlocked;

/// How long a member has to wait at the same position before the log is read there: most messages arrive within
/// this time.
const GAP_PAUSE: Duration = Duration::from_millis(500);

impl ConsumerSupervisor {
    /// Measures the workers' memory.
    pub(super) fn sample_rss(&mut self, context: &mut Context<Self>) {
        for slot in 0..self.fleet.slots.len() {
            let Some(running) = &mut self.fleet.slots[slot].running else { continue };
            let Some(resident) = proc_stats::rss_mib(running.process.pid()) else { continue };
            running.resident = Some(resident);
            running.cpu = proc_stats::cpu_seconds(running.process.pid()).unwrap_or(running.cpu);
            self.apply_event(Event::RssSampled(slot, resident), context);
        }
    }

    /// Checks whether writes to stdout and stderr block: a handler that waits for them does not hang.
    pub(super) fn check_stdio(&mut self, context: &mut Context<Self>) {
        let Some(StdioStall { stalled, stderr, must_log }) =
            self.stdio.monitor.check(StdioBlocked::now(), Instant::now())
        else {
            return;
        };
        if must_log {
            let which = if stderr { "stderr" } else { "stdout" };
            let text = format!(
                "{which} takes nothing: whoever reads it has stopped, and messages wait for that; meanwhile no handler \
                 counts as hung"
            );
            // If stderr itself blocks, the line appears when it is read again.
            warn!(self.params.logger, "{text}");
            self.event(Level::Warning, "output", None, text);
        }
        self.apply_event(Event::OutputBlocked { stalled, stderr }, context);
    }

    /// Fetches the high watermarks, unless a query is in flight.
    pub(super) fn fetch_watermarks(&mut self, context: &mut Context<Self>) {
        let names = self.policy.partitions.names();
        if self.probes.is_fetching_watermarks || names.is_empty() || self.shutdown.is_stopping() {
            return;
        }
        self.probes.is_fetching_watermarks = true;
        let positions = self.policy.partitions.positions();
        self.policy.partitions.on_watermarks_requested();
        context.spawn(self.probes.queries.send(FetchWatermarks(names)).into_actor(self).map(
            move |reply, supervisor, context| {
                supervisor.probes.is_fetching_watermarks = false;
                let failure = match reply {
                    Ok(Ok(TopicEnds { ends, topic_ids })) => {
                        if supervisor.restart_recreated(&topic_ids, context) {
                            // These high watermarks and those positions may refer to two topics.
                            return;
                        }
                        if let Some(text) = supervisor.probes.truncation.check(&positions, &ends) {
                            let advice = if supervisor.is_group() {
                                "set the offsets that the group has committed (kafka-consumer-groups --reset-offsets)"
                            } else {
                                "start with --from-beginning"
                            };
                            let text = format!("{text}; {advice}, or take another consumer.group_id");
                            supervisor.begin_shutdown(ExitStatus::failed(text), context);
                        }
                        let now = supervisor.now();
                        supervisor.policy.partitions.set_high_watermarks(&ends, now);
                        supervisor.apply_event(Event::WatermarksFetched(Some(ends)), context);
                        supervisor.search_gaps(context);
                        return;
                    }
                    Ok(Err(NotFound::Deleted(exit))) => {
                        supervisor.begin_shutdown(exit, context);
                        return;
                    }
                    Ok(Err(NotFound::Unanswered(failure))) => failure.to_string(),
                    Err(error) => format!("the topic watcher: {error}"),
                };
                // The query is repeated a little later.
                debug!(supervisor.params.logger, "{failure}");
                supervisor.apply_event(Event::WatermarksFetched(None), context);
            },
        ));
    }

    /// Searches for gaps where members of a group wait below the last stable offset, and still do a moment
    /// later.
    pub(super) fn search_gaps(&mut self, context: &mut Context<Self>) {
        let before = self.policy.partitions.starved();
        if !self.is_group() || before.is_empty() || std::mem::replace(&mut self.probes.gap_search.under_way, true) {
            return;
        }
        context.run_later(GAP_PAUSE, move |supervisor, context| {
            let now = supervisor.policy.partitions.starved();
            let waiting = before.into_iter().filter(|(partition, position)| now.get(partition) == Some(position));
            let positions = supervisor.probes.gap_search.unknown(&waiting.collect());
            if positions.is_empty() || supervisor.shutdown.is_stopping() {
                supervisor.probes.gap_search.under_way = false;
                return;
            }
            let reply = supervisor.probes.queries.send(FindGaps(positions.clone()));
            context.spawn(reply.into_actor(supervisor).map(move |reply, supervisor, _| {
                supervisor.probes.gap_search.under_way = false;
                match reply {
                    Ok(Ok(found)) => {
                        for (partition, found) in found {
                            let Some(&start) = positions.get(&partition) else { continue };
                            match found {
                                offset_gaps::Found::Message => {
                                    _ = supervisor.probes.gap_search.full.insert(partition, start)
                                }
                                offset_gaps::Found::GapUntil(end) => {
                                    supervisor.skip_gap(OffsetGap { partition, start, end })
                                }
                            }
                        }
                    }
                    Ok(Err(failure)) => debug!(supervisor.params.logger, "{failure}"),
                    Err(error) => debug!(supervisor.params.logger, "the topic watcher: {error}"),
                }
            }));
        });
    }

    fn skip_gap(&self, gap: OffsetGap) {
        if let Some(slot) = self.policy.partitions.consumer(&gap.partition) {
            debug!(self.params.logger, "{}: no message from offset {} to {}", gap.partition, gap.start, gap.end);
            self.fleet.slots[slot].send(WorkerCommand::SkipGaps(vec![gap]));
        }
    }

    /// Searches for new partitions and for deleted topics.
    pub(super) fn discover_partitions(&mut self, context: &mut Context<Self>) {
        if !self.policy.has_begun()
            || self.shutdown.is_stopping()
            || std::mem::replace(&mut self.probes.is_discovering, true)
        {
            return;
        }
        let reply = self.probes.queries.send(DiscoverNewPartitions(self.policy.partitions.names()));
        context.spawn(reply.into_actor(self).map(|reply, supervisor, context| {
            supervisor.probes.is_discovering = false;
            match reply {
                Ok(Ok(found)) => supervisor.add_partitions(&found, context),
                Ok(Err(NotFound::Deleted(exit))) => supervisor.begin_shutdown(exit, context),
                // The query is repeated after `metadata_refresh_interval`.
                Ok(Err(NotFound::Unanswered(failure))) => debug!(supervisor.params.logger, "{failure}"),
                Err(error) => debug!(supervisor.params.logger, "the topic watcher: {error}"),
            }
        }));
    }

    pub(super) fn add_partitions(&mut self, found: &[DiscoveredPartition], context: &mut Context<Self>) {
        let known = self.policy.partitions.names();
        let found: Vec<_> = found.iter().filter(|found| !known.contains(&found.start.partition)).collect();
        if found.is_empty() {
            return;
        }
        let names: Vec<_> = found.iter().map(|found| found.start.partition.clone()).collect();
        let shown: Vec<_> = names.iter().map(ToString::to_string).collect();
        info!(self.params.logger, "new partitions, read from their beginning: {}", shown.join(", "));
        let now = self.now();
        found.iter().for_each(|found| self.policy.partitions.insert(found, now));
        if !self.is_group() {
            self.apply_event(Event::Found(names), context);
        }
    }

    /// The producer has finished: searches for partitions that were added meanwhile, and sets all stop offsets.
    pub(super) fn read_to_end(&mut self, context: &mut Context<Self>) {
        if self.shutdown.is_stopping() {
            return;
        }
        let reply = self.probes.queries.send(DiscoverNewPartitions(self.policy.partitions.names()));
        context.spawn(reply.into_actor(self).map(|reply, supervisor, context| match reply {
            Ok(Ok(found)) => {
                supervisor.add_partitions(&found, context);
                supervisor.read_to_ends(context);
            }
            Ok(Err(NotFound::Deleted(exit))) => supervisor.begin_shutdown(exit, context),
            Ok(Err(NotFound::Unanswered(failure))) => {
                warn!(supervisor.params.logger, "{failure}; asking again");
                context.run_later(WATERMARK_INTERVAL, |supervisor, context| supervisor.read_to_end(context));
            }
            Err(error) => {
                supervisor.begin_shutdown(ExitStatus::failed(format!("the topic watcher is gone: {error}")), context)
            }
        }));
    }

    /// Fetches the high watermarks, until there is a reply, and sets them as stop offsets.
    fn read_to_ends(&mut self, context: &mut Context<Self>) {
        if self.shutdown.is_stopping() {
            return;
        }
        let ends = self.probes.queries.send(FetchWatermarks(self.policy.partitions.names()));
        context.spawn(ends.into_actor(self).map(|reply, supervisor, context| match reply {
            Ok(Ok(TopicEnds { ends, .. })) => {
                let now = supervisor.now();
                supervisor.policy.partitions.read_until(&ends, now);
                supervisor.apply_event(Event::StopOffsets(ends.clone()), context);
                let ends: Vec<_> = ends.into_iter().collect();
                supervisor.fleet.broadcast(&WorkerCommand::ReadUntil(ends));
            }
            Ok(Err(NotFound::Deleted(exit))) => supervisor.begin_shutdown(exit, context),
            Ok(Err(NotFound::Unanswered(failure))) => {
                warn!(supervisor.params.logger, "{failure}; asking again");
                context.run_later(WATERMARK_INTERVAL, |supervisor, context| supervisor.read_to_ends(context));
            }
            Err(error) => {
                supervisor.begin_shutdown(ExitStatus::failed(format!("the topic watcher is gone: {error}")), context)
            }
        }));
    }
}
