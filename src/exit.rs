//! How the program ends: the exit codes, and the reason that goes with one.

use serde::Serialize;

/// The exit codes; scripts hang on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything that was asked for was done.
    Clean = 0,
    /// Something was not done: a message not delivered or not processed, a broker not reached.
    Failed = 1,
    /// The command line or the settings are wrong; nothing was begun.
    Usage = 2,
    /// The shutdown deadline passed, or a second signal came: something was cut off.
    Forced = 3,
    /// A worker whose supervisor is gone.
    Orphaned = 4,
}

const SHOWN: &str = "shown";

/// Why and with which code a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exit {
    /// See [`ExitCode`].
    #[serde(serialize_with = "as_number")]
    pub code: ExitCode,
    /// One line for people.
    pub reason: String,
}

fn as_number<S: serde::Serializer>(code: &ExitCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*code as u8)
}

impl Exit {
    /// An end with this code and reason.
    pub fn new(code: ExitCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// [`ExitCode::Clean`].
    pub fn clean(reason: impl Into<String>) -> Self {
        Self::new(ExitCode::Clean, reason)
    }

    /// [`ExitCode::Failed`].
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::new(ExitCode::Failed, reason)
    }

    /// After something was shown on stdout. A reader that has seen enough (`| head -1`) is no error.
    pub fn shown(result: std::io::Result<()>) -> Self {
        match result {
            Ok(()) => Self::clean(SHOWN),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Self::clean("stdout is closed"),
            Err(error) => Self::failed(format!("stdout: {error}")),
        }
    }

    /// Whether the command's product says it all.
    pub fn says_nothing(&self) -> bool {
        self.reason == SHOWN
    }

    /// Whether everything that was asked for was done.
    pub fn is_clean(&self) -> bool {
        self.code == ExitCode::Clean
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
