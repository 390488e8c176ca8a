//! Opens and stops a worker's partitions, forwards commands of the supervisor, and shuts down in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::prelude::*;
use slog::{Logger, error, info, warn};
use tokio::sync::oneshot;

use super::history_writer::{HistoryWriter, no_history};
use super::messages::{
    AssignmentKind, Close, DataReady, Flush, NewPartition, ReadUntil, SendEvent, StartReading, StopPartition,
    TrackPartitions, UntrackPartitions,
};
use super::partition_consumer::PartitionConsumer;
use super::partition_state::PartitionState;
use super::poll_thread::{PollCommand, PollThread};
use super::processor_host::{FinishProcessor, OpenPartitions, ProcessorHost};
use super::shared::WorkerFlags;
use super::supervisor_connection::SupervisorConnection;
use crate::consumer::protocol::{FailedPart, PROTOCOL_VERSION, WorkerConfig, WorkerEvent};
use crate::exit::ExitCode;
use crate::record::TopicPartition;

/// How often the lease is checked.
const LEASE_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// A running supervisor stops its workers at the deadline. This grace applies to workers that stop without one.
const SUPERVISOR_GRACE: Duration = Duration::from_secs(1);
/// How long a message may take where the watchdog is off.
const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The main actor of a worker; the process ends with it.
pub(super) struct PartitionManager {
    pub(super) start: Arc<WorkerConfig>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) orders: Arc<WorkerFlags>,
    history: Option<Arc<HistoryWriter>>,
    pub(super) logger: Logger,
    /// Partitions that have an actor, until it has stopped.
    pub(super) partitions: BTreeMap<TopicPartition, PartitionHandle>,
    /// The state of all assigned partitions, for the status.
    pub(super) counters: Vec<Arc<PartitionState>>,
    /// Partitions that have not reached their stop offsets. Includes partitions that are stopped, until they are
    /// opened again or revoked.
    pub(super) reading: BTreeSet<TopicPartition>,
    /// Assigned partitions that are not consumed any further.
    pub(super) given_up: BTreeSet<TopicPartition>,
    /// Stop offsets from the supervisor, possibly received before the partitions were open.
    ends: BTreeMap<TopicPartition, i64>,
    /// The number of open requests for which the host is creating the processor or partition actors.
    opening: usize,
    /// Stops for which the poll thread waits.
    shuts: Vec<PendingStop>,
    link: Option<Addr<SupervisorConnection>>,
    host: Option<Addr<ProcessorHost>>,
    poll: Option<PollThread>,
    /// Whether the worker leaves the group when it stops.
    leave: bool,
    pub(super) code: ExitCode,
    ended: Option<oneshot::Sender<ExitCode>>,
}

/// A partition and its actor.
pub(super) struct PartitionHandle {
    pub(super) actor: Addr<PartitionConsumer>,
    stopping: bool,
}

/// A pending stop: see [`super::messages::PollEvent::Shut`].
pub(super) struct PendingStop {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) lost: bool,
    pub(super) done: mpsc::SyncSender<()>,
}

/// The addresses that the router needs once everything else is started.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StartWorker {
    pub(super) link: Addr<SupervisorConnection>,
    pub(super) host: Addr<ProcessorHost>,
    pub(super) poll: PollThread,
}

