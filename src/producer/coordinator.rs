//! Distributes work to the producer threads, aggregates their results and decides when the run is finished.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, error, info, warn};
use tokio::sync::oneshot;

use super::messages::{BatchEnd, BatchResult, ConsumedUpTo, Flush, Flushed, ProduceBatch, ProducerResult, StopFlag};
use super::preparation::{BatchLimit, prepare};
use super::producer_thread::{PURGE_TIMEOUT, ProducerThread};
use super::schedule::Pacing;
use super::thread_fleet::{ThreadFleet, ThreadPhase, ThreadState};
use super::topic_watch::{TOPIC_CHECK_INTERVAL, TopicWatch};
use crate::exit::{ExitCode, ExitStatus};
use crate::generator::Generator;
use crate::kafka;
use crate::kafka::delivery_reports;
use crate::kafka::producer::ProducerClient;
use crate::monitoring::status::{EventLevel, Phase};
use crate::monitoring::status_registry::StatusRegistry;
use crate::progress::ProduceProgress;
use crate::report::ThreadReport;
use crate::settings::{self, Acks, Settings};
use crate::signals::ControlSignal;
use crate::throttle_log::Throttling;
use crate::util::blocking;

/// The interval at which idle threads get work again, such as those that waited for the consumers.
const TICK: Duration = Duration::from_millis(5);
/// The interval of status updates.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);
/// The interval of progress updates.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// How long a thread may run after the deadline of a stop: the time until purged messages are reported as failed,
/// plus a second. A thread that is still in its generator then is abandoned.
pub(super) const FLUSH_GRACE: Duration = Duration::from_secs(1).saturating_add(PURGE_TIMEOUT);
/// The cluster that a coordinator writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brokers {
    /// A Kafka cluster, which keeps the acknowledged messages.
    Kafka,
    /// The embedded broker, which does not report topic properties.
    Embedded {
        /// The maximum size of messages not yet consumed; [`ConsumedUpTo`] reports what is consumed.
        unread_limit: u64,
    },
}

/// The parameters of a [`ProducerCoordinator`].
pub struct ProducerParams {
    /// All settings.
    pub settings: Arc<Settings>,
    /// The message generator.
    pub generator: Box<dyn Generator>,
    /// The run id for message stamps; `None` disables stamps.
    pub run: Option<u64>,
    /// Receives the delivery outcome of each stamped message.
    pub outcomes: Option<Arc<dyn delivery_reports::DeliveryObserver>>,
    /// The cluster to write to.
    pub brokers: Brokers,
    /// The progress output.
    pub progress: ProduceProgress,
    /// The status registry.
    pub registry: StatusRegistry,
    /// The logger.
    pub logger: Logger,
}

/// The actor; it sends its result through the channel returned by [`ProducerCoordinator::start`].
pub struct ProducerCoordinator {
    pub(super) params: ProducerParams,
    /// The effective `acks`.
    pub(super) acks: Acks,
    pub(super) pacing: Pacing,
    pub(super) fleet: ThreadFleet,
    pub(super) shutdown: Shutdown,
    pub(super) topic_watch: TopicWatch,
    pub(super) throttling: Throttling,
    /// The number of messages that consumers have read.
    consumed: u64,
    result: Option<oneshot::Sender<ProducerResult>>,
}

/// The stop of the run by a signal or because the topic was deleted.
#[derive(Default)]
pub(super) struct Shutdown {
    flag: Arc<StopFlag>,
    /// Whether a signal stopped the run.
    pub(super) interrupted: bool,
}

