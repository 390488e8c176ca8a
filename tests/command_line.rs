//! Bad input is found before anything is begun, and told in words that say what to do.

use std::time::Duration;

use crate::harness::program::{kafka_actors, shell};

#[test]
fn an_unknown_setting_names_the_nearest() {
    let ended = kafka_actors("produce --set producer.thread=3").run().expect(2).says("producer.threads");
    assert!(ended.reason().contains("producer.thread"), "{}", ended.reason());
}

#[test]
fn an_unknown_setting_in_a_file_or_variable_names_where_it_stands() {
    kafka_actors("produce")
        .file("Settings.toml", "[producer]\nthraeds = 3\n")
        .run()
        .expect(2)
        .says("Settings.toml")
        .says("threads");
    let ended = kafka_actors("produce").env("KAFKA_ACTORS__PRODUCER__THRAEDS", "3").run().expect(2);
    assert!(ended.stderr.contains("KAFKA_ACTORS__PRODUCER__THRAEDS"), "{}", ended.stderr);
}

#[test]
fn a_wrong_type_names_key_value_and_origin() {
    kafka_actors("produce --threads many").run().expect(2).says("producer.threads").says("many").says("--threads");
}

#[test]
fn contradicting_values_are_both_named() {
    let ended = kafka_actors("consume --start end --until-end").run().expect(2);
    assert!(ended.stderr.contains("until_end") && ended.stderr.contains("start"), "{}", ended.stderr);
}

#[test]
fn zero_threads_and_zero_processes_are_refused() {
    kafka_actors("produce --threads 0").run().expect(2).says("producer.threads");
    kafka_actors("consume --processes 0").run().expect(2).says("consumer.processes");
}

#[test]
fn a_topic_name_that_kafka_refuses_is_refused_here() {
    kafka_actors("produce --topic a/b").run().expect(2).says("a/b");
    // Clap's own errors come before there is a report.
    kafka_actors("topics create a/b:1:1").run_plain().expect(2).says("a/b");
    kafka_actors("topics create a:0:1").run_plain().expect(2).says("a:0:1");
}

#[test]
fn flags_win_over_set_over_environment_over_file() {
    let show = |arguments: &str| {
        kafka_actors(&format!("config show --origin {arguments}"))
            .file("Settings.toml", "[producer]\nthreads = 2\nrate = 2\n[kafka]\ntopic = \"from-file\"\n")
            .env("KAFKA_ACTORS__PRODUCER__THREADS", "3")
            .env("KAFKA_ACTORS__PRODUCER__RATE", "3")
            .run()
            .expect(0)
            .stdout
    };
    let shown = show("--set producer.rate=4");
    let line = |key: &str| {
        shown.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {shown}")).to_owned()
    };
    assert!(line("kafka.topic").contains("from-file") && line("kafka.topic").contains("Settings.toml"), "{shown}");
    assert!(line("producer.threads").contains("KAFKA_ACTORS__PRODUCER__THREADS"), "{shown}");
    assert!(line("producer.rate").contains("--set"), "{shown}");
}

#[test]
fn secrets_are_never_shown() {
    let secret = "swordfish";
    let settings = format!(
        "[kafka.security]\nprotocol = \"sasl_plaintext\"\nsasl_mechanism = \"PLAIN\"\nusername = \"u\"\npassword = \"{secret}\"\n"
    );
    let shown = kafka_actors("config show --origin").file("Settings.toml", &settings).run().expect(0);
    assert!(shown.stdout.contains("***"), "{}", shown.stdout);
    let text = format!("{}{}{}", shown.stdout, shown.stderr, shown.report);
    assert!(!text.contains(secret), "{text}");
}

#[test]
fn an_unreachable_broker_is_one_clear_error_in_time() {
    for command in ["produce", "consume", "topics describe"] {
        let ended =
            kafka_actors(&format!("{command} --brokers 127.0.0.1:1 --set kafka.connect_timeout=1s")).run().expect(1);
        assert!(ended.took < Duration::from_secs(8), "{command}: {:?}", ended.took);
        assert!(ended.reason().contains("127.0.0.1:1"), "{}", ended.reason());
        assert_eq!(ended.stderr.lines().count(), 1, "one line, not librdkafka's noise:\n{}", ended.stderr);
    }
}

#[test]
fn an_unwritable_report_is_found_before_the_run() {
    // Produced to a broker that is not there: it would take its time if it came to that.
    let line = "$PROGRAM produce --brokers 127.0.0.1:1 --report /no/such/folder/report.json";
    let ended = shell(line).run_plain().expect(2).says("/no/such/folder/report.json");
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
}

#[test]
fn the_report_tells_of_wrong_settings_too() {
    let ended = kafka_actors("consume --processes 0").run().expect(2);
    assert_eq!(ended.report["command"], "consume");
    assert!(ended.reason().contains("consumer.processes"), "{}", ended.reason());
}

#[test]
fn a_property_that_librdkafka_does_not_know_is_named() {
    for side in ["kafka", "producer", "consumer"] {
        let ended = kafka_actors(&format!("config check --set {side}.properties.no.such.thing=1")).run().expect(2);
        assert!(ended.reason().contains("no.such.thing"), "{}", ended.reason());
    }
    kafka_actors("produce --set producer.properties.batch.size=many").run().expect(2).says("batch.size");
}

#[test]
fn worker_by_hand_says_that_it_is_of_no_use() {
    shell("$PROGRAM worker --slot 0 </dev/null").run_plain().expect(1).says("not by hand");
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = kafka_actors("--help").run_plain().expect(0);
    for word in ["produce", "consume", "demo", "topics", "config", "Exit codes"] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    assert!(!help.stdout.contains("worker --slot"), "{}", help.stdout);
    assert!(kafka_actors("--version").run_plain().expect(0).stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_secret_is_not_shown_by_errors_either() {
    let secret = "swordfish";
    let broken = format!("[kafka.security]\npassword = \"{secret}\" oops\n");
    let ended = kafka_actors("config show").file("Settings.toml", &broken).run().expect(2).says("line 2");
    assert!(!format!("{}{}", ended.stderr, ended.report).contains(secret), "{}", ended.stderr);
    for argument in [
        format!("kafka.security.password {secret}"),
        format!("kafka.properties.sasl.oauthbearer.clientsecret={secret}"),
    ] {
        let ended = kafka_actors("config check --set").arg(&argument).run().expect(2);
        assert!(!format!("{}{}", ended.stderr, ended.report).contains(secret), "{}", ended.stderr);
    }
}

#[test]
fn a_report_that_cannot_be_written_in_the_end_is_a_failure() {
    shell("$PROGRAM config check --report /dev/full").run_plain().expect(1).says("could not be written");
    shell("$PROGRAM config check --report .").run_plain().expect(2).says("--report .");
}

#[test]
fn a_copy_of_the_settings_file_changes_only_what_was_edited() {
    let defaults = include_str!("../Settings.toml");
    let edited = defaults.replace("threads = 4", "threads = 3");
    assert_ne!(edited, defaults);
    let shown = kafka_actors("config show --origin").file("Settings.toml", &edited).run().expect(0).stdout;
    let from_file: Vec<_> = shown.lines().filter(|line| line.contains("# ./Settings.toml")).collect();
    assert_eq!(from_file.len(), 1, "{shown}");
    assert!(from_file[0].starts_with("producer.threads = 3"), "{shown}");
}
