//! `config`.

use clap::{Args, Subcommand};

/// `config`.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// What to do with the settings.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the settings.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print all effective settings as TOML; secrets are ***
    Show(ShowConfig),
    /// Check the settings and print errors
    Check(CheckConfig),
}

/// `config show`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct ShowConfig {
    /// Print the origin of each value
    #[arg(long)]
    pub origin: bool,
}

/// `config check`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct CheckConfig {
    /// Also check the brokers: whether they respond, have the configured topics, and allow the group
    #[arg(long)]
    pub connect: bool,
}
