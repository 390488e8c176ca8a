//! The typed settings of the connection; see `Settings.toml`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::redaction::MASK;
use super::{LibrdkafkaConfig, Preset, SaslMechanism, SecurityProtocol, de, password_file};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Kafka {
    #[serde(deserialize_with = "de::list")]
    pub brokers: Vec<String>,
    pub topic: String,
    pub preset: Preset,
    /// The timeout of the first contact with the brokers; zero: no timeout. See [`Kafka::first_contact_timeout`].
    #[serde(with = "de::duration")]
    pub connect_timeout: Duration,
    pub security: Security,
    #[serde(default)]
    pub properties: LibrdkafkaConfig,
}

/// The timeout of a request if `kafka.connect_timeout` is unlimited.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

impl Kafka {
    /// The timeout of the first contact with the brokers; `None`: no timeout.
    pub fn first_contact_timeout(&self) -> Option<Duration> {
        Some(self.connect_timeout).filter(|timeout| !timeout.is_zero())
    }

    /// Returns the settings for a run that has reached the brokers: [`Kafka::connect_timeout`] is limited.
    pub fn limited(&self) -> Self {
        Self { connect_timeout: self.request_timeout(), ..self.clone() }
    }

    /// The timeout of a request after the first contact with the brokers.
    pub fn request_timeout(&self) -> Duration {
        self.first_contact_timeout().unwrap_or(REQUEST_TIMEOUT)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Security {
    pub protocol: SecurityProtocol,
    pub sasl_mechanism: SaslMechanism,
    pub username: String,
    pub password: Secret,
    /// Is read during loading; its content is then in `password`. To read it again, use [`Security::current_password`].
    pub password_file: String,
    pub ca_file: String,
    pub certificate_file: String,
    pub key_file: String,
    pub key_password: Secret,
}

impl Security {
    /// Returns the current password: that of `password_file`, which may have changed since the settings were loaded.
    pub fn current_password(&self) -> Secret {
        self.reread_password().ok().flatten().unwrap_or_else(|| self.password.clone())
    }

    /// Reads `password_file` again. Returns `None` if none is set, or if the file can be read only once, such as a pipe.
    ///
    /// # Errors
    /// If the file cannot be read or does not contain a valid password.
    pub fn reread_password(&self) -> Result<Option<Secret>, String> {
        if self.password_file.is_empty() || !password_file::can_be_read_again(&self.password_file) {
            return Ok(None);
        }
        password_file::read(self.password_file.as_ref()).map(Some)
    }
}

/// A text that is never printed: neither by `Debug` nor in a log, the status or `config show`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(#[serde(deserialize_with = "de::quoted")] String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Why a client cannot log in with this secret; `None` if it can.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if self.0.contains('\0') {
            return Some("has a NUL character, which no password can have");
        }
        let is_cut = self.0.starts_with(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        is_cut.then_some("begins with a blank, which librdkafka cuts off: choose another password (blanks inside and at its end are kept)")
    }

    /// Returns the text. Only code that configures a client uses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", if self.0.is_empty() { "" } else { MASK })
    }
}
