//! The supervisor's ends: of a worker, and of all.

use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, error, info, warn};

use super::actor::ConsumerSupervisor;
use super::death;
use super::messages::{CommitAgain, ReadBack, ReadCommitted};
use super::policy::{Event, Wish};
use super::worker::Running;
use crate::exit::{Exit, ExitCode};
use crate::kafka::error::Failure;
use crate::kafka::offsets::Offsets;
use crate::monitoring::status::{EventLevel as Level, Phase};
use crate::os::child::Ended;

/// The least time for reading back what is committed, even when the shutdown's deadline is near.
const READ_BACK: Duration = Duration::from_secs(2);
/// How long after SIGKILL a worker may be there.
const UNKILLABLE: Duration = Duration::from_secs(5);

/// What the watcher says of the group's commits.
type Answer = Result<Result<ReadBack, Failure>, MailboxError>;

impl ConsumerSupervisor {
    pub(super) fn reap(&mut self, context: &mut Context<Self>) {
        for slot in 0..self.workers.len() {
            match self.workers[slot].take_ended() {
                Ok(Some((running, ended))) => self.worker_ended(slot, &running, ended, context),
                Ok(None) => {}
                Err(error) => error!(self.order.logger, "worker {slot} could not be reaped: {error}"),
            }
        }
        let all_ended = self.workers.iter().all(|worker| worker.running.is_none());
        if let (Some((exit, deadline)), true) = (&self.stopping, all_ended) {
            let (exit, deadline) = (exit.clone(), *deadline);
            self.read_back(exit, deadline, context);
        }
    }

    fn worker_ended(&mut self, slot: usize, running: &Running, ended: Ended, context: &mut Context<Self>) {
        let why = self.policy.as_ref().and_then(|policy| policy.why(slot)).cloned();
        let death = death::of(running, ended, why.as_ref(), self.partitions.seen(slot), &mut self.memory_kills);
        let killed_by_us = self.stopping.as_ref().is_some_and(|(_, deadline)| Instant::now() >= *deadline);
        self.partitions.process_ended(slot, killed_by_us);
        // At the end the report says who had them.
        if self.is_group() && self.stopping.is_none() {
            let names = self.policy.as_ref().map(|policy| policy.partitions(slot)).unwrap_or_default();
            self.partitions.release(slot, &names);
            // Whoever comes next is dealt its own.
            self.decide(Event::Revoked(slot, names), context);
        }
        let mut kind = None;
        if self.stopping.is_some() {
            if death.clean {
                debug!(self.order.logger, "worker {slot} has ended");
            } else {
                let record = death::record(running, &death, why.as_ref(), slot, &self.order.logger);
                self.tell_of_death(slot, &record, false);
                self.worsen(format!(
                    "worker {slot} ended in the shutdown ({}): what it had not committed is processed again at the next start",
                    death.cause
                ));
                self.workers[slot].dies(record);
            }
        } else if death.lasting.is_none() {
            let record = death::record(running, &death, why.as_ref(), slot, &self.order.logger);
            self.tell_of_death(slot, &record, death::is_planned(&death, why.as_ref()));
            kind = Some(record.kind.clone());
            self.workers[slot].dies(record);
            let unused = self.workers[slot].granted.saturating_sub(running.dealt_with);
            let say = self.allowance.as_mut().map(|allowance| allowance.died(slot, unused));
            self.say_all(say.unwrap_or_default());
        }
        self.decide(Event::Died(slot, death), context);
        if let Some(kind) = kind.filter(|_| !self.is_gone(slot)) {
            self.workers[slot].restarts(kind);
        }
    }

    /// A shutdown that was clean so far is not any more.
    fn worsen(&mut self, reason: String) {
        if let Some((exit, _)) = &mut self.stopping
            && exit.is_clean()
        {
            *exit = Exit::failed(reason);
        }
    }

    /// Begins the end; the first reason is the one that is reported.
    pub(super) fn stop(&mut self, exit: Exit, context: &mut Context<Self>) {
        if self.stopping.is_some() {
            return;
        }
        info!(self.order.logger, "stopping: {}", exit.reason);
        let deadline = self.order.settings.shutdown.deadline;
        self.event(
            if exit.is_clean() { Level::Info } else { Level::Error },
            "phase",
            None,
            format!("stopping: {}", exit.reason),
        );
        self.order.board.phase(Phase::Draining, &exit.reason);
        self.stopping = Some((exit, Instant::now() + deadline));
        self.workers.iter_mut().for_each(|worker| worker.attempt += 1);
        self.decide(Event::Asked(Wish::Stop), context);
        context.run_later(deadline, |supervisor, context| {
            supervisor.kill_late_workers();
            context.run_later(UNKILLABLE, Self::leave_workers);
        });
        self.reap(context);
    }

