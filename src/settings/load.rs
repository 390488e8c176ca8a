//! Loading: reads, merges, converts and validates the layers, and applies derived defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::ConfigError;

use super::error::SettingsError;
use super::keys::{self, KEYS, KeyKind};
use super::origin::{Layer, Origin};
use super::sources::{self, LoadOptions, Sources};
use super::values::SettingValues;
use super::{Settings, derived, redaction, validate};

/// The loaded settings, with the origin of each value.
pub struct LoadedSettings {
    /// The settings.
    pub settings: Settings,
    values: SettingValues,
    file: Option<PathBuf>,
}

/// Reads and validates all settings.
///
/// # Errors
/// All errors together; only a file that cannot be read hides the others.
pub fn load(inputs: LoadOptions) -> Result<LoadedSettings, SettingsError> {
    let mut sources = sources::read(&inputs)?;
    let mut settings = deserialize(&mut sources)?;
    // After a conversion error the settings are incomplete, so conflicts between them cannot be checked.
    SettingsError::all(sources.errors)?;
    let mut values = sources.values;
    let mut errors = derived::apply_derived_defaults(&mut settings, &mut values);
    errors.extend(validate::validate(&settings, &values, &inputs.processors));
    SettingsError::all(errors)?;
    let file = sources::file_path(inputs.config_file.as_deref());
    let file = file.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    Ok(LoadedSettings { settings, values, file })
}

/// Converts the values. One that cannot be converted is recorded as an error and replaced by its default, so that the next error
/// is found.
fn deserialize(sources: &mut Sources) -> Result<Settings, SettingsError> {
    let mut invalid = BTreeMap::new();
    loop {
        let (key, problem) = match sources.values.deserialize() {
            Ok(settings) => {
                sources.errors.extend(invalid.into_values());
                return Ok(settings);
            }
            Err(error) => from_config_error(error),
        };
        let error = sources.values.invalid(&key, problem);
        if !sources.values.reset(&key, &sources.defaults) {
            return Err(error);
        }
        invalid.insert(key, error);
    }
}

/// Returns the key of an error (without a list index) and the problem, without the value, which may be secret.
fn from_config_error(error: ConfigError) -> (String, String) {
    let (key, problem) = match error {
        ConfigError::Type { key, expected, .. } => (key, format!("expected {expected}")),
        ConfigError::At { key, error, .. } => (key, error.to_string()),
        other => (None, other.to_string()),
    };
    let key = key.unwrap_or_default();
    (key.split('[').next().unwrap_or_default().to_owned(), problem)
}

impl LoadedSettings {
    /// Returns the settings file that was read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the origin of `key`; for an unknown key, built in.
    pub fn origin(&self, key: &str) -> Origin {
        self.values.origin(key)
    }

    /// Whether a layer above the built-in `Settings.toml` sets `key`.
    pub fn is_set(&self, key: &str) -> bool {
        self.values.layer(key) > Layer::BuiltIn
    }

    /// Returns all settings, one per line, as TOML that can be loaded again; with the origin of each as a comment if `origin` is
    /// true. Secrets are `"***"`.
    pub fn show(&self, origin: bool) -> String {
        let lines: Vec<(String, Origin)> = self
            .list()
            .into_iter()
            .map(|(key, value)| (format!("{key} = {}", redaction::mask_value(&key, &value)), self.origin(&key)))
            .collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
        let line = |(line, from): (String, Origin)| match origin {
            true => format!("{line:width$}  # {from}\n"),
            false => format!("{line}\n"),
        };
        lines.into_iter().map(line).collect()
    }

    /// Returns keys and values in the order of `Settings.toml`.
    fn list(&self) -> Vec<(String, toml::Value)> {
        // The settings are a tree of plain values: the conversion cannot fail.
        let tree = toml::Value::try_from(&self.settings).unwrap_or_else(|_| toml::Table::new().into());
        let value = |key: &String| key.split('.').try_fold(&tree, |at, name| at.get(name));
        KEYS.iter().filter_map(|key| Some(flatten_properties(key, value(key)?))).flatten().collect()
    }
}

/// Splits a table of properties into its properties; returns any other value unchanged.
fn flatten_properties(key: &str, value: &toml::Value) -> Vec<(String, toml::Value)> {
    match (keys::kind(key), value) {
        (KeyKind::Properties, toml::Value::Table(table)) if !table.is_empty() => {
            table.iter().map(|(name, value)| (keys::join(key, name), value.clone())).collect()
        }
        _ => vec![(key.to_owned(), value.clone())],
    }
}

impl fmt::Debug for LoadedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(true))
    }
}

#[cfg(test)]
mod tests;
