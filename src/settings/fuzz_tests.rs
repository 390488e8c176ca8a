//! Property tests: any file, variable or flag results in valid settings or in an error.

use std::time::Duration;

use proptest::prelude::*;

use super::keys::KEYS;
use super::{LoadOptions, load};

/// Limits of the types, and texts that are hard to parse.
fn value() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "1e308",
        "-0",
        "NaN",
        "inf",
        "18446744073709551615s",
        "584542046090y 1s",
        "9999-12-31T23:59:60Z",
        "253402300799999",
        "1..18446744073709551615",
        "ramp 1 to 1e308 for 584542046090y",
        "burst 1e9 for 1year every 1ns over 0 for 1year",
        "sine 0 to 1 every 0s for 1s",
        "[::1]:65536",
        "{\"$pattern\":\"(((a{9}){9}){9}){9}\"}",
        "'''",
        "\\",
        ",,,=",
    ]);
    let odd = odd.prop_map(str::to_owned);
    prop_oneof![2 => odd, 2 => "[0-9a-z.:,=/%@_{}\"'\\[\\]\\\\ -]{0,30}", 1 => any::<String>()]
}

/// Values of any type in TOML syntax.
fn toml_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        value().prop_map(|text| toml::Value::String(text).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|is| is.to_string()),
        Just("inf".to_owned()),
        Just("2026-11-23T10:00:00Z".to_owned()),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            ("[a-z.]{1,9}", inner).prop_map(|(name, value)| format!("{{\"{name}\" = {value}}}")),
        ]
    })
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    let line = (0..KEYS.len(), toml_value()).prop_map(|(key, value)| format!("{} = {value}\n", KEYS[key]));
    let lines = prop::collection::vec(line, 0..4).prop_map(|lines| lines.concat().into_bytes());
    let nested = (1..50_000_usize).prop_map(|depth| format!("a = {}", "[".repeat(depth)).into_bytes());
    prop_oneof![6 => lines, 2 => any::<Vec<u8>>(), 1 => nested]
}

/// A valid timeout can be added to the current time.
fn holds(text: &LoadOptions) -> Result<(), TestCaseError> {
    let Ok(loaded) = load(text.clone()) else { return Ok(()) };
    let shown = loaded.show(true);
    prop_assert!(shown.parse::<toml::Table>().is_ok(), "{}", shown);
    let settings = loaded.settings;
    let longest = settings.shutdown.timeout.max(settings.producer.duration).max(settings.consumer.idle_exit);
    prop_assert!(longest <= Duration::from_secs(366 * 24 * 60 * 60));
    let frame = serde_json::to_string(&settings).unwrap();
    let again: super::Settings = serde_json::from_str(&frame).unwrap();
    prop_assert_eq!(serde_json::to_string(&again).unwrap(), frame);
    Ok(())
}

fn inputs() -> LoadOptions {
    let processors = ["log", "print", "command"].map(str::to_owned).to_vec();
    LoadOptions { processors, config_file: Some("/dev/null".into()), ..LoadOptions::default() }
}

proptest! {
    #[test]
    fn no_file_breaks_the_loading(bytes in file()) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        holds(&LoadOptions { config_file: Some(file.path().to_owned()), ..inputs() })?;
    }

    #[test]
    fn no_set_breaks_the_loading(
        sets in prop::collection::vec((0..KEYS.len(), value()).prop_map(|(key, value)| format!("{}={value}", KEYS[key])), 1..4),
        any_set: String,
    ) {
        holds(&LoadOptions { sets: sets.clone(), ..inputs() })?;
        holds(&LoadOptions { sets: vec![any_set], ..inputs() })?;
    }

    #[test]
    fn no_variable_breaks_the_loading(key in 0..KEYS.len(), value in value(), name in "[A-Z_]{0,20}") {
        let known = format!("KAFKA_ACTORS__{}", KEYS[key].replace('.', "__").to_uppercase());
        for name in [known, format!("KAFKA_ACTORS__{name}")] {
            holds(&LoadOptions { environment: vec![(name, value.clone().into())], ..inputs() })?;
        }
    }
}
