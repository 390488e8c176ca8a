//! The places that a value can come from, lowest first, each read into dotted keys; and who set what.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::error::SettingsError;
use super::keys::{self, BUILT_IN, Kind, PREFIX};
use super::origin::{Layer, Origin};
use super::{parse, properties};

/// All that settings are read from; nothing else is asked, not even the environment.
#[derive(Clone, Default)]
pub struct Inputs {
    /// `--config`; without it, `./Settings.toml` if that exists.
    pub config_file: Option<PathBuf>,
    /// Environment variables; those without our prefix are passed over.
    pub environment: Vec<(String, String)>,
    /// What `--set` was given: `KEY=VALUE`.
    pub sets: Vec<String>,
    /// Flags: name with dashes, key, value.
    pub flags: Vec<(String, String, String)>,
    /// Defaults of a program that is built on this crate: key, value.
    pub program: Vec<(String, String)>,
    /// The names that `consumer.processor` may have; no other is allowed.
    pub processors: Vec<String>,
}

/// A value as it was given.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) value: toml::Value,
    pub(super) origin: Origin,
}

/// What one layer gives, by dotted key; raw properties one by one.
#[derive(Clone, Default)]
pub(super) struct Given(pub(super) BTreeMap<String, Entry>);

/// Reads all layers. What does not exist is told in the second list; a file that cannot be read ends it at once.
pub(super) fn read(inputs: &Inputs) -> Result<(Vec<Given>, Vec<SettingsError>), SettingsError> {
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

fn file(named: Option<&Path>, errors: &mut Vec<SettingsError>) -> Result<Given, SettingsError> {
    let usual = Path::new("./Settings.toml");
    let path = match named {
        Some(path) => path,
        None if usual.exists() => usual,
        None => return Ok(Given::default()),
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::File { path: path.to_owned(), problem: error.to_string() })?;
    let mut given = toml_text(&text, path, &Origin::File(path.to_owned()), errors)?;
    // A line that says what is built in anyway was copied, not decided: in a copy of the defaults with one line
    // changed, all others would overrule the program's defaults.
    let built_in = toml_text(BUILT_IN, path, &Origin::BuiltIn, &mut Vec::new())?;
    given.0.retain(|key, entry| built_in.0.get(key).is_none_or(|default| default.value != entry.value));
    Ok(given)
}

fn toml_text(
    text: &str,
    path: &Path,
    origin: &Origin,
    errors: &mut Vec<SettingsError>,
) -> Result<Given, SettingsError> {
    let table = text.parse::<toml::Table>().map_err(|error| {
        // Without the line itself: it may hold a password.
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        SettingsError::File {
            path: path.to_owned(),
            problem: format!("line {line}, column {column}: {}", error.message()),
        }
    })?;
    let mut given = Given::default();
    given.place("", toml::Value::Table(table), origin, errors);
    Ok(given)
}

fn texts<'a>(items: impl Iterator<Item = (&'a String, &'a String, Origin)>, errors: &mut Vec<SettingsError>) -> Given {
    let mut given = Given::default();
    for (key, value, origin) in items {
        given.place(key.trim(), toml::Value::String(value.clone()), &origin, errors);
    }
    given
}

fn sets(sets: &[String], errors: &mut Vec<SettingsError>) -> Given {
    let mut given = Given::default();
    for text in sets {
        match text.split_once('=') {
            Some((key, value)) => {
                given.place(key.trim(), toml::Value::String(value.to_owned()), &Origin::Set, errors);
            }
            None => {
                // What stands behind the key may be a password.
                let key = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).next();
                errors.push(SettingsError::NotAnAssignment { text: key.unwrap_or_default().to_owned() });
            }
        }
    }
    given
}

fn environment(variables: &[(String, String)], errors: &mut Vec<SettingsError>) -> Given {
    let mut given = Given::default();
    for (name, value) in variables {
        let origin = Origin::Environment(name.clone());
        if let Some(rest) = name.strip_prefix(PREFIX) {
            let path = keys::path_of_variable(rest);
            given.place(&path, toml::Value::String(value.clone()), &origin, errors);
        } else if let Some(key) = single_underscores(name) {
            errors.push(SettingsError::Unknown { name: name.clone(), origin, nearest: keys::variable(key) });
        }
    }
    given
}

