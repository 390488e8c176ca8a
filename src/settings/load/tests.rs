use std::ffi::OsString;
use std::time::Duration;

use super::*;
use crate::settings::{Compression, Secret, StartOffset};

mod derived;

fn pairs<const N: usize>(items: [(&str, &str); N]) -> Vec<(String, String)> {
    items.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

fn variables<const N: usize>(items: [(&str, &str); N]) -> Vec<(String, OsString)> {
    items.map(|(name, value)| (name.to_owned(), value.into())).to_vec()
}

fn inputs() -> LoadOptions {
    let processors = ["log", "print", "count", "command"].map(str::to_owned).to_vec();
    // An existing, empty file: the tests must not depend on a file in the working directory.
    LoadOptions { processors, config_file: Some("/dev/null".into()), ..LoadOptions::default() }
}

fn with_sets(sets: &[&str]) -> Result<LoadedSettings, SettingsError> {
    load(LoadOptions { sets: sets.iter().map(|&set| set.to_owned()).collect(), ..inputs() })
}

fn with_flags(flags: &[(&str, &str, &str)]) -> LoadOptions {
    let owned = |&(flag, key, value): &(&str, &str, &str)| (flag.to_owned(), key.to_owned(), value.to_owned());
    LoadOptions { flags: flags.iter().map(owned).collect(), ..inputs() }
}

fn with_file(text: &str) -> (tempfile::NamedTempFile, Result<LoadedSettings, SettingsError>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    let loaded = load(LoadOptions { config_file: Some(file.path().to_owned()), ..inputs() });
    (file, loaded)
}

fn error(result: Result<LoadedSettings, SettingsError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_built_in_file_loads_and_has_exactly_the_keys_of_the_types() {
    let loaded = load(inputs()).unwrap();
    fn keys_of(prefix: &str, value: &serde_json::Value) -> Vec<String> {
        match value.as_object() {
            Some(table) if !prefix.ends_with("properties") => {
                table.iter().flat_map(|(name, value)| keys_of(&keys::join(prefix, name), value)).collect()
            }
            _ => vec![prefix.to_owned()],
        }
    }
    let mut known = KEYS.clone();
    known.sort();
    let mut typed = keys_of("", &serde_json::to_value(&loaded.settings).unwrap());
    typed.sort();
    assert_eq!(known, typed);
}

#[test]
fn a_higher_layer_wins_and_its_origin_is_reported() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let key = "producer.threads";
    let mut inputs = inputs();
    let mut reported = Vec::new();
    let mut record = |inputs: &LoadOptions| {
        let loaded = load(inputs.clone()).unwrap();
        reported.push((loaded.settings.producer.threads, loaded.origin(key).to_string()));
    };
    record(&inputs);
    inputs.program = pairs([(key, "11")]);
    record(&inputs);
    std::fs::write(&file, "producer.threads = 12").unwrap();
    inputs.config_file = Some(file.path().to_owned());
    record(&inputs);
    inputs.environment = variables([("KAFKA_ACTORS__PRODUCER__THREADS", "13"), ("PATH", "/bin")]);
    record(&inputs);
    inputs.sets = vec!["producer.threads=0".to_owned(), "producer.threads=14".to_owned()];
    record(&inputs);
    inputs.flags = vec![("--threads".to_owned(), key.to_owned(), "15".to_owned())];
    record(&inputs);
    let expected = [
        (4, "Settings.toml (built in)".to_owned()),
        (11, "the program".to_owned()),
        (12, file.path().display().to_string()),
        (13, "environment variable KAFKA_ACTORS__PRODUCER__THREADS".to_owned()),
        (14, "--set".to_owned()),
        (15, "--threads".to_owned()),
    ];
    assert_eq!(reported, expected);
}

#[test]
fn a_complete_copy_of_the_defaults_without_a_change_sets_nothing() {
    let program = pairs([("producer.threads", "11")]);
    let with_text = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let program = program.clone();
        load(LoadOptions { config_file: Some(file.path().to_owned()), program, ..inputs() }).unwrap()
    };
    assert_eq!(with_text(keys::BUILT_IN).settings.producer.threads, 11);
    let edited = keys::BUILT_IN.replace("processes = 2", "processes = 3");
    assert_ne!(edited, keys::BUILT_IN);
    assert_eq!(with_text(&edited).settings.producer.threads, 4, "then every line in it is set");
}

