//! Distributes work to the producer threads, aggregates their results and decides when the run is finished.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, debug, error, info, o, warn};
use tokio::sync::oneshot;

use super::messages::{
    BatchEnd, BatchResult, ConsumedUpTo, DeadlineKind, Flush, Flushed, ProduceBatch, ProducerResult, StopFlag,
};
use super::producer_thread::{PURGE_TIMEOUT, Pacing, ProducerThread};
use super::schedule::Schedule;
use super::topic_watch::{TOPIC_CHECK_INTERVAL, TopicWatch};
use crate::exit::{ExitCode, ExitStatus};
use crate::generator::Generator;
use crate::kafka;
use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::delivery_reports::{self, DeliveryStats};
use crate::kafka::health::ClientHealth;
use crate::kafka::producer::ProducerClient;
use crate::kafka::statistics::ClientStatus;
use crate::kafka::topic_admin;
use crate::monitoring::status::{EventLevel, Phase};
use crate::monitoring::status_registry::StatusRegistry;
use crate::os::limits;
use crate::progress::ProduceProgress;
use crate::record::TopicPartition;
use crate::report::FaultsReport;
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
/// The failure reason of messages without a delivery report in time.
const FLUSH_TIMEOUT_REASON: &str = "no delivery report in time";

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
    pub(super) schedule: Schedule,
    pub(super) threads: Vec<ThreadState>,
    pub(super) stop_flag: Arc<StopFlag>,
    pub(super) topic_watch: TopicWatch,
    pub(super) throttling: Throttling,
    pub(super) begun: Instant,
    /// The time after which no message is generated.
    pub(super) until: Option<Instant>,
    consumed: u64,
    pub(super) interrupted: bool,
    pub(super) outcome: Option<oneshot::Sender<ProducerResult>>,
}

/// The coordinator's state of one producer thread.
pub(super) struct ThreadState {
    pub(super) producer: Addr<ProducerThread>,
    pub(super) deliveries: Arc<DeliveryStats>,
    pub(super) sent: u64,
    pub(super) faults: FaultsReport,
    /// The size of the messages that its client has accepted.
    pub(super) bytes: u64,
    /// The size of the largest of these messages.
    pub(super) largest: u64,
    /// The maximum size of the current batch.
    pub(super) allowed: u64,
    pub(super) expired: Option<DeadlineKind>,
    /// The largest delay of its messages after their scheduled time.
    pub(super) delay: Duration,
    /// When its last message was sent.
    pub(super) last: Option<Instant>,
    /// When it finished sending.
    pub(super) stopped: Option<Instant>,
    pub(super) state: ThreadPhase,
    /// Its client, while it has one, and the client's last status.
    pub(super) client: Weak<ProducerClient>,
    pub(super) client_status: Option<ClientStatus>,
    pub(super) health: Option<ClientHealth>,
    pub(super) ended: Option<BatchEnd>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreadPhase {
    /// It has no work at the moment.
    Idle,
    /// It processes a batch.
    Working,
    /// It waits for acknowledgements.
    Flushing,
    /// It has finished, and its results are counted.
    Done,
}

impl ThreadState {
    /// The number of expected outcomes: all messages, including those rejected by the generator or the client, and
    /// injected duplicates.
    pub(super) fn expected_outcomes(&self) -> u64 {
        self.sent + self.faults.duplicated
    }

