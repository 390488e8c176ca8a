//! What can be wrong with the settings, in words that say where to look and what to write.

use std::path::PathBuf;

use super::origin::Origin;

/// Why the settings do not hold. Each text names the setting, its value, where it comes from and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A key, or an environment variable with our prefix, that does not exist.
    #[error("unknown setting {name} ({origin}); did you mean {nearest}?")]
    Unknown {
        /// The key.
        name: String,
        /// Who gave it.
        origin: Origin,
        /// What was probably meant, as it is written there.
        nearest: String,
    },
    /// A section where a setting belongs.
    #[error("{name} is a section ({origin}); name one of its settings, such as {example}")]
    Section {
        /// The section's name.
        name: String,
        /// Who gave it.
        origin: Origin,
        /// A setting in it.
        example: String,
    },
    /// A value that cannot be.
    #[error("{key} = {value} ({origin}): {problem}")]
    Invalid {
        /// The setting.
        key: String,
        /// As it was given; `"***"` if it is secret.
        value: String,
        /// Who gave it.
        origin: Origin,
        /// What is wrong, or what is allowed.
        problem: String,
    },
    /// Settings that exclude each other.
    #[error("{settings}: {problem}")]
    Contradiction {
        /// All of them, each with value and origin.
        settings: String,
        /// Why they cannot hold together.
        problem: String,
    },
    /// A `--set` that is not `KEY=VALUE`.
    #[error("--set {text}: write KEY=VALUE, such as --set producer.threads=8")]
    NotAnAssignment {
        /// As it was given.
        text: String,
    },
    /// A file that cannot be read, or that is no TOML; the position is in the text.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// All that is wrong, one a line.
    #[error("{}", lines(.0))]
    Several(Vec<SettingsError>),
}

fn lines(errors: &[SettingsError]) -> String {
    errors.iter().map(SettingsError::to_string).collect::<Vec<_>>().join("\n")
}

impl SettingsError {
    /// `Ok` of nothing wrong, one error as itself, more of them as [`Several`](Self::Several).
    pub(super) fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}
