//! Opens and stops a worker's partitions; the main actor of a worker.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, info, warn};
use tokio::sync::oneshot;

use super::history_writer::HistoryWriter;
use super::lease::LeaseChange;
use super::messages::{
    AssignmentKind, DataReady, Flush, NewPartition, PartitionsStop, ReadUntil, SendEvent, StartReading, StopPartition,
    TrackPartitions, UntrackPartitions,
};
use super::partition_consumer::PartitionConsumer;
use super::poll_thread::{PollCommand, PollThread};
use super::processor_host::{OpenPartitions, ProcessorHost};
use super::supervisor_connection::SupervisorConnection;
use super::worker_flags::WorkerFlags;
use crate::consumer::protocol::{FailureKind, PROTOCOL_VERSION, Revocation, WorkerConfig, WorkerEvent, WorkerFailure};
use crate::exit::ExitCode;
use crate::record::TopicPartition;
use crate::util::format::join;
use partition_map::PartitionMap;
use shutdown::Shutdown;

mod handlers;
mod partition_map;
mod shutdown;

/// How often the lease is checked.
const LEASE_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The main actor of a worker; the process ends with it.
pub(super) struct PartitionManager {
    config: Arc<WorkerConfig>,
    flags: Arc<WorkerFlags>,
    logger: Logger,
    partitions: PartitionMap<Addr<PartitionConsumer>>,
    /// The number of pending requests to the host to create the processor or partition actors.
    open_requests: usize,
    /// Stops for which the poll thread waits.
    pending_stops: Vec<PartitionsStop>,
    connection: Addr<SupervisorConnection>,
    host: Addr<ProcessorHost>,
    /// `None` once the shutdown closes it.
    poll_thread: Option<PollThread>,
    shutdown: Shutdown,
}

/// The parameters of a manager.
pub(super) struct ManagerParams {
    pub(super) config: Arc<WorkerConfig>,
    pub(super) flags: Arc<WorkerFlags>,
    pub(super) logger: Logger,
    pub(super) connection: Addr<SupervisorConnection>,
    pub(super) host: Addr<ProcessorHost>,
    pub(super) poll_thread: PollThread,
    pub(super) history: Option<Arc<HistoryWriter>>,
    /// Receives the exit code of the process.
    pub(super) exit: oneshot::Sender<ExitCode>,
}

impl PartitionManager {
    pub(super) fn new(params: ManagerParams) -> Self {
        Self {
            partitions: PartitionMap::new(&params.config.stopped),
            config: params.config,
            flags: params.flags,
            logger: params.logger,
            open_requests: 0,
            pending_stops: Vec::new(),
            connection: params.connection,
            host: params.host,
            poll_thread: Some(params.poll_thread),
            shutdown: Shutdown::new(params.history, params.exit),
        }
    }

    fn send(&self, event: WorkerEvent) {
        self.connection.do_send(SendEvent(event));
    }

    fn send_to_poll_thread(&self, command: PollCommand) {
        if let Some(poll_thread) = self.poll_thread.as_ref().filter(|_| !self.flags.is_shutting_down()) {
            poll_thread.send(command);
        }
    }

    // ---- opening partitions ----

    fn on_assigned(&mut self, mut partitions: Vec<NewPartition>, kind: AssignmentKind, context: &mut Context<Self>) {
        if self.flags.is_shutting_down() {
            // The queues are dropped here, so that the client can close.
            return;
        }
        partitions.retain(|new| {
            let name = &new.state.partition;
            let is_stopped = self.partitions.is_stopped(name);
            if is_stopped && !kind.is_known() {
                warn!(self.logger, "{name}: assigned again, it stays stopped");
            }
            !is_stopped
        });
        for new in &mut partitions {
            let name = &new.state.partition;
            if kind == AssignmentKind::Restarted {
                // The stop offset refers to the previous topic of this name.
                self.partitions.clear_stop_offset(name);
            }
            new.stop_offset = self.partitions.assign(name, new.stop_offset);
        }
        let assignments = || partitions.iter().map(NewPartition::assignment).collect();
        match kind {
            AssignmentKind::First | AssignmentKind::Reopened => {}
            AssignmentKind::Added => self.send(WorkerEvent::Assigned(assignments())),
            AssignmentKind::Restarted => self.send(WorkerEvent::Restarted(assignments())),
        }
        if !kind.is_known() {
            let states = partitions.iter().map(|new| Arc::clone(&new.state)).collect();
            self.connection.do_send(TrackPartitions(states));
        }
        self.open_requests += 1;
        let open = self.host.send(OpenPartitions(partitions)).into_actor(self);
        context.spawn(open.map(move |reply, manager, context| {
            manager.open_requests -= 1;
            match reply {
                Ok(Ok(actors)) => manager.on_opened(actors, kind, context),
                Ok(Err(failure)) => {
                    // Before any processor was created, the cause is the settings; later it is a dependency.
                    let kind = if manager.config.proven { FailureKind::Transient } else { FailureKind::Permanent };
                    manager.fail(WorkerFailure::of_processor(kind, failure), context);
                }
                Err(error) => manager.fail(WorkerFailure::of_worker(FailureKind::Transient, error), context),
            }
            manager.stop_partitions(context);
        }));
    }