impl ProducerCoordinator {
    /// Starts the actor; the receiver gets its result.
    pub fn start(params: ProducerParams) -> (Addr<Self>, oneshot::Receiver<ProducerResult>) {
        let (sender, receiver) = oneshot::channel();
        let coordinator = Self {
            // Invalid properties are reported when the clients are created.
            acks: kafka::acks(&params.settings).unwrap_or_default(),
            pacing: Pacing::new(&params.settings.producer),
            params,
            fleet: ThreadFleet::default(),
            shutdown: Shutdown::default(),
            topic_watch: TopicWatch::default(),
            throttling: Throttling::default(),
            consumed: 0,
            result: Some(sender),
        };
        (Actor::start(coordinator), receiver)
    }

    fn begin(&mut self, clients: Vec<ProducerClient>, context: &mut Context<Self>) {
        let producer = &self.params.settings.producer;
        info!(self.params.logger, "producing";
            "topic" => &self.params.settings.kafka.topic, "threads" => producer.threads, "messages" => describe_target(producer), "seed" => producer.seed);
        match self.acks {
            Acks::All => {}
            Acks::Leader => warn!(
                self.params.logger,
                "acks=1: a message counts as acknowledged when its partition's leader has it; \
                it is lost if that broker fails before others have it"
            ),
            Acks::None => warn!(
                self.params.logger,
                "acks=0: no message is acknowledged; messages are counted as sent, and may be \
                lost without an error"
            ),
        }
        self.pacing.begin(producer.duration);
        for (number, client) in clients.into_iter().enumerate() {
            client.set_warm_up_start(self.pacing.begun);
            let thread = self.start_thread(number, Arc::new(client));
            self.fleet.push(thread);
        }
        context.run_interval(TICK, |coordinator, context| coordinator.assign_batches(context));
        context.run_interval(PROGRESS_INTERVAL, |coordinator, _| coordinator.show());
        context.run_interval(STATUS_INTERVAL, |coordinator, _| coordinator.publish_status());
        context.run_interval(TOPIC_CHECK_INTERVAL, |coordinator, context| coordinator.check_topic(context));
        self.phase(Phase::Running, "producing");
        self.assign_batches(context);
    }

    fn start_thread(&self, number: usize, client: Arc<ProducerClient>) -> ThreadState {
        let settings = self.params.settings.producer.clone();
        let generator = Mutex::new(self.params.generator.clone_boxed());
        let (pacing, stop_flag, run) = (self.pacing.clone(), Arc::clone(&self.shutdown.flag), self.params.run);
        let of_thread = Arc::clone(&client);
        // One arbiter with one thread each, so that work for one producer cannot run on another.
        let producer = SyncArbiter::start(1, move || {
            let generator = generator.lock().unwrap_or_else(PoisonError::into_inner).clone_boxed();
            let (client, stop_flag) = (Arc::clone(&of_thread), Arc::clone(&stop_flag));
            ProducerThread::new(number, pacing.clone(), &settings, generator, run, client, stop_flag)
        });
        ThreadState::new(producer, &client)
    }

    /// Sends every idle thread its next batch.
    fn assign_batches(&mut self, context: &mut Context<Self>) {
        for number in 0..self.fleet.len() {
            if self.fleet[number].phase == ThreadPhase::Idle {
                self.send_batch(number, context);
            }
        }
    }

    fn send_batch(&mut self, number: usize, context: &mut Context<Self>) {
        if self.is_finished(number) {
            self.flush(number, context);
            return;
        }
        let count = self.limit().saturating_sub(self.fleet[number].batches.sent);
        let bytes = match self.params.brokers {
            Brokers::Kafka => u64::MAX,
            Brokers::Embedded { unread_limit } => self.fleet.backlog_limit_per_thread(unread_limit, self.consumed),
        };
        if bytes == 0 {
            return;
        }
        let thread = &mut self.fleet[number];
        thread.phase = ThreadPhase::Working { max_bytes: bytes };
        let batch = ProduceBatch { count, bytes, until: self.pacing.until };
        let batch = thread.producer.send(batch).into_actor(self).map(move |batch, coordinator, context| {
            // The mailbox is closed only if the thread has died, which takes a panic outside the guarded code; that
            // aborts the process.
            coordinator.on_batch_done(number, batch.unwrap_or_default(), context);
        });
        context.spawn(batch);
    }

