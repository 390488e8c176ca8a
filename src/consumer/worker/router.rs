//! Opens a worker's partitions and stops them, hands on what the supervisor says, and ends everything in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::prelude::*;
use slog::{Logger, error, info, warn};
use tokio::sync::oneshot;

use super::counters::{Budget, Counters};
use super::host::{FinishProcessor, Open, PartitionHost};
use super::journal::{Journal, no_journal};
use super::link::SupervisorLink;
use super::messages::{Close, DataReady, Forget, Opened, Opening, ReadUntil, StopPartition, Tell, Watch};
use super::partition::PartitionConsumer;
use super::poll::{Order, PollThread};
use super::shared::Orders;
use crate::consumer::control::{FromWorker, Start, VERSION};
use crate::exit::ExitCode;
use crate::record::TopicPartition;

/// A supervisor that lives ends its workers at the deadline by itself; this is for those that end on their own.
const SUPERVISOR_FIRST: Duration = Duration::from_secs(1);
/// How long a message may take where the watchdog is off.
const UNWATCHED: Duration = Duration::from_secs(60);

/// The actor that a worker's life hangs on.
pub(super) struct PartitionRouter {
    pub(super) start: Arc<Start>,
    pub(super) budget: Arc<Budget>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) orders: Arc<Orders>,
    journal: Option<Arc<Journal>>,
    pub(super) logger: Logger,
    /// Those that have an actor, until it has stopped.
    pub(super) partitions: BTreeMap<TopicPartition, Reading>,
    /// For the status: those that are this worker's.
    pub(super) counters: Vec<Arc<Counters>>,
    /// Those that have not been read to their ends; also those that are shut, until they are opened again or given back.
    pub(super) reading: BTreeSet<TopicPartition>,
    /// Those that are read no further, although they are this worker's.
    pub(super) given_up: BTreeSet<TopicPartition>,
    /// Told by the supervisor, possibly before the partitions were open.
    ends: BTreeMap<TopicPartition, i64>,
    pub(super) grant_asked: bool,
    /// How often the host is making the processor or partitions' actors now.
    opening: usize,
    /// The poll thread waits for these to stop.
    shuts: Vec<Shut>,
    link: Option<Addr<SupervisorLink>>,
    host: Option<Addr<PartitionHost>>,
    poll: Option<PollThread>,
    /// Whether the end is the membership's, too.
    leave: bool,
    pub(super) code: ExitCode,
    ended: Option<oneshot::Sender<ExitCode>>,
}

/// A partition and its actor.
pub(super) struct Reading {
    pub(super) actor: Addr<PartitionConsumer>,
    stopping: bool,
}

/// As [`super::messages::FromPoll::Shut`].
pub(super) struct Shut {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) lost: bool,
    pub(super) done: mpsc::SyncSender<()>,
}

/// What the router needs once everything else is started.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Begin {
    pub(super) link: Addr<SupervisorLink>,
    pub(super) host: Addr<PartitionHost>,
    pub(super) poll: PollThread,
}

