//! The origin of a value.

use std::fmt;
use std::path::Path;

/// The layers, in ascending order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The compiled-in `Settings.toml`.
    BuiltIn,
    /// The defaults of a program that is built on this crate.
    Program,
    /// A settings file.
    File,
    /// Environment variables.
    Environment,
    /// `--set`.
    Set,
    /// Flags.
    Flag,
}

/// The origin of a value: its layer, and its name in that layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    layer: Layer,
    name: String,
}

impl Origin {
    pub(super) fn built_in() -> Self {
        Self { layer: Layer::BuiltIn, name: "Settings.toml (built in)".to_owned() }
    }

    pub(super) fn program() -> Self {
        Self { layer: Layer::Program, name: "the program".to_owned() }
    }

    pub(super) fn file(path: &Path) -> Self {
        Self { layer: Layer::File, name: path.display().to_string() }
    }

    pub(super) fn variable(name: &str) -> Self {
        Self { layer: Layer::Environment, name: format!("environment variable {name}") }
    }

    pub(super) fn set() -> Self {
        Self { layer: Layer::Set, name: "--set".to_owned() }
    }

    /// A flag, with its leading dashes.
    pub(super) fn flag(name: &str) -> Self {
        Self { layer: Layer::Flag, name: name.to_owned() }
    }

    /// Derived from the setting `key`, which has this origin.
    pub(super) fn follows(key: &str, origin: &Self) -> Self {
        Self { layer: origin.layer, name: format!("follows from {key}, {origin}") }
    }

    /// Returns the layer of this origin.
    pub fn layer(&self) -> Layer {
        self.layer
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
