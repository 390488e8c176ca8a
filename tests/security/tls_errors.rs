//! Each TLS error has a specific message, which comes soon and names the setting.

use std::time::Duration;

use crate::harness::kafka::{brokers, variable};
use crate::harness::program::{Ended, kafka_actors};
use crate::harness::tls::{Identity, Server, authority, issue, write};

/// Runs `topics describe` with TLS to this address; `ca` and `client` are its authority and its certificate.
fn connect(address: &str, ca: &str, client: Option<&Identity>) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let mut program = kafka_actors(&format!("topics describe x --brokers {address} --set kafka.security.protocol=SSL"));
    if !ca.is_empty() {
        program = program.env("KAFKA_ACTORS__KAFKA__SECURITY__CA_FILE", &write(folder.path(), "ca.pem", ca));
    }
    if let Some(client) = client {
        let certificate = write(folder.path(), "client.pem", &client.certificate_pem());
        let key = write(folder.path(), "client.key", &client.key_pem());
        program = program
            .env("KAFKA_ACTORS__KAFKA__SECURITY__CERTIFICATE_FILE", &certificate)
            .env("KAFKA_ACTORS__KAFKA__SECURITY__KEY_FILE", &key);
    }
    program.run()
}

/// Asserts that the command failed soon, with these words.
fn expect(ended: Ended, words: &[&str]) {
    let ended = ended.expect(1);
    let reason = ended.reason();
    assert!(words.iter().all(|word| reason.contains(word)), "{words:?}: {reason}");
    assert!(!reason.contains("librdkafka") && !reason.contains("error:0A"), "{reason}");
    // Two seconds on an idle machine.
    assert!(ended.took < Duration::from_secs(4), "{:?}: {reason}", ended.took);
}

#[test]
fn each_fault_of_a_brokers_certificate_is_named() {
    let (own, other) = (authority("Own CA"), authority("Other CA"));
    let ca = own.certificate_pem();
    let good = issue(&own, "localhost", (-1, 1));
    let localhost = |server: &Server| format!("localhost:{}", server.port);

    let server = Server::tls(&good, None);
    let words = ["CN=Own CA", "kafka.security.ca_file = "];
    expect(connect(&localhost(&server), &other.certificate_pem(), None), &words);
    expect(connect(&localhost(&server), "", None), &["CN=Own CA", "set kafka.security.ca_file"]);
    let by_address = connect(&format!("127.0.0.1:{}", server.port), &ca, None);
    expect(by_address, &["is for localhost, not for \"127.0.0.1\"", "kafka.brokers"]);

    let server = Server::tls(&issue(&own, "localhost", (-5, -1)), None);
    expect(connect(&localhost(&server), &ca, None), &["has expired", "valid until"]);
    let server = Server::tls(&issue(&own, "localhost", (1, 5)), None);
    expect(connect(&localhost(&server), &ca, None), &["is not valid before"]);
    let server = Server::tls(&issue(&own, "kafka-1.example", (-1, 1)), None);
    expect(
        connect(&localhost(&server), &ca, None),
        &["is for kafka-1.example, not for \"localhost\"", "kafka.brokers"],
    );
}

#[test]
fn a_client_certificate_that_is_missing_or_refused_is_named() {
    let (own, other) = (authority("Own CA"), authority("Other CA"));
    let server = Server::tls(&issue(&own, "localhost", (-1, 1)), Some(&own));
    let address = format!("localhost:{}", server.port);
    let words = ["requires a client certificate", "kafka.security.certificate_file", "kafka.security.key_file"];
    expect(connect(&address, &own.certificate_pem(), None), &words);
    let foreign = issue(&other, "client", (-1, 1));
    let words = ["does not accept the client certificate", "kafka.security.certificate_file = "];
    expect(connect(&address, &own.certificate_pem(), Some(&foreign)), &words);
}

