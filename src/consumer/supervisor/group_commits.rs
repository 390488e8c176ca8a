//! The group's committed offsets during a run with manual assignment.
//!
//! The group has no members then, which has two consequences:
//! - A committed offset expires when its commit is older than the brokers' `offsets.retention.minutes` (7 days
//!   by default), even while the partition is consumed and has no new messages. Therefore all positions are
//!   committed again, well before: by the worker that consumes the partition, or by the supervisor if no worker
//!   does.
//! - Kafka accepts a commit from any client, such as `kafka-consumer-groups --reset-offsets`. Such a commit is
//!   not overwritten: the run ends, and the next start continues at the offset that the other client has set.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, error, warn};

use super::actor::ConsumerSupervisor;
use super::commit_watch::refresh_interval;
use super::messages::{FetchCommitted, GroupCommits, RefreshCommits};
use super::partition_commits::CommittedPosition;
use crate::consumer::protocol::WorkerCommand;
use crate::exit::ExitStatus;
use crate::kafka::commit_metadata::ForeignCommit;
use crate::kafka::error::KafkaError;
use crate::kafka::offset_retention;
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;
use crate::util::blocking;

/// How often the committed offsets are read.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long the coordinator may take for it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// The timeout of each request for the brokers' retention.
const RETENTION_TIMEOUT: Duration = Duration::from_secs(3);
impl ConsumerSupervisor {
    /// Starts to watch the group's commits, which are this run's from now on.
    pub(super) fn watch_commits(&mut self, context: &mut Context<Self>) {
        if self.is_group() || self.is_read_only() {
            return;
        }
        context.run_interval(CHECK_INTERVAL, |supervisor, context| supervisor.check_commits(context));
        self.schedule_refresh(context);
    }

    /// Reads the brokers' retention and schedules the refresh. Repeated after each refresh: the retention may
    /// change.
    fn schedule_refresh(&mut self, context: &mut Context<Self>) {
        let (settings, logger) = (Arc::clone(&self.params.settings), self.params.logger.clone());
        let reading = blocking::spawn_blocking("retention", move || {
            offset_retention::read(&settings, &logger, RETENTION_TIMEOUT)
        });
        context.spawn(reading.into_actor(self).map(|retention, supervisor, context| {
            let retention = retention.and_then(|read| read.map_err(|failure| failure.to_string()));
            let interval = refresh_interval(retention.as_ref().ok().copied());
            match retention {
                Ok(_) => debug!(supervisor.params.logger, "committed offsets are refreshed"; "interval" => ?interval),
                Err(reason) => debug!(supervisor.params.logger, "committed offsets are refreshed: {reason}"; "interval" => ?interval),
            }
            context.run_later(interval, |supervisor, context| {
                supervisor.refresh_commits(context);
                supervisor.schedule_refresh(context);
            });
        }));
    }

    /// Commits all positions again.
    fn refresh_commits(&mut self, context: &mut Context<Self>) {
        if self.shutdown.is_stopping() {
            return;
        }
        self.fleet.broadcast(&WorkerCommand::RefreshCommits);
        let unread = self.unread_positions();
        if unread.is_empty() {
            return;
        }
        // Queued behind the other queries of the same actor, such as one for the start offsets of a worker: its
        // partitions are not consumed before this refresh is over.
        let reply = self.probes.queries.send(RefreshCommits(unread));
        context.spawn(reply.into_actor(self).map(|reply, supervisor, context| match reply {
            Ok(reply) => supervisor.on_commits(reply, context),
            Err(error) => debug!(supervisor.params.logger, "the topic watcher: {error}"),
        }));
    }

