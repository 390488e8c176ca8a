//! Flags that several commands have.

use std::convert::Infallible;

use clap::Args;

/// The cluster.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct Brokers {
    /// Bootstrap servers, separated by commas [default: localhost:9092]
    #[arg(
        id = "kafka.brokers",
        short = 'b',
        long = "brokers",
        visible_alias = "bootstrap-server",
        value_name = "HOST:PORT,…"
    )]
    pub brokers: Option<String>,
}

/// The amount of messages to produce.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct Amount {
    /// Messages per thread; 0: no limit [default: 100, or no limit with --duration]
    #[arg(
        id = "producer.messages_per_thread",
        long = "messages-per-thread",
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub messages_per_thread: Option<String>,
    /// How long to produce, such as 1m; a plain number is seconds; 0: no limit [default: 0]
    #[arg(id = "producer.duration", long = "duration", value_name = "TIME", allow_negative_numbers = true, value_parser = seconds)]
    pub duration: Option<String>,
    /// Messages per second, all threads together; 0: unlimited [default: 0]
    #[arg(id = "producer.rate", long = "rate", value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<String>,
}

/// The file for latencies.
#[derive(Clone, Debug, Args)]
#[allow(dead_code, missing_docs, reason = "the texts are those of --help; `flags` reads the values by their ids")]
pub struct LatencyFile {
    /// Write the latency histograms to this file at the end, as an HDR log
    #[arg(id = "latency.hdr_file", long = "latency-file", value_name = "FILE")]
    pub latency_file: Option<String>,
}

/// Parses a duration flag: a plain number is seconds.
pub(super) fn seconds(text: &str) -> Result<String, Infallible> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    Ok(if digits { format!("{text}s") } else { text.to_owned() })
}
