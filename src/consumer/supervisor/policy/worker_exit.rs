//! How a worker's process has exited.

use super::super::partition::LastPosition;

/// The exit of a worker's process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct WorkerExit {
    pub(in super::super) cause: ExitCause,
    /// The part that has failed; `None`: a message in flight may be the cause.
    pub(in super::super) fault: Option<Fault>,
    /// The reason of a permanent failure: another start would fail in the same way.
    pub(in super::super) permanent: Option<String>,
    /// The cause as text for the operator.
    pub(in super::super) text: String,
    pub(in super::super) last_positions: Vec<LastPosition>,
}

/// The cause of a process's exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum ExitCause {
    /// It had committed its offsets and closed its client.
    Clean,
    /// It exited at its own deadline: it was requested to stop and could not finish the messages in flight.
    Forced,
    /// SIGTERM ended it before it had installed its signal handlers.
    Terminated,
    /// It received SIGKILL: from outside, unless the policy has sent it.
    Killed,
    /// The kernel's OOM killer has killed it.
    OutOfMemory,
    /// Another signal ended it.
    Crashed,
    /// It exited with an exit code, or could not be started.
    #[default]
    Exited,
}

/// The part of a worker that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Fault {
    /// The worker itself, or librdkafka. No message is the cause.
    Worker,
    /// The processor. No message is the cause.
    Processor,
    /// The processor, while it had a message that may be the cause.
    ProcessorWithMessage,
}

impl WorkerExit {
    /// Whether no message has caused the failure.
    pub(super) fn is_blameless(&self) -> bool {
        matches!(self.fault, Some(Fault::Worker | Fault::Processor))
    }

    pub(super) fn has_failed_processor(&self) -> bool {
        matches!(self.fault, Some(Fault::Processor | Fault::ProcessorWithMessage))
    }

    /// Whether it was requested to exit, or was killed: its messages in flight have not crashed it.
    pub(super) fn was_ended(&self) -> bool {
        use ExitCause::{Clean, Forced, Killed, OutOfMemory};
        matches!(self.cause, Clean | Forced | Killed | OutOfMemory)
    }

    /// Whether it exited as requested: messages in flight that it could not finish in time do not count, nor does
    /// an exit before its signal handlers were installed.
    pub(super) fn has_obeyed(&self) -> bool {
        matches!(self.cause, ExitCause::Clean | ExitCause::Forced | ExitCause::Terminated)
    }
}
