//! Hands out work to the producers, counts, and decides when all is done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, error, info, o, warn};
use tokio::sync::oneshot;

use super::messages::{Consumed, Ended, Flush, Flushed, Halt, Outcome, Produce, Slice};
use super::producer::{Pace, Producer};
use super::schedule::Schedule;
use crate::background;
use crate::exit::{Exit, ExitCode};
use crate::kafka::cluster::Cluster;
use crate::kafka::deliveries::{Deliveries, Latencies, Outcomes};
use crate::kafka::sender::Sender;
use crate::message::Generator;
use crate::progress::{ProduceProgress, ThreadProgress};
use crate::record::TopicPartition;
use crate::report::{self, FaultsReport, ProduceReport, ScheduleReport, ThreadReport};
use crate::settings::{self, Settings};
use crate::shutdown::Interrupt;

/// How often idle producers are looked after: those who had to wait for readers.
const TICK: Duration = Duration::from_millis(5);
/// How often progress is shown.
const SHOW: Duration = Duration::from_millis(100);

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
    /// The log.
    pub logger: Logger,
}

/// The actor; its end is told through the channel that it was started with.
pub struct ProducerCoordinator {
    order: Order,
    schedule: Schedule,
    threads: Vec<Thread>,
    halt: Arc<Halt>,
    begun: Instant,
    /// No message is made after this.
    until: Option<Instant>,
    consumed: u64,
    interrupted: bool,
    outcome: Option<oneshot::Sender<Outcome>>,
}

