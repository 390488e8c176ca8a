//! A slot and the processes that ran in it, one after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use actix::Addr;

use super::worker_connection::{SendCommand, WorkerConnection};
use super::worker_stderr::LogTail;
use crate::consumer::protocol::{FailureKind, WorkerCommand, WorkerFailure, WorkerHealth};
use crate::kafka::health::ClientHealth;
use crate::kafka::statistics::ClientStatus;
use crate::monitoring::status::{WorkerState, WorkerStatus};
use crate::os::worker_process::{ProcessExit, WorkerProcess};
use crate::record::TopicPartition;
use crate::report::{RestartKind, RestartReport, WorkerReport};

/// The maximum number of exit records and processes that are kept per worker: a record may have kilobytes.
const MAX_EXIT_RECORDS: usize = 1_000;

/// A worker, whichever process it is at the moment.
#[derive(Default)]
pub(super) struct WorkerSlot {
    /// The process, from its start until it is reaped and its channel is closed.
    pub(super) running: Option<RunningWorker>,
    /// Incremented with each start and with each cancelled start: a reply that belongs to an earlier attempt
    /// starts nothing.
    pub(super) attempt: u32,
    /// Its next process is started when the brokers have returned the start offsets.
    pub(super) resuming: bool,
    /// The number of messages that all its processes have handled.
    pub(super) handled: u64,
    /// The records of the last restarts.
    restarts: VecDeque<RestartReport>,
    /// The number of restarts by kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// The process ids of the last processes.
    pids: VecDeque<u32>,
    /// CPU time of exited processes, in seconds.
    cpu_before: f64,
    /// Failed commits of exited processes.
    commit_failures_before: u64,
    /// Failed authentications of exited processes; `None` before anything is known.
    authentication_failures_before: Option<u64>,
}

/// A process and its channel.
pub(super) struct RunningWorker {
    pub(super) process: WorkerProcess,
    pub(super) link: Addr<WorkerConnection>,
    pub(super) log: LogTail,
    pub(super) since: Instant,
    pub(super) ready: bool,
    pub(super) end_reached: bool,
    /// It has committed its offsets and closed its client.
    pub(super) finished: bool,
    /// The fatal error that it has reported.
    pub(super) failure: Option<WorkerFailure>,
    /// A message in flight may have caused that error.
    pub(super) crashed: bool,
    /// Its channel is closed.
    pub(super) is_channel_closed: bool,
    /// The partitions that were assigned to it.
    pub(super) assigned: BTreeSet<TopicPartition>,
    /// The last measured resident set size, in MiB.
    pub(super) resident: Option<u64>,
    /// The last measured CPU time, in seconds.
    pub(super) cpu: f64,
    /// Whether its client reaches the cluster, and the time of that report.
    pub(super) health: Option<(WorkerHealth, Instant)>,
    /// The statistics of its Kafka client.
    pub(super) counted: Option<ClientStatus>,
    ended: Option<(ProcessExit, Instant)>,
}

/// How long the supervisor waits for the last lines of an exited process: a process that it has forked, and that
/// has left its process group, may keep its stderr open.
const STDERR_DRAIN_TIMEOUT: Duration = Duration::from_millis(300);
/// The same for its last frames on the channel, which contain its last commits.
const FINAL_FRAMES_TIMEOUT: Duration = Duration::from_secs(2);

impl WorkerSlot {
    /// Records the start of a process.
    pub(super) fn begin(
        &mut self,
        process: WorkerProcess,
        link: Addr<WorkerConnection>,
        log: LogTail,
        assigned: BTreeSet<TopicPartition>,
    ) {
        remember(&mut self.pids, process.pid());
        self.resuming = false;
        self.running = Some(RunningWorker {
            process,
            link,
            log,
            since: Instant::now(),
            ready: false,
            end_reached: false,
            finished: false,
            failure: None,
            crashed: false,
            is_channel_closed: false,
            assigned,
            resident: None,
            cpu: 0.0,
            health: None,
            counted: None,
            ended: None,
        });
    }

    /// Sends a command to the process, if there is one.
    pub(super) fn send(&self, frame: WorkerCommand) {
        if let Some(running) = &self.running {
            running.link.do_send(SendCommand(frame));
        }
    }

    /// The process with this `pid`, if it is the current one.
    pub(super) fn process(&mut self, pid: u32) -> Option<&mut RunningWorker> {
        self.running.as_mut().filter(|running| running.process.pid() == pid)
    }

