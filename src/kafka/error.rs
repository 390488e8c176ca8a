//! Errors of Kafka operations, with texts that tell the operator what to do.

use std::time::Duration;

use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaConfRes;

use super::acl::{Needs, Right};
use crate::exit::{ExitCode, ExitStatus};
use crate::os::limits;
use crate::settings::{MASK, is_secret, mask_userinfo};

/// An error of a Kafka operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say what each is")]
pub enum KafkaError {
    #[error(
        "librdkafka does not accept the settings: {0}; see kafka.properties, producer.properties, consumer.properties"
    )]
    Settings(String),
    #[error(
        "no broker of kafka.brokers = {brokers:?} could be reached within {waited:?} (kafka.connect_timeout): {reason}; \
         check that the broker runs and that this address is the one it advertises"
    )]
    Unreachable { brokers: String, waited: Duration, reason: String },
    /// A TLS file is missing or invalid.
    #[error("{0}")]
    Tls(String),
    /// The diagnosis of a failing connection; it names the settings.
    #[error("{0}")]
    Diagnosed(String),
    #[error("the brokers {brokers:?} refuse the connection: {reason}; check kafka.security")]
    Refused { brokers: String, reason: String },
    #[error(
        "the topic {topic:?} does not exist; create it with `{program} topics create {topic}:3:1{at}` (name:partitions:replication)"
    )]
    TopicMissing { topic: String, program: String, at: String },
    #[error(
        "the topic {topic:?} exists already, with {found} partitions and not {wanted}; add them with \
         `{program} topics alter {topic}:{wanted}{at}`"
    )]
    TooFewPartitions { topic: String, found: usize, wanted: usize, program: String, at: String },
    #[error("the topic {topic:?}: {reason}")]
    Topic { topic: String, reason: String },
    /// The topic accepts nothing at the moment; the message itself may be valid.
    #[error("the topic {topic:?}: {reason}")]
    Unavailable { topic: String, reason: String },
    #[error(
        "{what}: the brokers deny it, since the right {right} is missing ({reason}); grant it to this client's user, for example \
         with kafka-acls"
    )]
    Denied { what: String, right: Box<Right>, reason: String },
    #[error("a Kafka client could not be created: {0}")]
    Resources(String),
    #[error("{what}: {reason}")]
    Request { what: String, reason: String },
    /// The same request may succeed later: a broker, a leader, the controller or a coordinator is not ready.
    #[error("{what}: {reason}")]
    NotReady { what: String, reason: String },
}

impl KafkaError {
    pub(super) fn request(what: impl Into<String>, error: &RdKafkaError) -> Self {
        Self::with_reason(what, reason(error), error)
    }

    /// The error of a request, with a text for its reason.
    pub(super) fn with_reason(what: impl Into<String>, reason: String, error: &RdKafkaError) -> Self {
        let what = what.into();
        match code_of(error).is_some_and(is_not_ready) {
            true => Self::NotReady { what, reason },
            false => Self::Request { what, reason },
        }
    }

    /// The error of a request that was denied because a right is missing.
    pub(super) fn denied(what: impl Into<String>, right: Right, code: RDKafkaErrorCode) -> Self {
        Self::Denied { what: what.into(), right: Box::new(right), reason: code_text(code) }
    }

    /// The error of a denied request that needs these rights; `None` if another error occurred.
    pub(super) fn of_denied(needs: &Needs, what: impl Into<String>, error: &RdKafkaError) -> Option<Self> {
        let code = error.rdkafka_error_code()?;
        Some(Self::denied(what, needs.missing(code)?, code))
    }

    /// The error of a request that needs these rights.
    pub(super) fn of_request(needs: &Needs, what: impl Into<String>, error: &RdKafkaError) -> Self {
        let what = what.into();
        Self::of_denied(needs, what.as_str(), error).unwrap_or_else(|| Self::request(what, error))
    }

    /// Returns whether a right is missing: a retry fails until an administrator grants it.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    pub(super) fn topic_missing(topic: &str, brokers: &str) -> Self {
        Self::TopicMissing { topic: topic.to_owned(), program: program(), at: at(brokers) }
    }

    /// A topic to be created exists with fewer partitions.
    pub(super) fn too_few_partitions(topic: &str, found: usize, wanted: usize, brokers: &str) -> Self {
        Self::TooFewPartitions { topic: topic.to_owned(), found, wanted, program: program(), at: at(brokers) }
    }
}

