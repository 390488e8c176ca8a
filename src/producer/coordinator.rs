//! Hands out work to the producers, counts, and decides when all is done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, error, info, o, warn};
use tokio::sync::oneshot;

use super::messages::{Consumed, Ended, Flush, Flushed, GivenUp, Halt, Outcome, Produce, Slice};
use super::producer::{COMES_BACK, Pace, Producer};
use super::schedule::Schedule;
use crate::background;
use crate::exit::{Exit, ExitCode};
use crate::kafka::cluster::Cluster;
use crate::kafka::deliveries::{Deliveries, Outcomes};
use crate::kafka::sender::Sender;
use crate::kafka::statistics::ClientStatus;
use crate::message::Generator;
use crate::monitoring::board::Board;
use crate::monitoring::status::{EventLevel, Phase};
use crate::progress::ProduceProgress;
use crate::record::TopicPartition;
use crate::report::FaultsReport;
use crate::settings::{self, Settings};
use crate::shutdown::Interrupt;

/// How often idle producers are looked after: those who had to wait for readers.
const TICK: Duration = Duration::from_millis(5);
/// How often the board is told where everything is.
const TOLD: Duration = Duration::from_millis(500);
/// How often progress is shown.
const SHOW: Duration = Duration::from_millis(100);

/// What a producer may take beyond the deadline of a stop: for what it gives up to come back, and a second for everything
/// else. One that is still in its generator then is left there.
const GRACE: Duration = Duration::from_secs(1).saturating_add(COMES_BACK);
/// What is known of messages of which no delivery came back in time.
const NOT_IN_TIME: &str = "not acknowledged in time";

/// What a coordinator is made of.
pub struct Order {
    /// All settings.
    pub settings: Arc<Settings>,
    /// Makes the messages.
    pub generator: Box<dyn Generator>,
    /// Stamps the messages as this run's; `None`: they are not stamped.
    pub run: Option<u64>,
    /// Who is told what became of each stamped message.
    pub outcomes: Option<Arc<dyn Outcomes>>,
    /// How many bytes may be unread on the other side, which [`Consumed`] then has to tell; `None`: any number.
    pub unread_limit: Option<u64>,
    /// Where progress is shown.
    pub progress: ProduceProgress,
    /// Where the status is put up.
    pub board: Board,
    /// The log.
    pub logger: Logger,
}

/// The actor; its end is told through the channel that it was started with.
pub struct ProducerCoordinator {
    pub(super) order: Order,
    pub(super) schedule: Schedule,
    pub(super) threads: Vec<Thread>,
    halt: Arc<Halt>,
    pub(super) begun: Instant,
    /// No message is made after this.
    pub(super) until: Option<Instant>,
    consumed: u64,
    pub(super) interrupted: bool,
    pub(super) outcome: Option<oneshot::Sender<Outcome>>,
}

/// One producer as the coordinator sees it.
pub(super) struct Thread {
    pub(super) producer: Addr<Producer>,
    pub(super) deliveries: Arc<Deliveries>,
    pub(super) sent: u64,
    pub(super) faults: FaultsReport,
    /// Bytes of what its client has taken.
    pub(super) bytes: u64,
    /// The largest of these messages' bytes.
    pub(super) largest: u64,
    /// Bytes that the slice under way may send.
    pub(super) allowed: u64,
    pub(super) given_up: Option<GivenUp>,
    /// By how much its messages were too late, at worst.
    pub(super) delay: Duration,
    /// When its last message was sent.
    pub(super) last: Option<Instant>,
    /// When it was done with sending.
    pub(super) stopped: Option<Instant>,
    pub(super) state: State,
    /// Its client, for as long as it has one, and what that has counted.
    pub(super) sender: Weak<Sender>,
    pub(super) counted: Option<ClientStatus>,
    pub(super) ended: Option<Ended>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing to do at the moment.
    Idle,
    /// A slice is under way.
    Working,
    /// Waits for acknowledgements.
    Flushing,
    /// All is counted.
    Done,
}