impl PartitionRouter {
    pub(super) fn new(
        start: Arc<Start>,
        journal: Option<Arc<Journal>>,
        logger: Logger,
        ended: oneshot::Sender<ExitCode>,
    ) -> Self {
        let (budget, orders) = (Budget::new(start.limited), Orders::new(&start));
        let given_up = start.stopped.iter().cloned().collect();
        Self {
            start,
            budget,
            stopping: Arc::default(),
            orders,
            journal,
            logger,
            partitions: BTreeMap::new(),
            counters: Vec::new(),
            reading: BTreeSet::new(),
            given_up,
            ends: BTreeMap::new(),
            grant_asked: false,
            opening: 0,
            shuts: Vec::new(),
            link: None,
            host: None,
            poll: None,
            leave: false,
            code: ExitCode::Clean,
            ended: Some(ended),
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn tell(&self, frame: FromWorker) {
        if let Some(link) = &self.link {
            link.do_send(Tell(frame));
        }
    }

    pub(super) fn order(&self, order: Order) {
        if let Some(poll) = self.poll.as_ref().filter(|_| !self.is_stopping()) {
            poll.order(order);
        }
    }

    // ---- partitions come -------------------------------------------------------------------------------------------

    pub(super) fn open(&mut self, mut openings: Vec<Opening>, opened: Opened, context: &mut Context<Self>) {
        // Asked to stop meanwhile: the queues are dropped here, and the client can close.
        let Some((host, link)) = self.host.clone().zip(self.link.clone()).filter(|_| !self.is_stopping()) else {
            return;
        };
        openings.retain(|opening| {
            let name = &opening.counters.partition;
            let is_given_up = self.given_up.contains(name);
            if is_given_up && opened != Opened::Again {
                warn!(self.logger, "{name}: dealt again, and read no further as before");
            }
            !is_given_up
        });
        for opening in &mut openings {
            let name = &opening.counters.partition;
            match opening.until {
                Some(until) => _ = self.ends.insert(name.clone(), until),
                None => opening.until = self.ends.get(name).copied(),
            }
            self.reading.insert(name.clone());
        }
        if opened != Opened::Again {
            let counters: Vec<_> = openings.iter().map(|opening| Arc::clone(&opening.counters)).collect();
            self.counters.extend(counters.clone());
            if opened == Opened::Added {
                self.tell(FromWorker::Assigned(openings.iter().map(Opening::start).collect()));
            }
            link.do_send(Watch(counters));
        }
        self.opening += 1;
        context.spawn(host.send(Open(openings)).into_actor(self).map(move |answer, router, context| {
            router.opening -= 1;
            match answer {
                Ok(Ok(partitions)) => router.opened(partitions, opened),
                // Before any processor was made, it is the settings' fault; later that of what it needs.
                Ok(Err(failure)) => router.broken(failure.to_string(), !router.start.proven, context),
                Err(error) => router.broken(error.to_string(), false, context),
            }
            router.go_on_stopping(context);
        }));
    }

    fn opened(&mut self, partitions: Vec<(TopicPartition, Addr<PartitionConsumer>)>, opened: Opened) {
        let names: Vec<_> = partitions.iter().map(|(partition, _)| partition.to_string()).collect();
        for (name, actor) in partitions {
            // Told while it was being made.
            if let Some(until) = self.ends.get(&name) {
                actor.do_send(ReadUntil(*until));
            }
            self.partitions.insert(name, Reading { actor, stopping: false });
        }
        if self.is_stopping() {
            return;
        }
        let is_member = self.start.member.is_some();
        match (names.is_empty(), opened) {
            (false, _) => info!(self.logger, "reading"; "partitions" => names.join(", ")),
            (true, Opened::First) if is_member => info!(self.logger, "waiting for the group to deal partitions"),
            (true, Opened::Again) => {}
            (true, _) if self.partitions.is_empty() => info!(self.logger, "no partition for this worker: standing by"),
            (true, _) => {}
        }
        if opened == Opened::First {
            self.tell(FromWorker::Ready { version: VERSION });
        }
        self.tell_end();
    }

    /// Tells, again after each change, that all partitions that it has are at their ends.
    pub(super) fn tell_end(&self) {
        if self.start.finite && self.opening == 0 && self.reading.is_empty() && !self.is_stopping() {
            self.tell(FromWorker::EndReached);
        }
    }

    /// Has the partitions look at their queues and at what the supervisor wants.
    pub(super) fn wake(&self) {
        self.partitions.values().for_each(|partition| partition.actor.do_send(DataReady));
    }

    pub(super) fn read_until(&mut self, ends: Vec<(TopicPartition, i64)>) {
        self.ends = ends.into_iter().collect();
        for (name, until) in &self.ends {
            if let Some(partition) = self.partitions.get(name) {
                partition.actor.do_send(ReadUntil(*until));
            }
        }
        self.tell_end();
    }

    // ---- partitions go ---------------------------------------------------------------------------------------------

    pub(super) fn shut(&mut self, shut: Shut, context: &mut Context<Self>) {
        self.shuts.push(shut);
        self.go_on_stopping(context);
    }

    /// Stops what has to stop and has an actor; says so where all that somebody waits for have stopped.
    fn go_on_stopping(&mut self, context: &mut Context<Self>) {
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
                router.go_on_stopping(context);
            }));
        }
        if self.opening > 0 {
            return;
        }
        let partitions = &self.partitions;
        self.shuts.retain(|shut| {
            let is_over = !shut.partitions.iter().any(|name| partitions.contains_key(name));
            if is_over {
                // The poll thread may have run into its deadline.
                let _unheard = shut.done.send(());
            }
            !is_over
        });
        if stopping && self.partitions.is_empty() {
            self.end(context);
        }
    }

    pub(super) fn given_back(&mut self, partitions: Vec<TopicPartition>, lost: bool) {
        for name in &partitions {
            self.reading.remove(name);
        }
        self.counters.retain(|counters| !partitions.contains(&counters.partition));
        if !partitions.is_empty() {
            let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
            match lost {
                false => info!(self.logger, "given back"; "partitions" => names.join(", ")),
                true => warn!(self.logger, "lost: what was not committed is processed again by whoever has them next";
                    "partitions" => names.join(", ")),
            }
            if let Some(link) = &self.link {
                link.do_send(Forget { partitions, lost });
            }
        }
        self.tell_end();
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    pub(super) fn broken(&mut self, reason: String, lasting: bool, context: &mut Context<Self>) {
        error!(self.logger, "{reason}");
        self.code = ExitCode::Failed;
        self.tell(FromWorker::Broken { reason, lasting });
        self.end_within(self.start.settings.shutdown.deadline, context);
        // One that is started again goes on as the same member.
        self.stop(lasting, context);
    }

    /// Begins the end, which has a deadline also when no supervisor sets one. Does the group deal the partitions to
    /// others at once, or does a successor with the same static id have them?
    pub(super) fn stop(&mut self, leave: bool, context: &mut Context<Self>) {
        self.leave |= leave;
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        // As long as a message may take: nothing may be wrong, and the supervisor ends it sooner if there is a reason.
        let stall = self.start.settings.consumer.watchdog.stall_timeout;
        let message = if stall.is_zero() { UNWATCHED } else { stall };
        self.end_within(self.start.settings.shutdown.deadline.max(message), context);
        self.go_on_stopping(context);
    }

    /// The end comes by then, whatever is still in hand.
    pub(super) fn end_within(&self, time: Duration, context: &mut Context<Self>) {
        context.run_later(time + SUPERVISOR_FIRST, |router, _| {
            error!(router.logger, "this worker has not ended by its own deadline");
            router.say_ended(ExitCode::Forced);
        });
    }

    /// Partitions have stopped; a commit, then the processor, then the client, then the last frame.
    fn end(&mut self, context: &mut Context<Self>) {
        let (Some(host), Some(poll), Some(link)) = (self.host.take(), self.poll.take(), self.link.clone()) else {
            return;
        };
        let (journal, leave) = (self.journal.take(), self.leave);
        let end = async move {
            // Whatever the processor's end takes, what is processed is processed.
            poll.commit().await;
            let finished = host.send(FinishProcessor).await;
            poll.close(leave).await;
            let failure = match (finished, journal.map(|journal| journal.bye())) {
                (Ok(Err(failure)), _) => Some(format!("the processor did not finish cleanly: {failure}")),
                (_, Some(Err(error))) => Some(no_journal(&error)),
                _ => None,
            };
            if let Some(reason) = failure.clone() {
                link.do_send(Tell(FromWorker::Broken { reason, lasting: false }));
            }
            // A link that is gone has nobody to tell.
            let _gone = link.send(Close).await;
            failure
        };
        context.spawn(end.into_actor(self).map(|failure, router, context| {
            if let Some(failure) = failure {
                error!(router.logger, "{failure}");
                router.code = if router.code == ExitCode::Clean { ExitCode::Failed } else { router.code };
            }
            router.say_ended(router.code);
            context.stop();
        }));
    }

    pub(super) fn say_ended(&mut self, code: ExitCode) {
        if let Some(ended) = self.ended.take() {
            // The process waits for nothing else.
            let _unheard = ended.send(code);
        }
    }
}

impl Actor for PartitionRouter {
    type Context = Context<Self>;
}

impl Handler<Begin> for PartitionRouter {
    type Result = ();

    fn handle(&mut self, begin: Begin, _: &mut Self::Context) {
        self.link = Some(begin.link);
        self.host = Some(begin.host);
        self.poll = Some(begin.poll);
    }
}