    fn kill_late_workers(&mut self) {
        for (slot, worker) in self.workers.iter().enumerate() {
            let Some(running) = &worker.running else { continue };
            let pid = running.process.pid();
            error!(self.order.logger, "worker {slot} (pid {pid}) has not ended by the deadline: killed";
                "deadline" => ?self.order.settings.shutdown.deadline);
            running.process.kill();
            let reason = format!("worker {slot} had not ended by the deadline (shutdown.deadline) and was killed");
            if let Some((exit, _)) = &mut self.stopping
                && exit.code != ExitCode::Forced
            {
                let reason = if exit.is_clean() { reason } else { format!("{}; {reason}", exit.reason) };
                *exit = Exit::new(ExitCode::Forced, reason);
            }
        }
    }

    /// SIGKILL ends everything, but what waits in the kernel (for a network file system, say) only afterwards: the program
    /// does not wait for that.
    fn leave_workers(&mut self, context: &mut Context<Self>) {
        for (slot, worker) in self.workers.iter_mut().enumerate() {
            if let Some(running) = worker.running.take() {
                let pid = running.process.pid();
                error!(
                    self.order.logger,
                    "worker {slot} (pid {pid}) was killed and is still there: left to the system"
                );
            }
        }
        self.reap(context);
    }

    /// A worker that neither speaks nor listens is of no use: the policy takes over when it is dead.
    pub(super) fn kill_silent(&mut self, slot: usize, process: u32) {
        if let Some(running) = self.workers[slot].process(process) {
            running.process.kill();
            error!(
                self.order.logger,
                "worker {slot} (pid {process}) has closed its control channel and lives on: killed"
            );
        }
    }

    /// Asks the brokers what is committed, now that nobody commits any more.
    fn read_back(&mut self, exit: Exit, deadline: Instant, context: &mut Context<Self>) {
        if self.outcome.is_none() || std::mem::replace(&mut self.reading_back, true) {
            return;
        }
        let names = self.partitions.names();
        if names.is_empty() {
            self.finish(exit, context);
            return;
        }
        let time = deadline.saturating_duration_since(Instant::now()).max(READ_BACK);
        let answer = self.watcher.send(ReadCommitted(names.clone())).timeout(time);
        context.spawn(answer.into_actor(self).map(move |answer, supervisor, context| {
            let undone = supervisor.undone(&exit, &answer);
            if undone.is_empty() {
                supervisor.judge(answer, exit, context);
                return;
            }
            let list: Vec<_> = undone.iter().map(|(partition, offset)| format!("{partition}@{offset}")).collect();
            warn!(
                supervisor.order.logger,
                "less is committed than was processed, which is committed once more: {}",
                list.join(", ")
            );
            let answer = supervisor.watcher.send(CommitAgain(undone, names)).timeout(time);
            context.spawn(answer.into_actor(supervisor).map(|answer, supervisor, context| {
                supervisor.judge(answer, exit, context);
            }));
        }));
    }

    /// What was processed and is not committed, although all workers have ended well. Why is not known here: the last commit has
    /// failed, an earlier one that librdkafka has sent again came behind it, or somebody has reset the offsets. With a group it
    /// is the members' own, and nobody else's to mend.
    fn undone(&mut self, exit: &Exit, answer: &Answer) -> Offsets {
        match answer {
            Ok(Ok(answer)) if exit.is_clean() && !self.is_group() => {
                self.partitions.read_back(answer);
                self.partitions.behind()
            }
            _ => Offsets::new(),
        }
    }

    /// How it ends, by what is committed.
    fn judge(&mut self, answer: Answer, exit: Exit, context: &mut Context<Self>) {
        let problem = match answer {
            Ok(Ok(answer)) => {
                self.partitions.read_back(&answer);
                self.partitions
                    .uncommitted(self.is_group())
                    .map(|text| format!("not everything that was processed is committed: {text}"))
            }
            Ok(Err(failure)) => Some(format!("what is committed could not be read back: {failure}")),
            Err(error) => Some(format!("what is committed could not be read back in time: {error}")),
        };
        let problem = problem.or_else(|| self.partitions.stopped().map(|(text, _)| text));
        let exit = match problem {
            Some(problem) if exit.is_clean() => Exit::failed(problem),
            Some(problem) => {
                warn!(self.order.logger, "{problem}");
                exit
            }
            None => exit,
        };
        self.finish(exit, context);
    }
}
