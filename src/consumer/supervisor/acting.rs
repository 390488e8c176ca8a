//! The supervisor does what the policy says.

use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, error, info, warn};

use super::actor::{ConsumerSupervisor, LookAfter};
use super::link::WorkerLink;
use super::log_pipe::{self, LastLines};
use super::messages::ReadCommits;
use super::policy::{Action, Death, Event, Why};
use super::worker::Worker;
use crate::consumer::control::{Member, Start, ToWorker, VERSION};
use crate::exit::Exit;
use crate::monitoring::status::EventLevel as Level;
use crate::os::{child, host};
use crate::record::TopicPartition;
use crate::settings::Assignment;

/// How long one question about commits may take; it is asked again until there is an answer.
const COMMITTED: Duration = Duration::from_secs(5);
/// And how much of it the brokers have: why they did not answer is told, too.
const BROKERS: Duration = Duration::from_millis(4_500);
/// Between two such questions.
const ASK_AGAIN: Duration = Duration::from_millis(500);

fn commits_of(partitions: &[TopicPartition]) -> ReadCommits {
    ReadCommits { partitions: partitions.to_vec(), deadline: Instant::now() + BROKERS }
}

impl ConsumerSupervisor {
    /// Tells the policy what has happened, and does what it says.
    pub(super) fn decide(&mut self, event: Event, context: &mut Context<Self>) {
        let now = self.awake.at(Instant::now());
        let actions = self.policy.as_mut().map(|policy| policy.on(now, event));
        self.perform(actions.unwrap_or_default(), context);
    }

    pub(super) fn perform(&mut self, actions: Vec<Action>, context: &mut Context<Self>) {
        for action in actions {
            match action {
                Action::Start(slot) => self.start_worker(slot, context),
                Action::Say(slot, frame) => self.say(slot, frame),
                Action::Assign(slot, partitions) => self.assign(slot, partitions, context),
                Action::Retire(slot) => self.retire(slot, context),
                Action::Kill(slot) => match &self.workers[slot].running {
                    Some(running) => running.process.kill(),
                    None => self.call_off(slot, context),
                },
                Action::Quarantine(partition, reason) => {
                    error!(self.order.logger, "{partition} is quarantined, nobody reads it any more: {reason}");
                    self.event(Level::Error, "quarantine", None, format!("{partition}: {reason}"));
                    self.partitions.stop(&partition, format!("quarantined: {reason}"));
                    self.end_if_all_stand_still(context);
                }
                Action::Warn(text) => {
                    warn!(self.order.logger, "{text}");
                    self.event(Level::Warning, "notice", None, text);
                }
                Action::Inform(text) => {
                    info!(self.order.logger, "{text}");
                    self.event(Level::Info, "notice", None, text);
                }
                Action::End(exit) => self.stop(exit, context),
            }
        }
    }

    fn say(&mut self, slot: usize, frame: ToWorker) {
        if let (ToWorker::Revoke(partitions), Some(running)) = (&frame, &mut self.workers[slot].running) {
            partitions.iter().for_each(|partition| {
                running.given.remove(partition);
            });
        }
        self.workers[slot].say(frame);
    }

    // ---- starting --------------------------------------------------------------------------------------------------

    /// Starts a worker where its predecessors have committed, which the brokers know better than their last words.
    fn start_worker(&mut self, slot: usize, context: &mut Context<Self>) {
        if self.workers.len() <= slot {
            self.workers.resize_with(slot + 1, Worker::default);
            if let Some(allowance) = &mut self.allowance {
                allowance.grow(slot + 1);
            }
        }
        self.workers[slot].attempt += 1;
        let names = self.policy.as_ref().map(|policy| policy.partitions(slot)).unwrap_or_default();
        self.partitions.give(slot, &names);
        if names.is_empty() || self.partitions.is_untouched(&names) {
            self.spawn_worker(slot, context);
        } else {
            self.resume_worker(slot, self.workers[slot].attempt, context);
        }
    }

