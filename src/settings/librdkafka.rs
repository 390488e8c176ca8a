//! Raw librdkafka properties, and the properties that only the program may set.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

use super::redaction::{MASK, is_secret};

/// Raw librdkafka properties, passed on unchanged. `Debug` masks the values of secret ones.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LibrdkafkaConfig(BTreeMap<String, String>);

impl fmt::Debug for LibrdkafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(k, v)| (k, if is_secret(k) { MASK } else { v.as_str() }))).finish()
    }
}

impl Deref for LibrdkafkaConfig {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for LibrdkafkaConfig {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<'a> IntoIterator for &'a LibrdkafkaConfig {
    type Item = (&'a String, &'a String);
    type IntoIter = btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Forbidden properties and their replacements. An entry may list several names of one property.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (&["bootstrap.servers", "metadata.broker.list"], "use kafka.brokers"),
    (&["security.protocol"], "use kafka.security.protocol"),
    (&["sasl.mechanism", "sasl.mechanisms"], "use kafka.security.sasl_mechanism"),
    (&["sasl.username"], "use kafka.security.username"),
    (&["sasl.password"], "use kafka.security.password or kafka.security.password_file"),
    (&["ssl.ca.location"], "use kafka.security.ca_file"),
    (&["ssl.certificate.location"], "use kafka.security.certificate_file"),
    (&["ssl.key.location"], "use kafka.security.key_file"),
    (&["ssl.key.password"], "use kafka.security.key_password"),
    (&["compression.codec", "compression.type"], "use producer.compression"),
    (&["linger.ms", "queue.buffering.max.ms"], "use producer.linger"),
    (&["message.timeout.ms", "delivery.timeout.ms"], "use producer.message_timeout"),
    (&["delivery.report.only.error"], "every delivery is counted, so every one must be reported"),
    (&["transactional.id"], "the program uses no transactions"),
    (&["group.id"], "use consumer.group_id"),
    (
        &["enable.auto.commit", "enable.auto.offset.store", "auto.commit.interval.ms", "auto.commit.enable"],
        "an offset is committed only after its message was processed; use consumer.commit_interval",
    ),
    (&["auto.offset.reset"], "use consumer.start and consumer.auto_offset_reset"),
    (&["enable.partition.eof"], "use consumer.until_end"),
    (
        &["group.protocol", "partition.assignment.strategy", "group.instance.id", "group.remote.assignor"],
        "use consumer.assignment, consumer.assignment_strategy and consumer.membership.group_protocol",
    ),
    (
        &["session.timeout.ms", "heartbeat.interval.ms", "group.protocol.type"],
        "use consumer.membership.session_timeout",
    ),
    (&["allow.auto.create.topics"], "a mistyped topic must not come into being by being read"),
    (&["test.mock.num.brokers"], "the command demo has a broker of its own"),
];

/// Returns why the program rejects this property and what to use instead; `None` if it is allowed.
pub(super) fn forbidden_reason(name: &str) -> Option<String> {
    let (_, instead) = FORBIDDEN.iter().find(|(names, _)| names.contains(&name))?;
    Some(format!("the program sets this property by itself: {instead}"))
}

/// Whether a name has the form of a property name: words separated by single dots.
pub(super) fn is_name(name: &str) -> bool {
    let of_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    name.split('.').all(|word| !word.is_empty() && word.bytes().all(of_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_setting_to_use() {
        assert!(forbidden_reason("linger.ms").unwrap().ends_with("use producer.linger"));
        assert!(forbidden_reason("metadata.broker.list").unwrap().ends_with("use kafka.brokers"));
    }

    #[test]
    fn tuning_is_let_through() {
        for name in ["acks", "enable.idempotence", "partitioner", "batch.size", "queued.max.messages.kbytes", "debug"] {
            assert_eq!(forbidden_reason(name), None, "{name}");
        }
    }

    #[test]
    fn refusals_name_only_settings_that_exist() {
        let words =
            FORBIDDEN.iter().flat_map(|(_, instead)| instead.split([' ', ';', ','])).filter(|w| w.contains('.'));
        for word in words {
            assert!(super::super::keys::KEYS.iter().any(|key| key == word), "{word}");
        }
    }

    #[test]
    fn secret_values_are_not_printed() {
        let mut properties = LibrdkafkaConfig::default();
        properties.insert("ssl.key.pem".to_owned(), "geheim".to_owned());
        properties.insert("sasl.passwd".to_owned(), "geheim".to_owned());
        assert_eq!(format!("{properties:?}"), r#"{"sasl.passwd": "***", "ssl.key.pem": "***"}"#);
    }
}
