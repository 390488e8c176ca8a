//! Invalid input is rejected before any work starts, with an error that names the fix.

use std::time::Duration;

use crate::harness::program::{Ended, kafka_actors, shell};

#[test]
fn an_unknown_setting_names_the_nearest() {
    let ended = kafka_actors("produce --set producer.thread=3").run().expect(2).reports("producer.threads");
    assert!(ended.reason().contains("producer.thread"), "{}", ended.reason());
}

#[test]
fn an_unknown_setting_in_a_file_or_variable_names_where_it_stands() {
    kafka_actors("produce")
        .file("Settings.toml", "[producer]\nthraeds = 3\n")
        .run()
        .expect(2)
        .reports("Settings.toml")
        .reports("threads");
    let ended = kafka_actors("produce").env("KAFKA_ACTORS__PRODUCER__THRAEDS", "3").run().expect(2);
    assert!(ended.stderr.contains("KAFKA_ACTORS__PRODUCER__THRAEDS"), "{}", ended.stderr);
}

#[test]
fn a_wrong_type_names_key_value_and_origin() {
    kafka_actors("produce --threads many")
        .run()
        .expect(2)
        .reports("producer.threads")
        .reports("many")
        .reports("--threads");
}

#[test]
fn contradicting_values_are_both_named() {
    let ended = kafka_actors("consume --start latest --until-end").run().expect(2);
    assert!(ended.stderr.contains("until_end") && ended.stderr.contains("start"), "{}", ended.stderr);
}

#[test]
fn zero_threads_and_zero_processes_are_refused() {
    kafka_actors("produce --threads 0").run().expect(2).reports("producer.threads");
    kafka_actors("consume --processes 0").run().expect(2).reports("consumer.processes");
}

#[test]
fn a_topic_name_that_kafka_refuses_is_refused_here() {
    kafka_actors("produce --topic a/b").run().expect(2).reports("a/b");
    // Clap's own errors come before there is a report.
    kafka_actors("topics create a/b:1:1").run_plain().expect(2).reports("a/b");
    kafka_actors("topics create a:0:1").run_plain().expect(2).reports("a:0:1");
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
    // The broker does not exist: a connection attempt would take until its timeout.
    let line = "$PROGRAM produce --brokers 127.0.0.1:1 --report /no/such/folder/report.json";
    let ended = shell(line).run_plain().expect(2).reports("/no/such/folder/report.json");
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
    kafka_actors("produce --set producer.properties.batch.size=many").run().expect(2).reports("batch.size");
}

#[test]
fn a_worker_that_is_started_by_hand_explains_itself() {
    shell("$PROGRAM worker --slot 0 </dev/null").run_plain().expect(1).reports("not by hand");
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
    let ended = kafka_actors("config show").file("Settings.toml", &broken).run().expect(2).reports("line 2");
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
fn no_secret_is_shown_wherever_it_is_written() {
    let secret = "geheimnis";
    let hidden = |ended: &Ended| {
        let text = format!("{}{}{}", ended.stdout, ended.stderr, ended.report);
        assert!(!text.contains(secret) && !text.contains("geheim"), "{text}");
    };
    for setting in [
        "kafka.properties.sasl.passwd",
        "kafka.properties.sals.pasword",
        "kafka.properties.ssl.anything",
        "producer.properties.apikey",
        "kafka.properties.something.else",
        "kafka.security.passwd",
    ] {
        for command in ["config show", "config check", "produce"] {
            hidden(&kafka_actors(&format!("{command} --set {setting}={secret}")).run().expect(2));
        }
        let (table, name) = setting.split_once("properties.").unwrap_or(("kafka.", "x"));
        let file = format!("[{table}properties]\n'{name}' = ['{secret}']\n");
        hidden(&kafka_actors("config show").file("Settings.toml", &file).run().expect(2));
    }
    for brokers in ["me:geheimnis@localhost:9092", "a:1,SASL_SSL://me:geheim,nis@localhost:9092", "me:geheimnis"] {
        let ended = kafka_actors("produce --brokers").arg(brokers).run().expect(2);
        if brokers.contains('@') {
            hidden(&ended.reports("kafka.security.password"));
        }
    }
    hidden(&kafka_actors("top http://me:geheimnis@localhost:9464").run_plain().expect(2));
    let shown = kafka_actors("config show --set producer.headers=Authorization=geheimnis,plain=geheimnis --set")
        .arg("consumer.command=python3 -u work.py --token geheimnis --url http://me:geheimnis@host/ TOKEN=geheimnis")
        .run()
        .expect(0);
    hidden(&shown);
    assert!(shown.stdout.contains(r#"producer.headers = ["Authorization=***", "plain=***"]"#), "{}", shown.stdout);
    assert!(shown.stdout.contains(r#"["python3", "-u", "work.py", "--token", "***", "#), "{}", shown.stdout);
    hidden(&kafka_actors("config show --set producer.headers=geheimnis").run().expect(2).reports("name=value"));
}

#[test]
fn what_weakens_the_security_is_a_warning_and_in_the_report() {
    let login = "--set kafka.security.username=me --set kafka.security.password=geheim";
    let warnings = |arguments: &str| {
        let ended = kafka_actors(&format!("config check {arguments}")).run().expect(0);
        let warnings: Vec<_> = ended.report["security"]["warnings"].as_array().cloned().unwrap_or_default();
        assert_eq!(ended.stderr.matches("WARN").count(), warnings.len(), "{}", ended.stderr);
        warnings.iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(warnings(""), [""; 0]);
    let plain = warnings(&format!(
        "{login} --set kafka.security.protocol=SASL_PLAINTEXT --set kafka.security.sasl_mechanism=plain"
    ));
    assert!(plain.len() == 1 && plain[0].contains("clear text"), "{plain:?}");
    let unchecked = warnings(
        "--set kafka.security.protocol=SSL --set kafka.properties.enable.ssl.certificate.verification=false --set \
         consumer.properties.ssl.endpoint.identification.algorithm=none",
    );
    assert_eq!(unchecked.len(), 2, "{unchecked:?}");
}

#[test]
fn a_report_that_cannot_be_written_in_the_end_is_a_failure() {
    shell("$PROGRAM config check --report /dev/full").run_plain().expect(1).reports("could not be written");
    shell("$PROGRAM config check --report .").run_plain().expect(2).reports("--report .");
}

#[test]
fn every_line_of_a_settings_file_is_set_but_not_those_of_an_untouched_copy() {
    let defaults = include_str!("../../Settings.toml");
    let from_file = |text: &str| {
        let shown = kafka_actors("config show --origin").file("Settings.toml", text).run().expect(0).stdout;
        let lines = shown.lines().filter(|line| line.contains("# ./Settings.toml")).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    assert_eq!(from_file(defaults), [""; 0]);
    let edited = defaults.replace("threads = 4", "threads = 3");
    assert_ne!(edited, defaults);
    assert!(from_file(&edited).len() > 50, "{:?}", from_file(&edited));
    let one = from_file("[producer]\nmessages_per_thread = 100\nduration = \"3s\"\n");
    assert!(one[0].starts_with("producer.messages_per_thread = 100 "), "{one:?}");
    assert_eq!(one.len(), 2, "{one:?}");
}