    fn resume_worker(&mut self, slot: usize, attempt: u32, context: &mut Context<Self>) {
        let is_meant =
            move |supervisor: &Self| supervisor.workers[slot].attempt == attempt && supervisor.stopping.is_none();
        if !is_meant(self) {
            return;
        }
        let names = self.policy.as_ref().map(|policy| policy.partitions(slot)).unwrap_or_default();
        self.workers[slot].resuming = true;
        let answer = self.watcher.send(commits_of(&names)).timeout(COMMITTED);
        context.spawn(answer.into_actor(self).map(move |answer, supervisor, context| match answer {
            _ if !is_meant(supervisor) => {}
            Ok(Ok(committed)) => {
                supervisor.partitions.resume(&names, &committed);
                let own = supervisor.policy.as_ref().map(|policy| policy.partitions(slot)).unwrap_or_default();
                if own.iter().all(|name| names.contains(name)) {
                    supervisor.spawn_worker(slot, context);
                } else {
                    // It was given more meanwhile.
                    supervisor.resume_worker(slot, attempt, context);
                }
            }
            failed => {
                // Started elsewhere, it would process again what its predecessor has committed.
                warn!(
                    supervisor.order.logger,
                    "worker {slot} waits for the brokers: where it has to go on is not known{}",
                    failed.ok().and_then(Result::err).map(|failure| format!(": {failure}")).unwrap_or_default()
                );
                context
                    .run_later(ASK_AGAIN, move |supervisor, context| supervisor.resume_worker(slot, attempt, context));
            }
        }));
    }

    /// What the system has too little of (processes, descriptors, memory) it may have again a little later: a start that
    /// fails is a death.
    fn spawn_worker(&mut self, slot: usize, context: &mut Context<Self>) {
        if let Err(error) = self.try_spawn_worker(slot, context) {
            let cause = format!("it could not be started: {error}");
            error!(self.order.logger, "worker {slot}: {cause}");
            self.event(Level::Error, "death", Some(slot), cause.clone());
            self.workers[slot].resuming = false;
            self.decide(Event::Died(slot, Death { blameless: true, cause, ..Death::default() }), context);
        }
    }

    fn try_spawn_worker(&mut self, slot: usize, context: &mut Context<Self>) -> std::io::Result<()> {
        let Some(policy) = &self.policy else { return Ok(()) };
        let names = policy.partitions(slot);
        let settings = self.order.settings.as_ref().clone();
        let start = Start {
            version: VERSION,
            slot,
            finite: self.order.finite || settings.consumer.until_end,
            limited: self.allowance.is_some(),
            member: self.member(slot),
            partitions: if self.is_group() { Vec::new() } else { self.partitions.starts(&names) },
            cautious: policy.is_cautious(slot),
            quiet: policy.is_quiet(),
            condemned: policy.condemned(),
            stopped: self.partitions.all_stopped(),
            proven: self.announced_ready,
            settings,
            style: self.order.style,
            journal: self.order.journal.clone(),
            log_messages: self.order.log_messages,
            output_lock: self.output_lock.as_ref().map(|lock| lock.path.clone()),
        };
        self.partitions.give(slot, &names);
        let started = child::start_worker(slot)?;
        let pid = started.process.pid();
        let log = LastLines::default();
        self.log_pipes.retain(|pipe| !pipe.is_finished());
        let (screen, this) = (self.order.screen.clone(), context.address());
        // A supervisor that is gone looks after nobody.
        let at_end = move || _ = this.try_send(LookAfter);
        self.log_pipes.push(log_pipe::forward(started.stderr, slot, screen, log.clone(), at_end)?);
        let supervisor = context.address().recipient();
        let link = WorkerLink::start(started.control, slot, pid, supervisor, self.order.logger.clone())?;
        self.workers[slot].begin(started.process, link, log, names.into_iter().collect());
        self.workers[slot].say(ToWorker::Start(Box::new(start)));
        debug!(self.order.logger, "worker {slot} started"; "pid" => pid);
        Ok(())
    }

    pub(super) fn is_group(&self) -> bool {
        self.order.settings.consumer.assignment == Assignment::Group
    }

