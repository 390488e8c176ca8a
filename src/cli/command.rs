//! The commands and their flags.

use clap::{Args, Subcommand};

use super::dlq::Dlq;
use super::general::General;
use super::new_topic::NewTopic;
use super::top::Top;

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Write messages from many threads; ends when all are acknowledged
    Produce(Produce),
    /// Read messages with many worker processes
    Consume(Consume),
    /// Produce and consume at once, on a broker of its own unless --brokers names others
    Demo(Demo),
    /// Prove that nothing is lost, repeated, reordered or damaged between producers and workers
    Verify(Verify),
    /// Create, describe or delete topics
    Topics(Topics),
    /// Show dead letters, and send them back to where they came from
    Dlq(Dlq),
    /// Watch a run that has monitoring.listen set, live in the terminal
    Top(Top),
    /// Show or check the settings
    Config(Config),
    /// What the supervisor starts; of no use by hand
    #[command(hide = true)]
    Worker(Worker),
}

/// `produce`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Produce {
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic that is written to [default: test-topic]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Producer threads, each with a client of its own [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Messages of each thread; 0: no limit [default: 100, or no limit with --duration]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub messages_per_thread: Option<String>,
    /// How long to produce, such as 1m; a number alone is seconds; 0: no limit [default: 0]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub duration: Option<String>,
    /// Messages a second, all threads together; 0: as fast as it goes [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// Rates over time instead, such as "ramp 0 to 5000 for 30s"; may be repeated, begins again at its end
    #[arg(long, value_name = "STEP")]
    pub profile: Vec<String>,
    /// A file with a JSON template of the messages; see producer.template in Settings.toml
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    pub template_file: Option<String>,
    /// A file each of whose lines is a message; begins again at its end
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    pub lines_file: Option<String>,
    /// Bytes of a message, such as 200 or 100..1000; 0: as it comes [default: 0]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, help_heading = "Messages")]
    pub size: Option<String>,
    /// Keys of the messages: none, round_robin, uniform, zipf or message [default: none]
    #[arg(long, value_name = "SOURCE", help_heading = "Messages")]
    pub key: Option<String>,
    /// The same seed, settings and threads make the same messages again; 0: others each time [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Messages")]
    pub seed: Option<String>,
    /// Send nothing: print so many messages as JSON lines, without a broker
    #[arg(long, value_name = "N", help_heading = "Messages")]
    pub dry_run: Option<u64>,
    /// none, lz4, zstd, gzip or snappy [default: lz4]
    #[arg(long, value_name = "NAME")]
    pub compression: Option<String>,
    /// At the end, write the latencies' whole histograms, an HDR log, to this file
    #[arg(long, value_name = "FILE")]
    pub latency_file: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `consume`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Consume {
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic that is read [default: test-topic]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// The consumer group, under which Kafka keeps what has been read [default: kafka-actors]
    #[arg(long, value_name = "ID")]
    pub group: Option<String>,
    /// Worker processes, which share the partitions [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Workers")]
    pub processes: Option<String>,
    /// Who deals the partitions to the workers: manual, the supervisor [default: manual]
    #[arg(long, value_name = "WHO", help_heading = "Workers")]
    pub assignment: Option<String>,
    /// How partitions are dealt: range or round_robin [default: range]
    #[arg(long, value_name = "NAME", help_heading = "Workers")]
    pub strategy: Option<String>,
    /// Start at the oldest messages, whatever is committed
    #[arg(long, conflicts_with = "start", help_heading = "Start and end")]
    pub from_beginning: bool,
    /// committed, beginning, end or a time such as 2026-11-23T10:00:00Z [default: committed]
    #[arg(long, value_name = "WHERE", help_heading = "Start and end")]
    pub start: Option<String>,
    /// End at what is the end of each partition at the start
    #[arg(long, help_heading = "Start and end")]
    pub until_end: bool,
    /// End after so many messages; 0: no limit [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Start and end")]
    pub max_messages: Option<String>,
    /// End when no message has come for so long; a number alone is seconds; 0: never [default: 0]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, help_heading = "Start and end")]
    pub idle_exit: Option<String>,
    /// What is done with a message: log, print, count, command, or one of the program's [default: log]
    #[arg(long, value_name = "NAME", help_heading = "Processing")]
    pub processor: Option<String>,
    /// Feed the messages to this program; means --processor command
    #[arg(long, value_name = "TEXT", help_heading = "Processing")]
    pub command: Option<String>,
    /// What becomes of a message that fails: stop, skip or dead_letter [default: stop]
    #[arg(long, value_name = "WHAT", help_heading = "Processing")]
    pub on_failure: Option<String>,
    /// At the end, write the latencies' whole histograms, an HDR log, to this file
    #[arg(long, value_name = "FILE")]
    pub latency_file: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Demo {
    /// Use these brokers, separated by commas [default: one of its own, in memory]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic that is written and read [default: test-topic]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Partitions of the topic, if it does not exist yet
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// Producer threads [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Messages of each thread; 0: no limit [default: 100]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub messages_per_thread: Option<String>,
    /// Messages a second, all threads together; 0: as fast as it goes [default: so many that it takes 4 s]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// Worker processes [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub processes: Option<String>,
    /// At the end, write the latencies' whole histograms, an HDR log, to this file
    #[arg(long, value_name = "FILE")]
    pub latency_file: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `verify`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Verify {
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic that is written and read [default: one of its own, deleted at the end if all is well]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Partitions of the topic, if it does not exist yet
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: i32,
    /// Its replication factor; -1: the brokers' default
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub replication: i32,
    /// Producer threads [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Messages of each thread; 0: no limit [default: 100, or no limit with --duration]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub messages_per_thread: Option<String>,
    /// How long to produce, such as 1m; a number alone is seconds; 0: no limit [default: 0]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub duration: Option<String>,
    /// Messages a second, all threads together; 0: as fast as it goes [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// Keys of the messages: none, round_robin, uniform, zipf or message [default: none]
    #[arg(long, value_name = "SOURCE")]
    pub key: Option<String>,
    /// A file with a JSON template of the messages; see producer.template in Settings.toml
    #[arg(long, value_name = "FILE")]
    pub template_file: Option<String>,
    /// Bytes of a message, such as 200 or 100..1000; 0: as it comes [default: 0]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub size: Option<String>,
    /// Worker processes [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub processes: Option<String>,
    /// The consumer group [default: one of its own]
    #[arg(long, value_name = "ID")]
    pub group: Option<String>,
    /// What is done with a message before it counts as processed [default: count]
    #[arg(long, value_name = "NAME")]
    pub processor: Option<String>,
    /// Feed the messages to this program; means --processor command
    #[arg(long, value_name = "TEXT")]
    pub command: Option<String>,
    /// How long everything may take to be read when nothing more is written; a number alone is seconds [default: 60]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub deadline: Option<String>,
    /// Only produce, and write down in the run file what is acknowledged
    #[arg(long, requires = "run_file", help_heading = "On another machine or day")]
    pub produce_only: bool,
    /// Only consume, and judge by the run file; without one, by what the messages say of themselves
    #[arg(long, conflicts_with = "produce_only", help_heading = "On another machine or day")]
    pub consume_only: bool,
    /// What was acknowledged: written by --produce-only, read by --consume-only
    #[arg(long, value_name = "FILE", help_heading = "On another machine or day")]
    pub run_file: Option<std::path::PathBuf>,
    /// The whole histograms of how long messages took, as an HDR log
    #[arg(long, value_name = "FILE")]
    pub latency_file: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `topics`.
#[derive(Clone, Debug, Args)]
pub struct Topics {
    /// What to do with them.
    #[command(subcommand)]
    pub command: TopicsCommand,
    #[command(flatten)]
    general: General,
}

/// What to do with topics.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicsCommand {
    /// Create topics; one that exists with as many partitions is left as it is
    Create(CreateTopics),
    /// Show partitions, offsets and lag
    Describe(DescribeTopics),
    /// Delete topics and all their messages
    Delete(DeleteTopics),
}

/// `topics create`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct CreateTopics {
    /// Name, partitions and replication factor of each, such as test-topic:6:1; also separated by commas
    #[arg(value_name = "NAME:PARTITIONS:REPLICATION", required = true, value_delimiter = ',')]
    pub topics: Vec<NewTopic>,
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `topics describe`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct DescribeTopics {
    /// The topics, also separated by commas [default: the settings' own]
    #[arg(value_name = "NAME", value_delimiter = ',')]
    pub names: Vec<String>,
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `topics delete`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct DeleteTopics {
    /// The topics, also separated by commas
    #[arg(value_name = "NAME", required = true, value_delimiter = ',')]
    pub names: Vec<String>,
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `config`.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// What to do with the settings.
    #[command(subcommand)]
    pub command: ConfigCommand,
    #[command(flatten)]
    general: General,
}

/// What to do with the settings.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print all settings that hold, as TOML; secrets are ***
    Show(ShowConfig),
    /// Say whether the settings hold, and what is wrong
    Check(CheckConfig),
}

/// `config show`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct ShowConfig {
    /// Say where each value comes from
    #[arg(long)]
    pub origin: bool,
    #[command(flatten)]
    general: General,
}

/// `config check`.
#[derive(Clone, Debug, Args)]
pub struct CheckConfig {
    #[command(flatten)]
    general: General,
}

/// `worker`.
#[derive(Clone, Debug, Args)]
pub struct Worker {
    /// Which of the supervisor's workers this is, from 0.
    #[arg(long)]
    pub slot: usize,
    #[command(flatten)]
    general: General,
}

impl Command {
    /// The command's word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Produce(_) => "produce",
            Self::Consume(_) => "consume",
            Self::Demo(_) => "demo",
            Self::Verify(_) => "verify",
            Self::Topics(_) => "topics",
            Self::Dlq(_) => "dlq",
            Self::Top(_) => "top",
            Self::Config(_) => "config",
            Self::Worker(_) => "worker",
        }
    }

    /// Whether it writes or reads messages, and is measured and watched. (A dry run does neither.)
    pub fn is_run(&self) -> bool {
        match self {
            Self::Produce(of) => of.dry_run.is_none(),
            Self::Consume(_) | Self::Demo(_) | Self::Verify(_) => true,
            _ => false,
        }
    }

    /// The general options after the command, and between it and its own command.
    pub(super) fn general(&self) -> Vec<&General> {
        match self {
            Self::Produce(of) => vec![&of.general],
            Self::Consume(of) => vec![&of.general],
            Self::Demo(of) => vec![&of.general],
            Self::Verify(of) => vec![&of.general],
            Self::Worker(of) => vec![&of.general],
            Self::Topics(Topics { command, general }) => match command {
                TopicsCommand::Create(of) => vec![general, &of.general],
                TopicsCommand::Describe(of) => vec![general, &of.general],
                TopicsCommand::Delete(of) => vec![general, &of.general],
            },
            Self::Dlq(of) => of.all_general(),
            Self::Top(of) => vec![of.general()],
            Self::Config(Config { command, general }) => match command {
                ConfigCommand::Show(of) => vec![general, &of.general],
                ConfigCommand::Check(of) => vec![general, &of.general],
            },
        }
    }

    /// Flag, key, value.
    pub(super) fn flags(&self) -> Vec<(&'static str, &'static str, Option<String>)> {
        match self {
            Self::Produce(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                ("--threads", "producer.threads", of.threads.clone()),
                ("--messages-per-thread", "producer.messages_per_thread", of.messages_per_thread.clone()),
                ("--duration", "producer.duration", of.duration.as_deref().map(seconds)),
                ("--rate", "producer.rate", of.rate.clone()),
                ("--profile", "producer.profile", (!of.profile.is_empty()).then(|| of.profile.join(","))),
                ("--template-file", "producer.template_file", of.template_file.clone()),
                ("--lines-file", "producer.lines_file", of.lines_file.clone()),
                ("--size", "producer.size", of.size.clone()),
                ("--key", "producer.key", of.key.clone()),
                ("--seed", "producer.seed", of.seed.clone()),
                ("--compression", "producer.compression", of.compression.clone()),
                ("--latency-file", "latency.file", of.latency_file.clone()),
            ],
            Self::Consume(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                // Topics that another place names are not meant any more.
                ("--topic", "consumer.topics", of.topic.clone()),
                ("--group", "consumer.group", of.group.clone()),
                ("--processes", "consumer.processes", of.processes.clone()),
                ("--assignment", "consumer.assignment", of.assignment.clone()),
                ("--strategy", "consumer.strategy", of.strategy.clone()),
                ("--from-beginning", "consumer.start", of.from_beginning.then(|| "beginning".to_owned())),
                ("--start", "consumer.start", of.start.clone()),
                ("--until-end", "consumer.until_end", of.until_end.then(|| "true".to_owned())),
                ("--max-messages", "consumer.max_messages", of.max_messages.clone()),
                ("--idle-exit", "consumer.idle_exit", of.idle_exit.as_deref().map(seconds)),
                ("--processor", "consumer.processor", of.processor.clone()),
                // That this means the processor `command` is the settings' matter: it holds for every place.
                ("--command", "consumer.command", of.command.clone()),
                ("--on-failure", "consumer.on_failure", of.on_failure.clone()),
                ("--latency-file", "latency.file", of.latency_file.clone()),
            ],
            Self::Demo(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                ("--topic", "consumer.topics", of.topic.clone()),
                ("--threads", "producer.threads", of.threads.clone()),
                ("--messages-per-thread", "producer.messages_per_thread", of.messages_per_thread.clone()),
                ("--rate", "producer.rate", of.rate.clone()),
                ("--processes", "consumer.processes", of.processes.clone()),
                ("--latency-file", "latency.file", of.latency_file.clone()),
            ],
            Self::Verify(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                ("--threads", "producer.threads", of.threads.clone()),
                ("--messages-per-thread", "producer.messages_per_thread", of.messages_per_thread.clone()),
                ("--duration", "producer.duration", of.duration.as_deref().map(seconds)),
                ("--rate", "producer.rate", of.rate.clone()),
                ("--key", "producer.key", of.key.clone()),
                ("--template-file", "producer.template_file", of.template_file.clone()),
                ("--size", "producer.size", of.size.clone()),
                ("--processes", "consumer.processes", of.processes.clone()),
                ("--group", "consumer.group", of.group.clone()),
                ("--processor", "consumer.processor", of.processor.clone()),
                ("--command", "consumer.command", of.command.clone()),
                ("--deadline", "verify.deadline", of.deadline.as_deref().map(seconds)),
                ("--latency-file", "latency.file", of.latency_file.clone()),
            ],
            Self::Topics(of) => {
                let brokers = match &of.command {
                    TopicsCommand::Create(of) => &of.brokers,
                    TopicsCommand::Describe(of) => &of.brokers,
                    TopicsCommand::Delete(of) => &of.brokers,
                };
                vec![("--brokers", "kafka.brokers", brokers.clone())]
            }
            Self::Dlq(of) => of.flags(),
            Self::Top(_) | Self::Config(_) | Self::Worker(_) => Vec::new(),
        }
    }
}

/// A number alone is seconds.
fn seconds(text: &str) -> String {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { format!("{text}s") } else { text.to_owned() }
}
