//! The layers from which a value can come, lowest first; each is read into dotted keys.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::SettingsError;
use super::keys::{self, BUILT_IN, KeyKind, PREFIX};
use super::origin::{Layer, Origin};
use super::values::SettingValues;
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

/// The values that were read, and the errors so far.
#[derive(Default)]
pub(super) struct Sources {
    /// Those of the compiled-in `Settings.toml`.
    pub(super) defaults: SettingValues,
    /// The effective ones.
    pub(super) values: SettingValues,
    /// Errors such as unknown keys.
    pub(super) errors: Vec<SettingsError>,
}

/// Reads all layers.
///
/// # Errors
/// If the settings file cannot be read.
pub(super) fn read(inputs: &LoadOptions) -> Result<Sources, SettingsError> {
    let mut sources = Sources::default();
    sources.set("", parse_toml(BUILT_IN, Path::new("Settings.toml"))?, &Origin::built_in());
    sources.defaults = sources.values.clone();
    for (key, value) in &inputs.program {
        sources.set_text(key, value, &Origin::program());
    }
    if let Some(path) = file_path(inputs.config_file.as_deref()) {
        sources.read_file(path)?;
    }
    sources.read_environment(&inputs.environment);
    sources.read_sets(&inputs.sets);
    for (flag, key, value) in &inputs.flags {
        sources.set_text(key, value, &Origin::flag(flag));
    }
    Ok(sources)
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

fn parse_toml(text: &str, path: &Path) -> Result<toml::Value, SettingsError> {
    text.parse::<toml::Table>().map(toml::Value::Table).map_err(|error| {
        // The line itself is left out: it may contain a password.
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        SettingsError::File {
            path: path.to_owned(),
            problem: format!("line {line}, column {column}: {}", error.message()),
        }
    })
}

/// Returns the key for a name with single underscores, such as `KAFKA_ACTORS_PRODUCER_THREADS`. Other names with this prefix are
/// ignored: for a service of this name, Kubernetes sets `KAFKA_ACTORS_SERVICE_HOST` in other pods.
fn single_underscores(name: &str) -> Option<&'static str> {
    let joined = |text: &str| text.split(['_', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
    let rest = joined(&name.strip_prefix("KAFKA_ACTORS_")?.to_lowercase());
    keys::KEYS.iter().find(|key| joined(key) == rest).map(String::as_str)
}

impl Sources {
    /// Every line of a file sets a value, even if it equals the default. Only a complete copy of the built-in file without any
    /// change sets nothing: it is the documentation of the defaults, such as the one in this repository.
    fn read_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let mut file = Self::default();
        file.set("", parse_toml(&file_text(path)?, path)?, &Origin::file(path));
        self.errors.extend(file.errors);
        if !file.values.has_same_values(&self.defaults) {
            self.values.extend(file.values);
        }
        Ok(())
    }

    fn read_environment(&mut self, variables: &[(String, OsString)]) {
        for (name, value) in variables {
            let origin = Origin::variable(name);
            if let Some(rest) = name.strip_prefix(PREFIX) {
                let path = keys::path_of_variable(rest);
                match value.to_str() {
                    Some(text) => self.set_text(&path, text, &origin),
                    None => self.errors.push(invalid(&path, &origin, "is not valid UTF-8")),
                }
            } else if let Some(key) = single_underscores(name) {
                self.errors.push(SettingsError::Unknown { name: name.clone(), origin, nearest: keys::variable(key) });
            }
        }
    }

    fn read_sets(&mut self, sets: &[String]) {
        for text in sets {
            match text.split_once('=') {
                Some((key, value)) => self.set_text(key, value, &Origin::set()),
                None => {
                    // The text after the key may be a password.
                    let key = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).next();
                    self.errors.push(SettingsError::NotAnAssignment { text: key.unwrap_or_default().to_owned() });
                }
            }
        }
    }

    fn set_text(&mut self, key: &str, text: &str, origin: &Origin) {
        self.set(key.trim(), toml::Value::String(text.to_owned()), origin);
    }

    /// Sets the value of a path; tables are set key by key.
    fn set(&mut self, path: &str, value: toml::Value, origin: &Origin) {
        match (keys::kind(path), value) {
            (KeyKind::Property(name), _) if !librdkafka::is_name(name) => {
                self.errors.push(invalid(
                    path,
                    origin,
                    "no property has this name; allowed: letters, digits, \".\", \"_\", \"-\"",
                ));
            }
            (KeyKind::Section | KeyKind::Properties | KeyKind::Property(_), toml::Value::Table(table)) => {
                for (name, value) in table {
                    self.set(&keys::join(path, &name), value, origin);
                }
            }
            (KeyKind::Properties, toml::Value::String(text)) => match de::assignments(&text) {
                Ok(pairs) => pairs.into_iter().for_each(|(name, value)| {
                    self.set(&keys::join(path, &name), toml::Value::String(value), origin);
                }),
                Err(problem) => self.errors.push(invalid(path, origin, &problem)),
            },
            (KeyKind::Properties, _) => self.errors.push(invalid(path, origin, "expected a table of properties")),
            (KeyKind::Section, _) => self.errors.push(SettingsError::Section {
                name: path.to_owned(),
                origin: origin.clone(),
                example: keys::nearest(path).to_owned(),
            }),
            (KeyKind::Unknown, _) => {
                let nearest = keys::nearest(path);
                let nearest = match origin.layer() {
                    Layer::Environment => keys::variable(nearest),
                    _ => nearest.to_owned(),
                };
                self.errors.push(SettingsError::Unknown { name: path.to_owned(), origin: origin.clone(), nearest });
            }
            // Messages may contain NUL characters, so `producer` settings are exempt.
            (kind @ (KeyKind::Setting | KeyKind::Property(_)), value)
                if has_nul(&value) && (kind != KeyKind::Setting || !path.starts_with("producer.")) =>
            {
                self.errors.push(invalid(
                    path,
                    origin,
                    "has a NUL character, which neither librdkafka nor a program's arguments can have",
                ));
            }
            // TOML does not preserve the notation of numbers and dates, so an unquoted password could change.
            (KeyKind::Property(name), toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Datetime(_))
                if redaction::is_secret(name) =>
            {
                self.errors.push(invalid(path, origin, "expected a text in quotes"));
            }
            (KeyKind::Property(_), toml::Value::Array(_)) => {
                self.errors.push(invalid(path, origin, "expected a text, a number, true or false"));
            }
            (KeyKind::Setting | KeyKind::Property(_), value) => {
                self.values.insert(path, value, origin);
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
