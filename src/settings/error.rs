//! Errors in the settings: what is wrong, where it was set, and what is allowed.

use std::path::PathBuf;

use super::origin::Origin;

/// An error in the settings. Each text names the setting, its value, its origin and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A key, or an environment variable with the program's prefix, that does not exist.
    #[error("unknown setting {name} ({origin}); did you mean {nearest}?")]
    Unknown {
        /// The unknown name.
        name: String,
        /// Its origin.
        origin: Origin,
        /// The nearest existing name, in the same notation.
        nearest: String,
    },
    /// A section in the place of a setting.
    #[error("{name} is a section ({origin}); name one of its settings, such as {example}")]
    Section {
        /// The section.
        name: String,
        /// Its origin.
        origin: Origin,
        /// A setting in this section.
        example: String,
    },
    /// An invalid value.
    #[error("{key} = {value} ({origin}): {problem}")]
    Invalid {
        /// The setting.
        key: String,
        /// The value as text; `"***"` if it is secret.
        value: String,
        /// The origin of the value.
        origin: Origin,
        /// The problem, or the allowed values.
        problem: String,
    },
    /// Settings that exclude each other.
    #[error("{settings}: {problem}")]
    Contradiction {
        /// The settings, each with value and origin.
        settings: String,
        /// Why they exclude each other.
        problem: String,
    },
    /// A `--set` argument that is not `KEY=VALUE`.
    #[error("--set {text}: write KEY=VALUE, such as --set producer.threads=8")]
    NotAnAssignment {
        /// The key of the argument: the rest may be secret.
        text: String,
    },
    /// A file that cannot be read or is not valid TOML; the text contains the position.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// Several errors, one per line.
    #[error("{}", lines(.0))]
    Several(Vec<SettingsError>),
}

fn lines(errors: &[SettingsError]) -> String {
    errors.iter().map(SettingsError::to_string).collect::<Vec<_>>().join("\n")
}

impl SettingsError {
    /// Returns `Ok` for no error, a single error itself, and several errors as [`Several`](Self::Several).
    pub(super) fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}
