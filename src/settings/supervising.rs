//! What a type cannot say of how workers are supervised: ranges, and settings that exclude each other.

use std::time::Duration;

use super::topic::topic_problem;
use super::{Assignment, Consumer, OnFailure, Settings, Start};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Key, whether it holds, what is allowed.
pub(super) fn ranges(consumer: &Consumer) -> Vec<(&'static str, bool, &'static str)> {
    let within = |value: Duration, least: u64, most: Duration| (Duration::from_millis(least)..=most).contains(&value);
    let Consumer { retry, breaker, watchdog, restart, limits, membership, .. } = consumer;
    let poll = consumer.topic_poll_interval;
    let stall = watchdog.stall_timeout;
    vec![
        (
            "consumer.topic_poll_interval",
            poll.is_zero() || within(poll, 1_000, DAY),
            "allowed: 1s to 1day, or 0s (never)",
        ),
        ("consumer.retry.attempts", retry.attempts <= 1_000_000, "allowed: 0 to 1000000"),
        ("consumer.retry.backoff", within(retry.backoff, 1, HOUR), "allowed: 1ms to 1h"),
        ("consumer.retry.backoff_max", within(retry.backoff_max, 1, DAY), "allowed: 1ms to 1day"),
        ("consumer.breaker.ratio", (0.0..=1.0).contains(&breaker.ratio), "allowed: 0 (any) to 1"),
        ("consumer.breaker.window", (1..=1_000_000).contains(&breaker.window), "allowed: 1 to 1000000"),
        (
            "consumer.watchdog.stall_timeout",
            stall.is_zero() || within(stall, 1_000, DAY),
            "allowed: 1s to 1day, or 0s (never)",
        ),
        ("consumer.watchdog.silence_timeout", within(watchdog.silence_timeout, 1_000, HOUR), "allowed: 1s to 1h"),
        ("consumer.watchdog.grace", within(watchdog.grace, 100, HOUR), "allowed: 100ms to 1h"),
        ("consumer.restart.backoff", within(restart.backoff, 1, HOUR), "allowed: 1ms to 1h"),
        ("consumer.restart.backoff_max", within(restart.backoff_max, 1, DAY), "allowed: 1ms to 1day"),
        ("consumer.restart.healthy_after", within(restart.healthy_after, 100, DAY), "allowed: 100ms to 1day"),
        ("consumer.restart.within", within(restart.within, 1_000, DAY), "allowed: 1s to 1day"),
        ("consumer.restart.most", restart.most <= 10_000, "allowed: 0 (any number) to 10000"),
        ("consumer.limits.rss_mb", limits.rss_mb == 0 || limits.rss_mb >= 32, "allowed: 0 (any), or 32 and more"),
        (
            "consumer.limits.age",
            limits.age.is_zero() || within(limits.age, 1_000, 366 * DAY),
            "allowed: 1s to 1year, or 0s (any)",
        ),
        ("consumer.membership.session_timeout", within(membership.session_timeout, 1_000, HOUR), "allowed: 1s to 1h"),
        ("consumer.membership.revoke_deadline", within(membership.revoke_deadline, 100, HOUR), "allowed: 100ms to 1h"),
    ]
}

impl Settings {
    /// Where copies go of messages of `topic` that could not be processed.
    pub fn dead_letter_topic(&self, topic: &str) -> String {
        let named = &self.consumer.dead_letter_topic;
        if named.is_empty() { format!("{topic}.dlq") } else { named.clone() }
    }

    /// All of them, if there is use for any.
    pub fn dead_letter_topics(&self) -> Vec<String> {
        if self.consumer.on_failure == OnFailure::DeadLetter { self.dead_letter_topics_of_all() } else { Vec::new() }
    }

    /// All of them, whatever becomes of messages that fail now.
    pub fn dead_letter_topics_of_all(&self) -> Vec<String> {
        let mut topics: Vec<_> = self.consumed_topics().iter().map(|topic| self.dead_letter_topic(topic)).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }
}

/// Keys, whether they exclude each other, why.
pub(super) fn contradictions(settings: &Settings) -> Vec<(&'static [&'static str], bool, &'static str)> {
    let consumer = &settings.consumer;
    let is_group = consumer.assignment == Assignment::Group;
    let goes_back = |topic: &String| *topic == consumer.dead_letter_topic;
    vec![
        (
            &["consumer.assignment", "consumer.start"],
            is_group && consumer.start != Start::Committed,
            "a group goes on where it has committed; start elsewhere with another consumer.group, or with assignment = \"manual\"",
        ),
        (
            &["consumer.membership.revoke_deadline", "consumer.membership.session_timeout"],
            consumer.membership.revoke_deadline >= consumer.membership.session_timeout,
            "the group would take a worker for dead while it still finishes its message; revoke_deadline must be shorter",
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
