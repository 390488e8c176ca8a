//! Checks of the consumer settings that their types cannot express: ranges, and settings that exclude each other.

use std::time::Duration;

use crate::settings::topic_name::topic_problem;
use crate::settings::{Assignment, Consumer, OnFailure, Settings, StartOffset};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The range checks: key, whether the value is valid, allowed values.
pub(super) fn ranges(consumer: &Consumer) -> Vec<(&'static str, bool, &'static str)> {
    let within = |value: Duration, least: u64, most: Duration| (Duration::from_millis(least)..=most).contains(&value);
    let Consumer { retry, circuit_breaker, watchdog, restart, recycle, membership, .. } = consumer;
    let refresh = consumer.metadata_refresh_interval;
    let stall = watchdog.stall_timeout;
    vec![
        (
            "consumer.metadata_refresh_interval",
            refresh.is_zero() || within(refresh, 1_000, DAY),
            "allowed: 1s to 1day, or 0s (never)",
        ),
        ("consumer.retry.attempts", retry.attempts <= 1_000_000, "allowed: 0 to 1000000"),
        ("consumer.retry.backoff", within(retry.backoff, 1, HOUR), "allowed: 1ms to 1h"),
        ("consumer.retry.backoff_max", within(retry.backoff_max, 1, DAY), "allowed: 1ms to 1day"),
        ("consumer.circuit_breaker.ratio", (0.0..=1.0).contains(&circuit_breaker.ratio), "allowed: 0 (any) to 1"),
        ("consumer.circuit_breaker.window", (1..=1_000_000).contains(&circuit_breaker.window), "allowed: 1 to 1000000"),
        (
            "consumer.watchdog.stall_timeout",
            stall.is_zero() || within(stall, 1_000, DAY),
            "allowed: 1s to 1day, or 0s (never)",
        ),
        ("consumer.watchdog.heartbeat_timeout", within(watchdog.heartbeat_timeout, 1_000, HOUR), "allowed: 1s to 1h"),
        ("consumer.watchdog.kill_grace", within(watchdog.kill_grace, 100, HOUR), "allowed: 100ms to 1h"),
        ("consumer.restart.backoff", within(restart.backoff, 1, HOUR), "allowed: 1ms to 1h"),
        ("consumer.restart.backoff_max", within(restart.backoff_max, 1, DAY), "allowed: 1ms to 1day"),
        ("consumer.restart.healthy_after", within(restart.healthy_after, 100, DAY), "allowed: 100ms to 1day"),
        ("consumer.restart.window", within(restart.window, 1_000, DAY), "allowed: 1s to 1day"),
        ("consumer.restart.max_restarts", restart.max_restarts <= 10_000, "allowed: 0 (any number) to 10000"),
        (
            "consumer.recycle.max_rss_mb",
            recycle.max_rss_mb == 0 || recycle.max_rss_mb >= 32,
            "allowed: 0 (any), or 32 and more",
        ),
        (
            "consumer.recycle.max_age",
            recycle.max_age.is_zero() || within(recycle.max_age, 1_000, 366 * DAY),
            "allowed: 1s to 1year, or 0s (any)",
        ),
        ("consumer.membership.session_timeout", within(membership.session_timeout, 1_000, HOUR), "allowed: 1s to 1h"),
        ("consumer.membership.revoke_timeout", within(membership.revoke_timeout, 100, HOUR), "allowed: 100ms to 1h"),
    ]
}

impl Settings {
    /// Returns the dead-letter topic for messages of `topic` that could not be processed.
    pub fn dead_letter_topic(&self, topic: &str) -> String {
        let named = &self.consumer.dead_letter_topic;
        if named.is_empty() { format!("{topic}.dlq") } else { named.clone() }
    }

    /// Returns the dead-letter topics of all consumed topics; empty unless `on_failure` is `dead_letter`.
    pub fn dead_letter_topics(&self) -> Vec<String> {
        if self.consumer.on_failure == OnFailure::DeadLetter { self.dead_letter_topics_of_all() } else { Vec::new() }
    }

    /// Returns the dead-letter topics of all consumed topics, regardless of `on_failure`.
    pub fn dead_letter_topics_of_all(&self) -> Vec<String> {
        let mut topics: Vec<_> = self.consumed_topics().iter().map(|topic| self.dead_letter_topic(topic)).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }
}

/// The conflict checks: keys, whether they exclude each other, reason.
pub(super) fn contradictions(settings: &Settings) -> Vec<(&'static [&'static str], bool, &'static str)> {
    let consumer = &settings.consumer;
    let is_group = consumer.assignment == Assignment::Group;
    let goes_back = |topic: &String| *topic == consumer.dead_letter_topic;
    vec![
        (
            &["consumer.assignment", "consumer.start"],
            is_group && consumer.start != StartOffset::Committed,
            "a group goes on where it has committed; start elsewhere with another consumer.group_id, or with assignment = \"manual\"",
        ),
        (
            &["consumer.read_only", "consumer.assignment"],
            consumer.read_only && is_group,
            "a member of a group takes partitions from the others; look with assignment = \"manual\" (--assignment manual)",
        ),
        (
            &["consumer.membership.revoke_timeout", "consumer.membership.session_timeout"],
            consumer.membership.revoke_timeout >= consumer.membership.session_timeout,
            "the group would take a worker for dead while it still finishes its message; revoke_timeout must be shorter",
        ),
        (
            &["consumer.retry.backoff", "consumer.retry.backoff_max"],
            consumer.retry.backoff > consumer.retry.backoff_max,
            "the first pause is longer than the longest",
        ),
        (
            &["consumer.restart.backoff", "consumer.restart.backoff_max"],
            consumer.restart.backoff > consumer.restart.backoff_max,
            "the first pause is longer than the longest",
        ),
        (
            &["consumer.dead_letter_topic", "consumer.topics"],
            consumer.on_failure == OnFailure::DeadLetter && settings.consumed_topics().iter().any(goes_back),
            "dead letters would be read again at once",
        ),
        (
            &["consumer.on_failure", "consumer.topics"],
            settings.dead_letter_topics().iter().any(|topic| topic_problem(topic).is_some()),
            "with \".dlq\" behind it, a topic's name is longer than Kafka allows; choose a dead_letter_topic",
        ),
    ]
}
