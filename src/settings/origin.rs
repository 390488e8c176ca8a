//! The origin of a value.

use std::fmt;
use std::path::PathBuf;

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

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The compiled-in `Settings.toml`.
    BuiltIn,
    /// The defaults of a program that is built on this crate.
    Program,
    /// A settings file.
    File(PathBuf),
    /// An environment variable, with its name.
    Environment(String),
    /// `--set`.
    Set,
    /// A flag, with its name and leading dashes.
    Flag(String),
    /// Derived from another setting.
    Follows {
        /// The other setting.
        key: &'static str,
        /// The origin of the other setting.
        origin: Box<Origin>,
    },
}

impl Origin {
    /// Returns the layer of this origin.
    pub fn layer(&self) -> Layer {
        match self {
            Self::BuiltIn => Layer::BuiltIn,
            Self::Program => Layer::Program,
            Self::File(_) => Layer::File,
            Self::Environment(_) => Layer::Environment,
            Self::Set => Layer::Set,
            Self::Flag(_) => Layer::Flag,
            Self::Follows { origin, .. } => origin.layer(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("Settings.toml (built in)"),
            Self::Program => f.write_str("the program"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Set => f.write_str("--set"),
            Self::Flag(name) => f.write_str(name),
            Self::Follows { key, origin } => write!(f, "follows from {key}, {origin}"),
        }
    }
}
