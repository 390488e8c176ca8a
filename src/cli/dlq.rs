//! `dlq`: dead-letter topics.

use clap::{Args, Subcommand};

use super::general::General;

/// `dlq`.
#[derive(Clone, Debug, Args)]
pub struct Dlq {
    /// What to do with dead letters.
    #[command(subcommand)]
    pub command: DlqCommand,
    #[command(flatten)]
    pub(super) general: General,
}

/// What to do with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum DlqCommand {
    /// Show what is in a dead-letter topic, and why
    List(ListDeadLetters),
    /// Send messages back to the topics that they came from; what was sent back once is not sent again
    Replay(ReplayDeadLetters),
}

/// `dlq list`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct ListDeadLetters {
    /// A line of JSON for each message, instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub which: WhichDeadLetters,
}

/// `dlq replay`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct ReplayDeadLetters {
    /// Only show what would be sent
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub which: WhichDeadLetters,
}

/// Which dead letters.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct WhichDeadLetters {
    /// The dead-letter topic [default: the settings' own]
    #[arg(value_name = "TOPIC")]
    pub topic: Option<String>,
    /// So many messages at most
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The consumer group; what it has sent back is kept under its name and .dlq [default: kafka-actors]
    #[arg(long, value_name = "ID")]
    pub group: Option<String>,
    #[command(flatten)]
    pub(super) general: General,
}

impl Dlq {
    fn which(&self) -> &WhichDeadLetters {
        match &self.command {
            DlqCommand::List(list) => &list.which,
            DlqCommand::Replay(replay) => &replay.which,
        }
    }

    pub(super) fn all_general(&self) -> Vec<&General> {
        vec![&self.general, &self.which().general]
    }

    /// Flag, key, value.
    pub(super) fn flags(&self) -> Vec<(&'static str, &'static str, Option<String>)> {
        let WhichDeadLetters { brokers, group, .. } = self.which();
        vec![("--brokers", "kafka.brokers", brokers.clone()), ("--group", "consumer.group", group.clone())]
    }
}
