//! The supervisor of the workers.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, debug, error, info, warn};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::allowance::{self, Allowance};
use super::link::WorkerLink;
use super::log_pipe;
use super::messages::{Found, FromLink, GiveUp, Observation, Outcome, Prepare, ReadEnds, ReadToEnd};
use super::output_lock::OutputLock;
use super::partitions::Partitions;
use super::plan::plan;
use super::watcher::TopicWatcher;
use super::worker::Worker;
use crate::consumer::control::{FromWorker, JournalPlace, Start, ToWorker, VERSION};
use crate::exit::{Exit, ExitCode};
use crate::kafka::cluster::Offsets;
use crate::latency::Latency;
use crate::logging::Style;
use crate::os::child;
use crate::progress::{ConsumeProgress, WorkerProgress};
use crate::report::{self, ConsumeReport};
use crate::screen::Screen;
use crate::settings::Settings;
use crate::shutdown::Interrupt;

/// How often it looks after everything that no message tells: idleness, progress, children.
const TICK: Duration = Duration::from_millis(100);
/// How often the partitions' ends are asked for.
const ENDS: Duration = Duration::from_secs(2);
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
    /// From being due to being processed, over all workers.
    latency: Latency,
    output_lock: Option<OutputLock>,
    log_pipes: Vec<JoinHandle<()>>,
    begun: Instant,
    /// When a message was last dealt with, or the last worker became ready.
    moved: Instant,
    announced_ready: bool,
    asking_ends: bool,
    pub(super) reading_back: bool,
    interrupted: bool,
    /// Set once it is stopping: how it will have ended, and when it ends by force.
    pub(super) stopping: Option<(Exit, Instant)>,
    pub(super) outcome: Option<oneshot::Sender<Outcome>>,
}

