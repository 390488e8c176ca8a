//! `verify` and `demo`.

use clap::Args;

use super::shared_args::{Amount, Brokers, LatencyFile, seconds};

/// `verify`.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct Verify {
    #[command(flatten)]
    pub brokers: Brokers,
    /// The topic to write and consume [default: a new one, deleted after a successful run]
    #[arg(id = "kafka.topic", long = "topic", value_name = "NAME")]
    pub topic: Option<String>,
    /// Number of partitions of the topic, if it does not exist
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: i32,
    /// Its replication factor; -1: the brokers' default
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub replication: i32,
    /// Producer threads [default: 4]
    #[arg(id = "producer.threads", long = "threads", value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    #[command(flatten)]
    pub amount: Amount,
    /// Message keys: none, round_robin, uniform, zipf or message [default: none]
    #[arg(id = "producer.key", long = "key", value_name = "SOURCE")]
    pub key: Option<String>,
    /// A file with a JSON template for messages; see producer.template in Settings.toml
    #[arg(id = "producer.template_file", long = "template-file", value_name = "FILE")]
    pub template_file: Option<String>,
    /// Size of a message in bytes, such as 200 or 100..1000; 0: not padded [default: 0]
    #[arg(id = "producer.message_size", long = "size", value_name = "BYTES", allow_negative_numbers = true)]
    pub size: Option<String>,
    /// Worker processes [default: 2]
    #[arg(id = "consumer.processes", long = "processes", value_name = "N", allow_negative_numbers = true)]
    pub processes: Option<String>,
    /// The consumer group [default: a new one]
    #[arg(id = "consumer.group_id", long = "group", value_name = "ID")]
    pub group: Option<String>,
    /// The message processor that runs before a message counts as processed [default: count]
    #[arg(id = "consumer.processor", long = "processor", value_name = "NAME")]
    pub processor: Option<String>,
    /// Send the messages to this program; implies --processor command
    #[arg(id = "consumer.command", long = "command", value_name = "TEXT")]
    pub command: Option<String>,
    /// How long the workers may take to consume the rest after producing has stopped; a plain number is seconds
    /// [default: 60]
    #[arg(id = "verify.timeout", long = "timeout", value_name = "TIME", allow_negative_numbers = true, value_parser = seconds)]
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
    #[command(flatten)]
    pub latency: LatencyFile,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct Demo {
    /// Use these bootstrap servers, separated by commas, not those of the settings [default: an embedded broker]
    #[arg(
        id = "kafka.brokers",
        short = 'b',
        long = "brokers",
        visible_alias = "bootstrap-server",
        value_name = "HOST:PORT,…"
    )]
    pub brokers: Option<String>,
    /// The topic to write and consume [default: a new one, deleted after a successful run]
    #[arg(id = "kafka.topic,consumer.topics", long = "topic", value_name = "NAME")]
    pub topic: Option<String>,
    /// Number of partitions of the topic, if it does not exist
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// Producer threads [default: 4]
    #[arg(id = "producer.threads", long = "threads", value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Messages per thread; 0: no limit [default: 100]
    #[arg(
        id = "producer.messages_per_thread",
        long = "messages-per-thread",
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub messages_per_thread: Option<String>,
    /// Messages per second, all threads together; 0: unlimited [default: a rate for which the run takes 4 s]
    #[arg(id = "producer.rate", long = "rate", value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// Worker processes [default: 2]
    #[arg(id = "consumer.processes", long = "processes", value_name = "N", allow_negative_numbers = true)]
    pub processes: Option<String>,
    #[command(flatten)]
    pub latency: LatencyFile,
}
