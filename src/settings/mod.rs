//! The settings: `Settings.toml` < environment < command line; merged, typed and validated.
//!
//! - [`values`](self): the typed settings below, and those of `consumer`: a plain tree, which the supervisor also sends to its
//!   workers over their control sockets.
//! - `keys`: the keys that exist, and the nearest one to an unknown key.
//! - `sources`: the layers from which a value can come, lowest first. `origin`: the layer that set a value
//!   (`config show --origin`).
//! - `de`: conversion of texts and TOML values to types.
//! - `load`: reads, merges, converts and validates the layers. `derived`: defaults that are derived from other settings.
//! - `rate_profile`: rates over time, as texts. `size_range`: a size, or a range of sizes. `librdkafka`: raw properties.
//!   `topic_name`: Kafka's rule for topic names.
//! - `validate`: checks that a type cannot express: ranges, names, conflicts between settings; with one module each for the
//!   producer and the consumer.
//! - `password_file`: the password from a file. `redaction`: the values that are never printed. `security_warnings`: unsafe
//!   connection settings. `error`: the errors of all of these.
//!
//! The repository's `Settings.toml` is compiled in as the lowest layer: the documentation of every key and its default
//! are one text and cannot diverge. It also defines which keys exist.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod consumer;
mod de;
mod derived;
mod error;
#[cfg(test)]
mod fuzz_tests;
mod keys;
mod librdkafka;
mod load;
mod origin;
mod password_file;
mod rate_profile;
mod redaction;
mod security_warnings;
mod size_range;
mod sources;
mod topic_name;
mod validate;

pub use consumer::{CircuitBreakerSettings, GroupMembership, RecycleLimits, RestartPolicy, Retry, Watchdog};
pub use librdkafka::LibrdkafkaConfig;
pub use load::{LoadedSettings, load};
#[cfg(feature = "verify")]
pub use origin::Layer;
pub use rate_profile::{RateProfile, RateStep};
pub(crate) use redaction::{MASK, is_secret, mask_command, mask_logins, mask_userinfo};
pub use size_range::SizeRange;
pub use sources::LoadOptions;
pub(crate) use topic_name::topic_problem;

/// All settings. `Settings.toml` documents the meaning, the unit and the default of each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is documented where users read it: in Settings.toml")]
pub struct Settings {
    pub kafka: Kafka,
    pub producer: Producer,
    pub consumer: Consumer,
    pub verify: Verify,
    pub shutdown: Shutdown,
    pub latency: Latency,
    pub logging: Logging,
    pub monitoring: Monitoring,
}

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
    fn problem(&self) -> Option<&'static str> {
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

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Producer {
    #[serde(deserialize_with = "de::count")]
    pub threads: usize,
    /// 0: no limit.
    #[serde(deserialize_with = "de::count")]
    pub messages_per_thread: u64,
    /// Zero: no limit.
    #[serde(with = "de::duration")]
    pub duration: Duration,
    /// Messages per second of all threads together; 0: no limit.
    #[serde(deserialize_with = "de::number")]
    pub rate: f64,
    /// Rates over time; empty: `rate`.
    pub rate_profile: RateProfile,
    #[serde(deserialize_with = "de::switch")]
    pub stamp: bool,
    pub template: String,
    pub template_file: String,
    pub lines_file: String,
    pub message_size: SizeRange,
    /// 0: a random seed is chosen when the run starts.
    #[serde(deserialize_with = "de::count")]
    pub seed: u64,
    pub compression: Compression,
    pub key: KeySource,
    #[serde(deserialize_with = "de::count")]
    pub key_cardinality: u64,
    #[serde(deserialize_with = "de::number")]
    pub key_zipf_exponent: f64,
    pub key_field: String,
    /// Items of the form `name=value`; read them through `header_pairs`.
    #[serde(deserialize_with = "de::list")]
    pub headers: Vec<String>,
    #[serde(deserialize_with = "de::number")]
    pub tombstone_ratio: f64,
    #[serde(with = "de::duration")]
    pub linger: Duration,
    #[serde(with = "de::duration")]
    pub message_timeout: Duration,
    #[serde(with = "de::duration")]
    pub flush_timeout: Duration,
    pub faults: FaultInjection,
    #[serde(default)]
    pub properties: LibrdkafkaConfig,
}

