//! Coordinates producers and workers, which do not know each other: producing starts after all partitions are
//! assigned, and the workers run until everything is consumed or a timeout expires.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, info, warn};
use tokio::sync::oneshot;

use crate::consumer::supervisor::actor::{self as supervisor, ConsumerSupervisor};
use crate::consumer::supervisor::messages::{self as consuming, AbortRun, ReadToEnd, SupervisorEvent};
use crate::exit::ExitCode;
use crate::producer::coordinator::{self, ProducerCoordinator};
use crate::producer::messages::{self as producing, ConsumedUpTo};
use crate::settings::Settings;
use crate::signals::ControlSignal;
use crate::util::timer;

/// The exit reason for [`RunOutcome::never_ready`].
pub const CONSUMER_NOT_READY: &str = "not every worker was ready within verify.timeout";

/// The parameters of an [`Orchestrator`]: one side or both.
pub struct OrchestratorParams {
    /// All settings.
    pub settings: Arc<Settings>,
    /// The producer.
    pub producing: Option<coordinator::ProducerParams>,
    /// The consumer, with `finite` set.
    pub consuming: Option<supervisor::SupervisorParams>,
    /// How long the workers may take until they are ready, and to consume the rest after producing has stopped;
    /// `None`: no limit.
    pub deadline: Option<Duration>,
    /// The logger.
    pub logger: Logger,
}

/// The outcome of a run.
#[derive(Debug, Default)]
pub struct RunOutcome {
    /// The producer's result, if it was started.
    pub produced: Option<producing::ProducerResult>,
    /// The consumer's result, if there is one.
    pub consumed: Option<consuming::ConsumeResult>,
    /// Whether a signal stopped the run.
    pub interrupted: bool,
    /// Whether the timeout expired before everything was consumed.
    pub deadline_passed: bool,
    /// Whether it expired before every worker was ready.
    pub never_ready: bool,
}

/// The actor; it sends the outcome through the channel returned by [`Orchestrator::start`].
pub struct Orchestrator {
    settings: Arc<Settings>,
    logger: Logger,
    producing: Option<coordinator::ProducerParams>,
    consuming: Option<supervisor::SupervisorParams>,
    deadline: Option<Duration>,
    supervisor: Option<Addr<ConsumerSupervisor>>,
    coordinator: Option<Addr<ProducerCoordinator>>,
    /// Every worker is running or on standby.
    ready: bool,
    outcome: RunOutcome,
    ended: Option<oneshot::Sender<RunOutcome>>,
}

impl Orchestrator {
    /// Starts the actor; the receiver gets the outcome.
    pub fn start(params: OrchestratorParams) -> (Addr<Self>, oneshot::Receiver<RunOutcome>) {
        let (sender, receiver) = oneshot::channel();
        let OrchestratorParams { settings, producing, consuming, deadline, logger } = params;
        let director = Self {
            settings,
            logger,
            producing,
            consuming,
            deadline,
            supervisor: None,
            coordinator: None,
            ready: false,
            outcome: RunOutcome::default(),
            ended: Some(sender),
        };
        (Actor::start(director), receiver)
    }

    fn start_consumer(&mut self, mut params: supervisor::SupervisorParams, context: &mut Context<Self>) {
        params.observer = Some(context.address().recipient());
        let (supervisor, outcome) = ConsumerSupervisor::start(params);
        self.supervisor = Some(supervisor);
        if let Some(deadline) = self.deadline {
            timer::run_later(context, deadline, Self::give_up_waiting);
        }
        context.spawn(outcome.into_actor(self).map(|outcome, director, context| {
            if let Ok(outcome) = outcome {
                director.on_consumer_done(outcome, context);
            }
        }));
    }

