//! What a topic may be called.

/// Kafka's rule for the names of topics.
pub(crate) fn topic_problem(topic: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let holds = (1..=249).contains(&topic.len()) && topic.chars().all(allowed) && !matches!(topic, "." | "..");
    (!holds).then(|| {
        format!("{topic:?} is no name for a topic; allowed: 1 to 249 of A-Z, a-z, 0-9, \".\", \"_\" and \"-\", not \".\" or \"..\"")
    })
}