/// Intentional faults, as ratios of all messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct FaultInjection {
    #[serde(deserialize_with = "de::number")]
    pub duplicate: f64,
    #[serde(deserialize_with = "de::number")]
    pub corrupt: f64,
    #[serde(deserialize_with = "de::number")]
    pub oversized: f64,
    #[serde(deserialize_with = "de::count")]
    pub oversized_bytes: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Consumer {
    /// Empty: `kafka.topic`. Read it through [`Settings::consumed_topics`].
    #[serde(deserialize_with = "de::list")]
    pub topics: Vec<String>,
    #[serde(deserialize_with = "de::count")]
    pub processes: usize,
    pub assignment: Assignment,
    pub assignment_strategy: AssignmentStrategy,
    pub group_id: String,
    #[serde(deserialize_with = "de::switch")]
    pub supervisor_lock: bool,
    #[serde(deserialize_with = "de::switch")]
    pub wait_for_lock: bool,
    /// `committed`, `earliest`, `latest` or a time.
    pub start: StartOffset,
    pub auto_offset_reset: AutoOffsetReset,
    /// Nothing is committed or dead-lettered.
    #[serde(deserialize_with = "de::switch")]
    pub read_only: bool,
    #[serde(deserialize_with = "de::switch")]
    pub until_end: bool,
    /// 0: no limit.
    #[serde(deserialize_with = "de::count")]
    pub max_messages: u64,
    /// Zero: no limit.
    #[serde(with = "de::duration")]
    pub idle_exit: Duration,
    pub processor: String,
    #[serde(deserialize_with = "de::command")]
    pub command: Vec<String>,
    #[serde(with = "de::duration")]
    pub commit_interval: Duration,
    #[serde(deserialize_with = "de::count")]
    pub memory_budget_mb: u64,
    pub on_failure: OnFailure,
    /// Empty: the message's topic with the suffix `.dlq`.
    pub dead_letter_topic: String,
    pub offset_out_of_range: OffsetOutOfRange,
    /// Zero: never.
    #[serde(with = "de::duration")]
    pub metadata_refresh_interval: Duration,
    pub retry: Retry,
    pub circuit_breaker: CircuitBreakerSettings,
    pub watchdog: Watchdog,
    pub restart: RestartPolicy,
    pub recycle: RecycleLimits,
    pub membership: GroupMembership,
    #[serde(default)]
    pub properties: LibrdkafkaConfig,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Verify {
    #[serde(with = "de::duration")]
    pub timeout: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Shutdown {
    #[serde(with = "de::duration")]
    pub timeout: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Latency {
    #[serde(with = "de::duration")]
    pub warm_up: Duration,
    /// Empty: no file is written.
    pub hdr_file: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Logging {
    pub format: LogFormat,
    pub level: LogLevel,
    pub stderr_lines_per_second: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Monitoring {
    /// `None`: the HTTP server is disabled.
    #[serde(deserialize_with = "de::listen")]
    pub listen: Option<SocketAddr>,
    #[serde(with = "de::duration")]
    pub readiness_stall_timeout: Duration,
}

/// Defines an enum whose variants are the allowed words of a setting. Case is ignored, since Kafka writes `SASL_SSL`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// The words that the setting allows.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word of this value, as written in the settings.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let text = text.trim();
                $(if text.eq_ignore_ascii_case($word) {
                    return Ok(Self::$variant);
                })+
                let words: Vec<_> = Self::WORDS.iter().copied().filter(|word| !word.is_empty()).collect();
                Err(format!("allowed: {}", words.join(", ")))
            }
        }
    };
}

words!(/// The security protocol between the clients and the brokers.
SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext = "plaintext",
    /// TLS.
    Ssl = "ssl",
    /// SASL without TLS. With the mechanism `PLAIN`, the password is sent unencrypted.
    SaslPlaintext = "sasl_plaintext",
    /// SASL over TLS.
    SaslSsl = "sasl_ssl",
});
words!(/// The SASL mechanism by which a client authenticates.
SaslMechanism {
    /// No authentication.
    None = "",
    /// The client sends the password itself.
    Plain = "PLAIN",
    /// Challenge-response with SHA-256: the password is not sent.
    ScramSha256 = "SCRAM-SHA-256",
    /// Challenge-response with SHA-512: the password is not sent.
    ScramSha512 = "SCRAM-SHA-512",
});
words!(/// The goal for which the clients are tuned.
Preset {
    /// Maximum number of messages per second.
    Throughput = "throughput",
    /// Minimum latency of each message.
    LowLatency = "low_latency",
});
words!(/// The compression of batches on the network and in the log.
Compression {
    /// No compression.
    None = "none",
    /// LZ4.
    Lz4 = "lz4",
    /// Zstandard.
    Zstd = "zstd",
    /// gzip.
    Gzip = "gzip",
    /// Snappy.
    Snappy = "snappy",
});
words!(/// The replicas that must acknowledge a message (`acks` of `producer.properties` or `kafka.properties`).
Acks {
    /// All in-sync replicas.
    All = "all",
    /// The partition's leader; its followers may not have the message yet.
    Leader = "1",
    /// None: a message counts as sent when it was written to a broker connection.
    None = "0",
});

impl Default for Acks {
    /// The program's default.
    fn default() -> Self {
        Self::All
    }
}