#[test]
fn each_key_is_set_by_a_line_that_repeats_its_default() {
    for (number, key) in KEYS.iter().enumerate().filter(|(_, key)| !key.ends_with("properties")) {
        let default = keys::BUILT_IN.parse::<toml::Table>().unwrap();
        let default = key.split('.').fold(&toml::Value::Table(default), |at, name| &at[name]).clone();
        let (_file, loaded) = with_file(&format!("{key} = {default}"));
        assert_eq!(loaded.unwrap().origin(key).layer(), Layer::File, "{number}: {key}");
    }
}

#[test]
fn texts_become_what_the_setting_is() {
    let settings = with_sets(&[
        "kafka.brokers=a:1, [::1]:2",
        "consumer.until_end=true",
        "producer.rate=12.5",
        "producer.flush_timeout=1m 30s",
        "producer.compression=zstd",
        "consumer.start=2026-11-23T10:00:00Z",
        "consumer.command=sh -c 'cat  -n' \"\" a\\ b",
        "consumer.max_messages=1_000",
    ]);
    let settings = settings.unwrap().settings;
    assert_eq!(settings.kafka.brokers, ["a:1", "[::1]:2"]);
    assert!(settings.consumer.until_end);
    assert_eq!(settings.producer.rate, 12.5);
    assert_eq!(settings.producer.flush_timeout, Duration::from_secs(90));
    assert_eq!(settings.producer.compression, Compression::Zstd);
    assert_eq!(settings.consumer.start, StartOffset::Time(1_795_428_000_000));
    assert_eq!(settings.consumer.command, ["sh", "-c", "cat  -n", "", "a b"]);
    assert_eq!(settings.consumer.max_messages, 1_000);
}

#[test]
fn toml_values_become_what_the_setting_is() {
    let text =
        "[kafka]\nbrokers = 'a,b'\n[consumer]\nstart = 2026-11-23T10:00:00Z\nidle_exit = 0\ncommand = ['x', 'y z']";
    let settings = with_file(text).1.unwrap().settings;
    assert_eq!(settings.kafka.brokers, ["a", "b"]);
    assert_eq!(settings.consumer.start, StartOffset::Time(1_795_428_000_000));
    assert_eq!(settings.consumer.idle_exit, Duration::ZERO);
    assert_eq!(settings.consumer.command, ["x", "y z"]);
}

#[test]
fn raw_properties_come_from_every_place_one_by_one() {
    let (file, _) = with_file("[producer.properties]\n'batch.size' = 1\n'retries' = 2\nacks = 'all'");
    let loaded = load(LoadOptions {
        config_file: Some(file.path().to_owned()),
        environment: variables([
            ("KAFKA_ACTORS__PRODUCER__PROPERTIES__BATCH_SIZE", "3"),
            ("KAFKA_ACTORS__KAFKA__PROPERTIES", "debug=broker,log_level=7"),
        ]),
        sets: vec!["producer.properties.retry.backoff.ms=4".to_owned(), "producer.properties=retries=5".to_owned()],
        ..inputs()
    });
    let settings = loaded.unwrap().settings;
    let text = |(name, value): (&String, &String)| format!("{name}={value}");
    let of_producer: Vec<_> = settings.producer.properties.iter().map(text).collect();
    assert_eq!(of_producer, ["acks=all", "batch.size=3", "retries=5", "retry.backoff.ms=4"]);
    let of_all: Vec<_> = settings.kafka.properties.iter().map(text).collect();
    assert_eq!(of_all, ["debug=broker", "log_level=7"]);
}

#[test]
fn an_unknown_setting_names_the_nearest() {
    let reported = error(with_sets(&["producer.thread=4"]));
    assert_eq!(reported, "unknown setting producer.thread (--set); did you mean producer.threads?");
    let (file, loaded) = with_file("[kafka]\nbrokres = 1");
    let path = file.path().display();
    assert_eq!(error(loaded), format!("unknown setting kafka.brokres ({path}); did you mean kafka.brokers?"));
    let reported = error(load(LoadOptions { program: pairs([("consumer.procesor", "x")]), ..inputs() }));
    assert_eq!(reported, "unknown setting consumer.procesor (the program); did you mean consumer.processor?");
}

