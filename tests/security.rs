//! SASL and TLS, through settings alone.

use std::time::Duration;

use crate::harness::kafka::variable;
use crate::harness::program::{Program, kafka_actors};
use crate::harness::unique;

fn secured(arguments: &str, mechanism: &str, password: &str) -> Program {
    kafka_actors(&format!("{arguments} --brokers {}", variable("TEST_KAFKA_SASL_BROKERS")))
        .env("KAFKA_ACTORS__KAFKA__SECURITY__PROTOCOL", "sasl_ssl")
        .env("KAFKA_ACTORS__KAFKA__SECURITY__SASL_MECHANISM", mechanism)
        .env("KAFKA_ACTORS__KAFKA__SECURITY__USERNAME", &variable("TEST_KAFKA_SASL_USERNAME"))
        .env("KAFKA_ACTORS__KAFKA__SECURITY__PASSWORD", password)
        .env("KAFKA_ACTORS__KAFKA__SECURITY__CA_FILE", &variable("TEST_KAFKA_SASL_CA"))
}

#[test]
#[ignore = "needs a real Kafka"]
fn the_demonstration_over_tls_with_scram_and_plain() {
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let arguments = format!("demo --rate 0 --topic {}", unique("secured"));
        let ended =
            secured(&arguments, mechanism, &variable("TEST_KAFKA_SASL_PASSWORD")).run().expect(0).expect_committed();
        assert_eq!((ended.acknowledged(), ended.processed()), (400, 400));
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_wrong_password_is_one_clear_error_at_once_and_is_not_shown() {
    for command in ["produce", "consume"] {
        let ended = secured(command, "SCRAM-SHA-512", "swordfish").run().expect(1);
        assert!(ended.took < Duration::from_secs(8), "{:?}", ended.took);
        assert!(ended.reason().contains("refuse") && ended.reason().contains("kafka.security"), "{}", ended.reason());
        assert!(!format!("{}{}", ended.stderr, ended.report).contains("swordfish"));
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn an_unknown_certificate_is_refused() {
    let program = secured("produce", "PLAIN", &variable("TEST_KAFKA_SASL_PASSWORD"));
    // Somebody else's authority: the system's.
    let ended = program.env("KAFKA_ACTORS__KAFKA__SECURITY__CA_FILE", "").run().expect(1);
    assert!(ended.reason().contains("certificate"), "{}", ended.reason());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_password_can_stand_in_a_file() {
    let ended = secured(&format!("demo --rate 0 --topic {}", unique("secured")), "PLAIN", "")
        .file("password", &format!("{}\n", variable("TEST_KAFKA_SASL_PASSWORD")))
        .env("KAFKA_ACTORS__KAFKA__SECURITY__PASSWORD_FILE", "password")
        .run()
        .expect(0);
    assert_eq!(ended.processed(), 400);
}
