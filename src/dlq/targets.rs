//! The topics to which a replay may send. Pure.
//!
//! The headers of a dead-letter record name its original topic, but anyone who may write to the dead-letter topic can
//! forge them. So they can only select a topic that the operator has named.

use std::collections::BTreeSet;

use crate::settings::Settings;

/// The suffix of a dead-letter topic after its original topic's name, unless `consumer.dead_letter_topic` names it.
const SUFFIX: &str = ".dlq";

/// See the [module documentation](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Targets(BTreeSet<String>);

impl Targets {
    /// The topics that use one of these dead-letter topics, by the settings or by its name, and the `allowed` topics.
    pub(super) fn new(dead_letter_topics: &[String], allowed: &[String], settings: &Settings) -> Self {
        let by_name = dead_letter_topics.iter().filter_map(|topic| topic.strip_suffix(SUFFIX)).map(str::to_owned);
        let consumed = settings.consumed_topics().into_iter();
        let by_settings = consumed.filter(|topic| dead_letter_topics.contains(&settings.dead_letter_topic(topic)));
        Self(by_name.chain(by_settings).chain(allowed.iter().cloned()).collect())
    }

    /// Returns whether records may be sent to the topic.
    pub(super) fn allows(&self, topic: &str) -> bool {
        self.0.contains(topic)
    }

    /// The topic names, for the log.
    pub(super) fn names(&self) -> String {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(topics: &[&str], allowed: &[&str], dead_letter_topic: &str) -> String {
        let mut settings = crate::settings::defaults();
        settings.consumer.topics = vec!["orders".to_owned(), "audit".to_owned()];
        settings.consumer.dead_letter_topic = dead_letter_topic.to_owned();
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Targets::new(&owned(topics), &owned(allowed), &settings).names()
    }

    #[test]
    fn a_dead_letter_topic_names_its_origin() {
        assert_eq!(names(&["other.dlq"], &[], ""), "other");
        assert_eq!(names(&["orders.dlq", "audit.dlq"], &[], ""), "audit, orders");
        assert_eq!(names(&["dead"], &[], "dead"), "audit, orders", "the settings name it");
    }

    #[test]
    fn anything_else_has_to_be_allowed() {
        assert_eq!(names(&["dead"], &[], ""), "");
        assert_eq!(names(&["dead"], &["x", "y"], ""), "x, y");
    }
}