#[test]
fn another_protocol_at_the_port_is_named() {
    let certificate = issue(&authority("Own CA"), "localhost", (-1, 1));
    let tls = Server::tls(&certificate, None);
    let plain = kafka_actors(&format!("produce --brokers localhost:{}", tls.port)).run();
    expect(plain, &["expects TLS", "kafka.security.protocol = plaintext", "ssl or sasl_ssl"]);
    for (text, name) in [("HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"), ("SSH-2.0-OpenSSH_9.9\r\n", "SSH")] {
        let server = Server::saying(text);
        let address = format!("localhost:{}", server.port);
        expect(connect(&address, "", None), &["another protocol", name, "kafka.brokers"]);
        let plain = kafka_actors(&format!("consume --brokers {address}")).run();
        expect(plain, &["another protocol", name, "kafka.brokers"]);
    }
}

#[test]
fn certificate_files_are_checked_before_anything_connects() {
    let (own, other) = (authority("Own CA"), authority("Other CA"));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| write(folder.path(), name, text);
    let check = |ca: &str, certificate: &str, key: &str| {
        kafka_actors("config check --set kafka.security.protocol=ssl")
            .env("KAFKA_ACTORS__KAFKA__SECURITY__CA_FILE", ca)
            .env("KAFKA_ACTORS__KAFKA__SECURITY__CERTIFICATE_FILE", certificate)
            .env("KAFKA_ACTORS__KAFKA__SECURITY__KEY_FILE", key)
            .run()
    };
    let (ca, key) = (file("ca.pem", &own.certificate_pem()), file("own.key", &own.key_pem()));
    check(&ca, &ca, &key).expect(0);
    // The files as an editor on Windows saves them.
    let marked = |name: &str, text: &str| file(name, &format!("\u{feff}{}", text.replace('\n', "\r\n")));
    check(&marked("marked.pem", &own.certificate_pem()), &ca, &marked("marked.key", &own.key_pem())).expect(0);
    check(&file("empty.pem", ""), "", "")
        .expect(2)
        .reports("kafka.security.ca_file")
        .reports("no certificate in PEM format");
    check("", &ca, &ca).expect(2).reports("kafka.security.key_file").reports("no private key in PEM format");
    check("", &ca, &file("other.key", &other.key_pem())).expect(2).reports("is not the key of the first certificate");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_port_of_kafka_with_or_without_tls_or_login_is_distinguished_from_the_others() {
    let sasl = variable("TEST_KAFKA_SASL_BROKERS");
    let plain = kafka_actors(&format!("produce --brokers {sasl}")).run();
    expect(plain, &["expects TLS", "kafka.security.protocol = plaintext"]);
    expect(connect(&brokers(), "", None), &["without TLS", "kafka.security.protocol = ssl", "plaintext"]);
    let authority = std::fs::read_to_string(variable("TEST_KAFKA_SASL_CA")).unwrap();
    expect(connect(&sasl, &authority, None), &["requires a login", "kafka.security.protocol = ssl", "sasl_ssl"]);
    let login =
        "--set kafka.security.username=a --set kafka.security.password=b --set kafka.security.sasl_mechanism=PLAIN";
    let arguments = format!("produce --brokers {} --set kafka.security.protocol=sasl_plaintext {login}", brokers());
    expect(kafka_actors(&arguments).run(), &["takes no login", "kafka.security.protocol = sasl_plaintext"]);
    let marked = format!("\u{feff}{authority}");
    let ended = kafka_actors(&format!("topics describe --brokers {sasl}"))
        .file("ca.pem", &marked)
        .env("KAFKA_ACTORS__KAFKA__SECURITY__PROTOCOL", "SASL_SSL")
        .env("KAFKA_ACTORS__KAFKA__SECURITY__SASL_MECHANISM", "scram-sha-512")
        .env("KAFKA_ACTORS__KAFKA__SECURITY__USERNAME", &variable("TEST_KAFKA_SASL_USERNAME"))
        .env("KAFKA_ACTORS__KAFKA__SECURITY__PASSWORD", &variable("TEST_KAFKA_SASL_PASSWORD"))
        .env("KAFKA_ACTORS__KAFKA__SECURITY__CA_FILE", "ca.pem")
        .run();
    assert!(ended.status.success() || ended.reason().contains("does not exist"), "{}", ended.reason());
}
