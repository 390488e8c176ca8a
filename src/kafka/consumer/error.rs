//! Why a consumer client cannot continue.

use rdkafka::error::RDKafkaErrorCode;

use crate::kafka::error::code_text;

/// The reason why a client cannot continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerError {
    /// A new client would fail in the same way.
    Permanent(String),
    /// A new client may succeed.
    Transient(String),
    /// The brokers still have a member with this instance id (KIP-848) that did not leave; they reject the id until
    /// its session times out.
    InstanceIdInUse(String),
}

impl ConsumerError {
    /// The error for a fatal error of the client.
    pub(super) fn from_fatal(code: RDKafkaErrorCode, text: String) -> Self {
        match code {
            RDKafkaErrorCode::UnreleasedInstanceId => Self::InstanceIdInUse(text),
            RDKafkaErrorCode::FencedInstanceId => Self::Permanent(format!(
                "{text}: a newer member has the same static id, and the group has fenced this one; two supervisors have \
                 one consumer.membership.instance_id_prefix: give each its own, or set \
                 consumer.membership.static_membership = false"
            )),
            RDKafkaErrorCode::UnsupportedVersion | RDKafkaErrorCode::UnsupportedFeature => Self::Permanent(format!(
                "{text}: these brokers do not support consumer.membership.group_protocol = \"consumer\", which needs Kafka 4.0; \
                     use \"classic\""
            )),
            _ => match permanent_group_error(code) {
                Some(text) => Self::Permanent(text),
                None => Self::Transient(text),
            },
        }
    }
}

/// The text for a group error that a retry does not resolve.
pub(super) fn permanent_group_error(code: RDKafkaErrorCode) -> Option<String> {
    let what_to_do = match code {
        RDKafkaErrorCode::InconsistentGroupProtocol => {
            "other members of consumer.group_id do not use the cooperative-sticky assignor or use another \
             consumer.membership.group_protocol: stop them, or use another group"
        }
        RDKafkaErrorCode::InvalidSessionTimeout => {
            "the brokers allow another range (group.min.session.timeout.ms, group.max.session.timeout.ms): change \
             consumer.membership.session_timeout"
        }
        _ => return None,
    };
    Some(format!("{}; {what_to_do}", code_text(code)))
}
