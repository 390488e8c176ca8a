//! What becomes of the latencies at the end of a command: a table for people, a file for tools.

use std::path::Path;

use slog::error;

use super::Stage;
use crate::cli::Command;
use crate::exit::{Exit, ExitCode};
use crate::latency::{self, log::LogFile};
use crate::report::Draft;
use crate::settings::{Loaded, LogFormat, LogLevel};

/// Opens the file of the latencies, for the commands that measure them.
pub(super) fn open(command: &Command, loaded: &Loaded) -> Result<LogFile, Exit> {
    if !command.is_run() {
        return Ok(LogFile::nowhere());
    }
    let path = &loaded.settings.latency.file;
    LogFile::open(path).map_err(|error| {
        let origin = loaded.origin("latency.file");
        let text = format!("latency.file = {path} ({origin}): the file cannot be written: {error}; name another one");
        Exit::new(ExitCode::Usage, text)
    })
}

/// Shows the latencies and writes them to their file; the exit, which is another one if that fails.
pub(super) fn tell(file: &mut LogFile, draft: &Draft, stage: &Stage, exit: Exit) -> Exit {
    let quiet = matches!(stage.style.level, LogLevel::Error | LogLevel::Warning);
    let table = latency::table(&draft.latencies());
    if stage.style.format == LogFormat::Terminal && !quiet && !table.is_empty() {
        stage.screen.say(table.as_bytes());
    }
    let Err(error) = draft.write_latencies(file) else { return exit };
    let path = file.path().unwrap_or(Path::new("")).display();
    let text = format!("latency.file = {path}: the latencies could not be written: {error}");
    if exit.code == ExitCode::Clean {
        return Exit::failed(text);
    }
    error!(stage.logger, "{text}");
    exit
}
