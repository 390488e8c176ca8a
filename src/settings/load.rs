//! Layers to settings: read, merge, convert, let follow what follows, validate.

use std::collections::BTreeMap;
use std::fmt;

use config::{Config, ConfigError};

use super::error::SettingsError;
use super::keys::{self, KEYS, Kind};
use super::layers::{self, Given, Inputs, Sources};
use super::origin::{Layer, Origin};
use super::{Settings, follow, validate};

/// The settings, and who set them.
pub struct Loaded {
    /// What holds.
    pub settings: Settings,
    sources: Sources,
}

/// Reads and checks all settings.
///
/// # Errors
/// All that is wrong, together; only a file that cannot be read hides the rest.
pub fn load(inputs: Inputs) -> Result<Loaded, SettingsError> {
    let (mut layers, mut errors) = layers::read(&inputs)?;
    let mut settings = typed(&mut layers, &mut errors)?;
    // What a wrong value would have been cannot contradict anything.
    SettingsError::all(errors)?;
    let mut sources = Sources::of(&layers);
    let mut errors = follow::all(&mut settings, &mut sources);
    errors.extend(validate::all(&settings, &sources, &inputs.processors));
    SettingsError::all(errors)?;
    Ok(Loaded { settings, sources })
}

/// Converts the layers. A value that does not fit is told and taken away, to find the next one.
fn typed(layers: &mut [Given], errors: &mut Vec<SettingsError>) -> Result<Settings, SettingsError> {
    let mut wrong = BTreeMap::new();
    loop {
        let (key, problem) = match convert(layers) {
            Ok(settings) => {
                errors.extend(wrong.into_values());
                return Ok(settings);
            }
            Err(error) => explain(error),
        };
        let error = Sources::of(layers).invalid(&key, problem);
        // Above the built-in one, each layer's value of that key goes: at least the one that is wrong.
        if layers.iter_mut().skip(1).filter_map(|layer| layer.0.remove(&key)).count() == 0 {
            return Err(error);
        }
        wrong.insert(key, error);
    }
}

fn convert(layers: &[Given]) -> Result<Settings, ConfigError> {
    layers.iter().fold(Config::builder(), |builder, layer| builder.add_source(layer.clone())).build()?.try_deserialize()
}

/// The key of an error, without the place in a list, and what is wrong; without the value, which may be secret.
fn explain(error: ConfigError) -> (String, String) {
    let (key, problem) = match error {
        ConfigError::Type { key, expected, .. } => (key, format!("expected {expected}")),
        ConfigError::At { key, error, .. } => (key, error.to_string()),
        other => (None, other.to_string()),
    };
    let key = key.unwrap_or_default();
    (key.split('[').next().unwrap_or_default().to_owned(), problem)
}

impl Loaded {
    /// Who set `key`; a key that does not exist counts as built in.
    pub fn origin(&self, key: &str) -> Origin {
        self.sources.origin(key)
    }

    /// Whether somebody set `key`, other than the built-in `Settings.toml`.
    pub fn is_given(&self, key: &str) -> bool {
        self.sources.layer(key) > Layer::BuiltIn
    }

    /// All settings, one a line, as TOML that can be read again; with who set each as a comment, if asked. Secrets are
    /// `"***"`.
    pub fn show(&self, origin: bool) -> String {
        let lines: Vec<(String, Origin)> = self
            .values()
            .into_iter()
            .map(|(key, value)| (format!("{key} = {}", layers::masked(&key, &value)), self.origin(&key)))
            .collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
        let line = |(line, from): (String, Origin)| match origin {
            true => format!("{line:width$}  # {from}\n"),
            false => format!("{line}\n"),
        };
        lines.into_iter().map(line).collect()
    }

    /// Keys and values in the order of `Settings.toml`.
    fn values(&self) -> Vec<(String, toml::Value)> {
        // The settings are a tree of plain values, for which this cannot fail.
        let tree = toml::Value::try_from(&self.settings).unwrap_or_else(|_| toml::Table::new().into());
        let value = |key: &String| key.split('.').try_fold(&tree, |at, name| at.get(name));
        KEYS.iter().filter_map(|key| Some(one_by_one(key, value(key)?))).flatten().collect()
    }
}

