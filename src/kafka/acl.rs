//! Rights granted by Kafka ACLs: which one is missing when the brokers deny a request.

use std::fmt;

use rdkafka::error::RDKafkaErrorCode;

/// A right: an operation on a resource, named as in `kafka-acls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// Reads a topic's metadata and offsets.
    DescribeTopic(String),
    /// Fetches a topic's messages and commits its offsets.
    ReadTopic(String),
    /// Produces to a topic. An idempotent producer also needs a producer id, for which brokers before Kafka 2.8
    /// require `IDEMPOTENT_WRITE` on the cluster.
    WriteTopic(String),
    /// Creates a topic.
    CreateTopic(String),
    /// Adds partitions to a topic.
    AlterTopic(String),
    /// Deletes a topic.
    DeleteTopic(String),
    /// Joins a group and commits offsets for it.
    ReadGroup(String),
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DescribeTopic(topic) => write!(
                f,
                "DESCRIBE on topic {topic:?} (READ, which consuming needs, and WRITE, which producing needs, include it)"
            ),
            Self::ReadTopic(topic) => write!(f, "READ on topic {topic:?}"),
            Self::WriteTopic(topic) => {
                write!(
                    f,
                    "WRITE on topic {topic:?} (brokers before Kafka 2.8 also want IDEMPOTENT_WRITE on the cluster)"
                )
            }
            Self::CreateTopic(topic) => write!(f, "CREATE on topic {topic:?}, or on the cluster"),
            Self::AlterTopic(topic) => write!(f, "ALTER on topic {topic:?}"),
            Self::DeleteTopic(topic) => write!(f, "DELETE on topic {topic:?}"),
            Self::ReadGroup(group) => {
                write!(f, "READ on group {group:?} (DESCRIBE is enough to see what it has committed)")
            }
        }
    }
}

/// Returns whether the brokers denied a request for lack of a right. A retry does not help.
pub(super) fn is_denied(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{ClusterAuthorizationFailed, GroupAuthorizationFailed, TopicAuthorizationFailed};
    matches!(code, TopicAuthorizationFailed | GroupAuthorizationFailed | ClusterAuthorizationFailed)
}

/// The rights that a request needs: on its topic and on its group.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    pub(super) topic: Option<Right>,
    pub(super) group: Option<Right>,
}

impl Needs {
    pub(super) fn of_topic(right: Right) -> Self {
        Self { topic: Some(right), group: None }
    }

    /// The missing right that the error code reports.
    pub(super) fn missing(&self, code: RDKafkaErrorCode) -> Option<Right> {
        match code {
            // CREATE and a producer id can also be granted on the cluster; the text of the topic's right names both.
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                self.topic.clone()
            }
            RDKafkaErrorCode::GroupAuthorizationFailed => self.group.clone(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_request_names_the_right_on_its_resource() {
        let needs = Needs {
            topic: Some(Right::ReadTopic("orders".to_owned())),
            group: Some(Right::ReadGroup("billing".to_owned())),
        };
        let text = |needs: &Needs, code| needs.missing(code).map(|right| right.to_string());
        assert_eq!(text(&needs, RDKafkaErrorCode::TopicAuthorizationFailed).unwrap(), "READ on topic \"orders\"");
        let group = text(&needs, RDKafkaErrorCode::GroupAuthorizationFailed).unwrap();
        assert!(group.starts_with("READ on group \"billing\""), "{group}");
        assert_eq!(text(&needs, RDKafkaErrorCode::NotCoordinator), None);
        let producer = Needs::of_topic(Right::WriteTopic("orders".to_owned()));
        let id = text(&producer, RDKafkaErrorCode::ClusterAuthorizationFailed).unwrap();
        assert!(id.contains("WRITE on topic \"orders\"") && id.contains("IDEMPOTENT_WRITE on the cluster"), "{id}");
    }
}
