//! The supervisor's use of the lock on its group: it processes nothing before it holds the lock, and nothing
//! after it has lost it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, error, warn};

use super::actor::ConsumerSupervisor;
use super::lock_thread::{FromLock, LockKeeper};
use super::messages::{Connect, DiscoverPartitions, FetchCommitted};
use crate::consumer::protocol::{Lease, WorkerCommand};
use crate::exit::ExitStatus;
use crate::monitoring::status::EventLevel as Level;

/// How long the lock thread may take to release the lock; a little longer than its own limit.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(2_500);
/// The minimum of that time after the shutdown's deadline.
const MIN_RELEASE_TIMEOUT: Duration = Duration::from_millis(300);
/// How long the coordinator may take to return committed offsets.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(4);
/// The delay before the request is repeated.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl ConsumerSupervisor {
    /// Whether a lock is needed: with manual assignment, and a group whose name other runs may use.
    pub(super) fn needs_lock(&self) -> bool {
        let consumer = &self.params.settings.consumer;
        consumer.supervisor_lock && !consumer.read_only && !self.is_group() && !self.params.finite
    }

    /// Requests the lock. Meanwhile the query actor connects and detects topics that do not exist.
    pub(super) fn acquire_lock(&mut self, context: &mut Context<Self>) {
        let supervisor = context.address().recipient();
        match LockKeeper::start(Arc::clone(&self.params.settings), supervisor, self.params.logger.clone()) {
            Ok(keeper) => self.lock.keeper = Some(keeper),
            Err(error) => {
                return self.finish(ExitStatus::failed(format!("no thread for the supervisor lock: {error}")), context);
            }
        }
        let connected = self.probes.queries.send(Connect).into_actor(self);
        context.spawn(connected.map(|connected, supervisor, context| match connected {
            Ok(Err(exit)) if !supervisor.shutdown.is_stopping() => supervisor.finish(exit, context),
            _ => {}
        }));
    }

    /// Discovers the partitions and their start offsets.
    pub(super) fn prepare(&mut self, context: &mut Context<Self>) {
        let preparation = self.probes.queries.send(DiscoverPartitions).into_actor(self);
        context.spawn(preparation.map(|prepared, supervisor, context| match prepared {
            Ok(Ok(found)) => supervisor.begin(found, context),
            Ok(Err(exit)) => supervisor.finish(exit, context),
            Err(error) => supervisor.finish(ExitStatus::failed(error.to_string()), context),
        }));
    }

    /// Ends the run after all workers have exited and their offsets are committed: releases the lock, if there
    /// is one.
    pub(super) fn finish(&mut self, exit: ExitStatus, context: &mut Context<Self>) {
        if self.lock.ending.is_some() {
            return;
        }
        match &self.lock.keeper {
            Some(keeper) => keeper.release(),
            None => return self.conclude(exit, context),
        }
        self.lock.ending = Some(exit);
        // A shutdown ends by its deadline: without brokers the lock cannot be released.
        let left = self.shutdown.remaining();
        let timeout = left.map_or(RELEASE_TIMEOUT, |left| left.clamp(MIN_RELEASE_TIMEOUT, RELEASE_TIMEOUT));
        // A lock that was never held needs no release, apart from a join request in flight.
        let was_held = self.lock.lease.is_some();
        let timeout = if was_held { timeout } else { MIN_RELEASE_TIMEOUT };
        context.run_later(timeout, move |supervisor, context| {
            if was_held {
                warn!(supervisor.params.logger, "the lock on the group could not be released: it expires by itself");
            }
            supervisor.lock_released(context);
        });
    }

    fn lock_released(&mut self, context: &mut Context<Self>) {
        self.lock.keeper = None;
        if let Some(exit) = self.lock.ending.take() {
            self.conclude(exit, context);
        }
    }

    fn extend_lease(&mut self, lease: Lease) {
        self.lock.lease = Some(lease);
        self.fleet.broadcast(&WorkerCommand::Lease(lease));
    }

    fn lose_lock(&mut self, reason: &str, context: &mut Context<Self>) {
        // Messages in flight are finished, but not committed any more.
        self.extend_lease(Lease { process_until: 0, commit_until: 0 });
        let group = &self.params.settings.consumer.group_id;
        let text = format!(
            "the lock on the group {group:?} (consumer.group_id) was lost: {reason}; what was not committed is processed again there"
        );
        error!(self.params.logger, "{text}");
        self.event(Level::Error, "lock", None, text.clone());
        self.begin_shutdown(ExitStatus::failed(text), context);
    }

    /// Checks whether another supervisor has processed anything while this one had no session. Until that is
    /// known, nothing is processed.
    fn look_for_foreign_commits(&mut self, member: String, context: &mut Context<Self>) {
        if self.shutdown.is_stopping() {
            return;
        }
        let partitions = self.policy.partitions.names();
        let question = FetchCommitted { partitions, deadline: Instant::now() + COMMITTED_TIMEOUT };
        context.spawn(self.probes.queries.send(question).into_actor(self).map(
            |reply, supervisor, context| match reply {
                Ok(Ok(commits)) => match commits.foreign.first() {
                    Some(foreign) => {
                        let text =
                            format!("it had expired, and another client has committed {} meanwhile", foreign.partition);
                        supervisor.lose_lock(&text, context);
                    }
                    None => {
                        if let Some(keeper) = &supervisor.lock.keeper {
                            keeper.confirm(member);
                        }
                    }
                },
                failed => {
                    let reason = failed.map_or_else(
                        |error| error.to_string(),
                        |of| of.err().map(|of| of.to_string()).unwrap_or_default(),
                    );
                    debug!(supervisor.params.logger, "{reason}");
                    context.run_later(RETRY_INTERVAL, |supervisor, context| {
                        supervisor.look_for_foreign_commits(member, context);
                    });
                }
            },
        ));
    }
}

impl Handler<FromLock> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, message: FromLock, context: &mut Self::Context) {
        match message {
            FromLock::Waiting(text) => {
                self.event(Level::Info, "lock", None, text.clone());
                self.params.registry.waits(&text);
            }
            FromLock::Held(lease) => {
                self.lock.lease = Some(lease);
                self.event(Level::Info, "lock", None, "the lock on the group is held");
                if !self.shutdown.is_stopping() && self.lock.ending.is_none() {
                    self.prepare(context);
                }
            }
            FromLock::Refused(exit) => self.finish(exit, context),
            FromLock::Extended(lease) => self.extend_lease(lease),
            FromLock::Rejoined(member) => self.look_for_foreign_commits(member, context),
            FromLock::Lost(reason) => self.lose_lock(&reason, context),
            FromLock::Released => self.lock_released(context),
        }
    }
}