    /// Returns the process when it is over: reaped, and all its frames and log lines are received.
    ///
    /// # Errors
    /// From the operating system; none is expected.
    pub(super) fn take_exited(&mut self) -> std::io::Result<Option<(RunningWorker, ProcessExit)>> {
        let Some(running) = &mut self.running else { return Ok(None) };
        if running.ended.is_none() {
            running.ended = running.process.try_reap()?.map(|ended| (ended, Instant::now()));
        }
        match running.ended {
            Some((ended, at))
                if running.is_channel_closed && (running.log.is_complete() || at.elapsed() >= STDERR_DRAIN_TIMEOUT)
                    || at.elapsed() >= FINAL_FRAMES_TIMEOUT =>
            {
                self.cpu_before += running.cpu;
                if let Some((health, _)) = &running.health {
                    self.commit_failures_before = self.commit_failures_before.saturating_add(health.commit_failures);
                    let refused = health.client.as_ref().map(|client| client.authentication_failures);
                    self.authentication_failures_before = match (self.authentication_failures_before, refused) {
                        (None, refused) => refused,
                        (Some(before), refused) => Some(before.saturating_add(refused.unwrap_or(0))),
                    };
                }
                Ok(self.running.take().map(|running| (running, ended)))
            }
            _ => Ok(None),
        }
    }

    /// Whether it is running or in standby.
    pub(super) fn is_ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.ready)
    }

    /// Whether it has reached all of its stop offsets.
    pub(super) fn is_at_end(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.end_reached)
    }

    /// Adds handled messages.
    pub(super) fn record_handled(&mut self, messages: u64) {
        self.handled += messages;
    }

    /// The worker's status. Its state and its number of partitions are known elsewhere.
    pub(super) fn status(&self, slot: usize, state: WorkerState, partitions: usize) -> WorkerStatus {
        let running = self.running.as_ref();
        WorkerStatus {
            slot,
            state,
            pid: running.map(|running| running.process.pid()),
            uptime_seconds: running.map(|running| running.since.elapsed().as_secs_f64()),
            resident_bytes: running.and_then(|running| running.resident).map(|mib| mib << 20),
            cpu_seconds: self.cpu_before + running.map_or(0.0, |running| running.cpu),
            processed: self.handled,
            partitions,
            restarts: self.restarted(),
            restart_causes: self.kinds.clone(),
            last_exit: self.restarts.back().map(|restart| restart.cause.clone()),
            client: running.and_then(|running| running.counted.clone()),
            health: self.health(),
            uncommitted_seconds: running.and_then(RunningWorker::uncommitted).map_or(0.0, |time| time.as_secs_f64()),
            commit_failures: self.commit_failures_before.saturating_add(
                running.and_then(|running| running.health.as_ref()).map_or(0, |(health, _)| health.commit_failures),
            ),
        }
    }

    /// Whether its client reaches the cluster. Failed authentications are those of all its processes.
    fn health(&self) -> Option<ClientHealth> {
        let known = self.running.as_ref().and_then(|running| running.health.as_ref());
        let known =
            known.and_then(|(health, reported)| Some((health.client.clone()?, reported.elapsed().as_secs_f64())));
        let before = self.authentication_failures_before;
        let Some((client, since)) = known else {
            return before.map(|before| ClientHealth { authentication_failures: before, ..ClientHealth::default() });
        };
        let aged = |age: f64| if age > 0.0 { age + since } else { 0.0 };
        Some(ClientHealth {
            last_response_age_seconds: aged(client.last_response_age_seconds),
            coordinator_unavailable_seconds: aged(client.coordinator_unavailable_seconds),
            authentication_failures: before.unwrap_or(0).saturating_add(client.authentication_failures),
            authentication_error: client.authentication_error,
        })
    }

    /// The worker's part of the report.
    pub(super) fn report(&self, slot: usize) -> WorkerReport {
        WorkerReport {
            slot,
            pids: self.pids.iter().copied().collect(),
            restarted: self.restarted(),
            restarts: self.restarts.iter().cloned().collect(),
        }
    }

    /// Records the exit of its process.
    pub(super) fn record_exit(&mut self, exit: RestartReport) {
        remember(&mut self.restarts, exit);
    }

    /// Counts a restart after an exit of this kind.
    pub(super) fn count_restart(&mut self, kind: RestartKind) {
        *self.kinds.entry(kind.to_string()).or_default() += 1;
    }

    fn restarted(&self) -> u64 {
        self.kinds.values().sum()
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == MAX_EXIT_RECORDS {
        list.pop_front();
    }
    list.push_back(item);
}

impl RunningWorker {
    /// The time since its oldest uncommitted message was processed.
    fn uncommitted(&self) -> Option<Duration> {
        let (health, reported) = self.health.as_ref().filter(|(health, _)| health.uncommitted_ms > 0)?;
        Some(Duration::from_millis(health.uncommitted_ms) + reported.elapsed())
    }

    /// The cause of an exit, including the error that the process has reported.
    pub(super) fn cause(&self, ended: ProcessExit) -> String {
        match &self.failure {
            Some(failure) => format!("{ended}: {}", failure.reason),
            None => ended.to_string(),
        }
    }

    /// The permanent error that it has reported, if there is one.
    pub(super) fn permanent_cause(&self) -> Option<String> {
        let failure = self.failure.as_ref().filter(|failure| failure.kind == FailureKind::Permanent);
        failure.map(|failure| failure.reason.clone())
    }
}