/// The key that `KAFKA_ACTORS_PRODUCER_THREADS` would be. Other names that begin so are not ours: Kubernetes gives
/// `KAFKA_ACTORS_SERVICE_HOST` to the neighbours of a service of this name.
fn single_underscores(name: &str) -> Option<&'static str> {
    let joined = |text: &str| text.split(['_', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
    let rest = joined(&name.strip_prefix("KAFKA_ACTORS_")?.to_lowercase());
    keys::KEYS.iter().find(|key| joined(key) == rest).map(String::as_str)
}

impl Given {
    /// Takes a value in under its path; tables go on to what they hold.
    fn place(&mut self, path: &str, value: toml::Value, origin: &Origin, errors: &mut Vec<SettingsError>) {
        match (keys::kind(path), value) {
            (Kind::Property(name), _) if !properties::is_name(name) => {
                errors.push(invalid(
                    path,
                    origin,
                    "no property has this name; allowed: letters, digits, \".\", \"_\", \"-\"",
                ));
            }
            (Kind::Section | Kind::Properties | Kind::Property(_), toml::Value::Table(table)) => {
                for (name, value) in table {
                    self.place(&keys::join(path, &name), value, origin, errors);
                }
            }
            (Kind::Properties, toml::Value::String(text)) => match parse::assignments(&text) {
                Ok(pairs) => pairs.into_iter().for_each(|(name, value)| {
                    self.place(&keys::join(path, &name), toml::Value::String(value), origin, errors);
                }),
                Err(problem) => errors.push(invalid(path, origin, &problem)),
            },
            (Kind::Properties, _) => errors.push(invalid(path, origin, "expected a table of properties")),
            (Kind::Section, _) => errors.push(SettingsError::Section {
                name: path.to_owned(),
                origin: origin.clone(),
                example: keys::nearest(path).to_owned(),
            }),
            (Kind::Unknown, _) => {
                let nearest = keys::nearest(path);
                let nearest = match origin {
                    Origin::Environment(_) => keys::variable(nearest),
                    _ => nearest.to_owned(),
                };
                errors.push(SettingsError::Unknown { name: path.to_owned(), origin: origin.clone(), nearest });
            }
            (Kind::Setting | Kind::Property(_), value) => {
                self.0.insert(path.to_owned(), Entry { value, origin: origin.clone() });
            }
        }
    }
}

/// The value is left out: what is written into the wrong place may be a secret.
fn invalid(path: &str, origin: &Origin, problem: &str) -> SettingsError {
    SettingsError::Invalid {
        key: path.to_owned(),
        value: "…".to_owned(),
        origin: origin.clone(),
        problem: problem.to_owned(),
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Source for Given {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut root = Map::new();
        for (path, entry) in &self.0 {
            let value = to_config(&entry.value, &entry.origin.to_string());
            match keys::kind(path) {
                // A property's dots are part of its name.
                Kind::Property(name) => {
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
        // TOML's own times need no quotes: start = 2026-11-23T10:00:00Z.
        toml::Value::Datetime(time) => ValueKind::String(time.to_string()),
        toml::Value::Array(items) => ValueKind::Array(items.iter().map(|item| to_config(item, origin)).collect()),
        toml::Value::Table(table) => {
            ValueKind::Table(table.iter().map(|(name, value)| (name.clone(), to_config(value, origin))).collect())
        }
    };
    Value::new(Some(origin), kind)
}

/// The value that holds for each key, and who set it.
pub(super) struct Sources(BTreeMap<String, Entry>);

impl Sources {
    /// What holds when a higher layer wins.
    pub(super) fn of(layers: &[Given]) -> Self {
        Self(layers.iter().flat_map(|layer| layer.0.clone()).collect())
    }

    /// Who set `key`.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.0.get(key).map_or(Origin::BuiltIn, |entry| entry.origin.clone())
    }

    /// The layer that set `key`.
    pub(super) fn layer(&self, key: &str) -> Layer {
        self.origin(key).layer()
    }

    /// Replaces a value by what follows from another setting.
    pub(super) fn follow(&mut self, key: &str, value: impl Into<toml::Value>, from: &'static str) {
        let origin = Origin::Follows { key: from, origin: Box::new(self.origin(from)) };
        self.0.insert(key.to_owned(), Entry { value: value.into(), origin });
    }

    /// An error of this setting.
    pub(super) fn invalid(&self, key: &str, problem: impl Into<String>) -> SettingsError {
        SettingsError::Invalid {
            key: key.to_owned(),
            value: self.value(key),
            origin: self.origin(key),
            problem: problem.into(),
        }
    }

    /// An error of these settings together.
    pub(super) fn contradiction(&self, keys: &[&str], problem: &str) -> SettingsError {
        let say = |key: &&str| format!("{key} = {} ({})", self.value(key), self.origin(key));
        SettingsError::Contradiction {
            settings: keys.iter().map(say).collect::<Vec<_>>().join(" and "),
            problem: problem.to_owned(),
        }
    }

    fn value(&self, key: &str) -> String {
        match self.0.get(key) {
            Some(entry) => shown(key, &entry.value, &entry.origin),
            None => "?".to_owned(),
        }
    }
}

/// A value as it was written there, unless it is secret.
fn shown(key: &str, value: &toml::Value, origin: &Origin) -> String {
    let hidden = masked(key, value);
    let in_toml = matches!(origin.layer(), Layer::BuiltIn | Layer::File);
    match hidden.as_str() {
        Some(text) if !in_toml && !text.is_empty() && !text.contains(char::is_whitespace) => text.to_owned(),
        _ => hidden.to_string(),
    }
}

/// The value, or `"***"` if it is secret and not empty.
pub(super) fn masked(key: &str, value: &toml::Value) -> toml::Value {
    let secret = match keys::kind(key) {
        Kind::Property(name) => properties::is_secret(name),
        _ => matches!(key, "kafka.security.password" | "kafka.security.key_password"),
    };
    if secret && value.as_str() != Some("") { toml::Value::String("***".to_owned()) } else { value.clone() }
}
