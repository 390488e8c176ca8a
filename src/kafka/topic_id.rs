//! The identity of a topic. A topic that is deleted and re-created has the same name and another id: offsets of the
//! old topic do not apply to the new one.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A topic's id, as Kafka's tools print it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicId(String);

/// The ids of topics by name; topics without a known id are left out (brokers before Kafka 2.8 have none).
pub type TopicIds = BTreeMap<String, TopicId>;

impl TopicId {
    /// Creates an id from its base64 form, in the standard or the URL-safe alphabet.
    pub fn new(base64: &str) -> Self {
        Self(base64.replace('+', "-").replace('/', "_"))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A topic that was deleted and created again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recreated {
    /// Its name.
    pub topic: String,
    /// The id of the old topic.
    pub before: TopicId,
    /// The id of the current topic.
    pub now: TopicId,
}

impl fmt::Display for Recreated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, before, now } = self;
        write!(
            formatter,
            "the topic {topic:?} was deleted and created again (its id was {before}, and is {now} now): processed messages and \
             committed offsets belong to the old topic"
        )
    }
}

/// What to do when the new topic must not be consumed without a decision.
pub const DECIDE: &str = "to process the new topic from its first message, set consumer.offset_out_of_range = \"earliest\"; \
     \"latest\" leaves out what it holds by then";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_in_either_alphabet() {
        assert_eq!(TopicId::new("1/+"), TopicId::new("1_-"));
        assert_eq!(TopicId::new("1/+").to_string(), "1_-");
    }
}
