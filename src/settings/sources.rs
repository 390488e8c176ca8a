//! The layers from which a value can come, lowest first. Each layer is read into dotted keys; [`Provenance`] records which layer
//! set a value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::error::SettingsError;
use super::keys::{self, BUILT_IN, KeyKind, PREFIX};
use super::origin::{Layer, Origin};
use super::{de, librdkafka, redaction};
use crate::os::file_trust;
use crate::util::text_file;

/// All inputs of the settings; nothing else is read, not even the process environment.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// `--config`; without it, `./Settings.toml` if that exists.
    pub config_file: Option<PathBuf>,
    /// Environment variables; those without the program's prefix are ignored.
    pub environment: Vec<(String, OsString)>,
    /// The arguments of `--set`: `KEY=VALUE`.
    pub sets: Vec<String>,
    /// Flags: name with dashes, key, value.
    pub flags: Vec<(String, String, String)>,
    /// Defaults of a program that is built on this crate: key, value.
    pub program: Vec<(String, String)>,
    /// The allowed values of `consumer.processor`.
    pub processors: Vec<String>,
}

/// A value with its origin.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) value: toml::Value,
    pub(super) origin: Origin,
}

/// The values of one layer by dotted key; each raw property has its own key.
#[derive(Clone, Default)]
pub(super) struct SourceValues(pub(super) BTreeMap<String, Entry>);

/// Reads all layers. Errors such as unknown keys are collected in the second list; a file that cannot be read is returned as an
/// error at once.
pub(super) fn read(inputs: &LoadOptions) -> Result<(Vec<SourceValues>, Vec<SettingsError>), SettingsError> {
    let mut errors = Vec::new();
    let layers = vec![
        toml_text(BUILT_IN, Path::new("Settings.toml"), &Origin::BuiltIn, &mut errors)?,
        texts(inputs.program.iter().map(|(key, value)| (key, value, Origin::Program)), &mut errors),
        file(inputs.config_file.as_deref(), &mut errors)?,
        environment(&inputs.environment, &mut errors),
        sets(&inputs.sets, &mut errors),
        texts(inputs.flags.iter().map(|(flag, key, value)| (key, value, Origin::Flag(flag.clone()))), &mut errors),
    ];
    Ok((layers, errors))
}

/// Returns the settings file to read: the named one, else the one in the working directory if it exists.
pub(super) fn file_path(named: Option<&Path>) -> Option<&Path> {
    let usual = Path::new("./Settings.toml");
    named.or_else(|| usual.exists().then_some(usual))
}

/// Reads a settings file; rejects a file that another user can write.
fn file_text(path: &Path) -> Result<String, SettingsError> {
    let failed = |problem: String| SettingsError::File { path: path.to_owned(), problem };
    let cannot = |error: std::io::Error| failed(error.to_string());
    let mut file = File::open(path).map_err(cannot)?;
    if let Some(problem) = file_trust::distrust(&file.metadata().map_err(cannot)?) {
        return Err(failed(problem));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(cannot)?;
    text_file::decode(bytes).map_err(cannot)
}

fn file(named: Option<&Path>, errors: &mut Vec<SettingsError>) -> Result<SourceValues, SettingsError> {
    let Some(path) = file_path(named) else { return Ok(SourceValues::default()) };
    let text = file_text(path)?;
    let given = toml_text(&text, path, &Origin::File(path.to_owned()), errors)?;
    // Every line of a file sets a value, even if it equals the default. Only a complete copy without any change sets nothing: it
    // is the documentation of the defaults, such as the one in this repository.
    let built_in = toml_text(BUILT_IN, path, &Origin::BuiltIn, &mut Vec::new())?;
    Ok(if given.has_same_values(&built_in) { SourceValues::default() } else { given })
}

fn toml_text(
    text: &str,
    path: &Path,
    origin: &Origin,
    errors: &mut Vec<SettingsError>,
) -> Result<SourceValues, SettingsError> {
    let table = text.parse::<toml::Table>().map_err(|error| {
        // The line itself is left out: it may contain a password.
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        SettingsError::File {
            path: path.to_owned(),
            problem: format!("line {line}, column {column}: {}", error.message()),
        }
    })?;
    let mut given = SourceValues::default();
    given.place("", toml::Value::Table(table), origin, errors);
    Ok(given)
}

fn texts<'a>(
    items: impl Iterator<Item = (&'a String, &'a String, Origin)>,
    errors: &mut Vec<SettingsError>,
) -> SourceValues {
    let mut given = SourceValues::default();
    for (key, value, origin) in items {
        given.place(key.trim(), toml::Value::String(value.clone()), &origin, errors);
    }
    given
}