    /// The committed positions of partitions that no process consumes now.
    fn unread_positions(&self) -> Offsets {
        let is_unread = |position: &CommittedPosition<'_>| {
            let running = position.consumer.and_then(|slot| self.fleet.slots.get(slot)?.running.as_ref());
            // A worker with a revocation may be about to commit; a stopped partition may have been assigned to
            // no process.
            running.is_none_or(|running| position.is_stopped && !running.assigned.contains(position.name))
        };
        let unread = self.policy.partitions.committed_positions().filter(is_unread);
        unread.map(|position| (position.name.clone(), position.offset)).collect()
    }

    /// Reads the committed offsets, unless a query is in flight.
    fn check_commits(&mut self, context: &mut Context<Self>) {
        let partitions = self.policy.partitions.names();
        if partitions.is_empty() || self.shutdown.is_stopping() || std::mem::replace(&mut self.commits.is_reading, true)
        {
            return;
        }
        let question = FetchCommitted { partitions: partitions.clone(), deadline: Instant::now() + CHECK_TIMEOUT };
        context.spawn(self.probes.queries.send(question).into_actor(self).map(move |reply, supervisor, context| {
            supervisor.commits.is_reading = false;
            if let Ok(Ok(found)) = &reply {
                let is_there = |name: &TopicPartition| {
                    found.committed.contains_key(name) || found.foreign.iter().any(|foreign| foreign.partition == *name)
                };
                let mut gone = partitions;
                gone.retain(|name| !is_there(name));
                supervisor.restore_commits(&gone, context);
            }
            match reply {
                Ok(reply) => supervisor.on_commits(reply, context),
                Err(error) => debug!(supervisor.params.logger, "the topic watcher: {error}"),
            }
        }));
    }

    /// Handles committed offsets that were deleted or have expired: all are committed again. (Workers log
    /// theirs.)
    fn restore_commits(&mut self, gone: &[TopicPartition], context: &mut Context<Self>) {
        let unread = self.unread_positions();
        for name in gone.iter().filter(|name| unread.contains_key(name)) {
            warn!(self.params.logger, "{name}: the committed offset is gone: another client has deleted it, or it has expired; the \
                position is committed again"; "topic" => &name.topic, "partition" => name.partition);
        }
        if !gone.is_empty() {
            self.refresh_commits(context);
        }
    }

    fn on_commits(&mut self, reply: Result<GroupCommits, KafkaError>, context: &mut Context<Self>) {
        match reply {
            Ok(GroupCommits { foreign, .. }) => self.end_on_foreign(&foreign, context),
            // Read again a little later.
            Err(failure) => debug!(self.params.logger, "{failure}"),
        }
    }

    /// Ends the run if another client has committed for the group.
    pub(super) fn end_on_foreign(&mut self, foreign: &[ForeignCommit], context: &mut Context<Self>) {
        if let Some(reason) = self.note_foreign(foreign) {
            self.begin_shutdown(ExitStatus::failed(reason), context);
        }
    }

    /// Logs offsets that other clients have committed. Returns the reason for which the run ends, if there are
    /// any.
    pub(super) fn note_foreign(&mut self, foreign: &[ForeignCommit]) -> Option<String> {
        let group = &self.params.settings.consumer.group_id;
        let mut reasons = Vec::new();
        for commit in foreign {
            let ForeignCommit { partition: name, offset, .. } = commit;
            let committed = self.policy.partitions.last_commit(name);
            let text = format!(
                "{name}: the committed offset of the group {group:?} (consumer.group_id) is {offset}, set by {}; this run had \
                 committed {committed}. It is not overwritten: the next start goes on at {offset}",
                commit.client()
            );
            if self.commits.foreign.insert(name.to_string(), *offset) != Some(*offset) {
                error!(self.params.logger, "{text}"; "group" => group, "topic" => &name.topic, "partition" => name.partition,
                    "offset" => *offset, "committed" => committed);
            }
            reasons.push(text);
        }
        let more = reasons.len().saturating_sub(1);
        let first = reasons.into_iter().next()?;
        Some(if more == 0 { first } else { format!("{first}; the same in {more} more") })
    }
}
