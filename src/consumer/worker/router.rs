//! Opens a worker's partitions, hands on what the supervisor says, and ends everything in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, error, info, warn};
use tokio::sync::oneshot;

use super::counters::{Budget, Counters};
use super::host::{FinishProcessor, Open, PartitionHost};
use super::journal::{Journal, no_journal};
use super::link::SupervisorLink;
use super::messages::{Close, DataReady, Event, FromSupervisor, Opening, ReadUntil, StopPartition, Tell};
use super::partition::PartitionConsumer;
use super::poll::{Opened, PollThread};
use crate::consumer::control::{FromWorker, Start, ToWorker, VERSION};
use crate::exit::ExitCode;
use crate::kafka::reader::PartitionStream;
use crate::record::TopicPartition;
use crate::shutdown::Interrupt;

/// A supervisor that lives ends its workers at the deadline by itself; this is for those that end on their own.
const SUPERVISOR_FIRST: Duration = Duration::from_secs(1);

/// The actor that a worker's life hangs on.
pub(super) struct PartitionRouter {
    pub(super) start: Arc<Start>,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) budget: Arc<Budget>,
    pub(super) stopping: Arc<AtomicBool>,
    journal: Option<Arc<Journal>>,
    pub(super) logger: Logger,
    partitions: Vec<(TopicPartition, Addr<PartitionConsumer>)>,
    reading: BTreeSet<TopicPartition>,
    /// Told by the supervisor, possibly before the partitions were open.
    ends: Vec<(TopicPartition, i64)>,
    grant_asked: bool,
    /// The host is making the processor and the partitions' actors.
    opening: bool,
    link: Option<Addr<SupervisorLink>>,
    host: Option<Addr<PartitionHost>>,
    poll: Option<PollThread>,
    code: ExitCode,
    ended: Option<oneshot::Sender<ExitCode>>,
}

/// What the router needs once everything else is started.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Begin {
    pub(super) link: Addr<SupervisorLink>,
    pub(super) host: Addr<PartitionHost>,
    pub(super) poll: PollThread,
    pub(super) opened: Opened,
}

impl PartitionRouter {
    pub(super) fn new(
        start: Arc<Start>,
        counters: Vec<Arc<Counters>>,
        journal: Option<Arc<Journal>>,
        logger: Logger,
        ended: oneshot::Sender<ExitCode>,
    ) -> Self {
        let reading = start.partitions.iter().map(|start| start.partition.clone()).collect();
        let budget = Budget::new(start.limited);
        Self {
            start,
            counters,
            budget,
            stopping: Arc::default(),
            journal,
            logger,
            partitions: Vec::new(),
            reading,
            ends: Vec::new(),
            grant_asked: false,
            opening: false,
            link: None,
            host: None,
            poll: None,
            code: ExitCode::Clean,
            ended: Some(ended),
        }
    }

    fn tell(&self, frame: FromWorker) {
        if let Some(link) = &self.link {
            link.do_send(Tell(frame));
        }
    }

    fn open(&mut self, streams: Vec<PartitionStream>, context: &mut Context<Self>) {
        let Some(host) = self.host.clone() else { return };
        let openings = streams.into_iter().zip(&self.counters).zip(&self.start.partitions);
        let openings = openings.map(|((stream, counters), start)| Opening {
            stream,
            counters: Arc::clone(counters),
            start: start.start,
            until: start.until,
        });
        let open = host.send(Open(openings.collect()));
        self.opening = true;
        context.spawn(open.into_actor(self).map(|opened, router, context| {
            router.opening = false;
            match opened {
                Ok(Ok(partitions)) => router.opened(partitions),
                Ok(Err(failure)) => router.broken(failure.to_string(), true, context),
                Err(error) => router.broken(error.to_string(), false, context),
            }
            if router.stopping.load(Ordering::Acquire) {
                router.end(context);
            }
        }));
    }

    fn opened(&mut self, partitions: Vec<(TopicPartition, Addr<PartitionConsumer>)>) {
        if self.stopping.load(Ordering::Acquire) {
            self.partitions = partitions;
            return;
        }
        let names: Vec<_> = partitions.iter().map(|(partition, _)| partition.to_string()).collect();
        if names.is_empty() {
            info!(self.logger, "no partition for this worker: standing by");
        } else {
            info!(self.logger, "reading"; "partitions" => names.join(", "));
        }
        self.partitions = partitions;
        self.read_until();
        self.tell(FromWorker::Ready { version: VERSION });
        if self.start.finite && self.reading.is_empty() {
            self.tell(FromWorker::EndReached);
        }
    }

    fn read_until(&self) {
        for (ended, until) in &self.ends {
            let addressed = self.partitions.iter().filter(|(partition, _)| partition == ended);
            addressed.for_each(|(_, partition)| partition.do_send(ReadUntil(*until)));
        }
    }

    fn broken(&mut self, reason: String, lasting: bool, context: &mut Context<Self>) {
        error!(self.logger, "{reason}");
        self.code = ExitCode::Failed;
        self.tell(FromWorker::Broken { reason, lasting });
        self.stop(context);
    }