/// A table of properties as its properties; anything else as itself.
fn one_by_one(key: &str, value: &toml::Value) -> Vec<(String, toml::Value)> {
    match (keys::kind(key), value) {
        (Kind::Properties, toml::Value::Table(table)) if !table.is_empty() => {
            table.iter().map(|(name, value)| (keys::join(key, name), value.clone())).collect()
        }
        _ => vec![(key.to_owned(), value.clone())],
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(true))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::{Compression, Secret, Start};

    fn pairs<const N: usize>(items: [(&str, &str); N]) -> Vec<(String, String)> {
        items.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
    }

    fn inputs() -> Inputs {
        let processors = ["log", "print", "count", "command"].map(str::to_owned).to_vec();
        // A file that exists and is empty: the one in the working directory is not the test's matter.
        Inputs { processors, config_file: Some("/dev/null".into()), ..Inputs::default() }
    }

    fn with_sets(sets: &[&str]) -> Result<Loaded, SettingsError> {
        load(Inputs { sets: sets.iter().map(|&set| set.to_owned()).collect(), ..inputs() })
    }

    fn with_flags(flags: &[(&str, &str, &str)]) -> Inputs {
        let owned = |&(flag, key, value): &(&str, &str, &str)| (flag.to_owned(), key.to_owned(), value.to_owned());
        Inputs { flags: flags.iter().map(owned).collect(), ..inputs() }
    }

    fn with_file(text: &str) -> (tempfile::NamedTempFile, Result<Loaded, SettingsError>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let loaded = load(Inputs { config_file: Some(file.path().to_owned()), ..inputs() });
        (file, loaded)
    }

    fn error(result: Result<Loaded, SettingsError>) -> String {
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
    fn a_higher_layer_wins_and_its_origin_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let key = "producer.threads";
        let mut inputs = inputs();
        let mut told = Vec::new();
        let mut tell = |inputs: &Inputs| {
            let loaded = load(inputs.clone()).unwrap();
            told.push((loaded.settings.producer.threads, loaded.origin(key).to_string()));
        };
        tell(&inputs);
        inputs.program = pairs([(key, "11")]);
        tell(&inputs);
        std::fs::write(&file, "producer.threads = 12").unwrap();
        inputs.config_file = Some(file.path().to_owned());
        tell(&inputs);
        inputs.environment = pairs([("KAFKA_ACTORS__PRODUCER__THREADS", "13"), ("PATH", "/bin")]);
        tell(&inputs);
        inputs.sets = vec!["producer.threads=0".to_owned(), "producer.threads=14".to_owned()];
        tell(&inputs);
        inputs.flags = vec![("--threads".to_owned(), key.to_owned(), "15".to_owned())];
        tell(&inputs);
        let expected = [
            (4, "Settings.toml (built in)".to_owned()),
            (11, "the program".to_owned()),
            (12, file.path().display().to_string()),
            (13, "environment variable KAFKA_ACTORS__PRODUCER__THREADS".to_owned()),
            (14, "--set".to_owned()),
            (15, "--threads".to_owned()),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn an_untouched_copy_of_the_defaults_overrules_nothing() {
        let (file, _) = with_file(keys::BUILT_IN);
        let program = pairs([("producer.threads", "11")]);
        let loaded = load(Inputs { config_file: Some(file.path().to_owned()), program, ..inputs() }).unwrap();
        assert_eq!(loaded.settings.producer.threads, 11);
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
        assert_eq!(settings.consumer.start, Start::Time(1_795_428_000_000));
        assert_eq!(settings.consumer.command, ["sh", "-c", "cat  -n", "", "a b"]);
        assert_eq!(settings.consumer.max_messages, 1_000);
    }

    #[test]
    fn toml_values_become_what_the_setting_is() {
        let text =
            "[kafka]\nbrokers = 'a,b'\n[consumer]\nstart = 2026-11-23T10:00:00Z\nidle_exit = 0\ncommand = ['x', 'y z']";
        let settings = with_file(text).1.unwrap().settings;
        assert_eq!(settings.kafka.brokers, ["a", "b"]);
        assert_eq!(settings.consumer.start, Start::Time(1_795_428_000_000));
        assert_eq!(settings.consumer.idle_exit, Duration::ZERO);
        assert_eq!(settings.consumer.command, ["x", "y z"]);
    }

    #[test]
    fn raw_properties_come_from_every_place_one_by_one() {
        let (file, _) = with_file("[producer.properties]\n'batch.size' = 1\n'retries' = 2\nacks = 'all'");
        let loaded = load(Inputs {
            config_file: Some(file.path().to_owned()),
            environment: pairs([
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
        let told = error(with_sets(&["producer.thread=4"]));
        assert_eq!(told, "unknown setting producer.thread (--set); did you mean producer.threads?");
        let (file, loaded) = with_file("[kafka]\nbrokres = 1");
        let path = file.path().display();
        assert_eq!(error(loaded), format!("unknown setting kafka.brokres ({path}); did you mean kafka.brokers?"));
        let told = error(load(Inputs { program: pairs([("consumer.procesor", "x")]), ..inputs() }));
        assert_eq!(told, "unknown setting consumer.procesor (the program); did you mean consumer.processor?");
    }

    #[test]
    fn an_unknown_variable_names_the_nearest() {
        for name in ["KAFKA_ACTORS__KAFKA__TOPICS", "KAFKA_ACTORS_KAFKA_TOPIC", "KAFKA_ACTORS_KAFKA__TOPIC"] {
            let told = error(load(Inputs { environment: pairs([(name, "x")]), ..inputs() }));
            assert!(told.contains(&format!("environment variable {name}")), "{told}");
            assert!(told.ends_with("did you mean KAFKA_ACTORS__KAFKA__TOPIC?"), "{told}");
        }
        assert!(load(Inputs { environment: pairs([("KAFKA_ACTORS_SERVICE_HOST", "x")]), ..inputs() }).is_ok());
    }

    #[test]
    fn a_section_is_no_setting() {
        let told = error(with_sets(&["producer=4"]));
        assert_eq!(told, "producer is a section (--set); name one of its settings, such as producer.threads");
    }

    #[test]
    fn a_set_without_a_value_is_told() {
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
            (
                "producer.compression=lzma",
                "producer.compression = lzma (--set): allowed: none, lz4, zstd, gzip, snappy",
            ),
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
        let expected =
            format!("producer.threads = 2.5 ({}): expected a whole number, 0 or more", file.path().display());
        assert_eq!(error(loaded), expected);
        assert!(error(with_sets(&["consumer.start=5"])).contains("is milliseconds since 1970"));
        assert!(error(with_sets(&["consumer.start=yesterday"])).contains("a time in UTC such as 2026-11-23T10:00:00Z"));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let told = error(with_sets(&["kafka.tpic=x", "producer.threads=x", "consumer.processes=y", "producer.key=z"]));
        assert_eq!(told.lines().count(), 4, "{told}");
        let told = error(with_sets(&["producer.threads=0", "consumer.processes=0", "kafka.topic=a b"]));
        assert_eq!(told.lines().count(), 3, "{told}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_the_place() {
        let (file, loaded) = with_file("[kafka]\ntopic = 'a");
        let told = error(loaded);
        assert!(told.starts_with(&file.path().display().to_string()), "{told}");
        assert!(told.contains("line 2"), "{told}");
        let told = error(load(Inputs { config_file: Some("/no/such.toml".into()), ..inputs() }));
        assert!(told.starts_with("/no/such.toml: No such file"), "{told}");
    }

    #[test]
    fn a_duration_alone_lifts_the_default_number_of_messages() {
        let loaded = load(with_flags(&[("--duration", "producer.duration", "60s")])).unwrap();
        assert_eq!(loaded.settings.producer.messages_per_thread, 0);
        let origin = loaded.origin("producer.messages_per_thread").to_string();
        assert_eq!(origin, "follows from producer.duration, --duration");
        let both = [
            ("--duration", "producer.duration", "60s"),
            ("--messages-per-thread", "producer.messages_per_thread", "7"),
        ];
        assert_eq!(load(with_flags(&both)).unwrap().settings.producer.messages_per_thread, 7);
        let none = [("--duration", "producer.duration", "0s")];
        assert_eq!(load(with_flags(&none)).unwrap().settings.producer.messages_per_thread, 100);
    }

    #[test]
    fn a_command_means_the_processor_command() {
        let command = ("--command", "consumer.command", "cat -n");
        let loaded = load(with_flags(&[command])).unwrap();
        assert_eq!(loaded.settings.consumer.processor, "command");
        let told = error(load(with_flags(&[command, ("--processor", "consumer.processor", "print")])));
        assert!(told.contains("consumer.processor = print (--processor)"), "{told}");
        assert!(told.contains("consumer.command = \"cat -n\" (--command)"), "{told}");
        let told = error(with_sets(&["consumer.processor=command"]));
        assert!(told.ends_with("the processor command needs a command"), "{told}");
    }

    #[test]
    fn a_password_comes_from_a_file_or_from_its_setting() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "geheim\n").unwrap();
        let from_file = format!("kafka.security.password_file={}", file.path().display());
        let sasl =
            ["kafka.security.protocol=sasl_ssl", "kafka.security.sasl_mechanism=PLAIN", "kafka.security.username=me"];
        let loaded = with_sets(&[&sasl[..], &[&from_file]].concat()).unwrap();
        assert_eq!(loaded.settings.kafka.security.password.reveal(), "geheim");
        assert!(!loaded.show(true).contains("geheim"));
        let told = error(with_sets(&[&sasl[..], &[&from_file, "kafka.security.password=anderes"]].concat()));
        assert!(told.contains("give the password in one place") && !told.contains("anderes"), "{told}");
        let told = error(with_sets(&[&sasl[..], &["kafka.security.password_file=/no/such"]].concat()));
        assert!(told.contains("kafka.security.password_file = /no/such (--set): cannot be read"), "{told}");
    }

    #[test]
    fn what_is_shown_can_be_read_again_and_hides_secrets() {
        let sets = [
            "kafka.properties.ssl.key.pem=geheim",
            "producer.properties.batch.size=9",
            "producer.flush_timeout=1m 30s",
        ];
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
        assert_eq!(again.consumer.start, Start::Time(1_795_428_000_123));
        assert_eq!(again.kafka.security.password.reveal(), "geheim");
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
        #[test]
        fn no_text_breaks_the_loading(place in 0..KEYS.len(), text: String) {
            let loaded = with_sets(&[&format!("{}={text}", KEYS[place])]);
            if let Ok(loaded) = loaded {
                loaded.show(true).parse::<toml::Table>().unwrap();
            }
        }
    }
}
