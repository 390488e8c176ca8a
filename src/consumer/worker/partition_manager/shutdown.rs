//! The shutdown of a worker, which a signal, a command, a failure, or the loss of the supervisor begins:
//! `shut_down` → `stop_partitions` → `finish_shutdown` → `exit` → the exit code of [`super::super::run::run`].

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use slog::error;
use tokio::sync::oneshot;

use super::PartitionManager;
use crate::consumer::protocol::{FailureKind, WorkerEvent, WorkerFailure};
use crate::consumer::worker::history_writer::{HistoryWriter, no_history};
use crate::consumer::worker::messages::{SendEvent, SendFinished};
use crate::consumer::worker::processor_host::FinishProcessor;
use crate::exit::ExitCode;
use crate::kafka::consumer::MembershipOperation;

/// A running supervisor stops its workers at the deadline. This grace applies to workers that stop without one.
const SUPERVISOR_GRACE: Duration = Duration::from_secs(1);
/// How long a message may take where the watchdog is off.
const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What a worker needs for its shutdown.
pub(super) struct Shutdown {
    pub(super) exit_code: ExitCode,
    membership: MembershipOperation,
    history: Option<Arc<HistoryWriter>>,
    exit: Option<oneshot::Sender<ExitCode>>,
}

impl Shutdown {
    pub(super) fn new(history: Option<Arc<HistoryWriter>>, exit: oneshot::Sender<ExitCode>) -> Self {
        let (exit_code, membership) = (ExitCode::Success, MembershipOperation::RemainInGroup);
        Self { exit_code, membership, history, exit: Some(exit) }
    }
}

impl PartitionManager {
    /// Reports a failure and shuts down.
    pub(super) fn fail(&mut self, failure: WorkerFailure, context: &mut Context<Self>) {
        error!(self.logger, "{}", failure.reason);
        self.shutdown.exit_code = ExitCode::Failed;
        let membership = match failure.kind {
            // A worker that is started again keeps its group membership.
            FailureKind::Transient => MembershipOperation::RemainInGroup,
            FailureKind::Permanent => MembershipOperation::LeaveGroup,
        };
        self.send(WorkerEvent::Fatal(failure));
        self.exit_after(self.config.settings.shutdown.timeout, context);
        self.shut_down(membership, context);
    }

    /// Begins the shutdown, which has a deadline also when no supervisor sets one. If it has begun already, the
    /// worker leaves the group if one of the calls requests it.
    pub(super) fn shut_down(&mut self, membership: MembershipOperation, context: &mut Context<Self>) {
        self.shutdown.membership = self.shutdown.membership.max(membership);
        if self.flags.begin_shutdown() {
            return;
        }
        // As long as a message may take: the worker may be healthy, and the supervisor kills it sooner if there
        // is a reason.
        let stall = self.config.settings.consumer.watchdog.stall_timeout;
        let message = if stall.is_zero() { DEFAULT_STALL_TIMEOUT } else { stall };
        self.exit_after(self.config.settings.shutdown.timeout.max(message), context);
        self.stop_partitions(context);
    }

    /// Exits after this time, even with messages in flight.
    pub(super) fn exit_after(&self, timeout: Duration, context: &mut Context<Self>) {
        context.run_later(timeout + SUPERVISOR_GRACE, |manager, _| {
            error!(manager.logger, "this worker has not ended by its own deadline");
            manager.exit(ExitCode::Forced);
        });
    }

    /// Continues the shutdown when all partitions have stopped: a commit, then the processor, then the client, then
    /// the history, then the last frame, then the exit.
    pub(super) fn finish_shutdown(&mut self, context: &mut Context<Self>) {
        let Some(poll_thread) = self.poll_thread.take() else { return };
        let (host, connection, history) = (self.host.clone(), self.connection.clone(), self.shutdown.history.take());
        let membership = self.shutdown.membership;
        let finish = async move {
            // The offsets are committed first, whatever the shutdown of the processor takes.
            poll_thread.commit().await;
            let finished = host.send(FinishProcessor).await;
            poll_thread.close(membership).await;
            let failure = match (finished, history.map(|history| history.finish())) {
                (Ok(Err(failure)), _) => Some(WorkerFailure::of_processor(
                    FailureKind::Transient,
                    format!("the processor did not finish cleanly: {failure}"),
                )),
                (_, Some(Err(error))) => Some(WorkerFailure::of_worker(FailureKind::Transient, no_history(&error))),
                _ => None,
            };
            if let Some(failure) = failure.clone() {
                connection.do_send(SendEvent(WorkerEvent::Fatal(failure)));
            }
            // If the connection is gone, the supervisor cannot receive it.
            connection.send(SendFinished).await.ok();
            failure
        };
        context.spawn(finish.into_actor(self).map(|failure, manager, context| {
            if let Some(failure) = failure {
                error!(manager.logger, "{}", failure.reason);
                if manager.shutdown.exit_code == ExitCode::Success {
                    manager.shutdown.exit_code = ExitCode::Failed;
                }
            }
            manager.exit(manager.shutdown.exit_code);
            context.stop();
        }));
    }

    /// Ends the process, which waits for nothing else.
    pub(super) fn exit(&mut self, code: ExitCode) {
        if let Some(exit) = self.shutdown.exit.take() {
            // Fails only if the process is ending.
            exit.send(code).ok();
        }
    }
}
