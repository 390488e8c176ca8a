//! SASL and TLS, through settings alone.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::kafka::{Topic, brokers, tool, variable};
use crate::harness::program::{Program, kafka_actors};
use crate::harness::{unique, wait_for};

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
        let arguments = format!("demo --rate 0 --brokers {}", variable("TEST_KAFKA_SASL_BROKERS"));
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
    // The authorities of the system do not include this one.
    let ended = program.env("KAFKA_ACTORS__KAFKA__SECURITY__CA_FILE", "").run().expect(1);
    assert!(ended.reason().contains("certificate"), "{}", ended.reason());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_password_can_stand_in_a_file() {
    let ended = secured(&format!("demo --rate 0 --brokers {}", variable("TEST_KAFKA_SASL_BROKERS")), "PLAIN", "")
        .file("password", &format!("{}\n", variable("TEST_KAFKA_SASL_PASSWORD")))
        .env("KAFKA_ACTORS__KAFKA__SECURITY__PASSWORD_FILE", "password")
        .run()
        .expect(0);
    assert_eq!(ended.processed(), 400);
}

/// Adds a SCRAM user to the shared broker, or changes its password: as Kafka's own client does, which accepts any text.
fn set_password(user: &str, password: &str) {
    let text = r#"
        import java.util.*;
        import org.apache.kafka.clients.admin.*;
        public class SetPassword {
            public static void main(String[] words) throws Exception {
                try (Admin admin = Admin.create(Map.of("bootstrap.servers", words[0]))) {
                    var info = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096);
                    admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(words[1], info, words[2]))).all().get();
                }
            }
        }"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("SetPassword.java");
    std::fs::write(&path, text).unwrap();
    tool(path.to_str().unwrap(), &[&brokers(), user, password], "");
}

#[test]
#[ignore = "needs a real Kafka"]
fn every_password_that_kafka_takes_works_from_each_place() {
    let topic = Topic::new(1);
    for password in ["sp ace ", "com,ma=\"q'$HOME`", "\u{fc}\u{20ac}\u{1f600}", "1e5"] {
        let user = unique("user");
        set_password(&user, password);
        let describe = |password: &str| {
            secured(&format!("topics describe {}", topic.name), "scram-sha-512", password)
                .env("KAFKA_ACTORS__KAFKA__SECURITY__USERNAME", &user)
        };
        // The brokers may not know a password that has just been set.
        wait_for("the user", || describe(password).run().status.success());
        let from_file = describe("").file("password", &format!("{password}\r\n"));
        from_file.env("KAFKA_ACTORS__KAFKA__SECURITY__PASSWORD_FILE", "password").run().expect(0);
        let from_argument = describe("").arg("--set").arg(&format!("kafka.security.password={password}"));
        from_argument.run().expect(0);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_password_that_is_changed_is_used_by_new_workers() {
    let (topic, user) = (Topic::new(2), unique("user"));
    set_password(&user, "first");
    topic.fill(40);
    let arguments = format!("consume --topic {0} --group {0} --processes 2 --processor count", topic.name);
    let consume = |arguments: &str| {
        secured(arguments, "SCRAM-SHA-512", "")
            .env("KAFKA_ACTORS__KAFKA__SECURITY__USERNAME", &user)
            .file("password", "first\n")
            .env("KAFKA_ACTORS__KAFKA__SECURITY__PASSWORD_FILE", "password")
    };
    wait_for("the user", || consume(&format!("{arguments} --until-end --read-only")).run().status.success());
    let running = consume(&arguments).start();
    wait_for("the first line", || running.stderr().contains("consuming"));
    wait_for("the first messages", || running.in_status("consume", "processed") == 40);
    set_password(&user, "second");
    let before = running.workers();
    running.write_file("password", "second\n");
    running.signal(Signal::SIGHUP);
    wait_for("the new password", || running.stderr().contains("has another password"));
    wait_for("new workers", || {
        let now = running.workers();
        now.len() == before.len() && !now.iter().any(|pid| before.contains(pid))
    });
    topic.fill(40);
    wait_for("messages after the change", || running.in_status("consume", "processed") == 80);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0);
    assert!(!format!("{}{}", ended.stderr, ended.report).contains("\"second\""));
    let workers = ended.report["consume"]["workers"].as_array().unwrap();
    assert!(workers.iter().all(|worker| worker["pids"].as_array().unwrap().len() == 2), "{workers:?}");
    assert_eq!(topic.committed_and_lag(), (80, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn checking_the_settings_asks_the_brokers() {
    let topic = Topic::new(3);
    let check =
        |arguments: &str| kafka_actors(&format!("config check --connect --set kafka.connect_timeout=3s {arguments}"));
    let own = format!("--set kafka.brokers={} --set consumer.group_id={}", brokers(), topic.name);
    let ended = check(&format!("{own} --set kafka.topic={}", topic.name)).run().expect(0);
    for line in ["brokers", "topic", "dead-letter topic", "group", "committed offsets", "rights"] {
        assert!(
            ended.stdout.lines().any(|found| found.starts_with(&format!("ok      {line} "))),
            "{line}: {}",
            ended.stdout
        );
    }
    assert!(ended.stdout.contains("partitions: 3"), "{}", ended.stdout);

    let dead_letters = check(&format!("{own} --set kafka.topic={} --set consumer.on_failure=dead_letter", topic.name));
    let ended = dead_letters.run().expect(1);
    assert!(
        ended.stdout.contains(&format!("FAILED  dead-letter topic  the topic \"{}.dlq\"", topic.name)),
        "{}",
        ended.stdout
    );
    assert!(ended.reason().contains("does not exist"), "{}", ended.reason());

    let ended = check("--set kafka.brokers=127.0.0.1:1").run().expect(1);
    assert!(ended.stdout.starts_with("FAILED  brokers "), "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);

    let running = topic.consume("").start();
    wait_for("the run", || running.stderr().contains("consuming"));
    let ended = check(&format!("{own} --set kafka.topic={}", topic.name)).run().expect(1);
    assert!(
        ended.stdout.contains("FAILED  group ") && ended.reason().contains("is processed by a supervisor on host"),
        "{}",
        ended.stdout
    );
    check(&format!("{own} --set kafka.topic={} --set consumer.wait_for_lock=true", topic.name)).run().expect(0);
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
}

/// The symbols that a program imports from the C library, by `nm`, which comes with the compiler.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn imports(program: &str) -> String {
    let nm = std::process::Command::new("nm").args(["-D", "--undefined-only", program]).output().unwrap();
    assert!(nm.status.success(), "{}", String::from_utf8_lossy(&nm.stderr));
    String::from_utf8_lossy(&nm.stdout).into_owned()
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn c_code_is_compiled_with_checks_for_overrun_buffers() {
    let imports = imports(env!("CARGO_BIN_EXE_kafka-actors"));
    // -fstack-protector-strong, and _FORTIFY_SOURCE of .cargo/config.toml.
    for name in ["__stack_chk_fail", "__memcpy_chk", "__snprintf_chk"] {
        assert!(imports.contains(name), "{name} is not imported; is CFLAGS set otherwise? {imports}");
    }
}