    /// Begins the end, which has a deadline also when no supervisor sets one.
    fn stop(&mut self, context: &mut Context<Self>) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        context.run_later(self.start.settings.shutdown.deadline + SUPERVISOR_FIRST, |router, _| {
            error!(router.logger, "this worker has not ended by its own deadline");
            router.say_ended(ExitCode::Forced);
        });
        if !self.opening {
            self.end(context);
        }
    }

    /// Partitions first, then a commit, then the processor, then the client, then the last frame.
    fn end(&mut self, context: &mut Context<Self>) {
        let (Some(host), Some(poll), Some(link)) = (self.host.take(), self.poll.take(), self.link.clone()) else {
            return;
        };
        let partitions = std::mem::take(&mut self.partitions);
        let journal = self.journal.take();
        let end = async move {
            // Asked together: each finishes the message that it has in hand.
            let stopped: Vec<_> = partitions.iter().map(|(_, partition)| partition.send(StopPartition)).collect();
            futures::future::join_all(stopped).await;
            drop(partitions);
            // Whatever the processor's end takes, what is processed is processed.
            poll.commit().await;
            let finished = host.send(FinishProcessor).await;
            poll.close().await;
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

    fn say_ended(&mut self, code: ExitCode) {
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

    fn handle(&mut self, begin: Begin, context: &mut Self::Context) {
        self.link = Some(begin.link);
        self.host = Some(begin.host);
        self.poll = Some(begin.poll);
        context.spawn(begin.opened.into_actor(self).map(|opened, router, context| match opened {
            // Asked to stop meanwhile: the queues are dropped here, and the client can close.
            Ok(Ok(streams)) if router.stopping.load(Ordering::Acquire) => drop(streams),
            Ok(Ok(streams)) => router.open(streams, context),
            Ok(Err(failure)) => router.broken(failure.to_string(), true, context),
            Err(_) => router.broken("the kafka-poll thread is gone".to_owned(), false, context),
        }));
    }
}

impl Handler<FromSupervisor> for PartitionRouter {
    type Result = ();

    fn handle(&mut self, message: FromSupervisor, context: &mut Self::Context) {
        match message {
            FromSupervisor::Frame(ToWorker::Stop) => self.stop(context),
            FromSupervisor::Frame(ToWorker::Grant(messages)) => {
                self.grant_asked = false;
                self.budget.add(messages);
                self.partitions.iter().for_each(|(_, partition)| partition.do_send(DataReady));
            }
            FromSupervisor::Frame(ToWorker::Recall) => self.tell(FromWorker::Returned(self.budget.drain())),
            FromSupervisor::Frame(ToWorker::ReadUntil(ends)) => {
                self.ends = ends;
                self.read_until();
                if self.reading.is_empty() {
                    self.tell(FromWorker::EndReached);
                }
            }
            FromSupervisor::Frame(ToWorker::Start(_)) => {
                self.broken("the supervisor started this worker twice".to_owned(), true, context);
            }
            FromSupervisor::Gone => {
                if !self.stopping.load(Ordering::Acquire) {
                    warn!(self.logger, "the supervisor is gone: finishing, committing, ending");
                }
                self.code = ExitCode::Orphaned;
                self.stop(context);
            }
        }
    }
}

impl Handler<Event> for PartitionRouter {
    type Result = ();

    fn handle(&mut self, event: Event, context: &mut Self::Context) {
        match event {
            Event::EndReached(partition) => {
                self.reading.remove(&partition);
                if self.reading.is_empty() {
                    self.tell(FromWorker::EndReached);
                }
            }
            // A grant has come since this was sent.
            Event::NeedGrant if self.budget.is_left() => {
                self.partitions.iter().for_each(|(_, partition)| partition.do_send(DataReady));
            }
            Event::NeedGrant => {
                if !std::mem::replace(&mut self.grant_asked, true) {
                    self.tell(FromWorker::NeedGrant);
                }
            }
            Event::MessageFailed { partition, offset, reason } => {
                error!(self.logger, "message failed: {reason}";
                    "topic" => &partition.topic, "partition" => partition.partition, "offset" => offset);
                self.tell(FromWorker::MessageFailed { partition, offset, reason });
            }
            Event::OutputClosed => self.tell(FromWorker::OutputClosed),
            Event::Broken { reason, lasting } => self.broken(reason, lasting, context),
        }
    }
}

impl Handler<Interrupt> for PartitionRouter {
    type Result = ();

    fn handle(&mut self, interrupt: Interrupt, context: &mut Self::Context) {
        match interrupt {
            Interrupt::Graceful => self.stop(context),
            Interrupt::AtOnce => self.say_ended(ExitCode::Forced),
            Interrupt::Status => {
                for counters in &self.counters {
                    info!(self.logger, "status"; "partition" => ?counters.snapshot());
                }
            }
        }
    }
}
