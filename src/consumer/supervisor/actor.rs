//! The supervisor of the workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, debug, error, info, warn};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::cluster_probes::ClusterProbes;
use super::cluster_queries::ClusterQueries;
use super::commit_watch::CommitWatch;
use super::lock_thread::Lock;
use super::memory_limits;
use super::messages::{AbortRun, ConsumeResult, DiscoveredPartition, ReadToEnd, SupervisorEvent, WorkerFrame};
use super::policy::{ControlCommand, Event, Policy};
use super::process_limits;
use super::progress_clock::ProgressClock;
use super::run_totals::RunTotals;
use super::shutdown::Shutdown;
use super::stdio_guard::StdioGuard;
use super::stdout_lock::StdoutLock;
use super::worker_fleet::WorkerFleet;
use crate::console::Console;
use crate::consumer::protocol::{HistoryEndpoint, MessageLog};
use crate::exit::{ExitCode, ExitStatus};
use crate::kafka::offsets::Offsets;
use crate::logging::LogStyle;
use crate::monitoring::status_registry::StatusRegistry;
use crate::os::{memory_lock, proc_stats};
use crate::progress::ConsumeProgress;
use crate::report::{self, ConsumeReport};
use crate::settings::Settings;
use crate::signals::ControlSignal;
use crate::util::format::pluralize;

/// The interval of periodic checks: idleness, progress, children.
const TICK: Duration = Duration::from_millis(100);
/// How often the high watermarks are fetched.
pub(super) const WATERMARK_INTERVAL: Duration = Duration::from_secs(2);
/// How often the status registry is updated.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);
/// How often the workers' memory is measured.
const RSS_INTERVAL: Duration = Duration::from_secs(1);
/// How long a worker may run after it has closed its control channel.
const CLOSED_CHANNEL_TIMEOUT: Duration = Duration::from_secs(5);

/// The parameters of a supervisor.
pub struct SupervisorParams {
    /// All settings.
    pub settings: Arc<Settings>,
    /// Whether the run ends: the supervisor will receive [`ReadToEnd`].
    pub finite: bool,
    /// Which single messages are logged.
    pub message_log: MessageLog,
    /// The receiver of the supervisor's events, if there is one.
    pub observer: Option<Recipient<SupervisorEvent>>,
    /// The run whose messages are timed; `None`: any.
    pub run: Option<u64>,
    /// The endpoint to which workers send their history.
    pub history: Option<HistoryEndpoint>,
    /// Start offsets that take precedence over the settings; partitions without one start at the low watermark.
    pub starts: Option<Offsets>,
    /// The console for the workers' output.
    pub screen: Console,
    /// The style of log lines.
    pub style: LogStyle,
    /// Shows progress.
    pub progress: ConsumeProgress,
    /// The registry to which the status is published.
    pub registry: StatusRegistry,
    /// The log.
    pub logger: Logger,
}

/// Supervises the worker processes of a run. The result is sent through the channel that
/// [`ConsumerSupervisor::start`] returns.
pub struct ConsumerSupervisor {
    pub(super) params: SupervisorParams,
    pub(super) fleet: WorkerFleet,
    pub(super) policy: Policy,
    /// Commands that arrived before the policy has begun; they come from signals, so there are few.
    pending_commands: Vec<ControlCommand>,
    pub(super) probes: ClusterProbes,
    pub(super) lock: Lock,
    pub(super) commits: CommitWatch,
    pub(super) clock: ProgressClock,
    pub(super) stdio: StdioGuard,
    pub(super) totals: RunTotals,
    pub(super) shutdown: Shutdown,
}

/// With `max_messages` one worker consumes all partitions: several workers would have to agree on who may handle
/// the last messages.
fn read_by_one_worker(params: &mut SupervisorParams) {
    let consumer = &params.settings.consumer;
    if consumer.max_messages == 0 {
        return;
    }
    info!(params.logger, "max_messages is set: one worker process reads all partitions";
        "messages" => consumer.max_messages, "processes" => consumer.processes);
    Arc::make_mut(&mut params.settings).consumer.processes = 1;
}

