//! The rule for topic names.

/// Characters of regular expressions and wildcards, which topic names cannot contain.
const OF_PATTERNS: [char; 13] = ['^', '$', '*', '+', '?', '[', ']', '(', ')', '{', '}', '|', '\\'];

/// Returns why a topic name is invalid by Kafka's rule; `None` if it is valid.
pub(crate) fn topic_problem(topic: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let holds = (1..=249).contains(&topic.len()) && topic.chars().all(allowed) && !matches!(topic, "." | "..");
    let hint = if topic.contains(OF_PATTERNS) {
        "; patterns (regular expressions, wildcards) are not supported: give the name of each topic (`topics list` shows them)"
    } else {
        ""
    };
    (!holds).then(|| {
        format!(
            "{topic:?} is no name for a topic; allowed: 1 to 249 of A-Z, a-z, 0-9, \".\", \"_\" and \"-\", not \".\" or \"..\"{hint}"
        )
    })
}
