//! `produce`.

use clap::Args;

use super::shared_args::{Amount, Brokers, LatencyFile};

/// `produce`.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct Produce {
    #[command(flatten)]
    pub brokers: Brokers,
    /// The topic to write to [default: test-topic]
    #[arg(id = "kafka.topic", long = "topic", value_name = "NAME")]
    pub topic: Option<String>,
    /// Producer threads, each with its own Kafka client [default: 4]
    #[arg(id = "producer.threads", long = "threads", value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    #[command(flatten)]
    pub amount: Amount,
    /// A rate profile instead of a rate, such as "ramp 0 to 5000 for 30s"; may be repeated, starts over at its end
    #[arg(id = "producer.rate_profile", long = "rate-profile", value_name = "STEP")]
    pub rate_profile: Vec<String>,
    /// A file with a JSON template for messages; see producer.template in Settings.toml
    #[arg(id = "producer.template_file", long = "template-file", value_name = "FILE", help_heading = "Messages")]
    pub template_file: Option<String>,
    /// A file whose lines are the messages; starts over at its end
    #[arg(id = "producer.lines_file", long = "lines-file", value_name = "FILE", help_heading = "Messages")]
    pub lines_file: Option<String>,
    /// Size of a message in bytes, such as 200 or 100..1000; 0: not padded [default: 0]
    #[arg(
        id = "producer.message_size",
        long = "size",
        value_name = "BYTES",
        allow_negative_numbers = true,
        help_heading = "Messages"
    )]
    pub size: Option<String>,
    /// Message keys: none, round_robin, uniform, zipf or message [default: none]
    #[arg(id = "producer.key", long = "key", value_name = "SOURCE", help_heading = "Messages")]
    pub key: Option<String>,
    /// Seed; the same seed, settings and threads generate the same messages; 0: random [default: 0]
    #[arg(
        id = "producer.seed",
        long = "seed",
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Messages"
    )]
    pub seed: Option<String>,
    /// Send nothing: print this number of messages as JSON lines, without a broker
    #[arg(long, value_name = "N", help_heading = "Messages")]
    pub dry_run: Option<u64>,
    /// Compression: none, lz4, zstd, gzip or snappy [default: lz4]
    #[arg(id = "producer.compression", long = "compression", value_name = "NAME")]
    pub compression: Option<String>,
    #[command(flatten)]
    pub latency: LatencyFile,
}
