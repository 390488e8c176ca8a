//! The commands and their flags.

use clap::{Args, Subcommand};

use super::dlq::Dlq;
use super::global_args::GlobalArgs;
#[cfg(feature = "top")]
use super::top::Top;
use super::topics::Topics;

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

/// `produce`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Produce {
    /// Bootstrap servers, separated by commas [default: localhost:9092]
    #[arg(short = 'b', long, visible_alias = "bootstrap-server", value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic to write to [default: test-topic]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Producer threads, each with its own Kafka client [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Messages per thread; 0: no limit [default: 100, or no limit with --duration]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub messages_per_thread: Option<String>,
    /// How long to produce, such as 1m; a plain number is seconds; 0: no limit [default: 0]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub duration: Option<String>,
    /// Messages per second, all threads together; 0: unlimited [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// A rate profile instead of a rate, such as "ramp 0 to 5000 for 30s"; may be repeated, starts over at its end
    #[arg(long, value_name = "STEP")]
    pub rate_profile: Vec<String>,
    /// A file with a JSON template for messages; see producer.template in Settings.toml
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    pub template_file: Option<String>,
    /// A file whose lines are the messages; starts over at its end
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    pub lines_file: Option<String>,
    /// Size of a message in bytes, such as 200 or 100..1000; 0: not padded [default: 0]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, help_heading = "Messages")]
    pub size: Option<String>,
    /// Message keys: none, round_robin, uniform, zipf or message [default: none]
    #[arg(long, value_name = "SOURCE", help_heading = "Messages")]
    pub key: Option<String>,
    /// Seed; the same seed, settings and threads generate the same messages; 0: random [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Messages")]
    pub seed: Option<String>,
    /// Send nothing: print this number of messages as JSON lines, without a broker
    #[arg(long, value_name = "N", help_heading = "Messages")]
    pub dry_run: Option<u64>,
    /// Compression: none, lz4, zstd, gzip or snappy [default: lz4]
    #[arg(long, value_name = "NAME")]
    pub compression: Option<String>,
    /// Write the latency histograms to this file at the end, as an HDR log
    #[arg(long, value_name = "FILE")]
    pub latency_file: Option<String>,
    #[command(flatten)]
    general: GlobalArgs,
}

/// `consume`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Consume {
    /// Bootstrap servers, separated by commas [default: localhost:9092]
    #[arg(short = 'b', long, visible_alias = "bootstrap-server", value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic to consume [default: test-topic]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// The consumer group, for which offsets are committed [default: kafka-actors]
    #[arg(long, value_name = "ID")]
    pub group: Option<String>,
    /// If another supervisor has the group, wait until it stops, then take over
    #[arg(long)]
    pub wait: bool,
    /// Worker processes, which share the partitions [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Workers")]
    pub processes: Option<String>,
    /// What assigns partitions to the workers: manual, the supervisor; group, Kafka [default: manual]
    #[arg(long, value_name = "WHO", help_heading = "Workers")]
    pub assignment: Option<String>,
    /// The assignment strategy: range or round_robin [default: range]
    #[arg(long, value_name = "NAME", help_heading = "Workers")]
    pub strategy: Option<String>,
    /// Start at the oldest messages, whatever is committed
    #[arg(long, conflicts_with = "start", help_heading = "Start and end")]
    pub from_beginning: bool,
    /// Start offset: committed, earliest, latest or a time such as 2026-11-23T10:00:00Z [default: committed]
    #[arg(long, value_name = "WHERE", help_heading = "Start and end")]
    pub start: Option<String>,
    /// Commit nothing, join no group, write no dead-letter records
    #[arg(long, help_heading = "Start and end")]
    pub read_only: bool,
    /// Stop at the high watermarks of the start
    #[arg(long, help_heading = "Start and end")]
    pub until_end: bool,
    /// Stop after exactly this number of messages, consumed by one worker process; 0: no limit [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Start and end")]
    pub max_messages: Option<String>,
    /// Stop when no message arrived for this time; a plain number is seconds; 0: never [default: 0]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, help_heading = "Start and end")]
    pub idle_exit: Option<String>,
    /// The message processor: log, print, count, command, or one of the program's own [default: log]
    #[arg(long, value_name = "NAME", help_heading = "Processing")]
    pub processor: Option<String>,
    /// Send the messages to this program; implies --processor command
    #[arg(long, value_name = "TEXT", help_heading = "Processing")]
    pub command: Option<String>,
    /// What to do with a message that fails: stop, skip or dead_letter [default: stop]
    #[arg(long, value_name = "WHAT", help_heading = "Processing")]
    pub on_failure: Option<String>,
    /// Write the latency histograms to this file at the end, as an HDR log
    #[arg(long, value_name = "FILE")]
    pub latency_file: Option<String>,
    #[command(flatten)]
    general: GlobalArgs,
}

