//! Diagnoses why the brokers cannot be used. librdkafka's errors name OpenSSL functions and do not distinguish an
//! expired certificate from an unknown authority; a separate connection to the same address, opened after a failure,
//! does.

use std::sync::mpsc;
use std::time::Duration;

use super::pem;
use super::probe::{self, Certificate, Handshake, NoHandshake, Peer, Tls};
use crate::settings::{LibrdkafkaConfig, Security, SecurityProtocol, Settings};

/// The timeout of the whole diagnosis; name resolution has the operating system's own timeouts.
const TIMEOUT: Duration = Duration::from_millis(1_500);

/// A sentence that names the problem at one of `kafka.brokers` and the setting to change; `None` if no problem is
/// found.
pub(super) fn diagnose(settings: &Settings) -> Option<String> {
    let (settings, (sender, receiver)) = (settings.clone(), mpsc::channel());
    let find = move || {
        let found = settings.kafka.brokers.iter().find_map(|broker| of_broker(&settings, broker));
        // The receiver is dropped after the timeout.
        sender.send(found).ok();
    };
    std::thread::Builder::new().name("diagnosis".to_owned()).spawn(find).ok()?;
    receiver.recv_timeout(TIMEOUT).ok()?
}

fn of_broker(settings: &Settings, broker: &str) -> Option<String> {
    let (host, port) = probe::host_and_port(broker.trim());
    let security = &settings.kafka.security;
    let what = match security.protocol {
        SecurityProtocol::Plaintext | SecurityProtocol::SaslPlaintext => without_tls(security, &host, port),
        SecurityProtocol::Ssl | SecurityProtocol::SaslSsl => with_tls(settings, &host, port),
    };
    Some(format!("kafka.brokers = {broker}: {}", what?))
}

fn without_tls(security: &Security, host: &str, port: u16) -> Option<String> {
    let protocol = security.protocol.word();
    let is_tls = || probe::handshake(host, port, &Tls::default()).is_ok();
    match probe::plain(host, port).ok()? {
        peer @ (Peer::Kafka | Peer::KafkaWithLogin) => of_login(security, &peer),
        Peer::Other(name) => Some(other_protocol(name)),
        Peer::Tls => Some(tls_there(security, protocol)),
        Peer::Unknown | Peer::Alert(_) => is_tls().then(|| tls_there(security, protocol)),
    }
}

/// The problem when the broker's login requirement differs from the settings.
fn of_login(security: &Security, peer: &Peer) -> Option<String> {
    let protocol = security.protocol.word();
    let other = match (security.protocol, peer) {
        (SecurityProtocol::Plaintext, Peer::KafkaWithLogin) => "sasl_plaintext",
        (SecurityProtocol::Ssl, Peer::KafkaWithLogin) => "sasl_ssl",
        (SecurityProtocol::SaslPlaintext, Peer::Kafka) => "plaintext",
        (SecurityProtocol::SaslSsl, Peer::Kafka) => "ssl",
        _ => return None,
    };
    Some(match peer {
        Peer::KafkaWithLogin => format!(
            "this port of a Kafka broker requires a login, and kafka.security.protocol = {protocol} is without; set it to {other}, \
             with kafka.security.sasl_mechanism, username and password"
        ),
        _ => format!(
            "this port of a Kafka broker takes no login, and kafka.security.protocol = {protocol} makes one; set it to {other}, or \
             name the port that does"
        ),
    })
}

fn tls_there(security: &Security, protocol: &str) -> String {
    let other = if security.protocol == SecurityProtocol::Plaintext { "ssl or sasl_ssl" } else { "sasl_ssl" };
    format!(
        "this port expects TLS, and kafka.security.protocol = {protocol} is without; set it to {other}, or name a port without TLS"
    )
}

fn other_protocol(name: &str) -> String {
    let name = if name == "another protocol" { name.to_owned() } else { format!("another protocol ({name})") };
    format!("what listens there speaks {name}, not Kafka's; name a broker's host and port")
}

fn with_tls(settings: &Settings, host: &str, port: u16) -> Option<String> {
    let security = &settings.kafka.security;
    let trust = Trust::of(&settings.kafka.properties);
    let tls = tls_of(security, &trust)?;
    match probe::handshake(host, port, &tls) {
        Ok(Handshake { certificate, peer }) => {
            let refused =
                certificate.filter(|_| trust.is_checked).and_then(|found| of_certificate(security, host, &found));
            refused.or_else(|| match peer {
                Peer::Alert(reason) => of_alert(security, &trust, &reason),
                Peer::Other(name) => Some(other_protocol(name)),
                Peer::Kafka | Peer::KafkaWithLogin => of_login(security, &peer),
                Peer::Tls | Peer::Unknown => None,
            })
        }
        Err(NoHandshake::Unreachable) => of_no_tls(security, host, port),
        Err(NoHandshake::Failed(reason)) => {
            of_no_tls(security, host, port).or_else(|| of_alert(security, &trust, &reason))
        }
    }
}

