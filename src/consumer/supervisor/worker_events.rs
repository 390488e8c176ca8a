//! Handlers of the supervisor for frames of its workers.

use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{error, warn};

use super::actor::ConsumerSupervisor;
use super::messages::{END_REACHED, SupervisorEvent, VerifyCommitted};
use super::policy::Event;
use super::worker_slot::WorkerSlot;
use crate::consumer::protocol::{PROTOCOL_VERSION, PartitionProgress, Revocation, WorkerCommand, WorkerEvent};
use crate::exit::ExitStatus;
use crate::monitoring::status::{EventLevel as Level, WorkerState};
use crate::record::TopicPartition;
use crate::util::format::pluralize;

/// How often a group's commits are checked for partitions that other members consume.
const SHARED_END: Duration = Duration::from_millis(500);

impl ConsumerSupervisor {
    pub(super) fn on_worker_message(&mut self, slot: usize, frame: WorkerEvent, context: &mut Context<Self>) {
        match frame {
            WorkerEvent::Ready { version } if version == PROTOCOL_VERSION => self.on_ready(slot, context),
            WorkerEvent::Ready { version } => {
                self.begin_shutdown(
                    ExitStatus::failed(format!(
                        "worker {slot} speaks version {version}, not {PROTOCOL_VERSION}: was the binary replaced?"
                    )),
                    context,
                );
            }
            WorkerEvent::Progress(progress) => self.on_progress(slot, progress, context),
            WorkerEvent::ForeignCommits(list) => self.end_on_foreign(&list, context),
            WorkerEvent::Times(counted) => self.totals.latency.add(&counted),
            WorkerEvent::ClientStats(report) => self.on_client_report(slot, report, context),
            WorkerEvent::Health(health) => {
                if let Some(running) = &mut self.fleet.slots[slot].running {
                    running.health = Some((health.clone(), Instant::now()));
                }
                self.apply_event(Event::Health(slot, health), context);
            }
            WorkerEvent::EndReached => {
                if let Some(running) = &mut self.fleet.slots[slot].running {
                    running.end_reached = true;
                }
                self.end_if_all_is_read(context);
            }
            WorkerEvent::Assigned(starts) => {
                if let Some(running) = &mut self.fleet.slots[slot].running {
                    running.end_reached = false;
                }
                let names = starts.iter().map(|start| start.partition.clone()).collect();
                if self.is_group() {
                    let now = self.now();
                    self.policy.partitions.on_assigned(slot, &starts, now);
                    self.totals.rebalances += 1;
                    self.event(
                        Level::Info,
                        "rebalance",
                        Some(slot),
                        format!("{} assigned by the group", pluralize(starts.len() as u64, "partition")),
                    );
                }
                self.apply_event(Event::Assigned(slot, names), context);
            }
            WorkerEvent::Revoked { partitions, revocation } => {
                let lost = revocation == Revocation::Lost;
                if lost {
                    warn!(
                        self.params.logger,
                        "worker {slot} lost {} before it could commit: its group session timed out, or the brokers refused the \
                         commit; uncommitted messages will be reprocessed",
                        pluralize(partitions.len() as u64, "partition")
                    );
                }
                if self.is_group() {
                    self.totals.rebalances += 1;
                    let (level, how) = if lost { (Level::Warning, "lost") } else { (Level::Info, "revoked") };
                    let text = format!("{} {how}", pluralize(partitions.len() as u64, "partition"));
                    self.event(level, "rebalance", Some(slot), text);
                }
                self.apply_event(Event::Revoked(slot, partitions), context);
            }
            WorkerEvent::Restarted(starts) => self.policy.partitions.restarted(slot, &starts),
            WorkerEvent::RequestProcess { partition, offset } => {
                self.apply_event(Event::ProcessRequested(slot, partition, offset), context);
            }
            WorkerEvent::PartitionStopped { partition, offset, reason } => {
                error!(self.params.logger, "{partition} is read no further: {reason}"; "offset" => offset);
                self.event(Level::Error, "stopped", Some(slot), format!("{partition} is read no further: {reason}"));
                self.policy.partitions.stop(&partition, reason);
                self.apply_event(Event::Stopped(partition), context);
                let all = self.policy.partitions.all_stopped();
                self.fleet.broadcast(&WorkerCommand::Stopped(all));
                self.end_if_all_stand_still(context);
            }
            WorkerEvent::MessageFailed { partition, offset, reason } => {
                let text = format!(
                    "{partition}@{offset} could not be processed: {reason}; it is the next one to be read (consumer.on_failure = \"stop\")"
                );
                self.begin_shutdown(ExitStatus::failed(text), context);
            }
            WorkerEvent::OutputClosed => self.begin_shutdown(ExitStatus::clean("stdout is closed"), context),
            WorkerEvent::ProcessorCrashed => {
                if let Some(running) = &mut self.fleet.slots[slot].running {
                    running.crashed = true;
                }
            }
            WorkerEvent::FirstResult => self.apply_event(Event::FirstResult(slot), context),
            WorkerEvent::Fatal(failure) => {
                if let Some(running) = &mut self.fleet.slots[slot].running {
                    // Later failures are consequences of the first one.
                    running.failure.get_or_insert(failure);
                }
            }
            WorkerEvent::Finished => {
                if let Some(running) = &mut self.fleet.slots[slot].running {
                    running.finished = true;
                }
            }
        }
    }

