//! `consume`.

use clap::Args;

use super::shared_args::{Brokers, LatencyFile, seconds};

/// `consume`.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct Consume {
    #[command(flatten)]
    pub brokers: Brokers,
    /// The topic to consume [default: test-topic]
    #[arg(id = "kafka.topic,consumer.topics", long = "topic", value_name = "NAME")]
    pub topic: Option<String>,
    /// The consumer group, for which offsets are committed [default: kafka-actors]
    #[arg(id = "consumer.group_id", long = "group", value_name = "ID")]
    pub group: Option<String>,
    /// If another supervisor has the group, wait until it stops, then take over
    #[arg(id = "consumer.wait_for_lock", long = "wait")]
    pub wait: bool,
    /// Worker processes, which share the partitions [default: 2]
    #[arg(
        id = "consumer.processes",
        long = "processes",
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Workers"
    )]
    pub processes: Option<String>,
    /// What assigns partitions to the workers: manual, the supervisor; group, Kafka [default: manual]
    #[arg(id = "consumer.assignment", long = "assignment", value_name = "WHO", help_heading = "Workers")]
    pub assignment: Option<String>,
    /// The assignment strategy: range or round_robin [default: range]
    #[arg(id = "consumer.assignment_strategy", long = "strategy", value_name = "NAME", help_heading = "Workers")]
    pub strategy: Option<String>,
    /// Start at the oldest messages, whatever is committed
    #[arg(
        id = "consumer.start=earliest",
        long = "from-beginning",
        conflicts_with = "consumer.start",
        help_heading = "Start and end"
    )]
    pub from_beginning: bool,
    /// Start offset: committed, earliest, latest or a time such as 2026-11-23T10:00:00Z [default: committed]
    #[arg(id = "consumer.start", long = "start", value_name = "WHERE", help_heading = "Start and end")]
    pub start: Option<String>,
    /// Commit nothing, join no group, write no dead-letter records
    #[arg(id = "consumer.read_only", long = "read-only", help_heading = "Start and end")]
    pub read_only: bool,
    /// Stop at the high watermarks of the start
    #[arg(id = "consumer.until_end", long = "until-end", help_heading = "Start and end")]
    pub until_end: bool,
    /// Stop after exactly this number of messages, consumed by one worker process; 0: no limit [default: 0]
    #[arg(
        id = "consumer.max_messages",
        long = "max-messages",
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Start and end"
    )]
    pub max_messages: Option<String>,
    /// Stop when no message arrived for this time; a plain number is seconds; 0: never [default: 0]
    #[arg(id = "consumer.idle_exit", long = "idle-exit", value_name = "SECONDS", allow_negative_numbers = true, help_heading = "Start and end", value_parser = seconds)]
    pub idle_exit: Option<String>,
    /// The message processor: log, print, count, command, or one of the program's own [default: log]
    #[arg(id = "consumer.processor", long = "processor", value_name = "NAME", help_heading = "Processing")]
    pub processor: Option<String>,
    /// Send the messages to this program; implies --processor command
    #[arg(id = "consumer.command", long = "command", value_name = "TEXT", help_heading = "Processing")]
    pub command: Option<String>,
    /// What to do with a message that fails: stop, skip or dead_letter [default: stop]
    #[arg(id = "consumer.on_failure", long = "on-failure", value_name = "WHAT", help_heading = "Processing")]
    pub on_failure: Option<String>,
    #[command(flatten)]
    pub latency: LatencyFile,
}
