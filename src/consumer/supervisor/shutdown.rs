//! The phases of a run's shutdown, and its result.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::messages::ConsumeResult;
use crate::exit::{ExitCode, ExitStatus};
use crate::report::ConsumeReport;

/// The shutdown of a run: its phase, and the exit status of the run.
pub(super) struct Shutdown {
    phase: ShutdownPhase,
    /// Whether a signal has requested it.
    is_interrupted: bool,
    /// `None` once the result is sent.
    result: Option<oneshot::Sender<ConsumeResult>>,
}

enum ShutdownPhase {
    /// No shutdown was requested.
    Running,
    /// Workers finish, until the deadline.
    Stopping(PendingExit),
    /// All workers were reaped; the committed offsets are read back.
    VerifyingCommits(PendingExit),
}

/// The exit status of a run that is stopping, and the deadline at which it is forced to exit.
struct PendingExit {
    status: ExitStatus,
    deadline: Instant,
}

impl Shutdown {
    pub(super) fn new(result: oneshot::Sender<ConsumeResult>) -> Self {
        Self { phase: ShutdownPhase::Running, is_interrupted: false, result: Some(result) }
    }

    pub(super) fn is_stopping(&self) -> bool {
        !matches!(self.phase, ShutdownPhase::Running)
    }

    /// Records that a signal has requested the shutdown.
    pub(super) fn interrupt(&mut self) {
        self.is_interrupted = true;
    }

    pub(super) fn begin(&mut self, status: ExitStatus, deadline: Instant) {
        self.phase = ShutdownPhase::Stopping(PendingExit { status, deadline });
    }

    fn pending(&self) -> Option<&PendingExit> {
        match &self.phase {
            ShutdownPhase::Running => None,
            ShutdownPhase::Stopping(pending) | ShutdownPhase::VerifyingCommits(pending) => Some(pending),
        }
    }

    fn pending_mut(&mut self) -> Option<&mut PendingExit> {
        match &mut self.phase {
            ShutdownPhase::Running => None,
            ShutdownPhase::Stopping(pending) | ShutdownPhase::VerifyingCommits(pending) => Some(pending),
        }
    }

    /// The time until the deadline; `None` while no shutdown was requested.
    pub(super) fn remaining(&self) -> Option<Duration> {
        self.pending().map(|pending| pending.deadline.saturating_duration_since(Instant::now()))
    }

    pub(super) fn is_past_deadline(&self) -> bool {
        self.pending().is_some_and(|pending| Instant::now() >= pending.deadline)
    }

    /// Turns a clean exit into a failure.
    pub(super) fn fail(&mut self, reason: String) {
        if let Some(PendingExit { status, .. }) = self.pending_mut()
            && status.is_clean()
        {
            *status = ExitStatus::failed(reason);
        }
    }

    /// Turns the exit into a forced one; the first such reason stays.
    pub(super) fn force(&mut self, reason: String) {
        if let Some(PendingExit { status, .. }) = self.pending_mut()
            && status.code != ExitCode::Forced
        {
            let reason = if status.is_clean() { reason } else { format!("{}; {reason}", status.reason) };
            *status = ExitStatus::new(ExitCode::Forced, reason);
        }
    }

    /// Enters the last phase when all workers were reaped, once.
    pub(super) fn begin_verification(&mut self) -> Option<(ExitStatus, Instant)> {
        self.result.as_ref()?;
        match std::mem::replace(&mut self.phase, ShutdownPhase::Running) {
            ShutdownPhase::Stopping(pending) => {
                let next = (pending.status.clone(), pending.deadline);
                self.phase = ShutdownPhase::VerifyingCommits(pending);
                Some(next)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// Sends the result, once.
    pub(super) fn conclude(&mut self, exit: ExitStatus, report: ConsumeReport) {
        if let Some(result) = self.result.take() {
            // The receiver is gone only if the process is ending.
            result.send(ConsumeResult { exit, report, interrupted: self.is_interrupted }).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_and_the_first_kill_are_the_reason() {
        let (sender, mut receiver) = oneshot::channel();
        let mut shutdown = Shutdown::new(sender);
        shutdown.fail("before it began".to_owned());
        assert!(!shutdown.is_stopping() && shutdown.begin_verification().is_none() && shutdown.remaining().is_none());
        shutdown.begin(ExitStatus::clean("done"), Instant::now());
        assert!(shutdown.is_stopping() && shutdown.is_past_deadline());
        shutdown.fail("a worker died".to_owned());
        shutdown.fail("another one died".to_owned());
        shutdown.force("worker 0 was killed".to_owned());
        shutdown.force("worker 1 was killed".to_owned());
        let (exit, _) = shutdown.begin_verification().unwrap();
        assert_eq!((exit.code, exit.reason.as_str()), (ExitCode::Forced, "a worker died; worker 0 was killed"));
        assert!(shutdown.begin_verification().is_none(), "it is verified once");
        assert!(shutdown.is_stopping());
        shutdown.conclude(exit, ConsumeReport::default());
        shutdown.conclude(ExitStatus::clean("again"), ConsumeReport::default());
        assert_eq!(receiver.try_recv().unwrap().exit.code, ExitCode::Forced);
    }
}
