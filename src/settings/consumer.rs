//! The typed settings of worker supervision; see `Settings.toml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{GroupProtocol, LastResort, OnExceeded, de};

/// The number and the backoff of retries of a failed message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Retry {
    /// Retries after the first attempt; 0: no retry.
    #[serde(deserialize_with = "de::count")]
    pub attempts: u64,
    #[serde(with = "de::duration")]
    pub backoff: Duration,
    #[serde(with = "de::duration")]
    pub backoff_max: Duration,
}

/// The failure thresholds at which a partition is stopped.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct CircuitBreakerSettings {
    /// Consecutive failures; 0: no threshold.
    #[serde(deserialize_with = "de::count")]
    pub consecutive: u64,
    /// The ratio of failures among the last `window` messages; 0: no threshold.
    #[serde(deserialize_with = "de::number")]
    pub ratio: f64,
    #[serde(deserialize_with = "de::count")]
    pub window: u64,
}

/// The timeouts after which a worker or a partition counts as stalled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Watchdog {
    /// Zero: no timeout.
    #[serde(with = "de::duration")]
    pub stall_timeout: Duration,
    #[serde(with = "de::duration")]
    pub heartbeat_timeout: Duration,
    #[serde(with = "de::duration")]
    pub kill_grace: Duration,
    pub last_resort: LastResort,
}

/// The restart policy for workers that exited unexpectedly.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct RestartPolicy {
    #[serde(with = "de::duration")]
    pub backoff: Duration,
    #[serde(with = "de::duration")]
    pub backoff_max: Duration,
    #[serde(with = "de::duration")]
    pub healthy_after: Duration,
    /// 0: no limit.
    #[serde(deserialize_with = "de::count")]
    pub max_restarts: u64,
    #[serde(with = "de::duration")]
    pub window: Duration,
    pub on_exceeded: OnExceeded,
}

/// The limits at which a worker is replaced by a new process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct RecycleLimits {
    /// 0: no limit.
    #[serde(deserialize_with = "de::count")]
    pub max_rss_mb: u64,
    /// Zero: no limit.
    #[serde(with = "de::duration")]
    pub max_age: Duration,
    /// 0: no limit.
    #[serde(deserialize_with = "de::count")]
    pub max_messages: u64,
}

/// The workers' membership in Kafka's consumer group, with `assignment = "group"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct GroupMembership {
    pub group_protocol: GroupProtocol,
    #[serde(deserialize_with = "de::switch")]
    pub static_membership: bool,
    /// Empty: the host name.
    pub instance_id_prefix: String,
    #[serde(with = "de::duration")]
    pub session_timeout: Duration,
    #[serde(with = "de::duration")]
    pub revoke_timeout: Duration,
}
