//! Who set a value.

use std::fmt;
use std::path::PathBuf;

/// The layers, in the order in which a higher one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// `Settings.toml`, as compiled in.
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

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `Settings.toml`, as compiled in.
    BuiltIn,
    /// The program that is built on this crate.
    Program,
    /// This file.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// `--set`.
    Set,
    /// The flag of this name, with its dashes.
    Flag(String),
    /// What was given for another setting.
    Follows {
        /// The other setting.
        key: &'static str,
        /// Who gave that one.
        origin: Box<Origin>,
    },
}

impl Origin {
    /// The layer that this is in.
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