/// `demo`.
#[cfg(feature = "verify")]
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Demo {
    /// Use these bootstrap servers, separated by commas, not those of the settings [default: an embedded broker]
    #[arg(short = 'b', long, visible_alias = "bootstrap-server", value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic to write and consume [default: a new one, deleted after a successful run]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Number of partitions of the topic, if it does not exist
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// Producer threads [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Messages per thread; 0: no limit [default: 100]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub messages_per_thread: Option<String>,
    /// Messages per second, all threads together; 0: unlimited [default: a rate for which the run takes 4 s]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// Worker processes [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub processes: Option<String>,
    /// Write the latency histograms to this file at the end, as an HDR log
    #[arg(long, value_name = "FILE")]
    pub latency_file: Option<String>,
    #[command(flatten)]
    general: GlobalArgs,
}

/// `verify`.
#[cfg(feature = "verify")]
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Verify {
    /// Bootstrap servers, separated by commas [default: localhost:9092]
    #[arg(short = 'b', long, visible_alias = "bootstrap-server", value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic to write and consume [default: a new one, deleted after a successful run]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Number of partitions of the topic, if it does not exist
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: i32,
    /// Its replication factor; -1: the brokers' default
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub replication: i32,
    /// Producer threads [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Messages per thread; 0: no limit [default: 100, or no limit with --duration]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub messages_per_thread: Option<String>,
    /// How long to produce, such as 1m; a plain number is seconds; 0: no limit [default: 0]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub duration: Option<String>,
    /// Messages per second, all threads together; 0: unlimited [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// Message keys: none, round_robin, uniform, zipf or message [default: none]
    #[arg(long, value_name = "SOURCE")]
    pub key: Option<String>,
    /// A file with a JSON template for messages; see producer.template in Settings.toml
    #[arg(long, value_name = "FILE")]
    pub template_file: Option<String>,
    /// Size of a message in bytes, such as 200 or 100..1000; 0: not padded [default: 0]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub size: Option<String>,
    /// Worker processes [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub processes: Option<String>,
    /// The consumer group [default: a new one]
    #[arg(long, value_name = "ID")]
    pub group: Option<String>,
    /// The message processor that runs before a message counts as processed [default: count]
    #[arg(long, value_name = "NAME")]
    pub processor: Option<String>,
    /// Send the messages to this program; implies --processor command
    #[arg(long, value_name = "TEXT")]
    pub command: Option<String>,
    /// How long the workers may take to consume the rest after producing has stopped; a plain number is seconds
    /// [default: 60]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub timeout: Option<String>,
    /// Only produce, and record the acknowledgements in the run file
    #[arg(long, requires = "run_file", help_heading = "On another machine or day")]
    pub produce_only: bool,
    /// Only consume, and check against the run file, or without one by the stamps of the messages
    #[arg(long, conflicts_with = "produce_only", help_heading = "On another machine or day")]
    pub consume_only: bool,
    /// The acknowledgements: written by --produce-only, read by --consume-only
    #[arg(long, value_name = "FILE", help_heading = "On another machine or day")]
    pub run_file: Option<std::path::PathBuf>,
    /// Write the latency histograms to this file at the end, as an HDR log
    #[arg(long, value_name = "FILE")]
    pub latency_file: Option<String>,
    #[command(flatten)]
    general: GlobalArgs,
}

/// `config`.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// What to do with the settings.
    #[command(subcommand)]
    pub command: ConfigCommand,
    #[command(flatten)]
    general: GlobalArgs,
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
    #[command(flatten)]
    general: GlobalArgs,
}

