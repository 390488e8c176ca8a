//! Directs producers and workers, which do not know each other: nothing is written before it is read, and everything that
//! was written is read, or a deadline passes.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, info, warn};
use tokio::sync::oneshot;

use crate::consumer::supervisor::actor::{self as supervisor, ConsumerSupervisor};
use crate::consumer::supervisor::messages::{self as consuming, GiveUp, Observation, ReadToEnd};
use crate::exit::ExitCode;
use crate::producer::coordinator::{self, ProducerCoordinator};
use crate::producer::messages::{self as producing, Consumed};
use crate::settings::Settings;
use crate::shutdown::Interrupt;

/// Why nothing was begun, where [`Outcome::never_ready`].
pub const NEVER_READY: &str = "not every worker was ready within verify.deadline";

/// What is to be directed: one side or both.
pub struct Order {
    /// All settings.
    pub settings: Arc<Settings>,
    /// The producing side.
    pub producing: Option<coordinator::Order>,
    /// The consuming side, `finite`.
    pub consuming: Option<supervisor::Order>,
    /// How long the workers may take until they are ready, and how long they may go on reading when nothing more is written;
    /// `None`: as long as it takes.
    pub deadline: Option<Duration>,
    /// The log.
    pub logger: Logger,
}

/// How it all ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The producing side, if it was begun.
    pub produced: Option<producing::Outcome>,
    /// The consuming side, if there is one.
    pub consumed: Option<consuming::Outcome>,
    /// A signal came.
    pub interrupted: bool,
    /// The deadline passed before everything was read.
    pub deadline_passed: bool,
    /// It passed before every worker was ready.
    pub never_ready: bool,
}

/// The actor; its end is told through the channel that it was started with.
pub struct Director {
    settings: Arc<Settings>,
    logger: Logger,
    producing: Option<coordinator::Order>,
    consuming: Option<supervisor::Order>,
    deadline: Option<Duration>,
    supervisor: Option<Addr<ConsumerSupervisor>>,
    coordinator: Option<Addr<ProducerCoordinator>>,
    /// Every worker reads, or stands by.
    ready: bool,
    outcome: Outcome,
    ended: Option<oneshot::Sender<Outcome>>,
}

impl Director {
    /// Starts it; the receiver gets the outcome.
    pub fn start(order: Order) -> (Addr<Self>, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let Order { settings, producing, consuming, deadline, logger } = order;
        let director = Self {
            settings,
            logger,
            producing,
            consuming,
            deadline,
            supervisor: None,
            coordinator: None,
            ready: false,
            outcome: Outcome::default(),
            ended: Some(sender),
        };
        (Actor::start(director), receiver)
    }

    fn consume(&mut self, mut order: supervisor::Order, context: &mut Context<Self>) {
        order.observer = Some(context.address().recipient());
        let (supervisor, outcome) = ConsumerSupervisor::start(order);
        self.supervisor = Some(supervisor);
        if let Some(deadline) = self.deadline {
            context.run_later(deadline, Self::give_up_waiting);
        }
        context.spawn(outcome.into_actor(self).map(|outcome, director, context| {
            if let Ok(outcome) = outcome {
                director.consumed(outcome, context);
            }
        }));
    }

    /// What is not ready by now may never be.
    fn give_up_waiting(&mut self, _: &mut Context<Self>) {
        if self.ready || self.outcome.consumed.is_some() {
            return;
        }
        warn!(self.logger, "{NEVER_READY}"; "verify.deadline" => ?self.deadline);
        self.outcome.never_ready = true;
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(GiveUp(NEVER_READY));
        }
    }

    /// Whatever is written from now on is seen.
    fn produce(&mut self, context: &mut Context<Self>) {
        let Some(order) = self.producing.take() else {
            self.read_to_end(context);
            return;
        };
        if self.outcome.interrupted {
            return;
        }
        let (coordinator, outcome) = ProducerCoordinator::start(order);
        self.coordinator = Some(coordinator);
        context.spawn(outcome.into_actor(self).map(|outcome, director, context| {
            if let Ok(outcome) = outcome {
                director.produced(outcome, context);
            }
        }));
    }

    fn produced(&mut self, outcome: producing::Outcome, context: &mut Context<Self>) {
        self.coordinator = None;
        let given_up = outcome.exit.code == ExitCode::Forced || outcome.report.acknowledged == 0;
        info!(self.logger, "produced: {}", outcome.exit.reason);
        self.outcome.produced = Some(outcome);
        match self.supervisor.clone().filter(|_| self.outcome.consumed.is_none()) {
            None => self.finish(context),
            Some(supervisor) if given_up => supervisor.do_send(GiveUp("nothing more is produced")),
            Some(_) => self.read_to_end(context),
        }
    }

    /// Nothing more will be written.
    fn read_to_end(&mut self, context: &mut Context<Self>) {
        let Some(supervisor) = self.supervisor.clone() else { return };
        supervisor.do_send(ReadToEnd);
        let Some(deadline) = self.deadline else { return };
        context.run_later(deadline, move |director, _| {
            if director.outcome.consumed.is_none() {
                warn!(director.logger, "not everything was read within verify.deadline = {deadline:?}");
                director.outcome.deadline_passed = true;
                supervisor.do_send(GiveUp("verify.deadline has passed"));
            }
        });
    }

    fn consumed(&mut self, outcome: consuming::Outcome, context: &mut Context<Self>) {
        self.outcome.consumed = Some(outcome);
        match &self.coordinator {
            // The readers have given up: nothing more needs to be sent.
            Some(coordinator) => coordinator.do_send(Interrupt::Graceful),
            None => self.finish(context),
        }
    }

    fn finish(&mut self, context: &mut Context<Self>) {
        if let Some(ended) = self.ended.take() {
            // Whoever started it waits for this, or is gone with the process.
            let _unheard = ended.send(std::mem::take(&mut self.outcome));
        }
        context.stop();
    }
}

impl Actor for Director {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        match self.consuming.take() {
            Some(order) => self.consume(order, context),
            None => self.produce(context),
        }
    }
}

impl Handler<Observation> for Director {
    type Result = ();

    fn handle(&mut self, observation: Observation, context: &mut Self::Context) {
        match (observation, &self.coordinator) {
            // Too late, nothing is begun any more.
            (Observation::Ready, _) if self.outcome.never_ready => {}
            (Observation::Ready, _) => {
                self.ready = true;
                self.produce(context);
            }
            (Observation::Read(messages), Some(coordinator)) => coordinator.do_send(Consumed(messages)),
            (Observation::Read(_), None) => {}
        }
    }
}

impl Handler<Interrupt> for Director {
    type Result = ();

    fn handle(&mut self, interrupt: Interrupt, context: &mut Self::Context) {
        if let Some(coordinator) = &self.coordinator {
            coordinator.do_send(interrupt);
        }
        let Some(supervisor) = self.supervisor.clone() else {
            self.outcome.interrupted |= interrupt.is_end();
            return;
        };
        if interrupt != Interrupt::Graceful {
            supervisor.do_send(interrupt);
        } else if !std::mem::replace(&mut self.outcome.interrupted, true) {
            if self.coordinator.is_none() && self.outcome.produced.is_none() {
                supervisor.do_send(Interrupt::Graceful);
            }
            // Otherwise what was sent is read to the end, for as long as there is time.
            context.run_later(self.settings.shutdown.deadline, move |_, _| supervisor.do_send(Interrupt::Graceful));
        }
    }
}
