//! The typed settings of how workers are supervised; see `Settings.toml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Exceeded, GroupProtocol, LastResort, parse};

/// How often a message that failed is tried again, and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Retry {
    /// Beyond the first one; 0: none.
    #[serde(deserialize_with = "parse::count")]
    pub attempts: u64,
    #[serde(with = "parse::duration")]
    pub backoff: Duration,
    #[serde(with = "parse::duration")]
    pub backoff_max: Duration,
}

/// When so much fails that a partition is stopped.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Breaker {
    /// 0: any number.
    #[serde(deserialize_with = "parse::count")]
    pub consecutive: u64,
    /// Of the last `window` messages; 0: any.
    #[serde(deserialize_with = "parse::number")]
    pub ratio: f64,
    #[serde(deserialize_with = "parse::count")]
    pub window: u64,
}

/// When a worker or a partition counts as stuck.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Watchdog {
    /// Zero: never.
    #[serde(with = "parse::duration")]
    pub stall_timeout: Duration,
    #[serde(with = "parse::duration")]
    pub silence_timeout: Duration,
    #[serde(with = "parse::duration")]
    pub grace: Duration,
    pub last_resort: LastResort,
}

/// How a worker that died is started again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Restart {
    #[serde(with = "parse::duration")]
    pub backoff: Duration,
    #[serde(with = "parse::duration")]
    pub backoff_max: Duration,
    #[serde(with = "parse::duration")]
    pub healthy_after: Duration,
    /// 0: any number.
    #[serde(deserialize_with = "parse::count")]
    pub most: u64,
    #[serde(with = "parse::duration")]
    pub within: Duration,
    pub exceeded: Exceeded,
}

/// When a worker is replaced by a fresh one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Limits {
    /// 0: any.
    #[serde(deserialize_with = "parse::count")]
    pub rss_mb: u64,
    /// Zero: any.
    #[serde(with = "parse::duration")]
    pub age: Duration,
    /// 0: any number.
    #[serde(deserialize_with = "parse::count")]
    pub messages: u64,
}

/// How workers are members of Kafka's consumer group, with `assignment = "group"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Membership {
    pub protocol: GroupProtocol,
    #[serde(deserialize_with = "parse::switch")]
    pub fixed: bool,
    /// Empty: the host's name.
    pub host: String,
    #[serde(with = "parse::duration")]
    pub session_timeout: Duration,
    #[serde(with = "parse::duration")]
    pub revoke_deadline: Duration,
}