impl Thread {
    /// What is acknowledged or fails: the messages, also those that the generator or the client refused, and second copies that
    /// were asked for.
    pub(super) fn handed(&self) -> u64 {
        self.sent + self.faults.duplicated
    }

    /// How many of these are acknowledged and how many have failed, by reason. Of one that is done, all are either: what may
    /// still come back is counted here once, as not come in time.
    pub(super) fn outcomes(&self) -> (u64, BTreeMap<String, u64>) {
        let (acknowledged, mut failed) = (self.deliveries.acknowledged(), self.deliveries.failed());
        let unknown = self.handed().saturating_sub(acknowledged + failed.values().sum::<u64>());
        if self.state == State::Done && unknown > 0 {
            *failed.entry(NOT_IN_TIME.to_owned()).or_default() += unknown;
        }
        (acknowledged, failed)
    }
}

impl ProducerCoordinator {
    /// Starts it; the receiver gets the outcome.
    pub fn start(order: Order) -> (Addr<Self>, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let schedule = Schedule::new(&order.settings.producer);
        let coordinator = Self {
            order,
            schedule,
            threads: Vec::new(),
            halt: Arc::default(),
            begun: Instant::now(),
            until: None,
            consumed: 0,
            interrupted: false,
            outcome: Some(sender),
        };
        (Actor::start(coordinator), receiver)
    }

    fn begin(&mut self, senders: Vec<Sender>, context: &mut Context<Self>) {
        let producer = &self.order.settings.producer;
        info!(self.order.logger, "producing";
            "topic" => &self.order.settings.kafka.topic, "threads" => producer.threads, "messages" => asked(producer), "seed" => producer.seed);
        self.begun = Instant::now();
        self.until = (!producer.duration.is_zero()).then(|| self.begun + producer.duration);
        for (number, sender) in senders.into_iter().enumerate() {
            sender.begin(self.begun);
            let thread = self.start_thread(number, Arc::new(sender));
            self.threads.push(thread);
        }
        context.run_interval(TICK, |coordinator, context| coordinator.hand_out(context));
        context.run_interval(SHOW, |coordinator, _| coordinator.show());
        context.run_interval(TOLD, |coordinator, _| coordinator.tell());
        self.phase(Phase::Running, "producing");
        self.hand_out(context);
    }

    fn start_thread(&self, number: usize, sender: Arc<Sender>) -> Thread {
        let deliveries = sender.deliveries();
        let client = Arc::downgrade(&sender);
        let settings = self.order.settings.producer.clone();
        let generator = Mutex::new(self.order.generator.clone_boxed());
        let halt = Arc::clone(&self.halt);
        let run = self.order.run;
        let pace = Pace { begun: self.begun, schedule: self.schedule.clone() };
        // An arbiter of one thread each: work for one producer cannot land at another.
        let producer = SyncArbiter::start(1, move || {
            let generator = generator.lock().unwrap_or_else(PoisonError::into_inner).clone_boxed();
            Producer::new(number, pace.clone(), &settings, generator, run, Arc::clone(&sender), Arc::clone(&halt))
        });
        Thread {
            producer,
            deliveries,
            sent: 0,
            faults: FaultsReport::default(),
            bytes: 0,
            largest: 0,
            allowed: 0,
            given_up: None,
            delay: Duration::ZERO,
            last: None,
            stopped: None,
            state: State::Idle,
            sender: client,
            counted: None,
            ended: None,
        }
    }

    /// Gives every idle producer what it may do now.
    fn hand_out(&mut self, context: &mut Context<Self>) {
        for number in 0..self.threads.len() {
            if self.threads[number].state == State::Idle {
                self.hand_to(number, context);
            }
        }
    }

    fn hand_to(&mut self, number: usize, context: &mut Context<Self>) {
        if self.is_finished(number) {
            self.flush(number, context);
            return;
        }
        let thread = &self.threads[number];
        let count = self.limit().saturating_sub(thread.sent);
        let bytes = self.unread_allowance();
        if bytes == 0 {
            return;
        }
        let work = thread.producer.send(Produce { count, bytes, until: self.until }).into_actor(self).map(
            move |slice, coordinator, context| {
                // The mailbox is closed only if the thread is gone, and that takes a panic outside the guarded code,
                // which ends the process.
                coordinator.slice_done(number, slice.unwrap_or_default(), context);
            },
        );
        self.threads[number].state = State::Working;
        self.threads[number].allowed = bytes;
        context.spawn(work);
    }

