//! Handlers of `PartitionManager`: events of the poll thread, the supervisor, the partitions, and signals.

use std::sync::atomic::Ordering;

use actix::prelude::*;
use slog::{error, info, warn};

use super::messages::{AllowProcess, FromSupervisor, PartitionEvent, PollEvent, SkipGap};
use super::partition_manager::{PartitionManager, PendingStop};
use super::poll_thread::PollCommand;
use crate::consumer::protocol::{FailedPart, OffsetGap, WorkerCommand, WorkerEvent};
use crate::exit::ExitCode;
use crate::signals::ControlSignal;

impl Handler<PollEvent> for PartitionManager {
    type Result = ();

    fn handle(&mut self, message: PollEvent, context: &mut Self::Context) {
        match message {
            PollEvent::Opened { openings, opened } => self.open(openings, opened, context),
            PollEvent::Shut { partitions, lost, done } => {
                self.stop_partitions(PendingStop { partitions, lost, done }, context)
            }
            PollEvent::GivenBack { partitions, lost } => self.on_revoked(partitions, lost),
        }
    }
}

impl Handler<FromSupervisor> for PartitionManager {
    type Result = ();

    fn handle(&mut self, message: FromSupervisor, context: &mut Self::Context) {
        match message {
            FromSupervisor::Frame(WorkerCommand::Stop) => self.stop(true, context),
            FromSupervisor::Frame(WorkerCommand::StopForRestart) => self.stop(false, context),
            FromSupervisor::Frame(WorkerCommand::ReadUntil(ends)) => {
                self.read_until(ends);
            }
            FromSupervisor::Frame(WorkerCommand::SkipGaps(gaps)) => {
                for OffsetGap { partition, start, end } in gaps {
                    if let Some(reading) = self.partitions.get(&partition) {
                        reading.actor.do_send(SkipGap { start, end });
                    }
                }
            }
            FromSupervisor::Frame(WorkerCommand::Pause(paused)) => {
                self.orders.paused.store(paused, Ordering::Relaxed);
                self.notify_data();
            }
            FromSupervisor::Frame(WorkerCommand::Lease(lease)) => {
                self.orders.lease.renew(lease);
                self.look_at_lease();
            }
            FromSupervisor::Frame(WorkerCommand::SetIsolation(isolated)) => {
                self.orders.isolated.store(isolated, Ordering::Relaxed);
                self.notify_data();
            }
            FromSupervisor::Frame(WorkerCommand::PoisonMessages(list)) => self.orders.set_poison_messages(list),
            FromSupervisor::Frame(WorkerCommand::Stopped(list)) => self.given_up.extend(list),
            FromSupervisor::Frame(WorkerCommand::AllowProcess(partition, offset)) => {
                if let Some(announced) = self.partitions.get(&partition) {
                    announced.actor.do_send(AllowProcess(offset));
                }
            }
            FromSupervisor::Frame(WorkerCommand::Assign(starts)) => {
                self.send_to_poll_thread(PollCommand::Assign(starts))
            }
            FromSupervisor::Frame(WorkerCommand::Revoke(partitions)) => {
                self.send_to_poll_thread(PollCommand::Revoke(partitions))
            }
            FromSupervisor::Frame(WorkerCommand::RefreshCommits) => {
                self.send_to_poll_thread(PollCommand::RefreshCommits)
            }
            FromSupervisor::Frame(WorkerCommand::Restart(starts)) => {
                self.send_to_poll_thread(PollCommand::Restart(starts))
            }
            FromSupervisor::Frame(WorkerCommand::Start(_)) => {
                let reason = "the supervisor started this worker twice".to_owned();
                self.broken(FailedPart::Worker, reason, true, context);
            }
            FromSupervisor::Gone => {
                if !self.is_stopping() {
                    warn!(self.logger, "the supervisor is gone: finishing, committing, ending");
                }
                self.code = ExitCode::Orphaned;
                // There is no supervisor that would kill this process at the deadline.
                self.end_within(self.start.settings.shutdown.timeout, context);
                // No supervisor is known that would start a successor.
                self.stop(true, context);
            }
        }
    }
}

impl Handler<PartitionEvent> for PartitionManager {
    type Result = ();

    fn handle(&mut self, event: PartitionEvent, context: &mut Self::Context) {
        match event {
            PartitionEvent::EndReached(partition) => {
                self.reading.remove(&partition);
                self.report_end_reached();
            }
            PartitionEvent::OutOfRange { partition, offset } => {
                self.send_to_poll_thread(PollCommand::OutOfRange(partition, offset))
            }
            PartitionEvent::MessageFailed { partition, offset, reason } => {
                error!(self.logger, "message failed: {reason}";
                    "topic" => &partition.topic, "partition" => partition.partition, "offset" => offset);
                self.tell(WorkerEvent::MessageFailed { partition, offset, reason });
            }
            PartitionEvent::Announce { partition, offset } => {
                self.tell(WorkerEvent::RequestProcess { partition, offset })
            }
            PartitionEvent::PartitionStopped { partition, offset, reason } => {
                error!(self.logger, "partition stopped: {reason}";
                    "topic" => &partition.topic, "partition" => partition.partition, "offset" => offset);
                // The partition will produce no further messages.
                self.reading.remove(&partition);
                self.given_up.insert(partition.clone());
                self.tell(WorkerEvent::PartitionStopped { partition, offset, reason });
                self.report_end_reached();
            }
            PartitionEvent::ForeignCommits(list) => self.tell(WorkerEvent::ForeignCommits(list)),
            PartitionEvent::Client(report) => self.tell(WorkerEvent::ClientStats(report)),
            PartitionEvent::Health(health) => self.tell(WorkerEvent::Health(health)),
            PartitionEvent::OutputClosed => self.tell(WorkerEvent::OutputClosed),
            PartitionEvent::FirstResult => self.tell(WorkerEvent::FirstResult),
            PartitionEvent::Broken { reason, permanent } => self.broken(FailedPart::Worker, reason, permanent, context),
            PartitionEvent::ProcessorFailed { reason } => self.broken(FailedPart::Processor, reason, false, context),
            PartitionEvent::Crashed { reason } => {
                self.tell(WorkerEvent::ProcessorCrashed);
                self.broken(FailedPart::Processor, reason, false, context);
            }
        }
    }
}

impl Handler<ControlSignal> for PartitionManager {
    type Result = ();

    fn handle(&mut self, interrupt: ControlSignal, context: &mut Self::Context) {
        match interrupt {
            // Wherever the signal came from, the supervisor starts a successor.
            ControlSignal::Terminate => self.stop(false, context),
            ControlSignal::AtOnce => self.log_end(ExitCode::Forced),
            ControlSignal::Roll
            | ControlSignal::More
            | ControlSignal::Fewer
            | ControlSignal::Pause
            | ControlSignal::Resume
            | ControlSignal::Continued => {}
            ControlSignal::Status => {
                let progress: Vec<_> = self.counters.iter().map(|counters| counters.snapshot()).collect();
                match serde_json::to_string(&progress) {
                    Ok(status) => info!(self.logger, "status"; "consume" => status),
                    Err(error) => error!(self.logger, "no status: {error}"),
                }
            }
        }
    }
}
