//! The supervisor of the workers.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, debug, error, info, warn};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::allowance::{self, Allowance};
use super::awake::Awake;
use super::death::MemoryKills;
use super::log_pipe;
use super::messages::{Found, FromLink, GiveUp, Observation, Outcome, Prepare, ReadToEnd};
use super::output::Output;
use super::output_lock::OutputLock;
use super::partitions::Partitions;
use super::policy::{Event, Policy, Wish};
use super::truncation::Truncation;
use super::watcher::TopicWatcher;
use super::worker::Worker;
use crate::consumer::control::{JournalPlace, Times, ToWorker};
use crate::exit::{Exit, ExitCode};
use crate::kafka::offsets::Offsets;
use crate::logging::Style;
use crate::monitoring::board::Board;
use crate::progress::ConsumeProgress;
use crate::report::{self, ConsumeReport};
use crate::screen::Screen;
use crate::settings::Settings;
use crate::shutdown::Interrupt;

/// How often it looks after everything that no message tells: idleness, progress, children.
const TICK: Duration = Duration::from_millis(100);
/// How often the partitions' ends are asked for.
pub(super) const ENDS: Duration = Duration::from_secs(2);
/// How often the board is told where everything is.
const TOLD: Duration = Duration::from_millis(500);
/// How often the workers' memory is looked at.
const MEASURED: Duration = Duration::from_secs(1);
/// How long a worker may live that has closed its control channel.
const SILENT: Duration = Duration::from_secs(5);

/// What a supervisor is made of.
pub struct Order {
    /// All settings.
    pub settings: Arc<Settings>,
    /// It will be told [`ReadToEnd`].
    pub finite: bool,
    /// Whether single messages are logged.
    pub log_messages: bool,
    /// Who wants to know how it goes.
    pub observer: Option<Recipient<Observation>>,
    /// Where the workers tell what they have processed.
    pub journal: Option<JournalPlace>,
    /// Where reading starts, whatever the settings say; in partitions that are not named, at the beginning.
    pub starts: Option<Offsets>,
    /// Where the workers' lines go.
    pub screen: Screen,
    /// How they look.
    pub style: Style,
    /// Where progress is shown.
    pub progress: ConsumeProgress,
    /// Where the status is put up.
    pub board: Board,
    /// The log.
    pub logger: Logger,
}

/// The actor; its end is told through the channel that it was started with.
pub struct ConsumerSupervisor {
    pub(super) order: Order,
    pub(super) watcher: Addr<TopicWatcher>,
    pub(super) workers: Vec<Worker>,
    pub(super) partitions: Partitions,
    pub(super) allowance: Option<Allowance>,
    /// Nothing is decided before the partitions are known.
    pub(super) policy: Option<Policy>,
    pub(super) awake: Awake,
    pub(super) memory_kills: MemoryKills,
    pub(super) truncation: Truncation,
    /// Over all workers.
    pub(super) times: Times,
    /// How often a group has dealt or taken partitions.
    pub(super) rebalances: u64,
    pub(super) output: Output,
    pub(super) output_lock: Option<OutputLock>,
    pub(super) log_pipes: Vec<JoinHandle<()>>,
    begun: Instant,
    /// When a message was last dealt with, or the last worker became ready.
    pub(super) moved: Instant,
    /// The same, by the clock that leaves out the time in which nothing ran.
    moved_awake: Duration,
    pub(super) announced_ready: bool,
    pub(super) asking_ends: bool,
    pub(super) asking_new: bool,
    pub(super) asking_shared_end: bool,
    pub(super) reading_back: bool,
    interrupted: bool,
    /// What was wanted before anything could be decided: signals of people, few.
    early: Vec<Wish>,
    /// Set once it is stopping: how it will have ended, and when it ends by force.
    pub(super) stopping: Option<(Exit, Instant)>,
    pub(super) outcome: Option<oneshot::Sender<Outcome>>,
}

impl ConsumerSupervisor {
    /// Starts it, on the main thread; the receiver gets the outcome.
    pub fn start(order: Order) -> (Addr<Self>, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let watcher =
            TopicWatcher::start(Arc::clone(&order.settings), order.finite, order.starts.clone(), order.logger.clone());
        let output = Output::new(order.settings.consumer.processor == "print", Instant::now());
        let supervisor = Self {
            order,
            watcher,
            workers: Vec::new(),
            partitions: Partitions::default(),
            allowance: None,
            policy: None,
            awake: Awake::new(Instant::now()),
            memory_kills: MemoryKills::new(),
            truncation: Truncation::default(),
            times: Times::default(),
            rebalances: 0,
            output,
            output_lock: None,
            log_pipes: Vec::new(),
            begun: Instant::now(),
            moved: Instant::now(),
            moved_awake: Duration::ZERO,
            announced_ready: false,
            asking_ends: false,
            asking_new: false,
            asking_shared_end: false,
            reading_back: false,
            interrupted: false,
            early: Vec::new(),
            stopping: None,
            outcome: Some(sender),
        };
        (Actor::start(supervisor), receiver)
    }

