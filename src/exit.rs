//! Exit codes and exit reasons.

use serde::Serialize;

/// The exit codes; scripts depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The command has succeeded.
    Success = 0,
    /// The command has failed: a message was not delivered or not processed, a broker was not reached.
    Failed = 1,
    /// The command line or the settings are invalid; nothing was started.
    Usage = 2,
    /// The shutdown timeout expired, or a second signal arrived: something was cut off.
    Forced = 3,
    /// A worker has lost its supervisor.
    Orphaned = 4,
}

const SHOWN: &str = "shown";

/// The exit code of a command, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExitStatus {
    /// See [`ExitCode`].
    #[serde(serialize_with = "as_number")]
    pub code: ExitCode,
    /// The reason, one line for the user.
    pub reason: String,
    /// What ended the command.
    #[serde(skip)]
    cause: Cause,
}

/// What ended a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cause {
    /// The command itself: it has succeeded or failed.
    #[default]
    Run,
    /// The user, by a signal: unfinished work is no error.
    Stop,
}

fn as_number<S: serde::Serializer>(code: &ExitCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*code as u8)
}

impl ExitStatus {
    /// Creates a status with this code and reason.
    pub fn new(code: ExitCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), cause: Cause::Run }
    }

    /// Creates the status of a command stopped by a signal, with the unfinished work.
    pub fn stopped(code: ExitCode, reason: impl Into<String>) -> Self {
        Self { cause: Cause::Stop, ..Self::new(code, reason) }
    }

    /// The same status with another reason.
    #[must_use]
    pub fn with_reason(&self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self.clone() }
    }

    /// Returns whether a signal ended the command.
    pub fn is_stop(&self) -> bool {
        self.cause == Cause::Stop
    }

    /// [`ExitCode::Success`].
    pub fn clean(reason: impl Into<String>) -> Self {
        Self::new(ExitCode::Success, reason)
    }

    /// [`ExitCode::Failed`].
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::new(ExitCode::Failed, reason)
    }

    /// The status after output to stdout. A reader that has seen enough (`| head -1`) is no error.
    pub fn from_stdout_result(result: std::io::Result<()>) -> Self {
        match result {
            Ok(()) => Self::clean(SHOWN),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Self::clean("stdout is closed"),
            Err(error) => Self::failed(format!("stdout: {error}")),
        }
    }

    /// Returns whether the command's output is sufficient without a reason.
    pub fn is_silent(&self) -> bool {
        self.reason == SHOWN
    }

    /// Returns whether the command has succeeded.
    pub fn is_clean(&self) -> bool {
        self.code == ExitCode::Success
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
