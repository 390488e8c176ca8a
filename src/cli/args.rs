//! The commands.

use clap::{Args, Subcommand};

use super::config_command::{Config, ConfigCommand};
use super::consume::Consume;
use super::dlq::Dlq;
use super::produce::Produce;
#[cfg(feature = "top")]
use super::top::Top;
use super::topics::Topics;
#[cfg(feature = "verify")]
use super::verify::{Demo, Verify};

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Write messages from many threads; exits when all are acknowledged
    Produce(Produce),
    /// Consume messages with many worker processes
    Consume(Consume),
    /// Produce and consume at the same time, on an embedded broker unless --brokers is given
    #[cfg(feature = "verify")]
    Demo(Demo),
    /// Verify that no message is lost, duplicated, reordered or damaged between producers and workers
    #[cfg(feature = "verify")]
    Verify(Verify),
    /// List, create, describe, alter or delete topics
    Topics(Topics),
    /// Show dead-letter records, and send them back to their original topics
    Dlq(Dlq),
    /// Show the status of a run with monitoring.listen, live in the terminal
    #[cfg(feature = "top")]
    Top(Top),
    /// Show or check the settings
    Config(Config),
    /// A worker process; started by the supervisor only
    #[command(hide = true)]
    Worker(Worker),
}

/// `worker`.
#[derive(Clone, Debug, Args)]
pub struct Worker {
    /// The worker's number, from 0.
    #[arg(long)]
    pub slot: usize,
    /// The supervisor's process id and start time, which identify workers whose supervisor is gone.
    #[arg(long)]
    pub supervisor: Option<String>,
}

impl Command {
    /// The command's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Produce(_) => "produce",
            Self::Consume(_) => "consume",
            #[cfg(feature = "verify")]
            Self::Demo(_) => "demo",
            #[cfg(feature = "verify")]
            Self::Verify(_) => "verify",
            Self::Topics(_) => "topics",
            Self::Dlq(_) => "dlq",
            #[cfg(feature = "top")]
            Self::Top(_) => "top",
            Self::Config(_) => "config",
            Self::Worker(_) => "worker",
        }
    }

    /// Returns whether the command produces or consumes, with metrics and monitoring. (A dry run does not.)
    pub fn is_long_running(&self) -> bool {
        match self {
            Self::Produce(of) => of.dry_run.is_none(),
            Self::Consume(_) => true,
            #[cfg(feature = "verify")]
            Self::Demo(_) | Self::Verify(_) => true,
            _ => false,
        }
    }

    /// Returns whether the command connects to the configured brokers.
    pub fn connects(&self) -> bool {
        match self {
            Self::Produce(of) => of.dry_run.is_none(),
            #[cfg(feature = "verify")]
            Self::Demo(of) => of.brokers.is_some(),
            #[cfg(feature = "verify")]
            Self::Verify(_) => true,
            Self::Consume(_) | Self::Topics(_) | Self::Dlq(_) => true,
            // `config check` checks the other commands' connection.
            Self::Config(of) => matches!(of.command, ConfigCommand::Check(_)),
            #[cfg(feature = "top")]
            Self::Top(_) => false,
            Self::Worker(_) => false,
        }
    }

    /// Returns whether the command starts workers.
    pub fn has_workers(&self) -> bool {
        match self {
            Self::Consume(_) => true,
            #[cfg(feature = "verify")]
            Self::Demo(_) | Self::Verify(_) => true,
            _ => false,
        }
    }
}