    /// The outcomes of the thread's messages. After the thread is done, a missing delivery report counts as failed,
    /// once.
    pub(super) fn outcomes(&self) -> Outcomes {
        let (acknowledged, failed) = (self.deliveries.acknowledged(), self.deliveries.failed());
        let mut outcomes = Outcomes { acknowledged, unacknowledged: self.deliveries.unacknowledged(), failed };
        let unknown = self.expected_outcomes().saturating_sub(outcomes.count());
        if self.state == ThreadPhase::Done && unknown > 0 {
            *outcomes.failed.entry(FLUSH_TIMEOUT_REASON.to_owned()).or_default() += unknown;
        }
        outcomes
    }
}

/// The outcomes of a thread's messages.
pub(super) struct Outcomes {
    pub(super) acknowledged: u64,
    /// Messages sent with `acks=0`.
    pub(super) unacknowledged: u64,
    /// By reason.
    pub(super) failed: BTreeMap<String, u64>,
}

impl Outcomes {
    /// The number of messages with an outcome.
    pub(super) fn count(&self) -> u64 {
        self.acknowledged + self.unacknowledged + self.failed.values().sum::<u64>()
    }
}

impl ProducerCoordinator {
    /// Starts the actor; the receiver gets its result.
    pub fn start(params: ProducerParams) -> (Addr<Self>, oneshot::Receiver<ProducerResult>) {
        let (sender, receiver) = oneshot::channel();
        let schedule = Schedule::new(&params.settings.producer);
        let coordinator = Self {
            // Invalid properties are reported when the clients are created.
            acks: kafka::acks(&params.settings).unwrap_or_default(),
            params,
            schedule,
            threads: Vec::new(),
            stop_flag: Arc::default(),
            topic_watch: TopicWatch::default(),
            throttling: Throttling::default(),
            begun: Instant::now(),
            until: None,
            consumed: 0,
            interrupted: false,
            outcome: Some(sender),
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
        self.begun = Instant::now();
        self.until = (!producer.duration.is_zero()).then(|| self.begun + producer.duration);
        for (number, client) in clients.into_iter().enumerate() {
            client.set_warm_up_start(self.begun);
            let thread = self.start_thread(number, Arc::new(client));
            self.threads.push(thread);
        }
        context.run_interval(TICK, |coordinator, context| coordinator.assign_batches(context));
        context.run_interval(PROGRESS_INTERVAL, |coordinator, _| coordinator.show());
        context.run_interval(STATUS_INTERVAL, |coordinator, _| coordinator.publish_status());
        context.run_interval(TOPIC_CHECK_INTERVAL, |coordinator, context| coordinator.check_topic(context));
        self.phase(Phase::Running, "producing");
        self.assign_batches(context);
    }

    fn start_thread(&self, number: usize, client: Arc<ProducerClient>) -> ThreadState {
        let deliveries = client.deliveries();
        let weak_client = Arc::downgrade(&client);
        let settings = self.params.settings.producer.clone();
        let generator = Mutex::new(self.params.generator.clone_boxed());
        let stop_flag = Arc::clone(&self.stop_flag);
        let run = self.params.run;
        let pace = Pacing { begun: self.begun, schedule: self.schedule.clone() };
        // One arbiter with one thread each, so that work for one producer cannot run on another.
        let producer = SyncArbiter::start(1, move || {
            let generator = generator.lock().unwrap_or_else(PoisonError::into_inner).clone_boxed();
            ProducerThread::new(
                number,
                pace.clone(),
                &settings,
                generator,
                run,
                Arc::clone(&client),
                Arc::clone(&stop_flag),
            )
        });
        ThreadState {
            producer,
            deliveries,
            sent: 0,
            faults: FaultsReport::default(),
            bytes: 0,
            largest: 0,
            allowed: 0,
            expired: None,
            delay: Duration::ZERO,
            last: None,
            stopped: None,
            state: ThreadPhase::Idle,
            client: weak_client,
            client_status: None,
            health: None,
            ended: None,
        }
    }

    /// Sends every idle thread its next batch.
    fn assign_batches(&mut self, context: &mut Context<Self>) {
        for number in 0..self.threads.len() {
            if self.threads[number].state == ThreadPhase::Idle {
                self.send_batch(number, context);
            }
        }
    }

    fn send_batch(&mut self, number: usize, context: &mut Context<Self>) {
        if self.is_finished(number) {
            self.flush(number, context);
            return;
        }
        let thread = &self.threads[number];
        let count = self.limit().saturating_sub(thread.sent);
        let bytes = self.backlog_limit_per_thread();
        if bytes == 0 {
            return;
        }
        let work = thread.producer.send(ProduceBatch { count, bytes, until: self.until }).into_actor(self).map(
            move |batch, coordinator, context| {
                // The mailbox is closed only if the thread has died, which takes a panic outside the guarded code;
                // that aborts the process.
                coordinator.on_batch_done(number, batch.unwrap_or_default(), context);
            },
        );
        self.threads[number].state = ThreadPhase::Working;
        self.threads[number].allowed = bytes;
        context.spawn(work);
    }

    fn on_batch_done(&mut self, number: usize, batch: BatchResult, context: &mut Context<Self>) {
        let thread = &mut self.threads[number];
        thread.sent += batch.sent;
        thread.faults.add(&batch.faults);
        thread.bytes += batch.bytes;
        thread.largest = thread.largest.max(batch.largest);
        thread.allowed = 0;
        thread.delay = thread.delay.max(batch.delay);
        thread.last = batch.last.or(thread.last);
        thread.state = ThreadPhase::Idle;
        if let Some(ended) = batch.ended {
            self.ended(number, ended);
        }
        self.send_batch(number, context);
    }

    /// Handles a thread that cannot continue.
    fn ended(&mut self, number: usize, ended: BatchEnd) {
        if self.threads[number].ended.is_some() {
            return;
        }
        let text = match &ended {
            BatchEnd::Panicked(text) => format!("producer {number}: the generator {text}"),
            BatchEnd::Fatal(text) => format!("producer {number}: {text}"),
        };
        error!(self.params.logger, "{text}");
        self.threads[number].ended = Some(ended);
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
        let thread = &self.threads[number];
        self.stop_flag.is_stopped()
            || thread.ended.is_some()
            || thread.sent >= self.limit()
            || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// The number of bytes that one thread may add to the unconsumed messages, assuming the largest message size so
    /// far.
    fn backlog_limit_per_thread(&self) -> u64 {
        let Brokers::Embedded { unread_limit: limit } = self.params.brokers else { return u64::MAX };
        let failed = |thread: &ThreadState| thread.deliveries.failed().values().sum::<u64>();
        let written: u64 =
            self.threads.iter().map(|thread| thread.expected_outcomes().saturating_sub(failed(thread))).sum();
        let largest = self.threads.iter().map(|thread| thread.largest).max().unwrap_or(0);
        let under_way: u64 = self.threads.iter().map(|thread| thread.allowed).sum();
        let unread = written.saturating_sub(self.consumed) * largest + under_way;
        (limit / self.threads.len().max(1) as u64).min(limit.saturating_sub(unread))
    }

    fn flush(&mut self, number: usize, context: &mut Context<Self>) {
        let thread = &mut self.threads[number];
        thread.state = ThreadPhase::Flushing;
        thread.stopped = Some(Instant::now());
        let deadline = Instant::now() + self.params.settings.producer.flush_timeout;
        let flush =
            thread.producer.send(Flush { deadline }).into_actor(self).map(move |flushed, coordinator, context| {
                coordinator.flushed(number, flushed.unwrap_or_default(), context);
            });
        context.spawn(flush);
    }

    fn flushed(&mut self, number: usize, flushed: Flushed, context: &mut Context<Self>) {
        if let Some(ended) = flushed.ended {
            self.ended(number, ended);
        }
        let thread = &mut self.threads[number];
        thread.state = ThreadPhase::Done;
        thread.expired = flushed.expired;
        let (Outcomes { acknowledged, failed, .. }, sent) = (thread.outcomes(), thread.expected_outcomes());
        let failed = failed.values().sum::<u64>();
        match self.acks {
            Acks::None => {
                info!(self.params.logger, "producer finished"; "producer" => number, "sent" => sent, "failed" => failed)
            }
            _ => info!(self.params.logger, "producer finished"; "producer" => number,
                "sent" => sent, "acknowledged" => acknowledged, "failed" => failed),
        }
        if self.threads.iter().all(|thread| thread.state == ThreadPhase::Done) {
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
        if let Some(outcome) = self.outcome.take() {
            // The receiver exists until the process exits.
            let topic_deleted = self.topic_watch.is_deleted;
            let broken = topic_deleted || self.threads.iter().any(|thread| thread.ended.is_some());
            let (report, interrupted) = (self.report(), self.interrupted);
            outcome.send(ProducerResult { exit, report, interrupted, broken, topic_deleted }).ok();
        }
        context.stop();
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

/// Descriptors per client: its own, plus a connection and a wake-up pipe per broker.
const CLIENT_DESCRIPTORS: usize = 2;
const BROKER_DESCRIPTORS: usize = 3;
/// Threads of a producer and its client, in addition to one per broker.
const PRODUCER_THREADS: usize = 4;
/// Descriptors of a run without any client.
const OWN_DESCRIPTORS: usize = 16;

/// Rejects more threads than the operating system's limits allow, before one is started: librdkafka retries silently
/// when it has no descriptor for a connection.
fn check_limits(threads: usize, brokers: usize) -> Result<(), String> {
    let user = format!("producer.threads = {threads} with {brokers} brokers");
    let descriptors = OWN_DESCRIPTORS + threads * (CLIENT_DESCRIPTORS + BROKER_DESCRIPTORS * brokers);
    limits::check_descriptors(descriptors as u64, &user)?;
    limits::check_threads(threads * (PRODUCER_THREADS + brokers), &user)
}

/// The topic's limit for a batch. Without a reply batches have no such limit; the error of a rejected batch explains
/// that.
fn max_message_bytes(settings: &Settings, logger: &Logger) -> Option<u64> {
    topic_admin::max_message_bytes(settings, logger, &settings.kafka.topic)
        .inspect_err(|failure| {
            debug!(
                logger,
                "batch.size does not follow the topic's max.message.bytes, which could not be read: {failure}"
            )
        })
        .ok()
}

/// Checks that the topic exists, and creates a client per thread.
fn prepare(
    settings: &Settings,
    brokers: Brokers,
    outcomes: Option<&Arc<dyn delivery_reports::DeliveryObserver>>,
    logger: &Logger,
) -> Result<Vec<ProducerClient>, ExitStatus> {
    let topic = &settings.kafka.topic;
    let cluster = ClusterClient::connect(settings, logger)?;
    check_limits(settings.producer.threads, cluster.broker_count()).map_err(ExitStatus::failed)?;
    let partitions: Vec<_> =
        cluster.partitions(topic)?.into_iter().map(|number| TopicPartition::new(topic, number)).collect();
    // Metadata comes from the bootstrap server; this request reaches the advertised addresses.
    cluster.high_watermarks(&partitions)?;
    cluster.leave();
    let limit = (brokers == Brokers::Kafka).then(|| max_message_bytes(settings, logger)).flatten();
    let clients = (0..settings.producer.threads)
        .map(|number| ProducerClient::new(settings, limit, outcomes.cloned(), &logger.new(o!("producer" => number))));
    let clients = clients.collect::<Result<Vec<_>, _>>()?;
    clients.iter().try_for_each(|client| client.warm_up(settings.kafka.request_timeout()))?;
    Ok(clients)
}

impl Actor for ProducerCoordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (settings, logger) = (Arc::clone(&self.params.settings), self.params.logger.clone());
        let (outcomes, brokers) = (self.params.outcomes.clone(), self.params.brokers);
        // The heartbeat also runs while the brokers are unreachable.
        context.run_interval(PROGRESS_INTERVAL, |coordinator, _| coordinator.params.registry.heartbeat());
        let preparation =
            blocking::spawn_blocking("prepare", move || prepare(&settings, brokers, outcomes.as_ref(), &logger));
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

    fn handle(&mut self, interrupt: ControlSignal, context: &mut Self::Context) {
        match interrupt {
            ControlSignal::Terminate => {
                info!(self.params.logger, "stopping: waiting for messages in flight"; "deadline" => ?self.params.settings.shutdown.timeout);
                self.interrupted = true;
                self.phase(Phase::Draining, "stopping: waiting for messages in flight");
                let deadline = self.params.settings.shutdown.timeout;
                self.stop_flag.stop(Instant::now() + deadline);
                context.run_later(deadline + FLUSH_GRACE, Self::abandon_threads);
                if self.threads.is_empty() {
                    let exit = ExitStatus::stopped(ExitCode::Failed, "stopped before anything was produced");
                    self.finish(exit, context);
                }
            }
            ControlSignal::AtOnce => {
                self.interrupted = true;
                self.stop_flag.stop(Instant::now());
                self.finish(
                    ExitStatus::stopped(
                        ExitCode::Forced,
                        "terminated by a signal; the outcome of messages in flight is unknown",
                    ),
                    context,
                );
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