/// The problem when the port does not speak TLS.
fn of_no_tls(security: &Security, host: &str, port: u16) -> Option<String> {
    match probe::plain(host, port).ok()? {
        Peer::Kafka | Peer::KafkaWithLogin => {
            let (protocol, other) = match security.protocol {
                SecurityProtocol::SaslSsl => ("sasl_ssl", "sasl_plaintext"),
                _ => ("ssl", "plaintext"),
            };
            Some(format!(
                "this port of a Kafka broker is without TLS, and kafka.security.protocol = {protocol} expects it; name the \
                 broker's TLS port, or set it to {other}"
            ))
        }
        Peer::Other(name) => Some(other_protocol(name)),
        Peer::Tls | Peer::Unknown | Peer::Alert(_) => None,
    }
}

/// How raw properties change the client's trust decisions.
struct Trust {
    /// Whether the client verifies the broker's certificate as this module does.
    is_checked: bool,
    checks_host: bool,
    /// Whether a raw property sets the client certificate.
    has_client: bool,
}

impl Trust {
    fn of(properties: &LibrdkafkaConfig) -> Self {
        let is =
            |name: &str, value: &str| properties.get(name).is_some_and(|text| text.trim().eq_ignore_ascii_case(value));
        let has = |names: &[&str]| names.iter().any(|name| properties.contains_key(*name));
        Self {
            is_checked: !is("enable.ssl.certificate.verification", "false")
                && !has(&["ssl.ca.pem", "ssl.ca.certificate.stores", "ssl.engine.location", "ssl.crl.location"]),
            checks_host: !is("ssl.endpoint.identification.algorithm", "none"),
            has_client: has(&["ssl.keystore.location", "ssl.certificate.pem", "ssl.key.pem", "ssl.engine.location"]),
        }
    }
}

/// `None` if a file can no longer be read.
fn tls_of(security: &Security, trust: &Trust) -> Option<Tls> {
    let file = |path: &str| pem::read(path).ok();
    let authorities = if security.ca_file.is_empty() { None } else { Some(file(&security.ca_file)?) };
    let client = if security.certificate_file.is_empty() {
        None
    } else {
        let password = security.key_password.reveal().to_owned();
        Some((file(&security.certificate_file)?, file(&security.key_file)?, password))
    };
    Some(Tls { authorities, client, checks_host: trust.checks_host })
}

/// The problem with a broker's certificate.
fn of_certificate(security: &Security, host: &str, certificate: &Certificate) -> Option<String> {
    let Certificate { problem, problem_text, issuer, names, not_before, not_after } = certificate;
    Some(match *problem {
        openssl_code::OK => return None,
        openssl_code::HAS_EXPIRED => format!(
            "the broker's certificate, or that of its authority, has expired (valid until {not_after}); renew it"
        ),
        openssl_code::NOT_YET_VALID => {
            format!("the broker's certificate is not valid before {not_before}; check the clocks of both machines")
        }
        openssl_code::HOSTNAME_MISMATCH | openssl_code::IP_ADDRESS_MISMATCH => format!(
            "the broker's certificate is for {}, not for {host:?}; name the broker in kafka.brokers, and in its \
             advertised.listeners, as its certificate does",
            names.join(", ")
        ),
        code if openssl_code::UNKNOWN_AUTHORITY.contains(&code) => match security.ca_file.as_str() {
            "" if pem::system_authorities().is_empty() => format!(
                "the broker's certificate cannot be checked: this system has no certificate authorities (no ca-certificates package); \
                 set kafka.security.ca_file to that of {issuer}"
            ),
            "" => format!(
                "the broker's certificate was issued by {issuer}, which is none of this system's authorities; set \
                 kafka.security.ca_file to the file with its certificate"
            ),
            file => format!(
                "the broker's certificate was issued by {issuer}, whose certificate is not in kafka.security.ca_file = {file:?}"
            ),
        },
        _ => format!("the broker's certificate cannot be trusted: {problem_text}; see kafka.security.ca_file"),
    })
}

