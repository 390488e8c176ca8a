//! The options that all commands have.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// Options that stand before or after the command. They are no global arguments of clap's, because of those it keeps
/// only what stands after: a `--set` before the command would be lost without a word.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "General options")]
pub(super) struct General {
    /// Read settings from this file [default: ./Settings.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Set any setting; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// At the end, write a report, one JSON object, to this file; "-" is stdout
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<String>,
    /// Log more: -v debug, -vv trace
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// Log warnings and errors only, and show no progress
    #[arg(short, long)]
    pub(super) quiet: bool,
}