    fn on_batch_done(&mut self, number: usize, mut batch: BatchResult, context: &mut Context<Self>) {
        let ended = batch.ended.take();
        self.fleet[number].batches.add(&batch);
        self.fleet[number].phase = ThreadPhase::Idle;
        self.on_thread_ended(number, ended);
        self.send_batch(number, context);
    }

    /// Records why a thread cannot continue; the first reason counts.
    fn on_thread_ended(&mut self, number: usize, ended: Option<BatchEnd>) {
        let Some(ended) = ended.filter(|_| self.fleet[number].batches.ended.is_none()) else { return };
        let text = ended.describe(number);
        error!(self.params.logger, "{text}");
        self.fleet[number].batches.ended = Some(ended);
        self.params.registry.event(EventLevel::Error, "stopped", None, text);
    }

    /// The number of messages that each thread must send.
    pub(super) fn limit(&self) -> u64 {
        match self.params.settings.producer.messages_per_thread {
            0 => u64::MAX,
            limit => limit,
        }
    }

    /// The number of messages that all threads must send, if limited.
    pub(super) fn requested(&self) -> Option<u64> {
        let producer = &self.params.settings.producer;
        match (producer.messages_per_thread, producer.duration.is_zero()) {
            (0, _) | (_, false) => None,
            (messages, true) => Some(messages * producer.threads as u64),
        }
    }

    fn is_finished(&self, number: usize) -> bool {
        let batches = &self.fleet[number].batches;
        self.shutdown.flag.is_stopped()
            || batches.ended.is_some()
            || batches.sent >= self.limit()
            || self.pacing.is_over()
    }

    fn flush(&mut self, number: usize, context: &mut Context<Self>) {
        let since = Instant::now();
        let thread = &mut self.fleet[number];
        thread.phase = ThreadPhase::Flushing { since };
        let flush = thread.producer.send(Flush { deadline: since + self.params.settings.producer.flush_timeout });
        context.spawn(flush.into_actor(self).map(move |flushed, coordinator, context| {
            coordinator.on_flushed(number, since, flushed.unwrap_or_default(), context);
        }));
    }

    fn on_flushed(&mut self, number: usize, since: Instant, flushed: Flushed, context: &mut Context<Self>) {
        self.on_thread_ended(number, flushed.ended);
        self.fleet[number].phase = ThreadPhase::Done { since, expired: flushed.expired };
        let ThreadReport { sent, acknowledged, failed, .. } = self.fleet[number].report(number).0;
        match self.acks {
            Acks::None => {
                info!(self.params.logger, "producer finished"; "producer" => number, "sent" => sent, "failed" => failed)
            }
            _ => info!(self.params.logger, "producer finished"; "producer" => number,
                "sent" => sent, "acknowledged" => acknowledged, "failed" => failed),
        }
        if self.fleet.are_done() {
            let exit = self.exit_status();
            self.finish(exit, context);
        }
    }

    fn show(&mut self) {
        if self.params.progress.is_due() {
            let status = self.status();
            self.params.progress.show(&status);
        }
    }

    pub(super) fn finish(&mut self, exit: ExitStatus, context: &mut Context<Self>) {
        self.publish_status();
        self.show();
        self.params.progress.finish();
        if let Some(result) = self.result.take() {
            let topic_deleted = self.topic_watch.is_deleted;
            let broken = topic_deleted || self.fleet.first_ended().is_some();
            let (report, interrupted) = (self.report(), self.shutdown.interrupted);
            // The receiver exists until the process exits.
            result.send(ProducerResult { exit, report, interrupted, broken, topic_deleted }).ok();
        }
        context.stop();
    }

