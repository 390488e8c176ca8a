//! The supervisor hears what its workers say.

use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{error, warn};

use super::actor::ConsumerSupervisor;
use super::messages::{END_REACHED, Observation, ReadCommitted};
use super::policy::Event;
use super::worker::Worker;
use crate::consumer::control::{FromWorker, PartitionProgress, ToWorker, VERSION};
use crate::exit::Exit;
use crate::monitoring::status::{EventLevel as Level, WorkerState};
use crate::record::TopicPartition;

/// How often a group is asked whether others have read what none of these workers has.
const SHARED_END: Duration = Duration::from_millis(500);

impl ConsumerSupervisor {
    pub(super) fn heard(&mut self, slot: usize, frame: FromWorker, context: &mut Context<Self>) {
        match frame {
            FromWorker::Ready { version } if version == VERSION => self.worker_ready(slot, context),
            FromWorker::Ready { version } => {
                self.stop(
                    Exit::failed(format!(
                        "worker {slot} speaks version {version}, not {VERSION}: was the binary replaced?"
                    )),
                    context,
                );
            }
            FromWorker::Progress(progress) => self.progressed(slot, progress, context),
            FromWorker::Times(counted) => self.times.add(&counted),
            FromWorker::Client(counted) => {
                if let Some(running) = &mut self.workers[slot].running {
                    running.counted = Some(counted);
                }
            }
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
                self.end_if_all_is_read(context);
            }
            FromWorker::Assigned(starts) => {
                if let Some(running) = &mut self.workers[slot].running {
                    running.end_reached = false;
                }
                let names = starts.iter().map(|start| start.partition.clone()).collect();
                if self.is_group() {
                    self.partitions.dealt(slot, &starts);
                    self.rebalances += 1;
                    self.event(
                        Level::Info,
                        "rebalance",
                        Some(slot),
                        format!("{} partition(s) dealt by the group", starts.len()),
                    );
                }
                self.decide(Event::Assigned(slot, names), context);
            }
            FromWorker::Revoked { partitions, lost } => {
                if lost {
                    warn!(
                        self.order.logger,
                        "worker {slot} has lost {} partition(s) before it could commit: the group took it for dead, or the \
                         brokers took no commit; what was not committed is processed again",
                        partitions.len()
                    );
                }
                if self.is_group() {
                    self.rebalances += 1;
                    let (level, how) = if lost { (Level::Warning, "lost") } else { (Level::Info, "given back") };
                    self.event(level, "rebalance", Some(slot), format!("{} partition(s) {how}", partitions.len()));
                }
                self.partitions.release(slot, &partitions);
                self.decide(Event::Revoked(slot, partitions), context);
            }
            FromWorker::Announce { partition, offset } => {
                self.decide(Event::Announced(slot, partition, offset), context);
            }
            FromWorker::PartitionStopped { partition, offset, reason } => {
                error!(self.order.logger, "{partition} is read no further: {reason}"; "offset" => offset);
                self.event(Level::Error, "stopped", Some(slot), format!("{partition} is read no further: {reason}"));
                self.partitions.stop(&partition, reason);
                self.decide(Event::Stopped(partition), context);
                let all = self.partitions.all_stopped();
                self.workers.iter_mut().for_each(|worker| worker.say(ToWorker::Stopped(all.clone())));
                self.end_if_all_stand_still(context);
            }
            FromWorker::MessageFailed { partition, offset, reason } => {
                let text = format!(
                    "{partition}@{offset} could not be processed: {reason}; it is the next one to be read (consumer.on_failure = \"stop\")"
                );
                self.stop(Exit::failed(text), context);
            }
            FromWorker::OutputClosed => self.stop(Exit::clean("stdout is closed"), context),
            FromWorker::Crashed => {
                if let Some(running) = &mut self.workers[slot].running {
                    running.crashed = true;
                }
            }
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

    pub(super) fn worker_ready(&mut self, slot: usize, context: &mut Context<Self>) {
        if let Some(running) = &mut self.workers[slot].running {
            running.ready = true;
            let text = format!("pid {} is ready", running.process.pid());
            self.event(Level::Info, "ready", Some(slot), text);
        }
        if self.is_group() {
            // Which of them will be its own is not known yet.
            let untils: Vec<_> = self.partitions.untils().into_iter().collect();
            if !untils.is_empty() {
                self.workers[slot].say(ToWorker::ReadUntil(untils));
            }
        }
        self.has_moved();
        self.decide(Event::Ready(slot), context);
        self.announce_ready();
    }

    /// Tells once that each worker that there is reads, or stands by.
    pub(super) fn announce_ready(&mut self) {
        if !self.announced_ready && self.are_all_ready() {
            self.announced_ready = true;
            self.observe(Observation::Ready);
        }
    }

    /// Those that are parked or taken away are waited for no more.
    pub(super) fn are_all_ready(&self) -> bool {
        self.policy.is_some()
            && self.workers.iter().enumerate().all(|(slot, worker)| worker.is_ready() || self.is_gone(slot))
    }

    /// Whether no process will be there any more.
    pub(super) fn is_gone(&self, slot: usize) -> bool {
        let state = self.policy.as_ref().map(|policy| policy.state(slot, false));
        matches!(state, Some(WorkerState::Parked | WorkerState::Removed | WorkerState::Ended))
    }

    /// Whether a worker that has died is to be started again, and may have something to read: what it has processed and not
    /// committed.
    fn is_any_coming_back(&self) -> bool {
        let has_partitions =
            |slot| self.is_group() || self.policy.as_ref().is_some_and(|policy| !policy.partitions(slot).is_empty());
        let mut slots = self.workers.iter().enumerate();
        slots.any(|(slot, worker)| worker.running.is_none() && !self.is_gone(slot) && has_partitions(slot))
    }

    pub(super) fn progressed(&mut self, slot: usize, progress: Vec<PartitionProgress>, context: &mut Context<Self>) {
        self.decide(Event::Heard(slot, progress.clone()), context);
        let (moved, dealt_with) = self.partitions.update(slot, progress);
        if moved {
            self.has_moved();
        }
        if dealt_with > 0 {
            self.output.moved(Instant::now());
        }
        self.workers[slot].deal_with(dealt_with);
        self.end_if_all_is_read(context);
        if self.order.observer.is_some() {
            self.observe(Observation::Read(self.partitions.reached()));
        }
        let limit = self.order.settings.consumer.max_messages;
        if limit > 0 && self.partitions.totals().dealt_with() >= limit {
            self.stop(Exit::clean(format!("{limit} messages are processed (consumer.max_messages)")), context);
        }
    }

    /// Ends when everything is read that was to be read.
    pub(super) fn end_if_all_is_read(&mut self, context: &mut Context<Self>) {
        let running = |worker: &&Worker| worker.running.is_some();
        let finite = self.order.finite || self.order.settings.consumer.until_end;
        if !finite
            || self.stopping.is_some()
            || self.is_any_coming_back()
            || !self.workers.iter().filter(running).all(Worker::is_at_end)
        {
            return;
        }
        if !self.is_group() {
            // What a worker says of its own may be older than what it was told to read, and a partition that changes hands is
            // nobody's for a moment: where reading has come to decides.
            if self.partitions.unread().is_empty() {
                self.stop(Exit::clean(END_REACHED), context);
            }
            return;
        }
        self.ask_for_shared_end(context);
    }

    /// With a group, others may read what no worker here has: what they have committed tells.
    pub(super) fn ask_for_shared_end(&mut self, context: &mut Context<Self>) {
        let untils = self.partitions.unread();
        if self.partitions.untils().is_empty() || std::mem::replace(&mut self.asking_shared_end, true) {
            return;
        }
        let answer = self.watcher.send(ReadCommitted(untils.keys().cloned().collect()));
        context.spawn(answer.into_actor(self).map(move |answer, supervisor, context| {
            supervisor.asking_shared_end = false;
            let Ok(Ok(answer)) = answer else { return };
            // What a worker that has died meanwhile had processed counts as far as it was committed.
            let positions = supervisor.partitions.positions_of_readers();
            let is_read = |(partition, until): (&TopicPartition, &i64)| {
                let position = positions.get(partition).copied().unwrap_or(0);
                position.max(answer.committed.get(partition).copied().unwrap_or(0)) >= *until
            };
            if untils.iter().all(is_read) {
                supervisor.stop(Exit::clean(END_REACHED), context);
            } else {
                context.run_later(SHARED_END, |supervisor, context| supervisor.end_if_all_is_read(context));
            }
        }));
    }
}
