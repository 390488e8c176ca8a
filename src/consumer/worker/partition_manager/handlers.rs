//! Handlers of [`PartitionManager`]: events of the poll thread, the supervisor, the partitions, and signals.

use actix::prelude::*;
use slog::{error, warn};

use super::PartitionManager;
use crate::consumer::protocol::{FailureKind, OffsetGap, WorkerCommand, WorkerEvent, WorkerFailure};
use crate::consumer::worker::messages::{AllowProcess, FromSupervisor, LogStatus, PartitionEvent, PollEvent, SkipGap};
use crate::consumer::worker::poll_thread::PollCommand;
use crate::exit::ExitCode;
use crate::kafka::consumer::MembershipOperation;
use crate::signals::ControlSignal;

impl Handler<PollEvent> for PartitionManager {
    type Result = ();

    fn handle(&mut self, event: PollEvent, context: &mut Self::Context) {
        match event {
            PollEvent::Assigned { partitions, kind } => self.on_assigned(partitions, kind, context),
            PollEvent::Stop(stop) => {
                self.pending_stops.push(stop);
                self.stop_partitions(context);
            }
            PollEvent::Revoked { partitions, revocation } => self.on_revoked(partitions, revocation),
        }
    }
}

impl Handler<FromSupervisor> for PartitionManager {
    type Result = ();

    fn handle(&mut self, message: FromSupervisor, context: &mut Self::Context) {
        match message {
            FromSupervisor::Frame(command) => self.on_command(command, context),
            FromSupervisor::Gone => {
                if !self.flags.is_shutting_down() {
                    warn!(self.logger, "the supervisor is gone: finishing, committing, ending");
                }
                self.shutdown.exit_code = ExitCode::Orphaned;
                // There is no supervisor that would kill this process at the deadline.
                self.exit_after(self.config.settings.shutdown.timeout, context);
                // No supervisor is known that would start a successor.
                self.shut_down(MembershipOperation::LeaveGroup, context);
            }
        }
    }
}

impl PartitionManager {
    fn on_command(&mut self, command: WorkerCommand, context: &mut Context<Self>) {
        match command {
            WorkerCommand::Stop => self.shut_down(MembershipOperation::LeaveGroup, context),
            WorkerCommand::StopForRestart => self.shut_down(MembershipOperation::RemainInGroup, context),
            WorkerCommand::ReadUntil(offsets) => self.set_stop_offsets(&offsets),
            WorkerCommand::SkipGaps(gaps) => {
                for OffsetGap { partition, start, end } in gaps {
                    if let Some(actor) = self.partitions.actor(&partition) {
                        actor.do_send(SkipGap { start, end });
                    }
                }
            }
            WorkerCommand::Pause(paused) => {
                self.flags.set_paused(paused);
                self.wake_partitions();
            }
            WorkerCommand::Lease(lease) => {
                self.flags.lease.renew(lease);
                self.check_lease();
            }
            WorkerCommand::SetIsolation(isolated) => {
                self.flags.set_isolated(isolated);
                self.wake_partitions();
            }
            WorkerCommand::PoisonMessages(list) => self.flags.set_poison_messages(list),
            WorkerCommand::Stopped(list) => self.partitions.set_stopped(list),
            WorkerCommand::AllowProcess(partition, offset) => {
                if let Some(actor) = self.partitions.actor(&partition) {
                    actor.do_send(AllowProcess(offset));
                }
            }
            WorkerCommand::Assign(assignments) => self.send_to_poll_thread(PollCommand::Assign(assignments)),
            WorkerCommand::Revoke(partitions) => self.send_to_poll_thread(PollCommand::Revoke(partitions)),
            WorkerCommand::RefreshCommits => self.send_to_poll_thread(PollCommand::RefreshCommits),
            WorkerCommand::Restart(assignments) => self.send_to_poll_thread(PollCommand::Restart(assignments)),
            WorkerCommand::Start(_) => {
                let reason = "the supervisor started this worker twice";
                self.fail(WorkerFailure::of_worker(FailureKind::Permanent, reason), context);
            }
        }
    }
}

impl Handler<PartitionEvent> for PartitionManager {
    type Result = ();

    fn handle(&mut self, event: PartitionEvent, context: &mut Self::Context) {
        match event {
            PartitionEvent::EndReached(partition) => {
                self.partitions.finish(&partition);
                self.report_end_reached();
            }
            PartitionEvent::OutOfRange { partition, offset } => {
                self.send_to_poll_thread(PollCommand::OutOfRange(partition, offset))
            }
            PartitionEvent::MessageFailed { partition, offset, reason } => {
                error!(self.logger, "message failed: {reason}";
                    "topic" => &partition.topic, "partition" => partition.partition, "offset" => offset);
                self.send(WorkerEvent::MessageFailed { partition, offset, reason });
            }
            PartitionEvent::PartitionStopped { partition, offset, reason } => {
                error!(self.logger, "partition stopped: {reason}";
                    "topic" => &partition.topic, "partition" => partition.partition, "offset" => offset);
                // The partition will produce no further messages.
                self.partitions.finish(&partition);
                self.partitions.set_stopped(vec![partition.clone()]);
                self.send(WorkerEvent::PartitionStopped { partition, offset, reason });
                self.report_end_reached();
            }
            PartitionEvent::Report(event) => self.send(event),
            PartitionEvent::Failed(failure) => self.fail(failure, context),
        }
    }
}

impl Handler<ControlSignal> for PartitionManager {
    type Result = ();

    fn handle(&mut self, signal: ControlSignal, context: &mut Self::Context) {
        match signal {
            // Wherever the signal came from, the supervisor starts a successor.
            ControlSignal::Terminate => self.shut_down(MembershipOperation::RemainInGroup, context),
            ControlSignal::AtOnce => self.exit(ExitCode::Forced),
            ControlSignal::Status => self.connection.do_send(LogStatus),
            ControlSignal::Roll
            | ControlSignal::More
            | ControlSignal::Fewer
            | ControlSignal::Pause
            | ControlSignal::Resume
            | ControlSignal::Continued => {}
        }
    }
}