    /// Stops sending; messages in flight have until `deadline`. Then unfinished threads are abandoned.
    pub(super) fn stop_threads(&mut self, deadline: Duration, context: &mut Context<Self>) {
        self.shutdown.flag.stop(Instant::now() + deadline);
        context.run_later(self.params.settings.shutdown.timeout + FLUSH_GRACE, Self::abandon_threads);
    }

    /// The deadline of the stop has passed: an unfinished thread hangs in its generator.
    fn abandon_threads(&mut self, context: &mut Context<Self>) {
        if self.result.is_none() {
            return;
        }
        let exit = self.abandoned();
        error!(self.params.logger, "{}", exit.reason);
        self.finish(exit, context);
    }

    /// Whether the result is not sent yet.
    pub(super) fn is_running(&self) -> bool {
        self.result.is_some()
    }
}

/// The target of the run as text.
fn describe_target(producer: &settings::Producer) -> String {
    let messages = producer.messages_per_thread * producer.threads as u64;
    match (messages, producer.duration) {
        (0, Duration::ZERO) => "until stopped".to_owned(),
        (0, duration) => format!("for {duration:?}"),
        (messages, Duration::ZERO) => messages.to_string(),
        (messages, duration) => format!("{messages} or for {duration:?}"),
    }
}

impl Actor for ProducerCoordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (settings, logger) = (Arc::clone(&self.params.settings), self.params.logger.clone());
        let outcomes = self.params.outcomes.clone();
        let max_batch = match self.params.brokers {
            Brokers::Kafka => BatchLimit::OfTopic,
            Brokers::Embedded { .. } => BatchLimit::OfClient,
        };
        // The heartbeat also runs while the brokers are unreachable.
        context.run_interval(PROGRESS_INTERVAL, |coordinator, _| coordinator.params.registry.heartbeat());
        let preparation =
            blocking::spawn_blocking("prepare", move || prepare(&settings, max_batch, outcomes.as_ref(), &logger));
        context.spawn(preparation.into_actor(self).map(|prepared, coordinator, context| match prepared {
            Ok(Ok(clients)) => coordinator.begin(clients, context),
            Ok(Err(exit)) => coordinator.finish(exit, context),
            Err(error) => coordinator.finish(ExitStatus::failed(error), context),
        }));
    }
}

impl Handler<ConsumedUpTo> for ProducerCoordinator {
    type Result = ();

    fn handle(&mut self, ConsumedUpTo(messages): ConsumedUpTo, context: &mut Self::Context) {
        self.consumed = messages;
        self.assign_batches(context);
    }
}

impl Handler<ControlSignal> for ProducerCoordinator {
    type Result = ();

    fn handle(&mut self, signal: ControlSignal, context: &mut Self::Context) {
        match signal {
            ControlSignal::Terminate => {
                let timeout = self.params.settings.shutdown.timeout;
                info!(self.params.logger, "stopping: waiting for messages in flight"; "deadline" => ?timeout);
                self.shutdown.interrupted = true;
                self.phase(Phase::Draining, "stopping: waiting for messages in flight");
                self.stop_threads(timeout, context);
                if self.fleet.is_empty() {
                    let exit = ExitStatus::stopped(ExitCode::Failed, "stopped before anything was produced");
                    self.finish(exit, context);
                }
            }
            ControlSignal::AtOnce => {
                self.shutdown.interrupted = true;
                self.shutdown.flag.stop(Instant::now());
                let reason = "terminated by a signal; the outcome of messages in flight is unknown";
                self.finish(ExitStatus::stopped(ExitCode::Forced, reason), context);
            }
            ControlSignal::Roll
            | ControlSignal::More
            | ControlSignal::Fewer
            | ControlSignal::Pause
            | ControlSignal::Resume
            | ControlSignal::Continued => {}
            ControlSignal::Status => match serde_json::to_string(&self.status()) {
                Ok(status) => info!(self.params.logger, "status"; "produce" => status),
                Err(error) => error!(self.params.logger, "no status: {error}"),
            },
        }
    }
}