impl PartitionManager {
    pub(super) fn new(
        start: Arc<WorkerConfig>,
        history: Option<Arc<HistoryWriter>>,
        logger: Logger,
        ended: oneshot::Sender<ExitCode>,
    ) -> Self {
        let orders = WorkerFlags::new(&start);
        let given_up = start.stopped.iter().cloned().collect();
        Self {
            start,
            stopping: Arc::default(),
            orders,
            history,
            logger,
            partitions: BTreeMap::new(),
            counters: Vec::new(),
            reading: BTreeSet::new(),
            given_up,
            ends: BTreeMap::new(),
            opening: 0,
            shuts: Vec::new(),
            link: None,
            host: None,
            poll: None,
            leave: false,
            code: ExitCode::Success,
            ended: Some(ended),
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn tell(&self, frame: WorkerEvent) {
        if let Some(link) = &self.link {
            link.do_send(SendEvent(frame));
        }
    }

    pub(super) fn send_to_poll_thread(&self, order: PollCommand) {
        if let Some(poll) = self.poll.as_ref().filter(|_| !self.is_stopping()) {
            poll.order(order);
        }
    }

    // ---- opening partitions ----

    pub(super) fn open(
        &mut self,
        mut openings: Vec<NewPartition>,
        opened: AssignmentKind,
        context: &mut Context<Self>,
    ) {
        // A stop was requested meanwhile: the queues are dropped here, and the client can close.
        let Some((host, link)) = self.host.clone().zip(self.link.clone()).filter(|_| !self.is_stopping()) else {
            return;
        };
        openings.retain(|opening| {
            let name = &opening.counters.partition;
            let is_given_up = self.given_up.contains(name);
            if is_given_up && !opened.is_known() {
                warn!(self.logger, "{name}: assigned again, it stays stopped");
            }
            !is_given_up
        });
        for opening in &mut openings {
            let name = &opening.counters.partition;
            if opened == AssignmentKind::Restarted {
                // The stop offset refers to the previous topic of this name.
                self.ends.remove(name);
            }
            match opening.until {
                Some(until) => _ = self.ends.insert(name.clone(), until),
                None => opening.until = self.ends.get(name).copied(),
            }
            self.reading.insert(name.clone());
        }
        if opened == AssignmentKind::Restarted {
            self.tell(WorkerEvent::Restarted(openings.iter().map(NewPartition::start).collect()));
        }
        if !opened.is_known() {
            let counters: Vec<_> = openings.iter().map(|opening| Arc::clone(&opening.counters)).collect();
            self.counters.extend(counters.clone());
            if opened == AssignmentKind::Added {
                self.tell(WorkerEvent::Assigned(openings.iter().map(NewPartition::start).collect()));
            }
            link.do_send(TrackPartitions(counters));
        }
        self.opening += 1;
        context.spawn(host.send(OpenPartitions(openings)).into_actor(self).map(move |reply, router, context| {
            router.opening -= 1;
            match reply {
                Ok(Ok(partitions)) => router.opened(partitions, opened, context),
                // Before any processor was created, the cause is the settings; later it is a dependency.
                Ok(Err(failure)) => {
                    router.broken(FailedPart::Processor, failure.to_string(), !router.start.proven, context);
                }
                Err(error) => router.broken(FailedPart::Worker, error.to_string(), false, context),
            }
            router.finish_pending_stops(context);
        }));
    }

    fn opened(
        &mut self,
        partitions: Vec<(TopicPartition, Addr<PartitionConsumer>)>,
        opened: AssignmentKind,
        context: &mut Context<Self>,
    ) {
        let names: Vec<_> = partitions.iter().map(|(partition, _)| partition.to_string()).collect();
        let actors: Vec<_> = partitions.iter().map(|(_, actor)| actor.clone()).collect();
        for (name, actor) in partitions {
            // The stop offset was received while the actor was being created.
            if let Some(until) = self.ends.get(&name) {
                actor.do_send(ReadUntil(*until));
            }
            self.partitions.insert(name, PartitionHandle { actor, stopping: false });
        }
        if self.is_stopping() {
            return;
        }
        let is_member = self.start.member.is_some();
        match (names.is_empty(), opened) {
            (false, _) => info!(self.logger, "reading"; "partitions" => names.join(", ")),
            (true, AssignmentKind::First) if is_member => {
                info!(self.logger, "waiting for the group to deal partitions")
            }
            (true, AssignmentKind::Again | AssignmentKind::Restarted) => {}
            (true, _) if self.partitions.is_empty() => info!(self.logger, "no partition for this worker: standby"),
            (true, _) => {}
        }
        if opened == AssignmentKind::First {
            self.tell(WorkerEvent::Ready { version: PROTOCOL_VERSION });
        }
        self.start_reading(actors, context);
        self.report_end_reached();
    }

    /// Lets partitions process messages once the supervisor can read that this worker is ready and has them: a
    /// message may kill this process at once, and what was not written then is unknown to the supervisor.
    fn start_reading(&self, partitions: Vec<Addr<PartitionConsumer>>, context: &mut Context<Self>) {
        let Some(link) = &self.link else { return };
        context.spawn(link.send(Flush).into_actor(self).map(move |written, _, _| {
            if written == Ok(true) {
                partitions.iter().for_each(|partition| partition.do_send(StartReading));
            }
        }));
    }

    /// Reports that all assigned partitions have reached their stop offsets; again after each change.
    pub(super) fn report_end_reached(&self) {
        if self.start.finite && self.opening == 0 && self.reading.is_empty() && !self.is_stopping() {
            self.tell(WorkerEvent::EndReached);
        }
    }

    /// Pauses while the lease has expired, and resumes when it is renewed.
    pub(super) fn look_at_lease(&mut self) {
        match self.orders.lease.look() {
            None => {}
            Some(true) => {
                info!(self.logger, "going on: the supervisor has confirmed that it holds the lock on the group");
                self.notify_data();
            }
            Some(false) if self.is_stopping() => {}
            Some(false) => {
                warn!(
                    self.logger,
                    "taking no messages: the supervisor does not confirm that it holds the lock on the group"
                );
            }
        }
    }

    /// Wakes the partitions to check their queues and the supervisor's flags.
    pub(super) fn notify_data(&self) {
        self.partitions.values().for_each(|partition| partition.actor.do_send(DataReady));
    }

    pub(super) fn read_until(&mut self, ends: Vec<(TopicPartition, i64)>) {
        self.ends = ends.into_iter().collect();
        for (name, until) in &self.ends {
            if let Some(partition) = self.partitions.get(name) {
                partition.actor.do_send(ReadUntil(*until));
            }
        }
        self.report_end_reached();
    }

    // ---- stopping partitions ----

    pub(super) fn stop_partitions(&mut self, shut: PendingStop, context: &mut Context<Self>) {
        self.shuts.push(shut);
        self.finish_pending_stops(context);
    }

    /// Stops the actors that have to stop, and reports completion for stops whose actors have all stopped.
    fn finish_pending_stops(&mut self, context: &mut Context<Self>) {
        let stopping = self.is_stopping();
        for (name, partition) in &mut self.partitions {
            let shut = self.shuts.iter().find(|shut| shut.partitions.contains(name));
            if partition.stopping || (shut.is_none() && !stopping) {
                continue;
            }
            partition.stopping = true;
            let (stop, name) = (StopPartition { lost: shut.is_some_and(|shut| shut.lost) }, name.clone());
            // An actor that is gone has stopped.
            context.spawn(wrap_future::<_, Self>(partition.actor.send(stop)).map(move |_gone, router, context| {
                router.partitions.remove(&name);
                router.finish_pending_stops(context);
            }));
        }
        if self.opening > 0 {
            return;
        }
        let partitions = &self.partitions;
        self.shuts.retain(|shut| {
            let is_over = !shut.partitions.iter().any(|name| partitions.contains_key(name));
            if is_over {
                // The poll thread may have timed out.
                shut.done.send(()).ok();
            }
            !is_over
        });
        if stopping && self.partitions.is_empty() {
            self.end(context);
        }
    }

    pub(super) fn on_revoked(&mut self, partitions: Vec<TopicPartition>, lost: bool) {
        for name in &partitions {
            self.reading.remove(name);
        }
        self.counters.retain(|counters| !partitions.contains(&counters.partition));
        if !partitions.is_empty() {
            let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
            match lost {
                false => info!(self.logger, "partitions revoked"; "partitions" => names.join(", ")),
                true => {
                    warn!(self.logger, "partitions lost: messages since the last commit will be reprocessed by the next owner";
                    "partitions" => names.join(", "))
                }
            }
            if let Some(link) = &self.link {
                link.do_send(UntrackPartitions { partitions, lost });
            }
        }
        self.report_end_reached();
    }

    // ---- shutdown ----

    pub(super) fn broken(&mut self, part: FailedPart, reason: String, permanent: bool, context: &mut Context<Self>) {
        error!(self.logger, "{reason}");
        self.code = ExitCode::Failed;
        self.tell(WorkerEvent::Fatal { part, reason, permanent });
        self.end_within(self.start.settings.shutdown.timeout, context);
        // A worker that is started again keeps its group membership.
        self.stop(permanent, context);
    }

    /// Begins the shutdown, which has a deadline also when no supervisor sets one. With `leave` the group
    /// assigns the partitions to other members at once; otherwise a successor with the same static id gets them.
    pub(super) fn stop(&mut self, leave: bool, context: &mut Context<Self>) {
        self.leave |= leave;
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        // As long as a message may take: the worker may be healthy, and the supervisor kills it sooner if there
        // is a reason.
        let stall = self.start.settings.consumer.watchdog.stall_timeout;
        let message = if stall.is_zero() { DEFAULT_STALL_TIMEOUT } else { stall };
        self.end_within(self.start.settings.shutdown.timeout.max(message), context);
        self.finish_pending_stops(context);
    }

    /// Exits after this time, even with messages in flight.
    pub(super) fn end_within(&self, time: Duration, context: &mut Context<Self>) {
        context.run_later(time + SUPERVISOR_GRACE, |router, _| {
            error!(router.logger, "this worker has not ended by its own deadline");
            router.log_end(ExitCode::Forced);
        });
    }

    /// Shuts down after the partitions have stopped: a commit, then the processor, then the client, then the
    /// last frame.
    fn end(&mut self, context: &mut Context<Self>) {
        let (Some(host), Some(poll), Some(link)) = (self.host.take(), self.poll.take(), self.link.clone()) else {
            return;
        };
        let (history, leave) = (self.history.take(), self.leave);
        let end = async move {
            // The offsets are committed first, whatever the shutdown of the processor takes.
            poll.commit().await;
            let finished = host.send(FinishProcessor).await;
            poll.close(leave).await;
            let failure = match (finished, history.map(|history| history.bye())) {
                (Ok(Err(failure)), _) => {
                    Some((FailedPart::Processor, format!("the processor did not finish cleanly: {failure}")))
                }
                (_, Some(Err(error))) => Some((FailedPart::Worker, no_history(&error))),
                _ => None,
            };
            if let Some((part, reason)) = failure.clone() {
                link.do_send(SendEvent(WorkerEvent::Fatal { part, reason, permanent: false }));
            }
            // If the connection is gone, the supervisor cannot receive it.
            link.send(Close).await.ok();
            failure
        };
        context.spawn(end.into_actor(self).map(|failure, router, context| {
            if let Some((_, failure)) = failure {
                error!(router.logger, "{failure}");
                router.code = if router.code == ExitCode::Success { ExitCode::Failed } else { router.code };
            }
            router.log_end(router.code);
            context.stop();
        }));
    }

    pub(super) fn log_end(&mut self, code: ExitCode) {
        if let Some(ended) = self.ended.take() {
            // The process waits for nothing else.
            ended.send(code).ok();
        }
    }
}

impl Actor for PartitionManager {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.start.lease.is_some() {
            context.run_interval(LEASE_CHECK_INTERVAL, |router, _| router.look_at_lease());
        }
    }
}

impl Handler<StartWorker> for PartitionManager {
    type Result = ();

    fn handle(&mut self, begin: StartWorker, _: &mut Self::Context) {
        self.link = Some(begin.link);
        self.host = Some(begin.host);
        self.poll = Some(begin.poll);
    }
}
