//! The size limits of messages and batches, and the errors of messages above them.

use super::client_config::{BATCH_SIZE, MESSAGE_MAX_BYTES};

/// The size limits of a producer's messages and batches. See [`super::client_config`] for how a client applies them.
#[derive(Clone, Debug)]
pub(super) struct SizeLimits {
    pub(super) topic: String,
    /// The topic's `max.message.bytes` when the client was created; `None` if the brokers did not report it.
    pub(super) max_message_bytes: Option<u64>,
    /// The client's `batch.size`.
    pub(super) batch_size: String,
    /// The client's `message.max.bytes`.
    pub(super) client_bytes: String,
}

impl SizeLimits {
    /// Why a broker rejected a batch: it has a message that is too large, or the limit was lowered since.
    pub(super) fn refused_by_broker(&self) -> String {
        let Self { topic, max_message_bytes, batch_size, .. } = self;
        let limit = match max_message_bytes {
            Some(limit) => format!("was {limit} when this run began"),
            None => "is not known here".to_owned(),
        };
        format!(
            "Broker: Message size too large: max.message.bytes of the topic {topic:?} {limit}, {BATCH_SIZE} of this client is \
             {batch_size}; a single message is larger than the topic's limit, or the limit was lowered: raise it, or \
             make producer.properties.{BATCH_SIZE} smaller"
        )
    }

    /// Why the client rejected a message.
    pub(super) fn refused_by_client(&self) -> String {
        let Self { topic, max_message_bytes, client_bytes, .. } = self;
        let limit = max_message_bytes.map(|limit| format!(", which is {limit}")).unwrap_or_default();
        format!(
            "Local: Message size too large: it is larger than producer.properties.{MESSAGE_MAX_BYTES} = {client_bytes}; the \
             topic {topic:?} has its own limit (max.message.bytes{limit})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_are_named() {
        let limits = |max_message_bytes| SizeLimits {
            topic: "t".to_owned(),
            max_message_bytes,
            batch_size: "5000".to_owned(),
            client_bytes: "1000000".to_owned(),
        };
        let known = limits(Some(5_000)).refused_by_broker();
        assert!(
            known.contains("topic \"t\" was 5000") && known.contains("batch.size of this client is 5000"),
            "{known}"
        );
        let unknown = limits(None).refused_by_broker();
        assert!(unknown.contains("is not known here"), "{unknown}");
        let local = limits(Some(5_000)).refused_by_client();
        assert!(local.contains("message.max.bytes = 1000000") && local.contains("max.message.bytes, which is 5000"));
    }
}
