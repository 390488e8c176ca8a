//! Warnings about settings that are valid but insecure: connections without encryption, certificates that are not verified.

use super::{LibrdkafkaConfig, SaslMechanism, SecurityProtocol, Settings};

impl Settings {
    /// Returns what is insecure about the connections and the authentication of the clients, one sentence each; for the log and
    /// the report.
    pub fn security_warnings(&self) -> Vec<String> {
        let security = &self.kafka.security;
        let tables = [
            ("kafka", &self.kafka.properties),
            ("producer", &self.producer.properties),
            ("consumer", &self.consumer.properties),
        ];
        let mut warnings = Vec::new();
        match (security.protocol, security.sasl_mechanism) {
            (SecurityProtocol::SaslPlaintext, SaslMechanism::Plain) => warnings.push(
                "kafka.security.protocol = sasl_plaintext with PLAIN sends the password in clear text over the network; use sasl_ssl"
                    .to_owned(),
            ),
            (SecurityProtocol::SaslPlaintext, mechanism) => warnings.push(format!(
                "kafka.security.protocol = sasl_plaintext with {} does not encrypt: messages can be read and changed on the network, \
                 and the password can be guessed from the login; use sasl_ssl",
                mechanism.word()
            )),
            (SecurityProtocol::Ssl | SecurityProtocol::SaslSsl, _) => {
                for (section, table) in tables {
                    warnings.extend(unverified(section, table));
                }
            }
            (SecurityProtocol::Plaintext, _) => {}
        }
        warnings
    }
}

/// Raw properties that disable checks of TLS.
fn unverified(section: &str, table: &LibrdkafkaConfig) -> Vec<String> {
    let is = |name: &str, words: &[&str]| {
        table.get(name).filter(|value| words.iter().any(|word| value.trim().eq_ignore_ascii_case(word)))
    };
    let verification = "enable.ssl.certificate.verification";
    let identification = "ssl.endpoint.identification.algorithm";
    // The words that librdkafka parses as false.
    let certificate = is(verification, &["false", "f", "0"]).map(|value| {
        format!(
            "{section}.properties.{verification} = {value}: no broker's certificate is checked, so anyone on the way can read the \
             login and all messages; leave it out, and set kafka.security.ca_file"
        )
    });
    let host = is(identification, &["none"]).map(|value| {
        format!(
            "{section}.properties.{identification} = {value}: a broker's certificate may be that of any other host; leave it out"
        )
    });
    certificate.into_iter().chain(host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(change: impl Fn(&mut Settings)) -> Vec<String> {
        let mut settings = crate::settings::defaults();
        change(&mut settings);
        settings.security_warnings()
    }

    #[test]
    fn a_login_without_tls_is_warned_of() {
        for (mechanism, expected) in
            [(SaslMechanism::Plain, "in clear text"), (SaslMechanism::ScramSha512, "SCRAM-SHA-512")]
        {
            for (protocol, count) in
                [(SecurityProtocol::SaslPlaintext, 1), (SecurityProtocol::SaslSsl, 0), (SecurityProtocol::Plaintext, 0)]
            {
                let warnings = warnings(|settings| {
                    settings.kafka.security.protocol = protocol;
                    settings.kafka.security.sasl_mechanism = mechanism;
                });
                assert_eq!(warnings.len(), count, "{warnings:?}");
                assert!(
                    warnings.iter().all(|text| text.contains(expected) && text.contains("sasl_ssl")),
                    "{warnings:?}"
                );
            }
        }
    }

    #[test]
    fn each_check_of_tls_that_is_switched_off_is_warned_of_by_the_property() {
        type Table = fn(&mut Settings) -> &mut LibrdkafkaConfig;
        let tables: [(&str, Table); 3] = [
            ("kafka", |settings| &mut settings.kafka.properties),
            ("producer", |settings| &mut settings.producer.properties),
            ("consumer", |settings| &mut settings.consumer.properties),
        ];
        let cases = [
            ("enable.ssl.certificate.verification", "false", true),
            ("enable.ssl.certificate.verification", "0", true),
            ("enable.ssl.certificate.verification", "true", false),
            ("ssl.endpoint.identification.algorithm", "None", true),
            ("ssl.endpoint.identification.algorithm", "https", false),
        ];
        for (section, table) in tables {
            for (name, value, is_warned) in cases {
                let of = |protocol| {
                    warnings(|settings| {
                        settings.kafka.security.protocol = protocol;
                        table(settings).insert(name.to_owned(), value.to_owned());
                    })
                };
                let found = of(SecurityProtocol::Ssl);
                assert_eq!(found.len(), usize::from(is_warned), "{found:?}");
                assert!(
                    found.iter().all(|text| text.starts_with(&format!("{section}.properties.{name} = "))),
                    "{found:?}"
                );
                assert!(of(SecurityProtocol::Plaintext).is_empty(), "without TLS there is nothing to check");
            }
        }
    }
}
