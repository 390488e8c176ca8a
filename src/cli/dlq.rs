//! `dlq`: dead-letter topics.

use clap::{Args, Subcommand};

use super::shared_args::Brokers;
use super::topics::name as topic;

const REPLAY: &str = "\
Records are sent back only to the topics whose dead-letter topic this is: by its name without \".dlq\", and by
consumer.topics and consumer.dead_letter_topic. Their headers can name any topic; other topics are rejected unless
--allow-topic names them.

The progress is committed per record, with the offsets of the group. A record that cannot be sent does not block the others:
it is logged, the exit code is 1, and only this record is retried by the next replay. After a crash or without a reply
from the brokers, up to 500 records in flight may be sent again.";

/// `dlq`.
#[derive(Clone, Debug, Args)]
pub struct Dlq {
    /// The subcommand.
    #[command(subcommand)]
    pub command: DlqCommand,
}

/// The subcommands of `dlq`.
#[derive(Clone, Debug, Subcommand)]
pub enum DlqCommand {
    /// Show the records of a dead-letter topic with their errors
    List(ListDeadLetters),
    /// Send records back to their original topics; a record is sent back only once
    #[command(after_help = REPLAY)]
    Replay(ReplayDeadLetters),
}

/// `dlq list`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct ListDeadLetters {
    /// A line of JSON per record instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub which: DeadLetterArgs,
}

/// `dlq replay`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct ReplayDeadLetters {
    /// Only show what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// A topic to which records may be sent back; may be repeated [default: the topics whose dead-letter topic this
    /// is]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = topic)]
    pub allow_topic: Vec<String>,
    /// Skip records that cannot be sent: they stay in the dead-letter topic, and no later replay retries them
    #[arg(long, conflicts_with = "park")]
    pub skip_unsendable: bool,
    /// Copy records that cannot be sent to this topic, and skip them
    #[arg(long, value_name = "TOPIC", value_parser = topic)]
    pub park: Option<String>,
    #[command(flatten)]
    pub which: DeadLetterArgs,
}

/// Selects dead-letter records.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct DeadLetterArgs {
    /// The dead-letter topic [default: from the settings]
    #[arg(value_name = "TOPIC", value_parser = topic)]
    pub topic: Option<String>,
    /// The maximum number of records
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    #[command(flatten)]
    pub brokers: Brokers,
    /// The consumer group; the progress of replays is committed for its name with .dlq [default: kafka-actors]
    #[arg(id = "consumer.group_id", long = "group", value_name = "ID")]
    pub group: Option<String>,
}