fn sets(sets: &[String], errors: &mut Vec<SettingsError>) -> SourceValues {
    let mut given = SourceValues::default();
    for text in sets {
        match text.split_once('=') {
            Some((key, value)) => {
                given.place(key.trim(), toml::Value::String(value.to_owned()), &Origin::Set, errors);
            }
            None => {
                // The text after the key may be a password.
                let key = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).next();
                errors.push(SettingsError::NotAnAssignment { text: key.unwrap_or_default().to_owned() });
            }
        }
    }
    given
}

fn environment(variables: &[(String, OsString)], errors: &mut Vec<SettingsError>) -> SourceValues {
    let mut given = SourceValues::default();
    for (name, value) in variables {
        let origin = Origin::Environment(name.clone());
        if let Some(rest) = name.strip_prefix(PREFIX) {
            let path = keys::path_of_variable(rest);
            match value.to_str() {
                Some(text) => given.place(&path, toml::Value::String(text.to_owned()), &origin, errors),
                None => errors.push(invalid(&path, &origin, "is not valid UTF-8")),
            }
        } else if let Some(key) = single_underscores(name) {
            errors.push(SettingsError::Unknown { name: name.clone(), origin, nearest: keys::variable(key) });
        }
    }
    given
}

/// Returns the key for a name with single underscores, such as `KAFKA_ACTORS_PRODUCER_THREADS`. Other names with this prefix are
/// ignored: for a service of this name, Kubernetes sets `KAFKA_ACTORS_SERVICE_HOST` in other pods.
fn single_underscores(name: &str) -> Option<&'static str> {
    let joined = |text: &str| text.split(['_', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
    let rest = joined(&name.strip_prefix("KAFKA_ACTORS_")?.to_lowercase());
    keys::KEYS.iter().find(|key| joined(key) == rest).map(String::as_str)
}

impl SourceValues {
    /// Whether both layers have the same keys with the same values.
    fn has_same_values(&self, other: &Self) -> bool {
        let values =
            |layer: &Self| layer.0.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect::<Vec<_>>();
        values(self) == values(other)
    }

    /// Stores a value under its path; tables are stored key by key.
    fn place(&mut self, path: &str, value: toml::Value, origin: &Origin, errors: &mut Vec<SettingsError>) {
        match (keys::kind(path), value) {
            (KeyKind::Property(name), _) if !librdkafka::is_name(name) => {
                errors.push(invalid(
                    path,
                    origin,
                    "no property has this name; allowed: letters, digits, \".\", \"_\", \"-\"",
                ));
            }
            (KeyKind::Section | KeyKind::Properties | KeyKind::Property(_), toml::Value::Table(table)) => {
                for (name, value) in table {
                    self.place(&keys::join(path, &name), value, origin, errors);
                }
            }
            (KeyKind::Properties, toml::Value::String(text)) => match de::assignments(&text) {
                Ok(pairs) => pairs.into_iter().for_each(|(name, value)| {
                    self.place(&keys::join(path, &name), toml::Value::String(value), origin, errors);
                }),
                Err(problem) => errors.push(invalid(path, origin, &problem)),
            },
            (KeyKind::Properties, _) => errors.push(invalid(path, origin, "expected a table of properties")),
            (KeyKind::Section, _) => errors.push(SettingsError::Section {
                name: path.to_owned(),
                origin: origin.clone(),
                example: keys::nearest(path).to_owned(),
            }),
            (KeyKind::Unknown, _) => {
                let nearest = keys::nearest(path);
                let nearest = match origin {
                    Origin::Environment(_) => keys::variable(nearest),
                    _ => nearest.to_owned(),
                };
                errors.push(SettingsError::Unknown { name: path.to_owned(), origin: origin.clone(), nearest });
            }
            // Messages may contain NUL characters, so `producer` settings are exempt.
            (kind @ (KeyKind::Setting | KeyKind::Property(_)), value)
                if has_nul(&value) && (kind != KeyKind::Setting || !path.starts_with("producer.")) =>
            {
                errors.push(invalid(
                    path,
                    origin,
                    "has a NUL character, which neither librdkafka nor a program's arguments can have",
                ));
            }
            // TOML does not preserve the notation of numbers and dates, so an unquoted password could change.
            (KeyKind::Property(name), toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Datetime(_))
                if redaction::is_secret(name) =>
            {
                errors.push(invalid(path, origin, "expected a text in quotes"));
            }
            (KeyKind::Property(_), toml::Value::Array(_)) => {
                errors.push(invalid(path, origin, "expected a text, a number, true or false"));
            }
            (KeyKind::Setting | KeyKind::Property(_), value) => {
                self.0.insert(path.to_owned(), Entry { value, origin: origin.clone() });
            }
        }
    }
}

fn has_nul(value: &toml::Value) -> bool {
    match value {
        toml::Value::String(text) => text.contains('\0'),
        toml::Value::Array(items) => items.iter().any(has_nul),
        _ => false,
    }
}

/// The error does not contain the value: a misplaced value may be a secret.
fn invalid(path: &str, origin: &Origin, problem: &str) -> SettingsError {
    SettingsError::Invalid {
        key: path.to_owned(),
        value: "…".to_owned(),
        origin: origin.clone(),
        problem: problem.to_owned(),
    }
}

impl fmt::Debug for SourceValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Source for SourceValues {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut root = Map::new();
        for (path, entry) in &self.0 {
            let value = to_config(&entry.value, &entry.origin.to_string());
            match keys::kind(path) {
                // The dots of a property are part of its name.
                KeyKind::Property(name) => {
                    let table = path.strip_suffix(name).unwrap_or_default().trim_end_matches('.');
                    insert(&mut root, &table.split('.').chain([name]).collect::<Vec<_>>(), value);
                }
                _ => insert(&mut root, &path.split('.').collect::<Vec<_>>(), value),
            }
        }
        Ok(root)
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

fn to_config(value: &toml::Value, origin: &String) -> Value {
    let kind = match value {
        toml::Value::String(text) => ValueKind::String(text.clone()),
        toml::Value::Integer(number) => ValueKind::I64(*number),
        toml::Value::Float(number) => ValueKind::Float(*number),
        toml::Value::Boolean(value) => ValueKind::Boolean(*value),
        // TOML's dates and times need no quotes: start = 2026-11-23T10:00:00Z.
        toml::Value::Datetime(time) => ValueKind::String(time.to_string()),
        toml::Value::Array(items) => ValueKind::Array(items.iter().map(|item| to_config(item, origin)).collect()),
        toml::Value::Table(table) => {
            ValueKind::Table(table.iter().map(|(name, value)| (name.clone(), to_config(value, origin))).collect())
        }
    };
    Value::new(Some(origin), kind)
}

/// The effective value of each key, with its origin.
pub(super) struct Provenance(BTreeMap<String, Entry>);

impl Provenance {
    /// Merges the layers; a higher layer overrides a lower one.
    pub(super) fn of(layers: &[SourceValues]) -> Self {
        Self(layers.iter().flat_map(|layer| layer.0.clone()).collect())
    }

    /// Returns the origin of `key`.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.0.get(key).map_or(Origin::BuiltIn, |entry| entry.origin.clone())
    }

    /// Returns the layer that set `key`.
    pub(super) fn layer(&self, key: &str) -> Layer {
        self.origin(key).layer()
    }

    /// Whether a default that is derived from the setting `cause` replaces the value of `key`: the value is a default, and a
    /// higher layer set `cause`.
    pub(super) fn is_derived(&self, key: &str, cause: &str) -> bool {
        self.layer(key) <= Layer::Program && self.layer(cause) > self.layer(key)
    }

    /// Replaces a value by one that is derived from another setting.
    pub(super) fn follow(&mut self, key: &str, value: impl Into<toml::Value>, from: &'static str) {
        let origin = Origin::Follows { key: from, origin: Box::new(self.origin(from)) };
        self.0.insert(key.to_owned(), Entry { value: value.into(), origin });
    }

    /// Returns an error about this setting.
    pub(super) fn invalid(&self, key: &str, problem: impl Into<String>) -> SettingsError {
        SettingsError::Invalid {
            key: key.to_owned(),
            value: self.value(key),
            origin: self.origin(key),
            problem: problem.into(),
        }
    }

    /// Returns an error about a conflict between these settings.
    pub(super) fn contradiction(&self, keys: &[&str], problem: &str) -> SettingsError {
        let say = |key: &&str| format!("{key} = {} ({})", self.value(key), self.origin(key));
        SettingsError::Contradiction {
            settings: keys.iter().map(say).collect::<Vec<_>>().join(" and "),
            problem: problem.to_owned(),
        }
    }

    fn value(&self, key: &str) -> String {
        match self.0.get(key) {
            Some(entry) => redacted_display(key, &entry.value, &entry.origin),
            None => "?".to_owned(),
        }
    }
}

/// Formats a value as in its source; secrets are masked.
fn redacted_display(key: &str, value: &toml::Value, origin: &Origin) -> String {
    let hidden = redaction::masked(key, value);
    let in_toml = matches!(origin.layer(), Layer::BuiltIn | Layer::File);
    match hidden.as_str() {
        Some(text) if !in_toml && !text.is_empty() && !text.contains(char::is_whitespace) => text.to_owned(),
        _ => hidden.to_string(),
    }
}
