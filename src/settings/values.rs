//! The effective value of each key, with its origin.
//!
//! `config` converts the values to the types, and names the key of an error. Merging and origins are own code: an origin of
//! `config` is a text, and derived defaults compare layers; its sources drop unknown keys, the names of environment variables, and
//! errors after the first one.

use std::collections::BTreeMap;

use config::{ConfigError, Map, Value, ValueKind};
use serde::Deserialize;

use super::error::SettingsError;
use super::keys::{self, KeyKind};
use super::origin::{Layer, Origin};
use super::{Settings, redaction};

/// A value with its origin.
#[derive(Clone)]
struct Entry {
    value: toml::Value,
    origin: Origin,
}

/// The values by dotted key; each raw property has its own key.
#[derive(Clone, Default)]
pub(super) struct SettingValues(BTreeMap<String, Entry>);

impl SettingValues {
    /// Sets a value; replaces one from a lower layer.
    pub(super) fn insert(&mut self, key: &str, value: impl Into<toml::Value>, origin: &Origin) {
        self.0.insert(key.to_owned(), Entry { value: value.into(), origin: origin.clone() });
    }

    /// Sets all values of a higher layer.
    pub(super) fn extend(&mut self, layer: Self) {
        self.0.extend(layer.0);
    }

    /// Replaces a value by its default. Returns false if it is the default already.
    pub(super) fn reset(&mut self, key: &str, defaults: &Self) -> bool {
        let is_set = self.layer(key) > Layer::BuiltIn;
        match defaults.0.get(key) {
            Some(default) => self.0.insert(key.to_owned(), default.clone()),
            None => self.0.remove(key),
        };
        is_set
    }

    /// Whether both have the same keys with the same values.
    pub(super) fn has_same_values(&self, other: &Self) -> bool {
        let values = |of: &Self| of.0.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect::<Vec<_>>();
        values(self) == values(other)
    }

    /// Converts the values to their types.
    pub(super) fn deserialize(&self) -> Result<Settings, ConfigError> {
        let mut root = Map::new();
        for (path, entry) in &self.0 {
            let value = to_config(&entry.value);
            match keys::kind(path) {
                // The dots of a property are part of its name.
                KeyKind::Property(name) => {
                    let table = path.strip_suffix(name).unwrap_or_default().trim_end_matches('.');
                    insert(&mut root, &table.split('.').chain([name]).collect::<Vec<_>>(), value);
                }
                _ => insert(&mut root, &path.split('.').collect::<Vec<_>>(), value),
            }
        }
        Settings::deserialize(Value::from(root))
    }

    /// Returns the origin of `key`.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.0.get(key).map_or_else(Origin::built_in, |entry| entry.origin.clone())
    }

    /// Returns the layer that set `key`.
    pub(super) fn layer(&self, key: &str) -> Layer {
        self.0.get(key).map_or(Layer::BuiltIn, |entry| entry.origin.layer())
    }

    /// Whether a default that is derived from the setting `cause` replaces the value of `key`: the value is a default, and a
    /// higher layer set `cause`.
    pub(super) fn is_derived(&self, key: &str, cause: &str) -> bool {
        self.layer(key) <= Layer::Program && self.layer(cause) > self.layer(key)
    }

    /// Replaces a value by one that is derived from another setting.
    pub(super) fn follow(&mut self, key: &str, value: impl Into<toml::Value>, from: &str) {
        self.insert(key, value, &Origin::follows(from, &self.origin(from)));
    }

    /// Returns an error about this setting.
    pub(super) fn invalid(&self, key: &str, problem: impl Into<String>) -> SettingsError {
        SettingsError::Invalid {
            key: key.to_owned(),
            value: self.display(key),
            origin: self.origin(key),
            problem: problem.into(),
        }
    }

    /// Returns an error about a conflict between these settings.
    pub(super) fn contradiction(&self, keys: &[&str], problem: &str) -> SettingsError {
        let setting = |key: &&str| format!("{key} = {} ({})", self.display(key), self.origin(key));
        SettingsError::Contradiction {
            settings: keys.iter().map(setting).collect::<Vec<_>>().join(" and "),
            problem: problem.to_owned(),
        }
    }

    /// Formats a value as in its source; secrets are masked.
    fn display(&self, key: &str) -> String {
        let Some(Entry { value, origin }) = self.0.get(key) else { return "?".to_owned() };
        let masked = redaction::mask_value(key, value);
        let is_toml = matches!(origin.layer(), Layer::BuiltIn | Layer::File);
        match masked.as_str() {
            Some(text) if !is_toml && !text.is_empty() && !text.contains(char::is_whitespace) => text.to_owned(),
            _ => masked.to_string(),
        }
    }
}

fn insert(table: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [name] => {
            table.insert((*name).to_owned(), value);
        }
        [name, rest @ ..] => {
            let inner =
                table.entry((*name).to_owned()).or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
            if let ValueKind::Table(inner) = &mut inner.kind {
                insert(inner, rest, value);
            }
        }
    }
}

fn to_config(value: &toml::Value) -> Value {
    let kind = match value {
        toml::Value::String(text) => ValueKind::String(text.clone()),
        toml::Value::Integer(number) => ValueKind::I64(*number),
        toml::Value::Float(number) => ValueKind::Float(*number),
        toml::Value::Boolean(value) => ValueKind::Boolean(*value),
        // TOML's dates and times need no quotes: start = 2026-11-23T10:00:00Z.
        toml::Value::Datetime(time) => ValueKind::String(time.to_string()),
        toml::Value::Array(items) => ValueKind::Array(items.iter().map(to_config).collect()),
        toml::Value::Table(table) => {
            ValueKind::Table(table.iter().map(|(name, value)| (name.clone(), to_config(value))).collect())
        }
    };
    Value::new(None, kind)
}