/// `config check`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct CheckConfig {
    /// Also check the brokers: whether they respond, have the configured topics, and allow the group
    #[arg(long)]
    pub connect: bool,
    #[command(flatten)]
    general: GlobalArgs,
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
    #[command(flatten)]
    general: GlobalArgs,
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

    /// The global options after the command, and between it and its subcommand.
    pub(super) fn general(&self) -> Vec<&GlobalArgs> {
        match self {
            Self::Produce(of) => vec![&of.general],
            Self::Consume(of) => vec![&of.general],
            #[cfg(feature = "verify")]
            Self::Demo(of) => vec![&of.general],
            #[cfg(feature = "verify")]
            Self::Verify(of) => vec![&of.general],
            Self::Worker(of) => vec![&of.general],
            Self::Topics(of) => of.all_general(),
            Self::Dlq(of) => of.all_general(),
            #[cfg(feature = "top")]
            Self::Top(of) => vec![of.general()],
            Self::Config(Config { command, general }) => match command {
                ConfigCommand::Show(of) => vec![general, &of.general],
                ConfigCommand::Check(of) => vec![general, &of.general],
            },
        }
    }

    /// Flag, key, value.
    pub(super) fn setting_overrides(&self) -> Vec<(&'static str, &'static str, Option<String>)> {
        match self {
            Self::Produce(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                ("--threads", "producer.threads", of.threads.clone()),
                ("--messages-per-thread", "producer.messages_per_thread", of.messages_per_thread.clone()),
                ("--duration", "producer.duration", of.duration.as_deref().map(seconds)),
                ("--rate", "producer.rate", of.rate.clone()),
                (
                    "--rate-profile",
                    "producer.rate_profile",
                    (!of.rate_profile.is_empty()).then(|| of.rate_profile.join(",")),
                ),
                ("--template-file", "producer.template_file", of.template_file.clone()),
                ("--lines-file", "producer.lines_file", of.lines_file.clone()),
                ("--size", "producer.message_size", of.size.clone()),
                ("--key", "producer.key", of.key.clone()),
                ("--seed", "producer.seed", of.seed.clone()),
                ("--compression", "producer.compression", of.compression.clone()),
                ("--latency-file", "latency.hdr_file", of.latency_file.clone()),
            ],
            Self::Consume(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                // The flag replaces topics from other sources.
                ("--topic", "consumer.topics", of.topic.clone()),
                ("--group", "consumer.group_id", of.group.clone()),
                ("--wait", "consumer.wait_for_lock", of.wait.then(|| "true".to_owned())),
                ("--processes", "consumer.processes", of.processes.clone()),
                ("--assignment", "consumer.assignment", of.assignment.clone()),
                ("--strategy", "consumer.assignment_strategy", of.strategy.clone()),
                ("--from-beginning", "consumer.start", of.from_beginning.then(|| "earliest".to_owned())),
                ("--start", "consumer.start", of.start.clone()),
                ("--read-only", "consumer.read_only", of.read_only.then(|| "true".to_owned())),
                ("--until-end", "consumer.until_end", of.until_end.then(|| "true".to_owned())),
                ("--max-messages", "consumer.max_messages", of.max_messages.clone()),
                ("--idle-exit", "consumer.idle_exit", of.idle_exit.as_deref().map(seconds)),
                ("--processor", "consumer.processor", of.processor.clone()),
                // The settings imply the processor `command`, whatever the source of this value.
                ("--command", "consumer.command", of.command.clone()),
                ("--on-failure", "consumer.on_failure", of.on_failure.clone()),
                ("--latency-file", "latency.hdr_file", of.latency_file.clone()),
            ],
            #[cfg(feature = "verify")]
            Self::Demo(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                ("--topic", "consumer.topics", of.topic.clone()),
                ("--threads", "producer.threads", of.threads.clone()),
                ("--messages-per-thread", "producer.messages_per_thread", of.messages_per_thread.clone()),
                ("--rate", "producer.rate", of.rate.clone()),
                ("--processes", "consumer.processes", of.processes.clone()),
                ("--latency-file", "latency.hdr_file", of.latency_file.clone()),
            ],
            #[cfg(feature = "verify")]
            Self::Verify(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                ("--threads", "producer.threads", of.threads.clone()),
                ("--messages-per-thread", "producer.messages_per_thread", of.messages_per_thread.clone()),
                ("--duration", "producer.duration", of.duration.as_deref().map(seconds)),
                ("--rate", "producer.rate", of.rate.clone()),
                ("--key", "producer.key", of.key.clone()),
                ("--template-file", "producer.template_file", of.template_file.clone()),
                ("--size", "producer.message_size", of.size.clone()),
                ("--processes", "consumer.processes", of.processes.clone()),
                ("--group", "consumer.group_id", of.group.clone()),
                ("--processor", "consumer.processor", of.processor.clone()),
                ("--command", "consumer.command", of.command.clone()),
                ("--timeout", "verify.timeout", of.timeout.as_deref().map(seconds)),
                ("--latency-file", "latency.hdr_file", of.latency_file.clone()),
            ],
            Self::Topics(of) => of.flags(),
            Self::Dlq(of) => of.flags(),
            #[cfg(feature = "top")]
            Self::Top(_) => Vec::new(),
            Self::Config(_) | Self::Worker(_) => Vec::new(),
        }
    }
}

/// A plain number is seconds.
fn seconds(text: &str) -> String {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { format!("{text}s") } else { text.to_owned() }
}