#[test]
fn an_unknown_variable_names_the_nearest() {
    for name in ["KAFKA_ACTORS__KAFKA__TOPICS", "KAFKA_ACTORS_KAFKA_TOPIC", "KAFKA_ACTORS_KAFKA__TOPIC"] {
        let reported = error(load(LoadOptions { environment: variables([(name, "x")]), ..inputs() }));
        assert!(reported.contains(&format!("environment variable {name}")), "{reported}");
        assert!(reported.ends_with("did you mean KAFKA_ACTORS__KAFKA__TOPIC?"), "{reported}");
    }
    assert!(load(LoadOptions { environment: variables([("KAFKA_ACTORS_SERVICE_HOST", "x")]), ..inputs() }).is_ok());
}

#[test]
fn a_section_is_no_setting() {
    let reported = error(with_sets(&["producer=4"]));
    assert_eq!(reported, "producer is a section (--set); name one of its settings, such as producer.threads");
}

#[test]
fn a_set_without_a_value_is_an_error() {
    assert!(error(with_sets(&["kafka.topic"])).starts_with("--set kafka.topic: write KEY=VALUE"));
}

#[test]
fn a_wrong_type_names_key_value_origin_and_what_is_expected() {
    let cases = [
        ("producer.threads=many", "producer.threads = many (--set): expected a whole number, 0 or more"),
        ("producer.threads=-1", "producer.threads = -1 (--set): expected a whole number, 0 or more"),
        ("producer.rate=", "producer.rate = \"\" (--set): expected a number"),
        ("consumer.until_end=2", "consumer.until_end = 2 (--set): expected true or false"),
        (
            "producer.linger=5",
            "producer.linger = 5 (--set): expected a duration with its unit, such as \"5s\" or \"250ms\"",
        ),
        ("producer.compression=lzma", "producer.compression = lzma (--set): allowed: none, lz4, zstd, gzip, snappy"),
        ("consumer.assignment=groups", "consumer.assignment = groups (--set): allowed: manual, group"),
        ("consumer.command=a 'b", "consumer.command = \"a 'b\" (--set): the quote ' is not closed"),
        ("producer.properties=a", "producer.properties = … (--set): expected NAME=VALUE, separated by commas"),
        (
            "producer.properties.=a",
            "producer.properties. = … (--set): no property has this name; allowed: letters, digits, \".\", \"_\", \"-\"",
        ),
    ];
    for (set, expected) in cases {
        assert_eq!(error(with_sets(&[set])), expected);
    }
    let (file, loaded) = with_file("[producer]\nthreads = 2.5");
    let expected = format!("producer.threads = 2.5 ({}): expected a whole number, 0 or more", file.path().display());
    assert_eq!(error(loaded), expected);
    assert!(error(with_sets(&["consumer.start=5"])).contains("is milliseconds since 1970"));
    assert!(error(with_sets(&["consumer.start=yesterday"])).contains("a time in UTC such as 2026-11-23T10:00:00Z"));
}

#[test]
fn all_errors_are_reported_at_once() {
    let reported = error(with_sets(&["kafka.tpic=x", "producer.threads=x", "consumer.processes=y", "producer.key=z"]));
    assert_eq!(reported.lines().count(), 4, "{reported}");
    let reported = error(with_sets(&["producer.threads=0", "consumer.processes=0", "kafka.topic=a b"]));
    assert_eq!(reported.lines().count(), 3, "{reported}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_place() {
    let (file, loaded) = with_file("[kafka]\ntopic = 'a");
    let reported = error(loaded);
    assert!(reported.starts_with(&file.path().display().to_string()), "{reported}");
    assert!(reported.contains("line 2"), "{reported}");
    let reported = error(load(LoadOptions { config_file: Some("/no/such.toml".into()), ..inputs() }));
    assert!(reported.starts_with("/no/such.toml: No such file"), "{reported}");
}

#[test]
fn every_password_is_taken_as_it_is_written() {
    let sasl =
        ["kafka.security.protocol=sasl_ssl", "kafka.security.sasl_mechanism=PLAIN", "kafka.security.username=me"];
    for password in ["ge heim ", "a,b=c", "'\"$HOME`\\", "ü€😀", "1e5", "true", "***", "@:/?#%"] {
        let of = |inputs: LoadOptions| load(inputs).unwrap().settings.kafka.security.password.reveal().to_owned();
        let sets: Vec<String> = sasl.iter().map(|&set| set.to_owned()).collect();
        let set =
            LoadOptions { sets: [&sets[..], &[format!("kafka.security.password={password}")]].concat(), ..inputs() };
        let environment = variables([("KAFKA_ACTORS__KAFKA__SECURITY__PASSWORD", password)]);
        let from_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&from_file, format!("kafka.security.password = {}", toml::Value::from(password))).unwrap();
        let file = LoadOptions { config_file: Some(from_file.path().to_owned()), sets: sets.clone(), ..inputs() };
        let places = [set, LoadOptions { environment, sets: sets.clone(), ..inputs() }, file];
        for (place, inputs) in places.into_iter().enumerate() {
            assert_eq!(of(inputs), password, "{place}");
        }
    }
}