/// One producer as the coordinator sees it.
struct Thread {
    producer: Addr<Producer>,
    deliveries: Arc<Deliveries>,
    sent: u64,
    faults: FaultsReport,
    /// Its largest message's bytes.
    largest: u64,
    /// Bytes that the slice under way may send.
    allowed: u64,
    abandoned: bool,
    /// By how much its messages were too late, at worst.
    delay: Duration,
    /// When its last message was sent.
    last: Option<Instant>,
    state: State,
    ended: Option<Ended>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
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
    /// What was handed to the client: the messages, and second copies that were asked for.
    fn handed(&self) -> u64 {
        self.sent + self.faults.duplicated
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
            let thread = self.start_thread(number, Arc::new(sender));
            self.threads.push(thread);
        }
        context.run_interval(TICK, |coordinator, context| coordinator.hand_out(context));
        context.run_interval(SHOW, |coordinator, _| coordinator.show());
        self.hand_out(context);
    }

    fn start_thread(&self, number: usize, sender: Arc<Sender>) -> Thread {
        let deliveries = sender.deliveries();
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
            largest: 0,
            allowed: 0,
            abandoned: false,
            delay: Duration::ZERO,
            last: None,
            state: State::Idle,
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
        thread.largest = thread.largest.max(slice.largest);
        thread.allowed = 0;
        thread.delay = thread.delay.max(slice.delay);
        thread.last = slice.last.or(thread.last);
        thread.state = State::Idle;
        if let Some(ended) = slice.ended {
            match &ended {
                Ended::Panicked(text) => error!(self.order.logger, "producer {number}: the generator {text}"),
                Ended::Fatal(text) => error!(self.order.logger, "producer {number}: {text}"),
            }
            thread.ended = Some(ended);
        }
        self.hand_to(number, context);
    }

    /// Messages that each thread is to send.
    fn limit(&self) -> u64 {
        match self.order.settings.producer.messages_per_thread {
            0 => u64::MAX,
            limit => limit,
        }
    }

    /// Messages that all threads are to send, if that is known.
    fn requested(&self) -> Option<u64> {
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
        let deadline = Instant::now() + self.order.settings.producer.flush_timeout;
        let flush =
            thread.producer.send(Flush { deadline }).into_actor(self).map(move |flushed, coordinator, context| {
                coordinator.flushed(number, &flushed.unwrap_or_default(), context);
            });
        context.spawn(flush);
    }

    fn flushed(&mut self, number: usize, flushed: &Flushed, context: &mut Context<Self>) {
        let thread = &mut self.threads[number];
        thread.state = State::Done;
        thread.abandoned = flushed.abandoned;
        let failed: u64 = flushed.failed.values().sum();
        let unknown = thread.handed().saturating_sub(flushed.acknowledged + failed);
        if unknown > 0 {
            (0..unknown).for_each(|_| thread.deliveries.fail("not acknowledged in time".to_owned()));
        }
        info!(self.order.logger, "producer {number} is done";
            "sent" => thread.handed(), "acknowledged" => flushed.acknowledged, "failed" => failed + unknown);
        if self.threads.iter().all(|thread| thread.state == State::Done) {
            let exit = self.verdict();
            self.finish(exit, context);
        }
    }

    /// How it ends, now that everything is counted.
    fn verdict(&self) -> Exit {
        let report = self.report();
        let failed: u64 = report.failed.values().sum();
        let sent: u64 = report.threads.iter().map(|thread| thread.sent).sum();
        let ended = self.threads.iter().enumerate().find_map(|(number, thread)| Some((number, thread.ended.as_ref()?)));
        match (ended, report.requested) {
            (Some((number, Ended::Panicked(text))), _) => {
                Exit::failed(format!("producer {number}: the generator {text}"))
            }
            (Some((number, Ended::Fatal(text))), _) => Exit::failed(format!("producer {number}: {text}")),
            (None, _) if self.interrupted && self.threads.iter().any(|thread| thread.abandoned) => {
                let deadline = self.order.settings.shutdown.deadline;
                let text = format!(
                    "{failed} of {sent} messages were not acknowledged within shutdown.deadline = {deadline:?}, and given up"
                );
                Exit::new(ExitCode::Forced, text)
            }
            (None, _) if failed > 0 => {
                Exit::failed(format!("{failed} of {sent} messages were not acknowledged: {}", reasons(&report.failed)))
            }
            (None, Some(requested)) if report.acknowledged < requested + report.faults.duplicated => Exit::failed(
                format!("interrupted: {} of {requested} messages were sent and acknowledged", report.acknowledged),
            ),
            (None, _) if self.interrupted => Exit::clean(format!("stopped; all {sent} messages were acknowledged")),
            (None, _) => Exit::clean(format!("all {sent} messages were acknowledged")),
        }
    }

    fn report(&self) -> ProduceReport {
        let mut failed: BTreeMap<String, u64> = BTreeMap::new();
        let mut faults = FaultsReport::default();
        let mut threads = Vec::new();
        for (producer, thread) in self.threads.iter().enumerate() {
            faults.add(&thread.faults);
            let reasons = thread.deliveries.failed();
            let panic = match &thread.ended {
                Some(Ended::Panicked(text)) => Some(text.clone()),
                _ => None,
            };
            let acknowledged = thread.deliveries.acknowledged();
            threads.push(ThreadReport {
                producer,
                sent: thread.handed(),
                acknowledged,
                failed: reasons.values().sum(),
                panic,
            });
            for (reason, count) in reasons {
                *failed.entry(reason).or_default() += count;
            }
        }
        let acknowledged = threads.iter().map(|thread| thread.acknowledged).sum();
        let messages_per_second = report::rate(acknowledged, self.begun.elapsed());
        let mut latencies = Latencies::default();
        self.threads.iter().for_each(|thread| thread.deliveries.add_latencies_to(&mut latencies));
        let Latencies { due: latency_us, sent: sent_latency_us } = latencies;
        ProduceReport {
            requested: self.requested(),
            acknowledged,
            failed,
            messages_per_second,
            latency_us,
            sent_latency_us,
            schedule: self.schedule_report(),
            seed: self.order.settings.producer.seed,
            faults,
            threads,
        }
    }

    /// How well the rate was kept, up to the last message that was sent.
    fn schedule_report(&self) -> Option<ScheduleReport> {
        let sent: u64 = self.threads.iter().map(|thread| thread.sent).sum();
        let last = self.threads.iter().filter_map(|thread| thread.last).max()?;
        let elapsed = last.saturating_duration_since(self.begun);
        let delay = self.threads.iter().map(|thread| thread.delay).max().unwrap_or_default();
        Some(ScheduleReport {
            wanted: self.schedule.rate_wanted(elapsed)?,
            // The first message is due at once: what lies between are one fewer.
            reached: report::rate(sent.saturating_sub(1), elapsed),
            worst_delay_us: u64::try_from(delay.as_micros()).unwrap_or(u64::MAX),
        })
    }

    fn show(&mut self) {
        let threads: Vec<_> = self
            .threads
            .iter()
            .map(|thread| {
                let acknowledged = thread.deliveries.acknowledged();
                // What is sent is known when its slice is done; acknowledgements may come before.
                ThreadProgress { sent: thread.handed().max(acknowledged), acknowledged }
            })
            .collect();
        self.order.progress.show(&threads);
    }

    fn finish(&mut self, exit: Exit, context: &mut Context<Self>) {
        self.show();
        self.order.progress.finish();
        if let Some(outcome) = self.outcome.take() {
            // Whoever started it waits for this, or is gone with the process.
            let _unheard = outcome.send(Outcome { exit, report: self.report(), interrupted: self.interrupted });
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

fn reasons(failed: &BTreeMap<String, u64>) -> String {
    failed.iter().map(|(reason, count)| format!("{reason}: {count}")).collect::<Vec<_>>().join(", ")
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
                self.halt.stop(Instant::now() + self.order.settings.shutdown.deadline);
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
            Interrupt::Status => match serde_json::to_string(&self.report()) {
                Ok(status) => info!(self.order.logger, "status"; "produce" => status),
                Err(error) => error!(self.order.logger, "no status: {error}"),
            },
        }
    }
}