    fn on_opened(
        &mut self,
        opened: Vec<(TopicPartition, Addr<PartitionConsumer>)>,
        kind: AssignmentKind,
        context: &mut Context<Self>,
    ) {
        for (name, actor) in &opened {
            // The stop offset was received while the actor was being created.
            if let Some(offset) = self.partitions.set_actor(name, actor.clone()) {
                actor.do_send(ReadUntil(offset));
            }
        }
        if self.flags.is_shutting_down() {
            return;
        }
        let is_member = self.config.member.is_some();
        match (opened.is_empty(), kind) {
            (false, _) => info!(self.logger, "reading"; "partitions" => join(opened.iter().map(|(name, _)| name))),
            (true, AssignmentKind::First) if is_member => {
                info!(self.logger, "waiting for the group to assign partitions")
            }
            (true, AssignmentKind::Reopened | AssignmentKind::Restarted) => {}
            (true, _) if self.partitions.actors().next().is_none() => {
                info!(self.logger, "no partition for this worker: standby")
            }
            (true, _) => {}
        }
        if kind == AssignmentKind::First {
            self.send(WorkerEvent::Ready { version: PROTOCOL_VERSION });
        }
        self.start_reading(opened, context);
        self.report_end_reached();
    }

    /// Lets partitions process messages once the supervisor can read that this worker is ready and has them: a
    /// message may kill this process at once, and what was not written then is unknown to the supervisor.
    fn start_reading(&self, opened: Vec<(TopicPartition, Addr<PartitionConsumer>)>, context: &mut Context<Self>) {
        context.spawn(self.connection.send(Flush).into_actor(self).map(move |written, _, _| {
            if written == Ok(true) {
                opened.iter().for_each(|(_, actor)| actor.do_send(StartReading));
            }
        }));
    }

    /// Reports that all assigned partitions have reached their stop offsets; again after each change.
    fn report_end_reached(&self) {
        let is_settled = self.open_requests == 0 && !self.flags.is_shutting_down();
        if self.config.finite && is_settled && self.partitions.are_finished() {
            self.send(WorkerEvent::EndReached);
        }
    }

    /// Pauses while the lease has expired, and resumes when it is renewed.
    fn check_lease(&self) {
        match self.flags.lease.check() {
            None => {}
            Some(LeaseChange::Renewed) => {
                info!(self.logger, "going on: the supervisor has confirmed that it holds the lock on the group");
                self.wake_partitions();
            }
            Some(LeaseChange::Expired) if self.flags.is_shutting_down() => {}
            Some(LeaseChange::Expired) => {
                warn!(
                    self.logger,
                    "taking no messages: the supervisor does not confirm that it holds the lock on the group"
                );
            }
        }
    }

    /// Wakes the partitions to check their queues and the flags.
    fn wake_partitions(&self) {
        self.partitions.actors().for_each(|actor| actor.do_send(DataReady));
    }

    fn set_stop_offsets(&mut self, offsets: &[(TopicPartition, i64)]) {
        self.partitions.set_stop_offsets(offsets);
        for (name, offset) in offsets {
            self.partitions.actor(name).iter().for_each(|actor| actor.do_send(ReadUntil(*offset)));
        }
        self.report_end_reached();
    }

    // ---- stopping partitions ----

    /// Stops the partitions of pending stops, in a shutdown all. Completes the stops whose actors have all stopped.
    fn stop_partitions(&mut self, context: &mut Context<Self>) {
        let is_shutting_down = self.flags.is_shutting_down();
        let stop_of = |name: &TopicPartition| self.pending_stops.iter().find(|stop| stop.partitions.contains(name));
        for (name, actor) in self.partitions.begin_stop(|name| is_shutting_down || stop_of(name).is_some()) {
            let revocation = stop_of(&name).map_or(Revocation::Committed, |stop| stop.revocation);
            // An error means that the actor is gone, and thus has stopped.
            context.spawn(actor.send(StopPartition(revocation)).into_actor(self).map(move |_, manager, context| {
                manager.partitions.remove_actor(&name);
                manager.stop_partitions(context);
            }));
        }
        if self.open_requests > 0 {
            return;
        }
        let partitions = &self.partitions;
        self.pending_stops.retain(|stop| {
            let is_complete = stop.partitions.iter().all(|name| partitions.actor(name).is_none());
            if is_complete {
                // The poll thread may have timed out.
                stop.done.send(()).ok();
            }
            !is_complete
        });
        if is_shutting_down && self.partitions.actors().next().is_none() {
            self.finish_shutdown(context);
        }
    }

    fn on_revoked(&mut self, partitions: Vec<TopicPartition>, revocation: Revocation) {
        partitions.iter().for_each(|name| self.partitions.revoke(name));
        if !partitions.is_empty() {
            let names = join(&partitions);
            match revocation {
                Revocation::Committed => info!(self.logger, "partitions revoked"; "partitions" => names),
                Revocation::Lost => warn!(
                    self.logger,
                    "partitions lost: messages since the last commit will be reprocessed by the next owner";
                    "partitions" => names
                ),
            }
            self.connection.do_send(UntrackPartitions { partitions, revocation });
        }
        self.report_end_reached();
    }
}

impl Actor for PartitionManager {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.config.lease.is_some() {
            context.run_interval(LEASE_CHECK_INTERVAL, |manager, _| manager.check_lease());
        }
    }
}
