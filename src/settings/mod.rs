//! The settings: `Settings.toml` < environment < command line; merged, typed and validated.
//!
//! - `kafka`, `producer`, `consumer`: the typed settings, a plain tree, which the supervisor also sends to its workers over their
//!   control sockets. `words`, `rate_profile`, `size_range`, `start_offset`, `librdkafka`: the types of some values.
//! - `keys`: the keys that exist, and the nearest one to an unknown key.
//! - `sources`: reads the layers from which a value can come, lowest first. `values`: the effective values; `origin`: the layer
//!   that set a value (`config show --origin`).
//! - `de`: conversion of texts and TOML values to types.
//! - `load`: reads, converts and validates. `derived`: defaults that are derived from other settings.
//! - `validate`: checks that a type cannot express: ranges, names, conflicts between settings; `topic_name`: Kafka's rule for topic
//!   names.
//! - `password_file`: the password from a file. `redaction`: the values that are never printed. `security_warnings`: unsafe
//!   connection settings. `error`: the errors of all of these.
//!
//! The repository's `Settings.toml` is compiled in as the lowest layer: the documentation of every key and its default
//! are one text and cannot diverge. It also defines which keys exist.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod consumer;
mod de;
mod derived;
mod error;
#[cfg(test)]
mod fuzz_tests;
mod kafka;
mod keys;
mod librdkafka;
mod load;
mod origin;
mod password_file;
mod producer;
mod rate_profile;
mod redaction;
mod security_warnings;
mod size_range;
mod sources;
mod start_offset;
mod topic_name;
mod validate;
mod values;
mod words;

pub use consumer::{CircuitBreakerSettings, Consumer, Watchdog};
pub use kafka::{Kafka, Secret, Security};
pub use librdkafka::LibrdkafkaConfig;
pub use load::{LoadedSettings, load};
#[cfg(feature = "verify")]
pub use origin::Layer;
pub use producer::{FaultInjection, Producer};
pub use rate_profile::{RateProfile, RateStep};
pub(crate) use redaction::{MASK, is_secret, mask_command, mask_logins, mask_userinfo};
pub use size_range::SizeRange;
pub use sources::LoadOptions;
pub use start_offset::StartOffset;
pub(crate) use topic_name::topic_problem;
pub use words::*;

/// All settings. `Settings.toml` documents the meaning, the unit and the default of each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is documented where users read it: in Settings.toml")]
pub struct Settings {
    pub kafka: Kafka,
    pub producer: Producer,
    pub consumer: Consumer,
    pub verify: Verify,
    pub shutdown: Shutdown,
    pub latency: Latency,
    pub logging: Logging,
    pub monitoring: Monitoring,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Verify {
    #[serde(with = "de::duration")]
    pub timeout: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Shutdown {
    #[serde(with = "de::duration")]
    pub timeout: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Latency {
    #[serde(with = "de::duration")]
    pub warm_up: Duration,
    /// Empty: no file is written.
    pub hdr_file: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Logging {
    pub format: LogFormat,
    pub level: LogLevel,
    pub stderr_lines_per_second: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Monitoring {
    /// `None`: the HTTP server is disabled.
    #[serde(deserialize_with = "de::listen")]
    pub listen: Option<SocketAddr>,
    #[serde(with = "de::duration")]
    pub readiness_stall_timeout: Duration,
}

impl Settings {
    /// Returns the topics to consume: `consumer.topics`, or `kafka.topic` if that is empty.
    pub fn consumed_topics(&self) -> Vec<String> {
        if self.consumer.topics.is_empty() { vec![self.kafka.topic.clone()] } else { self.consumer.topics.clone() }
    }

    /// Returns the property that sets `acks`, if there is one: `producer.properties` take precedence over `kafka.properties`.
    pub fn acks_key(&self) -> Option<String> {
        let tables = [("producer", &self.producer.properties), ("kafka", &self.kafka.properties)];
        let names = ACKS_NAMES.iter().flat_map(|name| tables.map(|(section, table)| (section, table, name)));
        let mut set: Vec<_> = names.filter(|(_, table, name)| table.contains_key(**name)).collect();
        set.sort_by_key(|(section, ..)| *section != "producer");
        set.first().map(|(section, _, name)| format!("{section}.properties.{name}"))
    }
}

/// librdkafka's names of the property `acks`; the second one is an alias.
pub(crate) const ACKS_NAMES: [&str; 2] = ["acks", "request.required.acks"];

/// The built-in settings, for tests.
#[cfg(test)]
pub(crate) fn defaults() -> Settings {
    let processors = vec!["log".to_owned()];
    load(LoadOptions { processors, ..LoadOptions::default() }).expect("the defaults are valid").settings
}