impl ConsumerSupervisor {
    /// Starts it, on the main thread; the receiver gets the outcome.
    pub fn start(order: Order) -> (Addr<Self>, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let watcher = TopicWatcher::start(Arc::clone(&order.settings), order.starts.clone(), order.logger.clone());
        let supervisor = Self {
            order,
            watcher,
            workers: Vec::new(),
            partitions: Partitions::default(),
            allowance: None,
            latency: Latency::default(),
            output_lock: None,
            log_pipes: Vec::new(),
            begun: Instant::now(),
            moved: Instant::now(),
            announced_ready: false,
            asking_ends: false,
            reading_back: false,
            interrupted: false,
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
        let consumer = &self.order.settings.consumer;
        let names = found.iter().map(|found| found.start.partition.clone()).collect();
        for (slot, share) in plan(names, consumer.processes, consumer.strategy).into_iter().enumerate() {
            for partition in &share {
                found
                    .iter()
                    .filter(|found| found.start.partition == *partition)
                    .for_each(|found| self.partitions.insert(slot, found));
            }
            self.workers.push(Worker::default());
        }
        info!(self.order.logger, "consuming";
            "topics" => self.order.settings.consumed_topics().join(", "), "partitions" => found.len(),
            "workers" => consumer.processes, "group" => &consumer.group, "start" => String::from(consumer.start));
        if found.len() < consumer.processes {
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
        (self.begun, self.moved) = (Instant::now(), Instant::now());
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
        for slot in 0..self.workers.len() {
            if self.stopping.is_none() {
                self.start_worker(slot, context);
            }
        }
    }

    pub(super) fn start_worker(&mut self, slot: usize, context: &mut Context<Self>) {
        if let Err(error) = self.try_start_worker(slot, context) {
            self.stop(Exit::failed(format!("worker {slot} could not be started: {error}")), context);
        }
    }

    fn try_start_worker(&mut self, slot: usize, context: &mut Context<Self>) -> std::io::Result<()> {
        let started = child::start_worker(slot)?;
        let pid = started.process.pid();
        self.log_pipes.retain(|pipe| !pipe.is_finished());
        self.log_pipes.push(log_pipe::forward(started.stderr, slot, self.order.screen.clone())?);
        let supervisor = context.address().recipient();
        let link = WorkerLink::start(started.control, slot, pid, supervisor, self.order.logger.clone())?;
        self.workers[slot].begin(started.process, link);
        let settings = Settings::clone(&self.order.settings);
        let start = Start {
            version: VERSION,
            slot,
            finite: self.order.finite || settings.consumer.until_end,
            limited: self.allowance.is_some(),
            settings,
            partitions: self.partitions.starts(slot),
            style: self.order.style,
            journal: self.order.journal.clone(),
            log_messages: self.order.log_messages,
            output_lock: self.output_lock.as_ref().map(|lock| lock.path.clone()),
        };
        self.workers[slot].say(ToWorker::Start(Box::new(start)));
        debug!(self.order.logger, "worker {slot} started"; "pid" => pid);
        Ok(())
    }

    // ---- what workers say ------------------------------------------------------------------------------------------

    fn heard(&mut self, slot: usize, frame: FromWorker, context: &mut Context<Self>) {
        match frame {
            FromWorker::Ready { version } if version == VERSION => self.worker_ready(slot),
            FromWorker::Ready { version } => {
                self.stop(
                    Exit::failed(format!(
                        "worker {slot} speaks version {version}, not {VERSION}: was the binary replaced?"
                    )),
                    context,
                );
            }
            FromWorker::Progress(progress) => self.progressed(progress, context),
            FromWorker::Latency(text) => match Latency::from_text(&text) {
                Ok(counted) => self.latency.add(&counted),
                Err(problem) => warn!(self.order.logger, "worker {slot} sent no latencies that can be read: {problem}"),
            },
            FromWorker::NeedGrant => {
                let say = self.allowance.as_mut().map(|allowance| allowance.asked(slot));
                self.say_all(say.unwrap_or_default());
            }
            FromWorker::Returned(messages) => {
                self.workers[slot].granted = self.workers[slot].granted.saturating_sub(messages);
                let say = self.allowance.as_mut().map(|allowance| allowance.returned(slot, messages));
                self.say_all(say.unwrap_or_default());
            }
            FromWorker::EndReached => {
                if let Some(running) = &mut self.workers[slot].running {
                    running.end_reached = true;
                }
                if self.workers.iter().all(Worker::is_at_end) {
                    self.stop(Exit::clean("end reached"), context);
                }
            }
            FromWorker::MessageFailed { partition, offset, reason } => {
                let text = format!(
                    "{partition}@{offset} could not be processed: {reason}; it is the next one to be read (consumer.on_failure = \"stop\")"
                );
                self.stop(Exit::failed(text), context);
            }
            FromWorker::OutputClosed => self.stop(Exit::clean("stdout is closed"), context),
            FromWorker::Broken { reason, lasting } => {
                if let Some(running) = &mut self.workers[slot].running {
                    // What comes later follows from it.
                    running.broken.get_or_insert((reason, lasting));
                }
            }
            FromWorker::Finished => {
                if let Some(running) = &mut self.workers[slot].running {
                    running.finished = true;
                }
            }
        }
    }

    fn worker_ready(&mut self, slot: usize) {
        if let Some(running) = &mut self.workers[slot].running {
            running.ready = true;
        }
        self.moved = Instant::now();
        if !self.announced_ready && self.workers.iter().all(Worker::is_ready) {
            self.announced_ready = true;
            self.observe(Observation::Ready);
        }
    }

    fn observe(&self, observation: Observation) {
        if let Some(observer) = &self.order.observer {
            observer.do_send(observation);
        }
    }

    fn progressed(&mut self, progress: Vec<crate::consumer::control::PartitionProgress>, context: &mut Context<Self>) {
        if self.partitions.update(progress) {
            self.moved = Instant::now();
        }
        let (processed, failed) = self.partitions.totals();
        self.observe(Observation::Read(self.partitions.reached()));
        let limit = self.order.settings.consumer.max_messages;
        if limit > 0 && processed + failed >= limit {
            self.stop(Exit::clean(format!("{limit} messages are processed (consumer.max_messages)")), context);
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
        let (processed, failed) = self.partitions.totals();
        ConsumeReport {
            processed,
            failed,
            dead_lettered: 0,
            messages_per_second: report::rate(processed, self.moved.saturating_duration_since(self.begun)),
            latency_us: self.latency.clone(),
            partitions: self.partitions.report(),
            workers: self.workers.iter().enumerate().map(|(slot, worker)| worker.report(slot)).collect(),
        }
    }

    // ---- what no message tells -------------------------------------------------------------------------------------

    fn tick(&mut self, context: &mut Context<Self>) {
        self.reap(context);
        self.show();
        let idle = self.order.settings.consumer.idle_exit;
        let ready = self.announced_ready && self.workers.iter().all(Worker::is_ready);
        if !idle.is_zero() && ready && !self.partitions.in_flight() && self.moved.elapsed() >= idle {
            self.stop(Exit::clean(format!("idle for {idle:?} (consumer.idle_exit)")), context);
        }
    }

    fn show(&mut self) {
        let workers: Vec<_> = self
            .workers
            .iter()
            .enumerate()
            .map(|(slot, worker)| WorkerProgress {
                process: worker.describe(),
                processed: self.partitions.dealt_with_by(slot),
                partitions: self.partitions.shown(slot),
            })
            .collect();
        self.order.progress.show(&workers);
    }

    /// Reads the ends; a question that is still open is not asked again.
    fn ask_ends(&mut self, context: &mut Context<Self>) {
        let names = self.partitions.names();
        if self.asking_ends || names.is_empty() || self.stopping.is_some() {
            return;
        }
        self.asking_ends = true;
        context.spawn(self.watcher.send(ReadEnds(names)).into_actor(self).map(move |answer, supervisor, _| {
            supervisor.asking_ends = false;
            match answer {
                Ok(Ok(ends)) => supervisor.partitions.set_ends(&ends),
                // Asked again a little later.
                Ok(Err(failure)) => debug!(supervisor.order.logger, "{failure}"),
                Err(error) => debug!(supervisor.order.logger, "the topic watcher: {error}"),
            }
        }));
    }

    /// Reads the ends, until there is an answer, and has everything read up to there.
    fn read_to_end(&mut self, context: &mut Context<Self>) {
        if self.stopping.is_some() {
            return;
        }
        let ends = self.watcher.send(ReadEnds(self.partitions.names()));
        context.spawn(ends.into_actor(self).map(|answer, supervisor, context| match answer {
            Ok(Ok(ends)) => {
                supervisor.partitions.read_until(&ends);
                let ends: Vec<_> = ends.into_iter().collect();
                supervisor.workers.iter().for_each(|worker| worker.say(ToWorker::ReadUntil(ends.clone())));
            }
            Ok(Err(failure)) => {
                warn!(supervisor.order.logger, "{failure}; asking again");
                context.run_later(ENDS, |supervisor, context| supervisor.read_to_end(context));
            }
            Err(error) => supervisor.stop(Exit::failed(format!("the topic watcher is gone: {error}")), context),
        }));
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
                        supervisor.do_send(ChildEnded);
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
        context.run_interval(ENDS, |supervisor, context| {
            supervisor.ask_ends(context);
        });
    }
}

/// A child has ended, or several.
#[derive(Message)]
#[rtype(result = "()")]
struct ChildEnded;

impl Handler<ChildEnded> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, _: ChildEnded, context: &mut Self::Context) {
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
                self.interrupted = true;
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
            Interrupt::Status => match serde_json::to_string(&self.report()) {
                Ok(status) => info!(self.order.logger, "status"; "consume" => status),
                Err(error) => error!(self.order.logger, "no status: {error}"),
            },
        }
    }
}
