//! The typed settings of the producer; see `Settings.toml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Compression, KeySource, LibrdkafkaConfig, RateProfile, SizeRange, de};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Producer {
    #[serde(deserialize_with = "de::count")]
    pub threads: usize,
    /// 0: no limit.
    #[serde(deserialize_with = "de::count")]
    pub messages_per_thread: u64,
    /// Zero: no limit.
    #[serde(with = "de::duration")]
    pub duration: Duration,
    /// Messages per second of all threads together; 0: no limit.
    #[serde(deserialize_with = "de::number")]
    pub rate: f64,
    /// Rates over time; empty: `rate`.
    pub rate_profile: RateProfile,
    #[serde(deserialize_with = "de::switch")]
    pub stamp: bool,
    pub template: String,
    pub template_file: String,
    pub lines_file: String,
    pub message_size: SizeRange,
    /// 0: a random seed is chosen when the run starts.
    #[serde(deserialize_with = "de::count")]
    pub seed: u64,
    pub compression: Compression,
    pub key: KeySource,
    #[serde(deserialize_with = "de::count")]
    pub key_cardinality: u64,
    #[serde(deserialize_with = "de::number")]
    pub key_zipf_exponent: f64,
    pub key_field: String,
    /// Items of the form `name=value`; read them through `header_pairs`.
    #[serde(deserialize_with = "de::list")]
    pub headers: Vec<String>,
    #[serde(deserialize_with = "de::number")]
    pub tombstone_ratio: f64,
    #[serde(with = "de::duration")]
    pub linger: Duration,
    #[serde(with = "de::duration")]
    pub message_timeout: Duration,
    #[serde(with = "de::duration")]
    pub flush_timeout: Duration,
    pub faults: FaultInjection,
    #[serde(default)]
    pub properties: LibrdkafkaConfig,
}

/// Intentional faults, as ratios of all messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct FaultInjection {
    #[serde(deserialize_with = "de::number")]
    pub duplicate: f64,
    #[serde(deserialize_with = "de::number")]
    pub corrupt: f64,
    #[serde(deserialize_with = "de::number")]
    pub oversized: f64,
    #[serde(deserialize_with = "de::count")]
    pub oversized_bytes: usize,
}