    fn member(&self, slot: usize) -> Option<Member> {
        let membership = &self.order.settings.consumer.membership;
        let host = if membership.host.is_empty() { host::name() } else { membership.host.clone() };
        // What it gets when this supervisor is alone in the group.
        let partitions = self.partitions.names().len().div_ceil(self.order.settings.consumer.processes);
        self.is_group().then(|| Member { id: membership.fixed.then(|| format!("{host}-{slot}")), partitions })
    }

    // ---- partitions ------------------------------------------------------------------------------------------------

    /// Has a worker read more, from where it is committed. One that is not there yet gets it with its start.
    fn assign(&mut self, slot: usize, partitions: Vec<TopicPartition>, context: &mut Context<Self>) {
        self.partitions.give(slot, &partitions);
        let process = self.workers[slot].running.as_ref().map(|running| running.process.pid());
        if let Some(process) = process {
            self.ask_and_assign(slot, process, partitions, context);
        }
    }

    fn ask_and_assign(
        &mut self,
        slot: usize,
        process: u32,
        partitions: Vec<TopicPartition>,
        context: &mut Context<Self>,
    ) {
        let answer = self.watcher.send(commits_of(&partitions)).timeout(COMMITTED);
        context.spawn(answer.into_actor(self).map(move |answer, supervisor, context| {
            if supervisor.stopping.is_some() || supervisor.workers[slot].process(process).is_none() {
                return;
            }
            // Meanwhile they may have become somebody else's.
            let owner = |partition: &TopicPartition| supervisor.policy.as_ref()?.owner(partition);
            let partitions: Vec<_> =
                partitions.into_iter().filter(|partition| owner(partition) == Some(slot)).collect();
            let Ok(Ok(committed)) = answer else {
                let failure = answer.ok().and_then(Result::err).map(|failure| format!(": {failure}"));
                warn!(
                    supervisor.order.logger,
                    "worker {slot} waits for {} partition(s): where they have to go on is not known{}",
                    partitions.len(),
                    failure.unwrap_or_default()
                );
                supervisor.decide(Event::Delayed(partitions.clone()), context);
                let again = move |supervisor: &mut Self, context: &mut Context<Self>| {
                    supervisor.ask_and_assign(slot, process, partitions, context);
                };
                context.run_later(ASK_AGAIN, again);
                return;
            };
            supervisor.partitions.resume(&partitions, &committed);
            let Some(running) = supervisor.workers[slot].process(process) else { return };
            let new: Vec<_> =
                partitions.into_iter().filter(|partition| running.given.insert(partition.clone())).collect();
            running.end_reached = false;
            let starts = supervisor.partitions.starts(&new);
            supervisor.workers[slot].say(ToWorker::Assign(starts));
        }));
    }

    // ---- ending one ------------------------------------------------------------------------------------------------

    /// By message, and by signal for one that does not listen any more.
    fn retire(&mut self, slot: usize, context: &mut Context<Self>) {
        // One that is taken away leaves its group, which deals its partitions to others.
        let stays = self.policy.as_ref().and_then(|policy| policy.why(slot)) != Some(&Why::Fewer);
        self.workers[slot].say(if stays { ToWorker::Retire } else { ToWorker::Stop });
        match &self.workers[slot].running {
            Some(running) => running.process.terminate(),
            None => self.call_off(slot, context),
        }
    }

    /// It was about to be started: there is nothing to end.
    fn call_off(&mut self, slot: usize, context: &mut Context<Self>) {
        self.workers[slot].attempt += 1;
        self.workers[slot].resuming = false;
        self.decide(Event::Died(slot, Death { clean: true, ..Death::default() }), context);
    }

    /// With every partition stopped, nothing would ever happen again.
    pub(super) fn end_if_all_stand_still(&mut self, context: &mut Context<Self>) {
        if let Some((text, true)) = self.partitions.stopped() {
            self.stop(Exit::failed(format!("every partition stands still; {text}")), context);
        }
    }
}
