//! What every running command uses: the console, the log, the status, and its closing output.

use slog::{Logger, info};

use crate::cli::Command;
use crate::console::Console;
#[cfg(not(feature = "monitoring"))]
use crate::exit::ExitCode;
use crate::exit::ExitStatus;
use crate::logging::LogStyle;
#[cfg(feature = "monitoring")]
use crate::monitoring::http_server::StatusServer;
use crate::monitoring::status_registry::StatusRegistry;
use crate::settings::{LoadedSettings, LogFormat, LogLevel};

/// What a running command uses.
pub(super) struct RunContext {
    pub(super) console: Console,
    pub(super) style: LogStyle,
    pub(super) logger: Logger,
    pub(super) registry: StatusRegistry,
}

impl RunContext {
    /// Serves the status over HTTP if `monitoring.listen` is set, until the server is dropped.
    #[cfg(feature = "monitoring")]
    pub(super) fn serve(&self, command: &Command, loaded: &LoadedSettings) -> Result<Option<StatusServer>, ExitStatus> {
        let address = loaded.settings.monitoring.listen.filter(|_| command.is_long_running());
        let origin = loaded.origin("monitoring.listen").to_string();
        address.map(|address| StatusServer::start(self.registry.clone(), address, &origin, &self.logger)).transpose()
    }

    /// Rejects `monitoring.listen`: this build has no HTTP server.
    #[cfg(not(feature = "monitoring"))]
    pub(super) fn serve(&self, _: &Command, loaded: &LoadedSettings) -> Result<(), ExitStatus> {
        match loaded.settings.monitoring.listen {
            None => Ok(()),
            Some(address) => Err(ExitStatus::new(
                ExitCode::Usage,
                format!("monitoring.listen = {address}: this build has no HTTP server (feature \"monitoring\")"),
            )),
        }
    }

    /// Prints lines for the user; with a machine-readable log format each is a log line.
    pub(super) fn print(&self, text: &str) {
        match (self.style.format, self.style.level) {
            (LogFormat::Json, _) => {
                text.lines()
                    .filter(|line| !line.trim().is_empty())
                    .for_each(|line| info!(self.logger, "{}", line.trim()));
            }
            (LogFormat::Terminal, LogLevel::Error) => {}
            (LogFormat::Terminal, _) => self.console.print_line(text.as_bytes()),
        }
    }
}

/// The exit status if an actor ended without a result.
pub(super) fn actor_died() -> ExitStatus {
    ExitStatus::failed("internal error: the orchestrator stopped unexpectedly")
}

/// The closing output.
#[derive(Default)]
pub(super) struct Closing {
    text: String,
    /// The output if a later step failed.
    after_failure: String,
}

impl Closing {
    /// A line of totals.
    pub(super) fn line(totals: Option<String>) -> Self {
        Self::new(&ExitStatus::clean(""), |_| totals.iter().map(|totals| format!("\n  {totals}\n")).collect())
    }

    /// The output of `summary` for this exit status.
    pub(super) fn new(exit: &ExitStatus, summary: impl Fn(&ExitStatus) -> String) -> Self {
        Self { text: summary(exit), after_failure: summary(&ExitStatus::failed("")) }
    }

    pub(super) fn text(&self, exit: &ExitStatus) -> &str {
        if exit.is_clean() { &self.text } else { &self.after_failure }
    }
}