    // ---- starting --------------------------------------------------------------------------------------------------

    fn begin(&mut self, found: Vec<Found>, context: &mut Context<Self>) {
        if self.stopping.is_some() {
            return;
        }
        let settings = Arc::clone(&self.order.settings);
        let consumer = &settings.consumer;
        found.iter().for_each(|found| self.partitions.insert(found));
        info!(self.order.logger, "consuming";
            "topics" => settings.consumed_topics().join(", "), "partitions" => found.len(), "workers" => consumer.processes,
            "assignment" => consumer.assignment.word(), "group" => &consumer.group, "start" => String::from(consumer.start));
        if found.len() < consumer.processes && !self.is_group() {
            warn!(
                self.order.logger,
                "{} partition(s) for {} workers: {} of them stand by, since a partition is read by one \
                worker; make more partitions, or start fewer processes",
                found.len(),
                consumer.processes,
                consumer.processes - found.len()
            );
        }
        self.allowance = (consumer.max_messages > 0).then(|| Allowance::new(consumer.max_messages, consumer.processes));
        self.begun = Instant::now();
        self.has_moved();
        if consumer.processor == "print" {
            match OutputLock::new() {
                Ok(lock) => self.output_lock = Some(lock),
                Err(error) => {
                    self.finish(
                        Exit::failed(format!(
                            "no lock file for stdout: {error}; set TMPDIR to a folder that can be written"
                        )),
                        context,
                    );
                    return;
                }
            }
        }
        let names = if self.is_group() { Vec::new() } else { self.partitions.names() };
        let (policy, actions) = Policy::new(consumer, names, u64::from(std::process::id()));
        self.policy = Some(policy);
        self.decide(Event::Until(self.partitions.untils()), context);
        self.perform(actions, context);
        for wish in std::mem::take(&mut self.early) {
            self.decide(Event::Asked(wish), context);
        }
    }

    /// Somebody wants something; before anything can be decided it waits.
    fn ask(&mut self, wish: Wish, context: &mut Context<Self>) {
        match self.policy {
            Some(_) => self.decide(Event::Asked(wish), context),
            None => self.early.push(wish),
        }
    }

    /// Messages move, or will.
    pub(super) fn has_moved(&mut self) {
        self.moved = Instant::now();
        self.moved_awake = self.awake.at(self.moved);
    }

    pub(super) fn observe(&self, observation: Observation) {
        if let Some(observer) = &self.order.observer {
            observer.do_send(observation);
        }
    }

    pub(super) fn say_all(&mut self, say: Vec<allowance::Say>) {
        for say in say {
            match say {
                allowance::Say::Grant(slot, messages) => {
                    self.workers[slot].granted += messages;
                    self.workers[slot].say(ToWorker::Grant(messages));
                }
                allowance::Say::Recall(slot) => self.workers[slot].say(ToWorker::Recall),
            }
        }
    }

    pub(super) fn finish(&mut self, exit: Exit, context: &mut Context<Self>) {
        self.tell();
        self.show();
        self.order.progress.finish();
        self.output_lock = None;
        log_pipe::finish(&self.log_pipes);
        if let Some(outcome) = self.outcome.take() {
            // Whoever started it waits for this, or is gone with the process.
            let _unheard = outcome.send(Outcome { exit, report: self.report(), interrupted: self.interrupted });
        }
        context.stop();
    }

    fn report(&self) -> ConsumeReport {
        let totals = self.partitions.totals();
        ConsumeReport {
            processed: totals.processed,
            failed: totals.failed,
            dead_lettered: totals.dead_lettered,
            messages_per_second: report::rate(totals.processed, self.moved.saturating_duration_since(self.begun)),
            latency_us: self.times.end_to_end.clone(),
            partitions: self.partitions.report(),
            workers: self.workers.iter().enumerate().map(|(slot, worker)| worker.report(slot)).collect(),
        }
    }

    // ---- what no message tells -------------------------------------------------------------------------------------