words!(/// The source of a message's key.
KeySource {
    /// No key: librdkafka distributes the messages over the partitions.
    None = "none",
    /// `key-0`, `key-1`, … up to `key_cardinality`, then from `key-0` again.
    RoundRobin = "round_robin",
    /// A random key from `key-0` to `key-…`, uniformly distributed.
    Uniform = "uniform",
    /// A random key, Zipf distributed; `key-0` is the most frequent.
    Zipf = "zipf",
    /// The key that the generator set for the message, else the payload's JSON field `key_field`.
    Message = "message",
});
words!(/// The component that assigns partitions to workers.
Assignment {
    /// The supervisor.
    Manual = "manual",
    /// Kafka's consumer group, across any number of hosts.
    Group = "group",
});
words!(/// The strategy by which the supervisor assigns partitions to workers.
AssignmentStrategy {
    /// Adjacent partitions are assigned to the same worker.
    Range = "range",
    /// Partitions are assigned to the workers in turn.
    RoundRobin = "round_robin",
});
words!(/// The start offset in a partition without a committed offset.
AutoOffsetReset {
    /// The oldest message that still exists.
    Earliest = "earliest",
    /// After the newest message.
    Latest = "latest",
});
words!(/// The policy for a message whose processing failed.
OnFailure {
    /// The program stops; the next run starts with this message.
    Stop = "stop",
    /// The message is logged, counted and skipped.
    Skip = "skip",
    /// A dead-letter record is written to the dead-letter topic, then the next message is processed.
    DeadLetter = "dead_letter",
});
words!(/// The policy for a position that is no longer in the log.
OffsetOutOfRange {
    /// The program stops with an error.
    Stop = "stop",
    /// Continue at the oldest message that still exists.
    Earliest = "earliest",
    /// Continue after the newest message.
    Latest = "latest",
});
words!(/// The policy for a partition that makes no progress with a new client and a new worker.
LastResort {
    /// The partition is assigned to another worker; if it makes no progress there, it is quarantined.
    Move = "move",
    /// No worker consumes the partition; the report lists it.
    Quarantine = "quarantine",
});
words!(/// The policy for a worker that exceeds the restart intensity.
OnExceeded {
    /// The worker is marked failed and not restarted; the other workers get its partitions.
    FailWorker = "fail_worker",
    /// The program exits.
    Exit = "exit",
});
words!(/// The rebalance protocol of the consumer group.
GroupProtocol {
    /// The classic protocol, with the cooperative-sticky assignor.
    Classic = "classic",
    /// The consumer protocol of KIP-848: the brokers assign partitions; Kafka 4.0 or newer.
    Consumer = "consumer",
});
words!(/// The format of log lines.
LogFormat {
    /// Readable text.
    Terminal = "terminal",
    /// One JSON object per line.
    Json = "json",
});
words!(/// The minimum severity of the log lines that are written.
LogLevel {
    /// Data was lost, or an operator has to act.
    Error = "error",
    /// A problem that the program handles.
    Warning = "warning",
    /// The events of a run, in few lines.
    Info = "info",
    /// Single messages.
    Debug = "debug",
    /// All details.
    Trace = "trace",
});

/// The start offset in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StartOffset {
    /// The committed offset of the group; without one, as `auto_offset_reset`.
    Committed,
    /// The oldest message that still exists, regardless of committed offsets.
    Earliest,
    /// After the newest message, regardless of committed offsets.
    Latest,
    /// The first message with this timestamp or a later one, in milliseconds since 1970 UTC.
    Time(i64),
}

impl Settings {
    /// Returns the topics to consume: `consumer.topics`, or `kafka.topic` if that is empty.
    pub fn consumed_topics(&self) -> Vec<String> {
        if self.consumer.topics.is_empty() { vec![self.kafka.topic.clone()] } else { self.consumer.topics.clone() }
    }
}

impl Settings {
    /// Returns the property that sets `acks`, if there is one: `producer.properties` take precedence over `kafka.properties`.
    pub fn acks_key(&self) -> Option<String> {
        let tables = [("producer", &self.producer.properties), ("kafka", &self.kafka.properties)];
        let names = ACKS_NAMES.iter().flat_map(|name| tables.map(|(section, table)| (section, table, name)));
        let mut set: Vec<_> = names.filter(|(_, table, name)| table.contains_key(**name)).collect();
        set.sort_by_key(|(section, ..)| *section != "producer");
        set.first().map(|(section, _, name)| format!("{section}.properties.{name}"))
    }
}

/// librdkafka's names of the property `acks`; the second one is an alias.
pub(crate) const ACKS_NAMES: [&str; 2] = ["acks", "request.required.acks"];

/// The built-in settings, for tests.
#[cfg(test)]
pub(crate) fn defaults() -> Settings {
    let processors = vec!["log".to_owned()];
    load(LoadOptions { processors, ..LoadOptions::default() }).expect("the defaults are valid").settings
}
