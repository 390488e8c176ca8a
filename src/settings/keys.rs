//! The existing keys: those of the repository's `Settings.toml`, in its order.

use std::sync::LazyLock;

use toml::de::{DeTable, DeValue};

/// The repository's `Settings.toml`, the lowest layer.
pub(super) const BUILT_IN: &str = include_str!("../../Settings.toml");

/// The prefix of the program's environment variables.
pub(super) const PREFIX: &str = "KAFKA_ACTORS__";

/// All keys, dotted, in the order of the documentation.
pub(super) static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut found = Vec::new();
    // A test checks that the built-in text is valid; if it were not, every key would be reported as unknown.
    if let Ok(table) = DeTable::parse(BUILT_IN) {
        collect("", table.get_ref(), &mut found);
    }
    found.sort();
    found.into_iter().map(|(_, key)| key).collect()
});

fn collect(prefix: &str, table: &DeTable<'_>, found: &mut Vec<(usize, String)>) {
    for (name, value) in table {
        let key = join(prefix, name.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) if name.get_ref() != "properties" => collect(&key, inner, found),
            _ => found.push((value.span().start, key)),
        }
    }
}

/// Returns `prefix.name`, or `name` if the prefix is empty.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// The kind of a dotted path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind<'a> {
    /// A setting.
    Setting,
    /// A table of raw properties.
    Properties,
    /// A raw property, with its name.
    Property(&'a str),
    /// A table of settings; also the empty path.
    Section,
    /// An unknown path.
    Unknown,
}

/// Returns the kind of `path`.
pub(super) fn kind(path: &str) -> KeyKind<'_> {
    if KEYS.iter().any(|key| key == path) {
        return if path.ends_with(".properties") { KeyKind::Properties } else { KeyKind::Setting };
    }
    let property = |key: &String| path.strip_prefix(key.as_str())?.strip_prefix('.');
    if let Some(name) = KEYS.iter().filter(|key| key.ends_with(".properties")).find_map(property) {
        return KeyKind::Property(name);
    }
    let inside = |key: &String| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    if path.is_empty() || KEYS.iter().any(inside) { KeyKind::Section } else { KeyKind::Unknown }
}

/// Returns the existing key that is nearest to an unknown one.
pub(super) fn nearest(path: &str) -> &'static str {
    if kind(path) == KeyKind::Section {
        return KEYS.iter().find(|key| key.starts_with(path)).map_or("", String::as_str);
    }
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    // The right name in the wrong section is nearer than another name in the right section.
    let distance = |key: &&String| {
        let whole = strsim::damerau_levenshtein(path, key);
        whole.min(strsim::damerau_levenshtein(&last(path), &last(key)) + 1)
    };
    KEYS.iter().min_by_key(distance).map_or("", String::as_str)
}

/// Returns the word with the smallest edit distance, for an error text.
pub(super) fn nearest_word<'a>(word: &str, words: &'a [String]) -> Option<&'a str> {
    words.iter().min_by_key(|known| strsim::damerau_levenshtein(word, known)).map(String::as_str)
}

/// Returns the environment variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Returns the path that an environment variable names, without its prefix: `PRODUCER__PROPERTIES__BATCH_SIZE` is
/// `producer.properties.batch.size`.
pub(super) fn path_of_variable(name: &str) -> String {
    let path = name.to_lowercase().replace("__", ".");
    match kind(&path) {
        // The only librdkafka property with an underscore that can be set as text.
        KeyKind::Property("log_level") => path,
        KeyKind::Property(property) => {
            let table = path.strip_suffix(property).unwrap_or_default();
            format!("{table}{}", property.replace('_', "."))
        }
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_the_order_of_the_file() {
        let place = |key: &str| KEYS.iter().position(|known| known == key).unwrap();
        assert_eq!(KEYS[0], "kafka.brokers");
        assert!(place("kafka.topic") < place("kafka.security.protocol"));
        assert!(place("kafka.properties") < place("producer.threads"));
        assert_eq!(KEYS.last().unwrap(), "monitoring.readiness_stall_timeout");
    }

    #[test]
    fn a_path_is_known_for_what_it_is() {
        assert_eq!(kind("producer.threads"), KeyKind::Setting);
        assert_eq!(kind("producer.properties"), KeyKind::Properties);
        assert_eq!(kind("producer.properties.batch.size"), KeyKind::Property("batch.size"));
        assert_eq!(kind("kafka.security"), KeyKind::Section);
        assert_eq!(kind("producer.threads.more"), KeyKind::Unknown);
        assert_eq!(kind("prod"), KeyKind::Unknown);
    }

    #[test]
    fn the_nearest_key_is_found_across_typos_and_sections() {
        assert_eq!(nearest("producer.thread"), "producer.threads");
        assert_eq!(nearest("threads"), "producer.threads");
        assert_eq!(nearest("kafka.brokres"), "kafka.brokers");
        assert_eq!(nearest("producer.group_id"), "consumer.group_id");
        assert_eq!(nearest("security.password"), "kafka.security.password");
    }

    #[test]
    fn variables_and_keys_name_each_other() {
        for key in KEYS.iter() {
            assert_eq!(&path_of_variable(variable(key).strip_prefix(PREFIX).unwrap()), key);
        }
        assert_eq!(path_of_variable("PRODUCER__PROPERTIES__BATCH_SIZE"), "producer.properties.batch.size");
        assert_eq!(path_of_variable("KAFKA__PROPERTIES__LOG_LEVEL"), "kafka.properties.log_level");
    }
}