    fn slice_done(&mut self, number: usize, slice: Slice, context: &mut Context<Self>) {
        let thread = &mut self.threads[number];
        thread.sent += slice.sent;
        thread.faults.add(&slice.faults);
        thread.bytes += slice.bytes;
        thread.largest = thread.largest.max(slice.largest);
        thread.allowed = 0;
        thread.delay = thread.delay.max(slice.delay);
        thread.last = slice.last.or(thread.last);
        thread.state = State::Idle;
        if let Some(ended) = slice.ended {
            let text = match &ended {
                Ended::Panicked(text) => format!("producer {number}: the generator {text}"),
                Ended::Fatal(text) => format!("producer {number}: {text}"),
            };
            error!(self.order.logger, "{text}");
            thread.ended = Some(ended);
            self.order.board.event(EventLevel::Error, "stopped", None, text);
        }
        self.hand_to(number, context);
    }

    /// Messages that each thread is to send.
    pub(super) fn limit(&self) -> u64 {
        match self.order.settings.producer.messages_per_thread {
            0 => u64::MAX,
            limit => limit,
        }
    }

    /// Messages that all threads are to send, if that is known.
    pub(super) fn requested(&self) -> Option<u64> {
        let producer = &self.order.settings.producer;
        match (producer.messages_per_thread, producer.duration.is_zero()) {
            (0, _) | (_, false) => None,
            (messages, true) => Some(messages * producer.threads as u64),
        }
    }