    fn tick(&mut self, context: &mut Context<Self>) {
        self.order.board.alive();
        self.reap(context);
        for slot in (0..self.workers.len()).filter(|slot| self.workers[*slot].resuming).collect::<Vec<_>>() {
            // It has no process that could be silent.
            self.decide(Event::Heard(slot, Vec::new()), context);
        }
        self.look_at_output(context);
        self.decide(Event::Tick, context);
        self.show();
        let idle = self.order.settings.consumer.idle_exit;
        self.announce_ready();
        // One that is quiet may not read what is there.
        let may_read = self.announced_ready
            && self.are_all_ready()
            && !self.policy.as_ref().is_some_and(|policy| policy.is_quiet());
        let still = self.awake.at(Instant::now()).saturating_sub(self.moved_awake);
        if !idle.is_zero() && may_read && !self.partitions.in_flight() && still >= idle {
            self.stop(Exit::clean(format!("idle for {idle:?} (consumer.idle_exit)")), context);
        }
    }

    fn show(&mut self) {
        if self.order.progress.is_due() {
            let status = self.status();
            self.order.progress.show(&status);
        }
    }
}

impl Actor for ConsumerSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        match signal(SignalKind::child()) {
            Ok(mut children) => {
                let supervisor = context.address().downgrade();
                actix::spawn(async move {
                    while children.recv().await.is_some() {
                        let Some(supervisor) = supervisor.upgrade() else { return };
                        supervisor.do_send(LookAfter);
                    }
                });
            }
            // The tick looks after them as well.
            Err(error) => debug!(self.order.logger, "no signal when children end: {error}"),
        }
        let preparation = self.watcher.send(Prepare).into_actor(self);
        context.spawn(preparation.map(|prepared, supervisor, context| match prepared {
            Ok(Ok(found)) => supervisor.begin(found, context),
            Ok(Err(exit)) => supervisor.finish(exit, context),
            Err(error) => supervisor.finish(Exit::failed(error.to_string()), context),
        }));
        context.run_interval(TICK, |supervisor, context| supervisor.tick(context));
        context.run_interval(TOLD, |supervisor, _| supervisor.tell());
        context.run_interval(ENDS, |supervisor, context| supervisor.ask_ends(context));
        context.run_interval(MEASURED, |supervisor, context| supervisor.measure(context));
        let poll = self.order.settings.consumer.topic_poll_interval;
        // What is read to an end has no business with partitions that come later.
        if !poll.is_zero() && !self.order.finite && !self.order.settings.consumer.until_end {
            context.run_interval(poll, |supervisor, context| supervisor.look_for_new(context));
        }
    }
}

/// A child has ended, or several, or the last of its lines has come.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct LookAfter;

impl Handler<LookAfter> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, _: LookAfter, context: &mut Self::Context) {
        self.reap(context);
    }
}

impl Handler<FromLink> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, message: FromLink, context: &mut Self::Context) {
        let FromLink { slot, process, frame } = message;
        let Some(running) = self.workers.get_mut(slot).and_then(|worker| worker.process(process)) else { return };
        match frame {
            Some(frame) => self.heard(slot, frame, context),
            None => {
                running.silent = true;
                context.run_later(SILENT, move |supervisor, _| supervisor.kill_silent(slot, process));
                self.reap(context);
            }
        }
    }
}

impl Handler<ReadToEnd> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, _: ReadToEnd, context: &mut Self::Context) {
        self.read_to_end(context);
    }
}

impl Handler<GiveUp> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, GiveUp(reason): GiveUp, context: &mut Self::Context) {
        self.stop(Exit::clean(reason), context);
    }
}

impl Handler<Interrupt> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, interrupt: Interrupt, context: &mut Self::Context) {
        match interrupt {
            Interrupt::Graceful => {
                self.interrupted |= self.stopping.is_none();
                self.stop(Exit::clean("stopped by a signal"), context);
            }
            Interrupt::AtOnce => {
                self.interrupted = true;
                self.workers
                    .iter()
                    .filter_map(|worker| worker.running.as_ref())
                    .for_each(|running| running.process.kill());
                let reason = "ended at once by a signal; what was not committed is processed again at the next start";
                self.finish(Exit::new(ExitCode::Forced, reason), context);
            }
            Interrupt::Roll => self.ask(Wish::Roll, context),
            Interrupt::More => self.ask(Wish::More, context),
            Interrupt::Fewer => self.ask(Wish::Fewer, context),
            Interrupt::Quiet => self.ask(Wish::Quiet, context),
            Interrupt::Resume => {
                self.partitions.excuse();
                self.has_moved();
                self.ask(Wish::Resume, context);
            }
            Interrupt::Status => match serde_json::to_string(&self.status()) {
                Ok(status) => info!(self.order.logger, "status"; "consume" => status),
                Err(error) => error!(self.order.logger, "no status: {error}"),
            },
        }
    }
}