#[test]
fn a_password_that_no_client_can_have_is_refused_with_the_reason() {
    use std::os::unix::ffi::OsStringExt;
    let reported = |text: &str| error(with_file(text).1);
    for number in ["12", "1e5", "true"] {
        let text = reported(&format!("kafka.security.password = {number}"));
        assert!(text.contains("expected a text in quotes") && text.contains("= \"***\""), "{text}");
    }
    assert!(reported("kafka.security.password = \"a\\u0000b\"").contains("has a NUL character"));
    assert!(reported("[kafka.properties]\n'ssl.keystore.password' = 1e5").contains("expected a text in quotes"));
    let blank = error(with_sets(&["kafka.security.password= geheim"]));
    assert!(blank.contains("begins with a blank, which librdkafka cuts off") && !blank.contains("geheim"), "{blank}");
    let name = "KAFKA_ACTORS__KAFKA__SECURITY__PASSWORD".to_owned();
    let environment = vec![(name, OsString::from_vec(b"ge\xffheim".to_vec()))];
    let text = error(load(LoadOptions { environment, ..inputs() }));
    assert!(text.ends_with("is not valid UTF-8") && !text.contains("heim"), "{text}");
}

#[test]
fn what_is_shown_can_be_read_again_and_hides_secrets() {
    let sets =
        ["kafka.properties.ssl.key.pem=geheim", "producer.properties.batch.size=9", "producer.flush_timeout=1m 30s"];
    let loaded = with_sets(&sets).unwrap();
    let shown = loaded.show(false);
    assert!(shown.contains("producer.properties.batch.size = \"9\"\n"), "{shown}");
    assert!(shown.contains("kafka.properties.ssl.key.pem = \"***\"\n"), "{shown}");
    assert!(shown.contains("kafka.security.password = \"\"\n"), "{shown}");
    assert!(!format!("{loaded:?} {:?}", loaded.settings).contains("geheim"));
    let (_file, again) = with_file(&shown);
    assert_eq!(again.unwrap().show(false), shown);
    let with_origin = loaded.show(true);
    let line = with_origin.lines().find(|line| line.starts_with("producer.flush_timeout")).unwrap();
    assert!(line.starts_with("producer.flush_timeout = \"1m 30s\" ") && line.ends_with("  # --set"), "{line}");
}

#[test]
fn settings_cross_over_to_a_worker_unchanged() {
    let loaded = with_sets(&["consumer.start=1795428000123", "kafka.properties.debug=a", "producer.linger=1500us"]);
    let mut settings = loaded.unwrap().settings;
    settings.kafka.security.password = Secret::new("geheim");
    let text = serde_json::to_string(&settings).unwrap();
    let again: Settings = serde_json::from_str(&text).unwrap();
    assert_eq!(again.consumer.start, StartOffset::Time(1_795_428_000_123));
    assert_eq!(again.kafka.security.password.reveal(), "geheim");
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_loading(place in 0..KEYS.len(), text: String) {
        let loaded = with_sets(&[&format!("{}={text}", KEYS[place])]);
        if let Ok(loaded) = loaded {
            loaded.show(true).parse::<toml::Table>().unwrap();
        }
    }
}