/// OpenSSL's verification error codes (x509_vfy.h).
mod openssl_code {
    pub(super) const OK: i32 = 0;
    pub(super) const NOT_YET_VALID: i32 = 9;
    pub(super) const HAS_EXPIRED: i32 = 10;
    pub(super) const HOSTNAME_MISMATCH: i32 = 62;
    pub(super) const IP_ADDRESS_MISMATCH: i32 = 64;
    /// The issuer is missing, its signature does not match, or the certificate is self-signed.
    pub(super) const UNKNOWN_AUTHORITY: [i32; 6] = [2, 7, 18, 19, 20, 21];
}

/// The meaning of a TLS alert from the broker, by OpenSSL's text; `None` if it does not concern the settings.
fn of_alert(security: &Security, trust: &Trust, reason: &str) -> Option<String> {
    let about_certificate = [
        "certificate required",
        "bad certificate",
        "certificate unknown",
        "certificate expired",
        "unknown ca",
        "access denied",
        "certificate revoked",
        "unsupported certificate",
        "handshake failure",
    ];
    if about_certificate.iter().any(|part| reason.contains(part)) {
        return Some(if security.certificate_file.is_empty() && !trust.has_client {
            format!(
                "the broker ends TLS ({reason}), most probably since it requires a client certificate; set \
                 kafka.security.certificate_file and kafka.security.key_file"
            )
        } else {
            format!(
                "the broker does not accept the client certificate of kafka.security.certificate_file = {:?}: {reason}",
                security.certificate_file
            )
        });
    }
    reason.contains("alert").then(|| format!("the broker ends TLS: {reason}; see kafka.security"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security() -> Security {
        crate::settings::defaults().kafka.security
    }

    fn certificate(code: i32) -> Certificate {
        Certificate {
            problem: code,
            problem_text: "unsuitable certificate purpose",
            issuer: "CN=Acme CA".to_owned(),
            names: vec!["kafka-1".to_owned(), "10.0.0.1".to_owned()],
            not_before: "Jan  1 00:00:00 2030 GMT".to_owned(),
            not_after: "Jan  1 00:00:00 2020 GMT".to_owned(),
        }
    }

    #[test]
    fn each_fault_of_a_certificate_has_a_sentence() {
        let mut security = security();
        security.ca_file = "ca.pem".to_owned();
        let cases = [
            (10, "has expired (valid until Jan  1 00:00:00 2020 GMT)"),
            (9, "is not valid before Jan  1 00:00:00 2030 GMT"),
            (62, "is for kafka-1, 10.0.0.1, not for \"localhost\"; name the broker in kafka.brokers"),
            (64, "is for kafka-1, 10.0.0.1"),
            (19, "was issued by CN=Acme CA, whose certificate is not in kafka.security.ca_file = \"ca.pem\""),
            (20, "was issued by CN=Acme CA"),
            (26, "see kafka.security.ca_file"),
        ];
        for (code, expected) in cases {
            let text = of_certificate(&security, "localhost", &certificate(code)).unwrap();
            assert!(text.contains(expected), "{code}: {text}");
        }
        assert_eq!(of_certificate(&security, "localhost", &certificate(0)), None);
        security.ca_file.clear();
        assert!(
            of_certificate(&security, "localhost", &certificate(20)).unwrap().contains("set kafka.security.ca_file")
        );
    }

    #[test]
    fn an_alert_about_certificates_names_the_settings() {
        let mut security = security();
        let trust = Trust { is_checked: true, checks_host: true, has_client: false };
        for reason in
            ["tlsv13 alert certificate required", "sslv3 alert bad certificate", "sslv3 alert handshake failure"]
        {
            let text = of_alert(&security, &trust, reason).unwrap();
            assert!(text.contains(reason) && text.contains("kafka.security.key_file"), "{text}");
        }
        security.certificate_file = "client.pem".to_owned();
        assert!(of_alert(&security, &trust, "tlsv1 alert unknown ca").unwrap().contains("= \"client.pem\""));
        assert_eq!(of_alert(&security, &trust, "unexpected eof while reading"), None);
    }

    #[test]
    fn nothing_is_found_where_nothing_listens() {
        let mut settings = crate::settings::defaults();
        settings.kafka.brokers = vec!["127.0.0.1:1".to_owned()];
        assert_eq!(diagnose(&settings), None);
        settings.kafka.security.protocol = SecurityProtocol::Ssl;
        assert_eq!(diagnose(&settings), None);
    }
}