    fn is_finished(&self, number: usize) -> bool {
        let thread = &self.threads[number];
        self.halt.is_stopped()
            || thread.ended.is_some()
            || thread.sent >= self.limit()
            || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// How many bytes one thread may add to what is unread. Counted in largest messages: too much rather than too little.
    fn unread_allowance(&self) -> u64 {
        let Some(limit) = self.order.unread_limit else { return u64::MAX };
        let gone = |thread: &Thread| thread.deliveries.failed().values().sum::<u64>();
        let written: u64 = self.threads.iter().map(|thread| thread.handed().saturating_sub(gone(thread))).sum();
        let largest = self.threads.iter().map(|thread| thread.largest).max().unwrap_or(0);
        let under_way: u64 = self.threads.iter().map(|thread| thread.allowed).sum();
        let unread = written.saturating_sub(self.consumed) * largest + under_way;
        (limit / self.threads.len().max(1) as u64).min(limit.saturating_sub(unread))
    }

    fn flush(&mut self, number: usize, context: &mut Context<Self>) {
        let thread = &mut self.threads[number];
        thread.state = State::Flushing;
        thread.stopped = Some(Instant::now());
        let deadline = Instant::now() + self.order.settings.producer.flush_timeout;
        let flush =
            thread.producer.send(Flush { deadline }).into_actor(self).map(move |flushed, coordinator, context| {
                coordinator.flushed(number, flushed.unwrap_or_default(), context);
            });
        context.spawn(flush);
    }

    fn flushed(&mut self, number: usize, flushed: Flushed, context: &mut Context<Self>) {
        let thread = &mut self.threads[number];
        thread.state = State::Done;
        thread.given_up = flushed.given_up;
        let (acknowledged, failed) = thread.outcomes();
        info!(self.order.logger, "producer {number} is done";
            "sent" => thread.handed(), "acknowledged" => acknowledged, "failed" => failed.values().sum::<u64>());
        if self.threads.iter().all(|thread| thread.state == State::Done) {
            let exit = self.verdict();
            self.finish(exit, context);
        }
    }

    fn show(&mut self) {
        self.order.board.alive();
        if self.order.progress.is_due() {
            let status = self.status();
            self.order.progress.show(&status);
        }
    }

    pub(super) fn finish(&mut self, exit: Exit, context: &mut Context<Self>) {
        self.tell();
        self.show();
        self.order.progress.finish();
        if let Some(outcome) = self.outcome.take() {
            // Whoever started it waits for this, or is gone with the process.
            let broken = self.threads.iter().any(|thread| thread.ended.is_some());
            let (report, interrupted) = (self.report(), self.interrupted);
            let _unheard = outcome.send(Outcome { exit, report, interrupted, broken });
        }
        context.stop();
    }
}

/// How many messages are asked for, for people.
fn asked(producer: &settings::Producer) -> String {
    let messages = producer.messages_per_thread * producer.threads as u64;
    match (messages, producer.duration) {
        (0, Duration::ZERO) => "until stopped".to_owned(),
        (0, duration) => format!("for {duration:?}"),
        (messages, Duration::ZERO) => messages.to_string(),
        (messages, duration) => format!("{messages} or for {duration:?}"),
    }
}

/// Finds out whether the topic is there, and makes a client for each thread.
fn prepare(settings: &Settings, outcomes: Option<&Arc<dyn Outcomes>>, logger: &Logger) -> Result<Vec<Sender>, Exit> {
    let topic = &settings.kafka.topic;
    let cluster = Cluster::connect(settings, logger)?;
    let partitions: Vec<_> =
        cluster.partitions(topic)?.into_iter().map(|number| TopicPartition::new(topic, number)).collect();
    // The first address answers questions about the topic; this one asks those that the brokers give out.
    cluster.ends(&partitions)?;
    cluster.leave();
    let senders = (0..settings.producer.threads)
        .map(|number| Sender::new(settings, outcomes.cloned(), &logger.new(o!("producer" => number))));
    let senders = senders.collect::<Result<Vec<_>, _>>()?;
    senders.iter().try_for_each(|sender| sender.warm_up(settings.kafka.connect_timeout))?;
    Ok(senders)
}

impl Actor for ProducerCoordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (settings, logger) = (Arc::clone(&self.order.settings), self.order.logger.clone());
        let outcomes = self.order.outcomes.clone();
        let preparation = background::run("prepare", move || prepare(&settings, outcomes.as_ref(), &logger));
        context.spawn(preparation.into_actor(self).map(|prepared, coordinator, context| match prepared {
            Ok(Ok(senders)) => coordinator.begin(senders, context),
            Ok(Err(exit)) => coordinator.finish(exit, context),
            Err(error) => coordinator.finish(Exit::failed(error), context),
        }));
    }
}

impl Handler<Consumed> for ProducerCoordinator {
    type Result = ();

    fn handle(&mut self, Consumed(messages): Consumed, context: &mut Self::Context) {
        self.consumed = messages;
        self.hand_out(context);
    }
}

impl Handler<Interrupt> for ProducerCoordinator {
    type Result = ();

    fn handle(&mut self, interrupt: Interrupt, context: &mut Self::Context) {
        match interrupt {
            Interrupt::Graceful => {
                warn!(self.order.logger, "stopping: waiting for acknowledgements"; "deadline" => ?self.order.settings.shutdown.deadline);
                self.interrupted = true;
                self.phase(Phase::Draining, "stopping: waiting for acknowledgements");
                let deadline = self.order.settings.shutdown.deadline;
                self.halt.stop(Instant::now() + deadline);
                context.run_later(deadline + GRACE, Self::leave_behind);
                if self.threads.is_empty() {
                    let exit = Exit::failed("stopped before anything was produced");
                    self.finish(exit, context);
                }
            }
            Interrupt::AtOnce => {
                self.interrupted = true;
                self.halt.stop(Instant::now());
                self.finish(
                    Exit::new(ExitCode::Forced, "ended at once by a signal; what was not acknowledged is not known"),
                    context,
                );
            }
            Interrupt::Roll | Interrupt::More | Interrupt::Fewer | Interrupt::Quiet | Interrupt::Resume => {}
            Interrupt::Status => match serde_json::to_string(&self.status()) {
                Ok(status) => info!(self.order.logger, "status"; "produce" => status),
                Err(error) => error!(self.order.logger, "no status: {error}"),
            },
        }
    }
}
