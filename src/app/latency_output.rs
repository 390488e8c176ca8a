//! The output of latencies at the end of a command: a table for users, a file for tools.

use std::path::Path;

use slog::error;

use super::context::RunContext;
use crate::cli::Command;
use crate::exit::{ExitCode, ExitStatus};
use crate::latency::{self, hdr_log::HdrLogWriter};
use crate::report::ReportBuilder;
use crate::settings::{LoadedSettings, LogFormat, LogLevel};

/// Opens the latency file of commands that measure latencies.
pub(super) fn open(command: &Command, loaded: &LoadedSettings) -> Result<HdrLogWriter, ExitStatus> {
    if !command.is_long_running() {
        return Ok(HdrLogWriter::nowhere());
    }
    let path = &loaded.settings.latency.hdr_file;
    HdrLogWriter::open(path).map_err(|error| {
        let origin = loaded.origin("latency.hdr_file");
        let text =
            format!("latency.hdr_file = {path} ({origin}): the file cannot be written: {error}; name another one");
        ExitStatus::new(ExitCode::Usage, text)
    })
}

/// Prints the latencies and writes them to their file; returns another exit status if that fails.
pub(super) fn print_and_write(
    file: &mut HdrLogWriter,
    report: &ReportBuilder,
    context: &RunContext,
    exit: ExitStatus,
) -> ExitStatus {
    let quiet = matches!(context.style.level, LogLevel::Error | LogLevel::Warning);
    let excluded = report.consume.as_ref().map(|consume| consume.latency_excluded.line()).unwrap_or_default();
    let table = latency::table(&report.latencies()) + &excluded;
    if context.style.format == LogFormat::Terminal && !quiet && !table.is_empty() {
        context.console.print_line(table.as_bytes());
    }
    let Err(error) = report.write_latencies(file) else { return exit };
    let path = file.path().unwrap_or(Path::new("")).display();
    let text = format!("latency.hdr_file = {path}: the latencies could not be written: {error}");
    if exit.code == ExitCode::Success {
        return ExitStatus::failed(text);
    }
    error!(context.logger, "{text}");
    exit
}