impl ConsumerSupervisor {
    /// Starts the supervisor on the main thread. The receiver gets the result.
    pub fn start(mut params: SupervisorParams) -> (Addr<Self>, oneshot::Receiver<ConsumeResult>) {
        read_by_one_worker(&mut params);
        // A worker that is killed for memory is restarted; its supervisor must not need memory at that moment.
        if let Err(error) = memory_lock::lock_current_mappings() {
            debug!(params.logger, "the supervisor's code is not locked in memory (CAP_IPC_LOCK, ulimit -l): {error}");
        }
        let (sender, receiver) = oneshot::channel();
        let commits = CommitWatch::new();
        let queries = ClusterQueries::start(
            Arc::clone(&params.settings),
            params.finite,
            params.starts.clone(),
            commits.metadata.clone(),
            params.logger.clone(),
        );
        let now = Instant::now();
        let supervisor = Self {
            fleet: WorkerFleet::new(params.settings.kafka.security.password.clone()),
            policy: Policy::new(&params.settings.consumer, u64::from(std::process::id())),
            pending_commands: Vec::new(),
            probes: ClusterProbes::new(queries),
            lock: Lock::default(),
            commits,
            clock: ProgressClock::new(now),
            stdio: StdioGuard::new(params.settings.consumer.processor == "print", now),
            totals: RunTotals::default(),
            shutdown: Shutdown::new(sender),
            params,
        };
        (Actor::start(supervisor), receiver)
    }

    // ---- starting ----

    pub(super) fn begin(&mut self, found: Vec<DiscoveredPartition>, context: &mut Context<Self>) {
        if self.shutdown.is_stopping() {
            return;
        }
        let settings = Arc::clone(&self.params.settings);
        let consumer = &settings.consumer;
        let now = self.now();
        for found in &found {
            self.policy.partitions.insert_initial(found, now);
        }
        info!(self.params.logger, "consuming";
            "topics" => settings.consumed_topics().join(", "), "partitions" => found.len(), "workers" => consumer.processes,
            "assignment" => consumer.assignment.word(), "group" => &consumer.group_id, "start" => String::from(consumer.start));
        if consumer.read_only {
            info!(self.params.logger, "read only: nothing is committed");
        }
        if found.len() < consumer.processes && !self.is_group() {
            warn!(
                self.params.logger,
                "{} for {} workers: {} are on standby, since each partition is assigned to one worker; add partitions, or \
                reduce consumer.processes",
                pluralize(found.len() as u64, "partition"),
                consumer.processes,
                consumer.processes - found.len()
            );
        }
        if let Some(text) = memory_limits::warning(consumer, proc_stats::memory_limit_mib()) {
            warn!(self.params.logger, "{text}");
        }
        if let Err(text) = process_limits::check(consumer.processes) {
            self.finish(ExitStatus::failed(text), context);
            return;
        }
        self.clock.begin(Instant::now());
        if consumer.processor == "print" {
            match StdoutLock::new() {
                Ok(lock) => self.stdio.lock = Some(lock),
                Err(error) => {
                    self.finish(
                        ExitStatus::failed(format!(
                            "no lock file for stdout: {error}; set TMPDIR to a folder that can be written"
                        )),
                        context,
                    );
                    return;
                }
            }
        }
        let actions = self.policy.begin();
        self.apply_event(Event::StopOffsets(self.policy.partitions.stop_offsets()), context);
        self.execute(actions, context);
        self.watch_commits(context);
        for command in std::mem::take(&mut self.pending_commands) {
            self.apply_event(Event::Command(command), context);
        }
    }

    /// Handles a command; commands that arrive before the policy has begun are queued.
    fn request(&mut self, command: ControlCommand, context: &mut Context<Self>) {
        if self.policy.has_begun() {
            self.apply_event(Event::Command(command), context);
        } else {
            self.pending_commands.push(command);
        }
    }

    pub(super) fn observe(&self, observation: SupervisorEvent) {
        if let Some(observer) = &self.params.observer {
            observer.do_send(observation);
        }
    }

    /// Ends the run and sends the result.
    pub(super) fn conclude(&mut self, exit: ExitStatus, context: &mut Context<Self>) {
        self.publish_status();
        self.update_progress();
        self.params.progress.finish();
        self.stdio.finish();
        let report = self.report();
        self.shutdown.conclude(exit, report);
        context.stop();
    }

    fn reset_stall_timers(&mut self) {
        let now = self.now();
        self.policy.partitions.reset_stall_timers(now);
        self.clock.record(Instant::now());
    }

    fn report(&self) -> ConsumeReport {
        let totals = self.policy.partitions.totals();
        ConsumeReport {
            processed: totals.processed,
            failed: totals.failed,
            dead_lettered: totals.dead_lettered,
            retried: totals.retried,
            messages_per_second: report::rate(totals.processed, self.clock.busy()),
            failures: self.totals.latency.failures.by_reason().clone(),
            latency_us: self.totals.latency.end_to_end.clone(),
            latency_excluded: self.totals.latency.excluded,
            read_only: self.is_read_only(),
            partitions: self.policy.partitions.report(self.is_read_only()),
            workers: self.fleet.slots.iter().enumerate().map(|(slot, worker)| worker.report(slot)).collect(),
        }
    }

    // ---- periodic checks ----

