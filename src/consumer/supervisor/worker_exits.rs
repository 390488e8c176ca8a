//! Reaping of workers, and the steps of a shutdown.

use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, error, info, warn};

use super::actor::ConsumerSupervisor;
use super::exit_record;
use super::messages::{CommittedOffsets, Recommit, VerifyCommitted};
use super::policy::{ControlCommand, Event, ExitCause};
use super::worker_slot::RunningWorker;
use crate::exit::ExitStatus;
use crate::kafka::error::KafkaError;
use crate::kafka::offsets::Offsets;
use crate::monitoring::status::{EventLevel as Level, Phase};
use crate::os::worker_process::ProcessExit;

/// The minimum time for reading back committed offsets, even when the shutdown's deadline is near.
const READ_BACK: Duration = Duration::from_secs(2);
/// How long a worker may exist after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// The query actor's reply about the group's commits.
type CommittedReply = Result<Result<CommittedOffsets, KafkaError>, MailboxError>;

impl ConsumerSupervisor {
    pub(super) fn reap(&mut self, context: &mut Context<Self>) {
        for slot in 0..self.fleet.slots.len() {
            match self.fleet.slots[slot].take_exited() {
                Ok(Some((running, ended))) => self.on_worker_exit(slot, &running, ended, context),
                Ok(None) => {}
                Err(error) => error!(self.params.logger, "worker {slot} could not be reaped: {error}"),
            }
        }
        if self.fleet.is_reaped()
            && let Some((exit, deadline)) = self.shutdown.begin_verification()
        {
            self.verify_commits(exit, deadline, context);
        }
    }

    fn on_worker_exit(
        &mut self,
        slot: usize,
        running: &RunningWorker,
        ended: ProcessExit,
        context: &mut Context<Self>,
    ) {
        let why = self.policy.why(slot).cloned();
        let last_positions = self.policy.partitions.last_positions(slot, self.resume_from());
        let consumer = &self.params.settings.consumer;
        let exit = exit_record::classify_exit(
            running,
            ended,
            why.as_ref(),
            last_positions,
            &mut self.fleet.oom_kills,
            consumer,
        );
        let killed_by_us = self.shutdown.is_past_deadline();
        self.policy.partitions.on_process_exit(slot, killed_by_us);
        // During a shutdown the report states which worker had them.
        if self.is_group() && !self.shutdown.is_stopping() {
            let names = self.policy.partitions(slot);
            // The next process gets a new assignment from the group.
            self.apply_event(Event::Revoked(slot, names), context);
        }
        let mut kind = None;
        if self.shutdown.is_stopping() {
            if exit.cause == ExitCause::Clean {
                debug!(self.params.logger, "worker {slot} has ended");
            } else {
                let record = exit_record::record(running, &exit, why.as_ref(), slot, &self.params.logger);
                self.publish_exit(slot, &record, false);
                self.shutdown.fail(format!(
                    "worker {slot} ended in the shutdown ({}): what it had not committed is processed again at the next start",
                    exit.text
                ));
                self.fleet.slots[slot].record_exit(record);
            }
        } else if exit.permanent.is_none() {
            let record = exit_record::record(running, &exit, why.as_ref(), slot, &self.params.logger);
            self.publish_exit(slot, &record, exit_record::is_planned(&exit, why.as_ref()));
            kind = Some(record.kind);
            self.fleet.slots[slot].record_exit(record);
        }
        self.apply_event(Event::Exited(slot, exit), context);
        if let Some(kind) = kind.filter(|_| !self.is_gone(slot)) {
            self.fleet.slots[slot].count_restart(kind);
        }
    }

    /// Begins the shutdown; the first reason is the one that is reported.
    pub(super) fn begin_shutdown(&mut self, exit: ExitStatus, context: &mut Context<Self>) {
        if self.shutdown.is_stopping() {
            return;
        }
        info!(self.params.logger, "stopping: {}", exit.reason);
        let deadline = self.params.settings.shutdown.timeout;
        self.event(
            if exit.is_clean() { Level::Info } else { Level::Error },
            "phase",
            None,
            format!("stopping: {}", exit.reason),
        );
        self.params.registry.phase(Phase::Draining, &exit.reason);
        self.shutdown.begin(exit, Instant::now() + deadline);
        self.fleet.slots.iter_mut().for_each(|worker| worker.attempt += 1);
        self.apply_event(Event::Command(ControlCommand::Stop), context);
        context.run_later(deadline, |supervisor, context| {
            supervisor.kill_late_workers();
            context.run_later(KILL_TIMEOUT, Self::abandon_workers);
        });
        self.reap(context);
    }