/// Whether the same request may succeed later, because of a broker, leader, controller or coordinator that is not
/// ready.
pub(super) fn is_not_ready(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerNotAvailable, BrokerTransportFailure, CoordinatorLoadInProgress, CoordinatorNotAvailable,
        FencedLeaderEpoch, KafkaStorageError, LeaderNotAvailable, NetworkException, NotController, NotCoordinator,
        NotLeaderForPartition, OffsetNotAvailable, OperationTimedOut, ReplicaNotAvailable, RequestTimedOut,
        UnknownLeaderEpoch,
    };
    matches!(
        code,
        AllBrokersDown
            | BrokerNotAvailable
            | BrokerTransportFailure
            | CoordinatorLoadInProgress
            | CoordinatorNotAvailable
            | FencedLeaderEpoch
            | KafkaStorageError
            | LeaderNotAvailable
            | NetworkException
            | NotController
            | NotCoordinator
            | NotLeaderForPartition
            | OffsetNotAvailable
            | OperationTimedOut
            | ReplicaNotAvailable
            | RequestTimedOut
            | UnknownLeaderEpoch
    )
}

/// The name of this program's executable.
fn program() -> String {
    std::env::args_os()
        .next()
        .and_then(|path| std::path::Path::new(&path).file_name()?.to_str().map(str::to_owned))
        .unwrap_or_else(|| "kafka-actors".to_owned())
}

/// The `--brokers` flag for a suggested command line; empty for the default.
fn at(brokers: &str) -> String {
    if brokers == "localhost:9092" { String::new() } else { format!(" --brokers {brokers}") }
}

impl From<KafkaError> for ExitStatus {
    fn from(failure: KafkaError) -> Self {
        let code = if matches!(failure, KafkaError::Settings(_) | KafkaError::Tls(_)) {
            ExitCode::Usage
        } else {
            ExitCode::Failed
        };
        Self::new(code, failure.to_string())
    }
}

/// The error of a client that could not be created: an operating system limit, or an invalid property.
pub(super) fn creation(error: &RdKafkaError) -> KafkaError {
    if let RdKafkaError::ClientCreation(text) = error
        && limits::explanation(text).is_some()
    {
        return KafkaError::Resources(limits::named_text(text));
    }
    KafkaError::Settings(match error {
        // An unknown name may be a misspelt password property, so its value is not shown.
        RdKafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, text, key, _) => format!("{key}: {text}"),
        RdKafkaError::ClientConfig(_, text, key, value) if is_secret(key) => {
            format!("{key}: {}", if value.is_empty() { text.clone() } else { text.replace(value.as_str(), MASK) })
        }
        RdKafkaError::ClientConfig(_, text, key, value) => mask_userinfo(&format!("{key} = {value:?}: {text}")),
        RdKafkaError::Nul(_) => "a value has a NUL character".to_owned(),
        RdKafkaError::ClientCreation(text) => text.clone(),
        other => other.to_string(),
    })
}

/// librdkafka's error text without rdkafka's wrapping.
pub(super) fn reason(error: &RdKafkaError) -> String {
    match code_of(error) {
        Some(code) => code_text(code),
        None => error.to_string(),
    }
}

/// The code of an error, if it has one.
fn code_of(error: &RdKafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        // Left out by rdkafka.
        RdKafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    }
}

/// The text of an error code, such as `Broker: Message size too large`, without the Rust name.
pub(super) fn code_text(code: RDKafkaErrorCode) -> String {
    let text = code.to_string();
    match text.split_once(" (") {
        Some((_, inner)) => inner.strip_suffix(')').unwrap_or(inner).to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_a_broker_cannot_serve_yet_is_known_as_such() {
        let failed = |error: RdKafkaError| KafkaError::request("it", &error);
        for code in [RDKafkaErrorCode::OperationTimedOut, RDKafkaErrorCode::UnknownLeaderEpoch] {
            for error in [RdKafkaError::AdminOp(code), RdKafkaError::MetadataFetch(code)] {
                assert!(matches!(failed(error.clone()), KafkaError::NotReady { .. }), "{error:?}");
            }
        }
        let refused = RdKafkaError::AdminOp(RDKafkaErrorCode::ClusterAuthorizationFailed);
        assert!(matches!(failed(refused), KafkaError::Request { .. }));
    }

    #[test]
    fn a_limit_of_the_operating_system_is_no_wrong_setting() {
        let created = |text: &str| creation(&RdKafkaError::ClientCreation(text.to_owned()));
        let thread = created("Failed to create thread: Resource temporarily unavailable (11)");
        assert!(matches!(&thread, KafkaError::Resources(text) if text.contains("RLIMIT_NPROC")), "{thread}");
        assert!(matches!(created("`acks` must be set to `all`"), KafkaError::Settings(_)));
    }

    #[test]
    fn reasons_are_in_kafkas_words() {
        let error = RdKafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
        assert_eq!(reason(&error), "Broker: Message size too large");
    }
}