    /// Stops the run if the workers are not ready by now.
    fn give_up_waiting(&mut self, _: &mut Context<Self>) {
        if self.ready || self.outcome.consumed.is_some() {
            return;
        }
        warn!(self.logger, "{CONSUMER_NOT_READY}"; "verify.timeout" => ?self.deadline);
        self.outcome.never_ready = true;
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(AbortRun(CONSUMER_NOT_READY));
        }
    }

    /// Starts the producer; from now on the workers consume every new message.
    fn start_producer(&mut self, context: &mut Context<Self>) {
        let Some(params) = self.producing.take() else {
            self.read_to_end(context);
            return;
        };
        if self.outcome.interrupted {
            return;
        }
        let (coordinator, outcome) = ProducerCoordinator::start(params);
        self.coordinator = Some(coordinator);
        context.spawn(outcome.into_actor(self).map(|outcome, director, context| {
            if let Ok(outcome) = outcome {
                director.on_producer_done(outcome, context);
            }
        }));
    }

    fn on_producer_done(&mut self, outcome: producing::ProducerResult, context: &mut Context<Self>) {
        self.coordinator = None;
        let has_failed =
            outcome.exit.code == ExitCode::Forced || outcome.report.acknowledged == 0 || outcome.topic_deleted;
        info!(self.logger, "produced: {}", outcome.exit.reason);
        self.outcome.produced = Some(outcome);
        match self.supervisor.clone().filter(|_| self.outcome.consumed.is_none()) {
            None => self.finish(context),
            Some(supervisor) if has_failed => supervisor.do_send(AbortRun("nothing more is produced")),
            Some(_) => self.read_to_end(context),
        }
    }

    /// Lets the workers finish after the last message.
    fn read_to_end(&mut self, context: &mut Context<Self>) {
        let Some(supervisor) = self.supervisor.clone() else { return };
        supervisor.do_send(ReadToEnd);
        let Some(deadline) = self.deadline else { return };
        timer::run_later(context, deadline, move |director: &mut Self, _| {
            if director.outcome.consumed.is_none() {
                warn!(director.logger, "not everything was consumed within verify.timeout = {deadline:?}");
                director.outcome.deadline_passed = true;
                supervisor.do_send(AbortRun("verify.timeout has passed"));
            }
        });
    }

    fn on_consumer_done(&mut self, outcome: consuming::ConsumeResult, context: &mut Context<Self>) {
        self.outcome.consumed = Some(outcome);
        match &self.coordinator {
            // The workers have stopped: no more messages are needed.
            Some(coordinator) => coordinator.do_send(ControlSignal::Terminate),
            None => self.finish(context),
        }
    }

    fn finish(&mut self, context: &mut Context<Self>) {
        if let Some(ended) = self.ended.take() {
            // The receiver exists until the process exits.
            ended.send(std::mem::take(&mut self.outcome)).ok();
        }
        context.stop();
    }
}

impl Actor for Orchestrator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        match self.consuming.take() {
            Some(params) => self.start_consumer(params, context),
            None => self.start_producer(context),
        }
    }
}

impl Handler<SupervisorEvent> for Orchestrator {
    type Result = ();

    fn handle(&mut self, observation: SupervisorEvent, context: &mut Self::Context) {
        match (observation, &self.coordinator) {
            // The timeout has already expired.
            (SupervisorEvent::Ready, _) if self.outcome.never_ready => {}
            (SupervisorEvent::Ready, _) => {
                self.ready = true;
                self.start_producer(context);
            }
            (SupervisorEvent::Read(messages), Some(coordinator)) => coordinator.do_send(ConsumedUpTo(messages)),
            (SupervisorEvent::Read(_), None) => {}
        }
    }
}

impl Handler<ControlSignal> for Orchestrator {
    type Result = ();

    fn handle(&mut self, interrupt: ControlSignal, context: &mut Self::Context) {
        if let Some(coordinator) = &self.coordinator {
            coordinator.do_send(interrupt);
        }
        let Some(supervisor) = self.supervisor.clone() else {
            self.outcome.interrupted |= interrupt.is_end();
            return;
        };
        if interrupt != ControlSignal::Terminate {
            supervisor.do_send(interrupt);
        } else if !std::mem::replace(&mut self.outcome.interrupted, true) {
            if self.coordinator.is_none() && self.outcome.produced.is_none() {
                supervisor.do_send(ControlSignal::Terminate);
            }
            // Otherwise the remaining messages are consumed as long as there is time.
            let deadline = self.settings.shutdown.timeout;
            timer::run_later(context, deadline, move |_, _| supervisor.do_send(ControlSignal::Terminate));
        }
    }
}
