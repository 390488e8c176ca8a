//! Defaults that are derived from other settings.

use super::*;

/// Settings with a derived default: the cause with its value, the derived setting, and a value that equals its built-in
/// default.
const DERIVED: [(&str, &str, &str, &str); 3] = [
    ("producer.duration", "3s", "producer.messages_per_thread", "100"),
    ("producer.message_timeout", "2m", "producer.flush_timeout", "65s"),
    ("kafka.preset", "low_latency", "producer.linger", "5ms"),
];

/// Load options with these values in the file, the environment, `--set` or a flag, selected by number.
fn in_places(values: &[(usize, &str, &str)]) -> (tempfile::NamedTempFile, LoadOptions) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut inputs = inputs();
    let mut text = String::new();
    for (place, key, value) in values {
        match place {
            0 => text.push_str(&format!("{key} = {value:?}\n")),
            1 => inputs.environment.push((keys::variable(key), (*value).into())),
            2 => inputs.sets.push(format!("{key}={value}")),
            _ => inputs.flags.push(("--flag".to_owned(), (*key).to_owned(), (*value).to_owned())),
        }
    }
    std::fs::write(&file, text).unwrap();
    inputs.config_file = Some(file.path().to_owned());
    (file, inputs)
}

#[test]
fn a_value_that_is_set_stays_also_if_it_equals_the_default() {
    let value = |loaded: &LoadedSettings, key: &str| loaded.list().into_iter().find(|(name, _)| name == key).unwrap().1;
    for (cause, cause_value, key, default) in DERIVED {
        for cause_place in 0..4 {
            let (_file, inputs) = in_places(&[(cause_place, cause, cause_value)]);
            let derived = load(inputs).unwrap();
            assert!(derived.origin(key).to_string().starts_with("follows from"), "{key}");
            for place in 0..4 {
                let (_file, inputs) = in_places(&[(cause_place, cause, cause_value), (place, key, default)]);
                let loaded = load(inputs).unwrap();
                assert_ne!(value(&loaded, key), value(&derived, key), "{key} set in place {place}");
                assert!(!loaded.origin(key).to_string().contains("follows"), "{key}: {}", loaded.origin(key));
            }
        }
    }
}

#[test]
fn a_duration_alone_lifts_the_default_number_of_messages() {
    let loaded = load(with_flags(&[("--duration", "producer.duration", "60s")])).unwrap();
    assert_eq!(loaded.settings.producer.messages_per_thread, 0);
    let origin = loaded.origin("producer.messages_per_thread").to_string();
    assert_eq!(origin, "follows from producer.duration, --duration");
    let both =
        [("--duration", "producer.duration", "60s"), ("--messages-per-thread", "producer.messages_per_thread", "7")];
    assert_eq!(load(with_flags(&both)).unwrap().settings.producer.messages_per_thread, 7);
    let none = [("--duration", "producer.duration", "0s")];
    assert_eq!(load(with_flags(&none)).unwrap().settings.producer.messages_per_thread, 100);
    // The default of a program is a default, too.
    let program = pairs([("producer.messages_per_thread", "7")]);
    let loaded = load(LoadOptions { program, ..with_flags(&both[..1]) }).unwrap();
    assert_eq!(loaded.settings.producer.messages_per_thread, 0);
}

#[test]
fn a_command_means_the_processor_command() {
    let command = ("--command", "consumer.command", "cat -n");
    let loaded = load(with_flags(&[command])).unwrap();
    assert_eq!(loaded.settings.consumer.processor, "command");
    let reported = error(load(with_flags(&[command, ("--processor", "consumer.processor", "print")])));
    assert!(reported.contains("consumer.processor = print (--processor)"), "{reported}");
    assert!(reported.contains("consumer.command = \"cat -n\" (--command)"), "{reported}");
    let reported = error(with_sets(&["consumer.processor=command"]));
    assert!(reported.ends_with("the processor command needs a command"), "{reported}");
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
    let reported = error(with_sets(&[&sasl[..], &[&from_file, "kafka.security.password=anderes"]].concat()));
    assert!(reported.contains("give the password in one place") && !reported.contains("anderes"), "{reported}");
    let reported = error(with_sets(&[&sasl[..], &["kafka.security.password_file=/no/such"]].concat()));
    assert!(reported.contains("kafka.security.password_file = /no/such (--set): cannot be read"), "{reported}");
}
