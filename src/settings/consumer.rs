//! The typed settings of the consumer and of worker supervision; see `Settings.toml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Assignment, AssignmentStrategy, AutoOffsetReset, GroupProtocol, LastResort, LibrdkafkaConfig, OffsetOutOfRange,
    OnExceeded, OnFailure, StartOffset, de,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Consumer {
    /// Empty: `kafka.topic`. Read it through [`Settings::consumed_topics`].
    #[serde(deserialize_with = "de::list")]
    pub topics: Vec<String>,
    #[serde(deserialize_with = "de::count")]
    pub processes: usize,
    pub assignment: Assignment,
    pub assignment_strategy: AssignmentStrategy,
    pub group_id: String,
    #[serde(deserialize_with = "de::switch")]
    pub supervisor_lock: bool,
    #[serde(deserialize_with = "de::switch")]
    pub wait_for_lock: bool,
    /// `committed`, `earliest`, `latest` or a time.
    pub start: StartOffset,
    pub auto_offset_reset: AutoOffsetReset,
    /// Nothing is committed or dead-lettered.
    #[serde(deserialize_with = "de::switch")]
    pub read_only: bool,
    #[serde(deserialize_with = "de::switch")]
    pub until_end: bool,
    /// 0: no limit.
    #[serde(deserialize_with = "de::count")]
    pub max_messages: u64,
    /// Zero: no limit.
    #[serde(with = "de::duration")]
    pub idle_exit: Duration,
    pub processor: String,
    #[serde(deserialize_with = "de::command")]
    pub command: Vec<String>,
    #[serde(with = "de::duration")]
    pub commit_interval: Duration,
    #[serde(deserialize_with = "de::count")]
    pub memory_budget_mb: u64,
    pub on_failure: OnFailure,
    /// Empty: the message's topic with the suffix `.dlq`.
    pub dead_letter_topic: String,
    pub offset_out_of_range: OffsetOutOfRange,
    /// Zero: never.
    #[serde(with = "de::duration")]
    pub metadata_refresh_interval: Duration,
    pub retry: Retry,
    pub circuit_breaker: CircuitBreakerSettings,
    pub watchdog: Watchdog,
    pub restart: RestartPolicy,
    pub recycle: RecycleLimits,
    pub membership: GroupMembership,
    #[serde(default)]
    pub properties: LibrdkafkaConfig,
}

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