    pub(super) fn on_ready(&mut self, slot: usize, context: &mut Context<Self>) {
        if let Some(running) = &mut self.fleet.slots[slot].running {
            running.ready = true;
            let text = format!("pid {} is ready", running.process.pid());
            self.event(Level::Info, "ready", Some(slot), text);
        }
        if self.is_group() {
            // It is not known yet which partitions it will own.
            let untils: Vec<_> = self.policy.partitions.stop_offsets().into_iter().collect();
            if !untils.is_empty() {
                self.fleet.slots[slot].send(WorkerCommand::ReadUntil(untils));
            }
        }
        self.clock.record(Instant::now());
        self.apply_event(Event::Ready(slot), context);
        self.mark_ready();
    }

    /// Reports once that every worker is running or in standby.
    pub(super) fn mark_ready(&mut self) {
        if !self.fleet.is_ready_logged && self.are_all_ready() {
            self.fleet.is_ready_logged = true;
            self.observe(SupervisorEvent::Ready);
        }
    }

    /// Whether all workers are ready, except those that have failed or were scaled down.
    pub(super) fn are_all_ready(&self) -> bool {
        self.policy.has_begun()
            && self.fleet.slots.iter().enumerate().all(|(slot, worker)| worker.is_ready() || self.is_gone(slot))
    }

    /// Whether this slot will have no process any more.
    pub(super) fn is_gone(&self, slot: usize) -> bool {
        matches!(self.policy.state(slot, false), WorkerState::Failed | WorkerState::ScaledDown | WorkerState::Ended)
    }

    /// Whether an exited worker will be restarted and may have messages to process again: those that it has
    /// processed and not committed.
    fn is_any_coming_back(&self) -> bool {
        let has_partitions = |slot| self.is_group() || !self.policy.partitions(slot).is_empty();
        let mut slots = self.fleet.slots.iter().enumerate();
        slots.any(|(slot, worker)| worker.running.is_none() && !self.is_gone(slot) && has_partitions(slot))
    }

    pub(super) fn on_progress(&mut self, slot: usize, progress: Vec<PartitionProgress>, context: &mut Context<Self>) {
        self.apply_event(Event::Heartbeat(slot, progress.clone()), context);
        let now = self.now();
        let advance = self.policy.partitions.update(slot, progress, now);
        if advance.has_moved {
            self.clock.record(Instant::now());
        }
        if advance.handled > 0 {
            self.stdio.monitor.moved(Instant::now());
        }
        self.fleet.slots[slot].record_handled(advance.handled);
        self.end_if_all_is_read(context);
        if self.params.observer.is_some() {
            self.observe(SupervisorEvent::Read(self.policy.partitions.reached()));
        }
        if self.messages_left() == Some(0) {
            self.end_at_max_messages(context);
        }
    }

    /// The number of messages that may still be handled; `None`: no limit. Commits that an exited worker has not reported
    /// count as handled.
    pub(super) fn messages_left(&self) -> Option<u64> {
        let limit = self.params.settings.consumer.max_messages;
        let handled = self.policy.partitions.totals().handled().saturating_add(self.policy.partitions.unreported());
        (limit > 0).then(|| limit.saturating_sub(handled))
    }

    pub(super) fn end_at_max_messages(&mut self, context: &mut Context<Self>) {
        let limit = self.params.settings.consumer.max_messages;
        self.begin_shutdown(
            ExitStatus::clean(format!("{limit} messages are processed (consumer.max_messages)")),
            context,
        );
    }

    /// Ends the run when all stop offsets are reached.
    pub(super) fn end_if_all_is_read(&mut self, context: &mut Context<Self>) {
        let running = |worker: &&WorkerSlot| worker.running.is_some();
        let finite = self.params.finite || self.params.settings.consumer.until_end;
        if !finite
            || self.shutdown.is_stopping()
            || self.is_any_coming_back()
            || !self.fleet.slots.iter().filter(running).all(WorkerSlot::is_at_end)
        {
            return;
        }
        if !self.is_group() {
            // A worker's report may be older than its assignment, and a partition has no owner for a moment
            // while it moves: the positions decide.
            if self.policy.partitions.unread().is_empty() {
                self.begin_shutdown(ExitStatus::clean(END_REACHED), context);
            }
            return;
        }
        self.ask_for_shared_end(context);
    }

    /// With a group, other members may consume partitions that no worker here owns: their committed offsets show
    /// the progress.
    pub(super) fn ask_for_shared_end(&mut self, context: &mut Context<Self>) {
        let untils = self.policy.partitions.unread();
        if self.policy.partitions.stop_offsets().is_empty() || std::mem::replace(&mut self.probes.is_checking_end, true)
        {
            return;
        }
        let reply = self.probes.queries.send(VerifyCommitted(untils.keys().cloned().collect()));
        context.spawn(reply.into_actor(self).map(move |reply, supervisor, context| {
            supervisor.probes.is_checking_end = false;
            let Ok(Ok(reply)) = reply else { return };
            // What a worker that has exited meanwhile had processed counts if it was committed.
            let positions = supervisor.policy.partitions.consumed_positions();
            let is_read = |(partition, until): (&TopicPartition, &i64)| {
                let position = positions.get(partition).copied().unwrap_or(0);
                position.max(reply.committed.get(partition).copied().unwrap_or(0)) >= *until
            };
            if untils.iter().all(is_read) {
                supervisor.begin_shutdown(ExitStatus::clean(END_REACHED), context);
            } else {
                context.run_later(SHARED_END, |supervisor, context| supervisor.end_if_all_is_read(context));
            }
        }));
    }
}
