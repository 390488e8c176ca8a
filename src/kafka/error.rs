//! What can go wrong with Kafka, in words that say what to do.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::exit::{Exit, ExitCode};
use crate::settings::is_secret;

/// Why Kafka did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say what each is")]
pub enum Failure {
    #[error(
        "librdkafka does not accept the settings: {0}; see kafka.properties, producer.properties, consumer.properties"
    )]
    Settings(String),
    #[error(
        "no broker of kafka.brokers = {brokers:?} could be reached within {waited:?} (kafka.connect_timeout): {reason}; \
         check that the broker runs and that this address is the one it advertises"
    )]
    Unreachable { brokers: String, waited: Duration, reason: String },
    #[error("the brokers {brokers:?} refuse the connection: {reason}; check kafka.security")]
    Refused { brokers: String, reason: String },
    #[error(
        "the topic {topic:?} does not exist; create it with `{program} topics create {topic}:3:1{at}` (name:partitions:replication)"
    )]
    TopicMissing { topic: String, program: String, at: String },
    #[error("the topic {topic:?}: {reason}")]
    Topic { topic: String, reason: String },
    #[error("{what}: {reason}")]
    Request { what: String, reason: String },
}

impl Failure {
    pub(super) fn request(what: impl Into<String>, error: &KafkaError) -> Self {
        Self::Request { what: what.into(), reason: reason(error) }
    }

    pub(super) fn topic_missing(topic: &str, brokers: &str) -> Self {
        let program = std::env::args_os()
            .next()
            .and_then(|path| std::path::Path::new(&path).file_name()?.to_str().map(str::to_owned))
            .unwrap_or_else(|| "kafka-actors".to_owned());
        // The default needs not be said.
        let at = if brokers == "localhost:9092" { String::new() } else { format!(" --brokers {brokers}") };
        Self::TopicMissing { topic: topic.to_owned(), program, at }
    }
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Self {
        let code = if matches!(failure, Failure::Settings(_)) { ExitCode::Usage } else { ExitCode::Failed };
        Self::new(code, failure.to_string())
    }
}

/// A client that could not be made: some property is unknown, or its value is.
pub(super) fn creation(error: &KafkaError) -> Failure {
    Failure::Settings(match error {
        KafkaError::ClientConfig(_, text, key, _) if is_secret(key) => format!("{key}: {text}"),
        KafkaError::ClientConfig(_, text, key, value) => format!("{key} = {value:?}: {text}"),
        KafkaError::ClientCreation(text) => text.clone(),
        other => other.to_string(),
    })
}

/// librdkafka's words for an error, without the library's own wrapping.
pub(super) fn reason(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => code_text(code),
        None => error.to_string(),
    }
}

/// Such as `Broker: Message size too large`, without the code's Rust name.
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
    fn reasons_are_in_kafkas_words() {
        let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
        assert_eq!(reason(&error), "Broker: Message size too large");
    }
}
