//! The options of all commands.

use std::path::PathBuf;

use clap::{ArgAction, Args};

// Not a doc comment: clap would show it as the description of each command.
// Options before or after the command. They are not clap's global arguments, because clap keeps only those after the
// command: a `--set` before it would be lost silently.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "General options")]
pub(super) struct GlobalArgs {
    /// Read settings from this file [default: ./Settings.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Set any setting; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Write a report, one JSON object, to this file at the end; "-" is stdout
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<String>,
    /// Log more: -v debug, -vv trace
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// Log only warnings and errors, and show no progress
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl GlobalArgs {
    /// Adds the options that follow these on the command line.
    pub(super) fn merge(mut self, later: Self) -> Self {
        self.set.extend(later.set);
        Self {
            config: later.config.or(self.config),
            set: self.set,
            report: later.report.or(self.report),
            verbose: self.verbose.saturating_add(later.verbose),
            quiet: self.quiet || later.quiet,
        }
    }
}