    fn tick(&mut self, context: &mut Context<Self>) {
        self.params.registry.heartbeat();
        self.reap(context);
        for slot in (0..self.fleet.slots.len()).filter(|slot| self.fleet.slots[*slot].resuming).collect::<Vec<_>>() {
            // A slot without a process cannot miss heartbeats.
            self.apply_event(Event::Heartbeat(slot, Vec::new()), context);
        }
        self.check_stdio(context);
        self.apply_event(Event::Tick, context);
        self.log_throttling();
        self.update_progress();
        let idle = self.params.settings.consumer.idle_exit;
        self.mark_ready();
        // A paused worker does not consume the available messages.
        let may_read = self.fleet.is_ready_logged && self.are_all_ready() && !self.policy.is_paused();
        let still = self.clock.idle(Instant::now());
        if !idle.is_zero() && may_read && !self.policy.partitions.in_flight() && still >= idle {
            self.begin_shutdown(ExitStatus::clean(format!("idle for {idle:?} (consumer.idle_exit)")), context);
        }
    }

    fn update_progress(&mut self) {
        // There is no progress before the start.
        if self.policy.has_begun() && self.params.progress.is_due() {
            let status = self.status();
            self.params.progress.show(&status);
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
                        supervisor.do_send(ReapChildren);
                    }
                });
            }
            // The periodic check reaps children as well.
            Err(error) => debug!(self.params.logger, "no signal when children end: {error}"),
        }
        if self.needs_lock() {
            self.acquire_lock(context);
        } else {
            self.prepare(context);
        }
        context.run_interval(TICK, |supervisor, context| supervisor.tick(context));
        context.run_interval(STATUS_INTERVAL, |supervisor, _| supervisor.publish_status());
        context.run_interval(WATERMARK_INTERVAL, |supervisor, context| supervisor.fetch_watermarks(context));
        context.run_interval(RSS_INTERVAL, |supervisor, context| supervisor.sample_rss(context));
        let interval = self.params.settings.consumer.metadata_refresh_interval;
        // A run that ends at the high watermarks of its start ignores partitions that are added later.
        if !interval.is_zero() && !self.params.settings.consumer.until_end {
            context.run_interval(interval, |supervisor, context| supervisor.discover_partitions(context));
        }
    }
}

/// One or several children have exited, or the last line of one has arrived.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ReapChildren;

impl Handler<ReapChildren> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, _: ReapChildren, context: &mut Self::Context) {
        self.reap(context);
    }
}

impl Handler<WorkerFrame> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, message: WorkerFrame, context: &mut Self::Context) {
        let WorkerFrame { slot, process, frame } = message;
        let Some(running) = self.fleet.slots.get_mut(slot).and_then(|worker| worker.process(process)) else { return };
        match frame {
            Some(frame) => self.on_worker_message(slot, frame, context),
            None => {
                running.is_channel_closed = true;
                context.run_later(CLOSED_CHANNEL_TIMEOUT, move |supervisor, _| {
                    supervisor.kill_without_channel(slot, process)
                });
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

impl Handler<AbortRun> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, AbortRun(reason): AbortRun, context: &mut Self::Context) {
        self.begin_shutdown(ExitStatus::clean(reason), context);
    }
}

impl Handler<ControlSignal> for ConsumerSupervisor {
    type Result = ();

    fn handle(&mut self, interrupt: ControlSignal, context: &mut Self::Context) {
        match interrupt {
            ControlSignal::Terminate => {
                if !self.shutdown.is_stopping() {
                    self.shutdown.interrupt();
                }
                self.begin_shutdown(ExitStatus::clean("stopped by a signal"), context);
            }
            ControlSignal::AtOnce => {
                self.shutdown.interrupt();
                self.fleet.running().for_each(|running| running.process.kill());
                let reason = "terminated by a signal; what was not committed is processed again at the next start";
                // The lock expires automatically, and does not delay another start on this host.
                self.conclude(ExitStatus::stopped(ExitCode::Forced, reason), context);
            }
            ControlSignal::Roll => {
                self.reload_password();
                self.request(ControlCommand::RollingRestart, context);
            }
            ControlSignal::More => self.request(ControlCommand::ScaleUp, context),
            ControlSignal::Fewer => self.request(ControlCommand::ScaleDown, context),
            ControlSignal::Pause => self.request(ControlCommand::Pause, context),
            ControlSignal::Resume => {
                self.reset_stall_timers();
                self.request(ControlCommand::Resume, context);
            }
            ControlSignal::Continued => {
                self.reset_stall_timers();
            }
            ControlSignal::Status => match serde_json::to_string(&self.status()) {
                Ok(status) => info!(self.params.logger, "status"; "consume" => status),
                Err(error) => error!(self.params.logger, "no status: {error}"),
            },
        }
    }
}