    fn kill_late_workers(&mut self) {
        for (slot, worker) in self.fleet.slots.iter().enumerate() {
            let Some(running) = &worker.running else { continue };
            let pid = running.process.pid();
            error!(self.params.logger, "worker {slot} (pid {pid}) has not ended by the deadline: killed";
                "deadline" => ?self.params.settings.shutdown.timeout);
            running.process.kill();
            let reason = format!("worker {slot} had not ended by the deadline (shutdown.timeout) and was killed");
            self.shutdown.force(reason);
        }
    }

    /// Abandons workers that have not exited after SIGKILL. A process that waits in the kernel (for a network
    /// file system, for example) exits only afterwards: the program does not wait for that.
    fn abandon_workers(&mut self, context: &mut Context<Self>) {
        for (slot, worker) in self.fleet.slots.iter_mut().enumerate() {
            if let Some(running) = worker.running.take() {
                let pid = running.process.pid();
                error!(
                    self.params.logger,
                    "worker {slot} (pid {pid}) was killed and is still there: left to the system"
                );
            }
        }
        self.reap(context);
    }

    /// Kills a worker whose channel is closed. When it has exited, the policy takes over.
    pub(super) fn kill_without_channel(&mut self, slot: usize, process: u32) {
        if let Some(running) = self.fleet.slots[slot].process(process) {
            running.process.kill();
            error!(
                self.params.logger,
                "worker {slot} (pid {process}) has closed its control channel and lives on: killed"
            );
        }
    }

    /// Reads the committed offsets back, now that no worker commits any more.
    fn verify_commits(&mut self, exit: ExitStatus, deadline: Instant, context: &mut Context<Self>) {
        let names = self.policy.partitions.names();
        if names.is_empty() {
            self.finish(exit, context);
            return;
        }
        let time = deadline.saturating_duration_since(Instant::now()).max(READ_BACK);
        let reply = self.probes.queries.send(VerifyCommitted(names.clone())).timeout(time);
        context.spawn(reply.into_actor(self).map(move |reply, supervisor, context| {
            let foreign = reply.as_ref().ok().and_then(|reply| reply.as_ref().ok()).map(|read| &read.foreign[..]);
            let exit = match supervisor.note_foreign(foreign.unwrap_or_default()) {
                Some(reason) if exit.is_clean() => ExitStatus::failed(reason),
                _ => exit,
            };
            let undone = supervisor.missing_commits(&exit, &reply);
            if undone.is_empty() {
                supervisor.finish_by_commits(reply, exit, context);
                return;
            }
            let list: Vec<_> = undone.iter().map(|(partition, offset)| format!("{partition}@{offset}")).collect();
            warn!(
                supervisor.params.logger,
                "less is committed than was processed, which is committed once more: {}",
                list.join(", ")
            );
            let reply = supervisor.probes.queries.send(Recommit(undone, names)).timeout(time);
            context.spawn(reply.into_actor(supervisor).map(|reply, supervisor, context| {
                supervisor.finish_by_commits(reply, exit, context);
            }));
        }));
    }

    /// The offsets that were processed and are not committed, although all workers have exited cleanly. The
    /// cause is not known here: the last commit has failed, or an earlier one that librdkafka has sent again
    /// came after it. With a group only its members may commit; an offset that another client has set is not
    /// overwritten.
    fn missing_commits(&mut self, exit: &ExitStatus, reply: &CommittedReply) -> Offsets {
        let now = self.now();
        match reply {
            Ok(Ok(reply)) if exit.is_clean() && !self.is_group() && !self.is_read_only() => {
                self.policy.partitions.read_back(reply, now);
                let mut behind = self.policy.partitions.commit_lag();
                reply.foreign.iter().for_each(|foreign| _ = behind.remove(&foreign.partition));
                behind
            }
            _ => Offsets::new(),
        }
    }

    /// Determines the exit status from the committed offsets.
    fn finish_by_commits(&mut self, reply: CommittedReply, exit: ExitStatus, context: &mut Context<Self>) {
        let now = self.now();
        let problem = match reply {
            // A read-only run commits nothing: the query was only for high watermarks.
            Ok(Ok(reply)) if self.is_read_only() => {
                self.policy.partitions.read_back(&reply, now);
                None
            }
            _ if self.is_read_only() => None,
            Ok(Ok(reply)) => {
                self.policy.partitions.read_back(&reply, now);
                self.policy
                    .partitions
                    .uncommitted(self.is_group())
                    .map(|text| format!("not everything that was processed is committed: {text}"))
            }
            Ok(Err(failure)) => Some(format!("what is committed could not be read back: {failure}")),
            Err(error) => Some(format!("what is committed could not be read back in time: {error}")),
        };
        let problem = problem.or_else(|| self.policy.partitions.stopped());
        let exit = match problem {
            Some(problem) if exit.is_clean() => ExitStatus::failed(problem),
            Some(problem) => {
                warn!(self.params.logger, "{problem}");
                exit
            }
            None => exit,
        };
        self.finish(exit, context);
    }
}
