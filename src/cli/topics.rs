//! `topics`: the topics of the cluster.

use clap::{Args, Subcommand};

use super::shared_args::Brokers;
use super::topic_spec::{AlteredTopic, TopicSpec};
use crate::settings::topic_problem;

const ALTER: &str = "\
Kafka can only add partitions. With more partitions most keys map to other partitions than before: existing
messages stay in their partitions, so their order relative to later messages of the same key is lost. Consumers
discover new partitions automatically.";

const DELETE: &str = "\
On a terminal this requires confirmation. Without one, as in scripts, and with --yes, it does not.";

/// Validates a topic name.
pub(super) fn name(name: &str) -> Result<String, String> {
    topic_problem(name).map_or_else(|| Ok(name.to_owned()), Err)
}

/// `topics`.
#[derive(Clone, Debug, Args)]
pub struct Topics {
    /// The subcommand.
    #[command(subcommand)]
    pub command: TopicsCommand,
}

/// The subcommands of `topics`.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicsCommand {
    /// List all topics with their partitions and replication factor
    List(ListTopics),
    /// Create topics; an existing topic with this number of partitions is left unchanged
    Create(CreateTopics),
    /// Show partitions, offsets and lag
    Describe(DescribeTopics),
    /// Add partitions to topics
    #[command(after_help = ALTER)]
    Alter(AlterTopics),
    /// Delete topics and all their messages
    #[command(after_help = DELETE)]
    Delete(DeleteTopics),
}

/// `topics list`.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct ListTopics {
    /// A line of JSON per topic instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub brokers: Brokers,
}

/// `topics create`.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct CreateTopics {
    /// Name, partitions and replication factor, such as test-topic:6:1; separated by spaces or commas
    #[arg(value_name = "NAME:PARTITIONS:REPLICATION", required = true, value_delimiter = ',')]
    pub topics: Vec<TopicSpec>,
    #[command(flatten)]
    pub brokers: Brokers,
}

/// `topics describe`.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct DescribeTopics {
    /// The topics, separated by spaces or commas [default: those of the settings]
    #[arg(value_name = "NAME", value_delimiter = ',', value_parser = name)]
    pub names: Vec<String>,
    #[command(flatten)]
    pub brokers: Brokers,
}

/// `topics alter`.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct AlterTopics {
    /// Name and new number of partitions, such as test-topic:12; separated by spaces or commas
    #[arg(value_name = "NAME:PARTITIONS", required = true, value_delimiter = ',')]
    pub topics: Vec<AlteredTopic>,
    #[command(flatten)]
    pub brokers: Brokers,
}

/// `topics delete`.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct DeleteTopics {
    /// The topics, separated by spaces or commas
    #[arg(value_name = "NAME", required = true, value_delimiter = ',', value_parser = name)]
    pub names: Vec<String>,
    /// Delete without confirmation
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub brokers: Brokers,
}
