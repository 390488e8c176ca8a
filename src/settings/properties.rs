//! Raw properties of librdkafka: those that the program sets by itself, and those that are secret.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

/// Raw librdkafka properties, handed on as they are. `Debug` hides the values of those that are secret.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(k, v)| (k, if is_secret(k) { "***" } else { v.as_str() }))).finish()
    }
}

impl Deref for Properties {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Properties {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<'a> IntoIterator for &'a Properties {
    type Item = (&'a String, &'a String);
    type IntoIter = btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Names, and what to do instead. Several of them are one property under two names.
const REFUSED: &[(&[&str], &str)] = &[
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
    (&["group.id"], "use consumer.group"),
    (
        &["enable.auto.commit", "enable.auto.offset.store", "auto.commit.interval.ms", "auto.commit.enable"],
        "an offset is committed only after its message was processed; use consumer.commit_interval",
    ),
    (&["auto.offset.reset"], "use consumer.start and consumer.without_commit"),
    (&["enable.partition.eof"], "use consumer.until_end"),
    (
        &["group.protocol", "partition.assignment.strategy", "group.instance.id", "group.remote.assignor"],
        "use consumer.assignment, consumer.strategy and consumer.membership.protocol",
    ),
    (
        &["session.timeout.ms", "heartbeat.interval.ms", "group.protocol.type"],
        "use consumer.membership.session_timeout",
    ),
    (&["allow.auto.create.topics"], "a mistyped topic must not come into being by being read"),
    (&["test.mock.num.brokers"], "the command demo has a broker of its own"),
];

/// Why the program refuses this property, and what to use instead.
pub(super) fn refusal(name: &str) -> Option<String> {
    let (_, instead) = REFUSED.iter().find(|(names, _)| names.contains(&name))?;
    Some(format!("the program sets this property by itself: {instead}"))
}

/// Whether a property can be named so: words between single dots.
pub(super) fn is_name(name: &str) -> bool {
    let of_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    name.split('.').all(|word| !word.is_empty() && word.bytes().all(of_word))
}

/// What names of properties contain whose values are secret.
const SECRET: &[&str] = &[
    "password",
    "passphrase",
    "secret",
    "token",
    "key.pem",
    "private.key",
    "ssl_key",
    "sasl.jaas",
    "oauthbearer.config",
    "http.headers",
];

/// Whether the value of this property must not be printed.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_setting_to_use() {
        assert!(refusal("linger.ms").unwrap().ends_with("use producer.linger"));
        assert!(refusal("metadata.broker.list").unwrap().ends_with("use kafka.brokers"));
    }

    #[test]
    fn tuning_is_let_through() {
        for name in ["acks", "enable.idempotence", "partitioner", "batch.size", "queued.max.messages.kbytes", "debug"] {
            assert_eq!(refusal(name), None, "{name}");
        }
    }

    #[test]
    fn refusals_name_only_settings_that_exist() {
        let words = REFUSED.iter().flat_map(|(_, instead)| instead.split([' ', ';', ','])).filter(|w| w.contains('.'));
        for word in words {
            assert!(super::super::keys::KEYS.iter().any(|key| key == word), "{word}");
        }
    }

    #[test]
    fn secrets_are_known_by_name() {
        for name in [
            "sasl.password",
            "ssl.keystore.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "sasl.jaas.config",
        ] {
            assert!(is_secret(name), "{name}");
        }
        assert!(!is_secret("batch.size"));
        let mut properties = Properties::default();
        properties.insert("ssl.key.pem".to_owned(), "geheim".to_owned());
        assert_eq!(format!("{properties:?}"), r#"{"ssl.key.pem": "***"}"#);
    }
}
