//! What the program is told: `Settings.toml` < environment < command line, merged, typed and validated.
//!
//! - [`values`](self): the typed settings below, and in `supervision`; a plain tree that is also sent to the workers over their
//!   control socket.
//! - `keys`: the keys that exist, and the nearest one to a key that does not.
//! - `layers`: the places that a value can come from, and who set what (`config show --origin`).
//! - `parse`: texts and TOML values to types.
//! - `load`: all of it in order; `follow`: what follows from one setting for another.
//! - `profile`: rates over time, as texts. `size`: a size, or a range of sizes.
//! - `validate`: what a type cannot say: ranges, names, contradictions across fields; `generating`: those of the messages'
//!   making; `supervising`: those of the workers' supervision; `topic`: a topic's name; `properties`: raw ones.
//!
//! The top level's `Settings.toml` is compiled in as the lowest layer: the documentation of every key and its default
//! are one text and cannot drift apart. It is also the list of the keys that exist.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod error;
mod follow;
mod generating;
mod keys;
mod layers;
mod load;
mod origin;
mod parse;
mod profile;
mod properties;
mod size;
mod supervising;
mod supervision;
mod topic;
mod validate;

pub use error::SettingsError;
pub use layers::Inputs;
pub use load::{Loaded, load};
pub use origin::{Layer, Origin};
pub use profile::{Profile, Step};
pub use properties::Properties;
pub(crate) use properties::is_secret;
pub use size::Size;
pub use supervision::{Breaker, Limits, Membership, Restart, Retry, Watchdog};
pub(crate) use topic::topic_problem;

/// Everything that the program is told. The meaning, unit and default of each key stand in `Settings.toml`.
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
    #[serde(deserialize_with = "parse::list")]
    pub brokers: Vec<String>,
    pub topic: String,
    pub preset: Preset,
    /// How long the first contact with the brokers may take.
    #[serde(with = "parse::duration")]
    pub connect_timeout: Duration,
    pub security: Security,
    #[serde(default)]
    pub properties: Properties,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Security {
    pub protocol: SecurityProtocol,
    pub sasl_mechanism: String,
    pub username: String,
    pub password: Secret,
    /// Read while loading; its content is then in `password`.
    pub password_file: String,
    pub ca_file: String,
    pub certificate_file: String,
    pub key_file: String,
    pub key_password: Secret,
}

/// A text that is never printed: not by `Debug`, a log, the status or `config show`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; only what configures a client asks for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"***\"" })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Producer {
    #[serde(deserialize_with = "parse::count")]
    pub threads: usize,
    /// 0: no limit.
    #[serde(deserialize_with = "parse::count")]
    pub messages_per_thread: u64,
    /// Zero: no limit.
    #[serde(with = "parse::duration")]
    pub duration: Duration,
    /// Messages per second of all threads together; 0: as fast as it goes.
    #[serde(deserialize_with = "parse::number")]
    pub rate: f64,
    /// Rates over time; empty: `rate`.
    pub profile: Profile,
    #[serde(deserialize_with = "parse::switch")]
    pub stamp: bool,
    pub template: String,
    pub template_file: String,
    pub lines_file: String,
    pub size: Size,
    /// 0: one is chosen when the run begins.
    #[serde(deserialize_with = "parse::count")]
    pub seed: u64,
    pub compression: Compression,
    pub key: KeySource,
    #[serde(deserialize_with = "parse::count")]
    pub key_cardinality: u64,
    #[serde(deserialize_with = "parse::number")]
    pub key_exponent: f64,
    pub key_field: String,
    /// `name=value`; read them through `header_pairs`.
    #[serde(deserialize_with = "parse::list")]
    pub headers: Vec<String>,
    #[serde(deserialize_with = "parse::number")]
    pub tombstone_ratio: f64,
    #[serde(with = "parse::duration")]
    pub linger: Duration,
    #[serde(with = "parse::duration")]
    pub message_timeout: Duration,
    #[serde(with = "parse::duration")]
    pub flush_timeout: Duration,
    pub faults: Faults,
    #[serde(default)]
    pub properties: Properties,
}

/// What is made wrong on purpose: ratios of all messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Faults {
    #[serde(deserialize_with = "parse::number")]
    pub duplicate: f64,
    #[serde(deserialize_with = "parse::number")]
    pub corrupt: f64,
    #[serde(deserialize_with = "parse::number")]
    pub oversized: f64,
    #[serde(deserialize_with = "parse::count")]
    pub oversized_bytes: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Consumer {
    /// Empty: `kafka.topic`. Read it through [`Settings::consumed_topics`].
    #[serde(deserialize_with = "parse::list")]
    pub topics: Vec<String>,
    #[serde(deserialize_with = "parse::count")]
    pub processes: usize,
    pub assignment: Assignment,
    pub strategy: Strategy,
    pub group: String,
    /// `committed`, `beginning`, `end` or a time.
    pub start: Start,
    pub without_commit: WithoutCommit,
    #[serde(deserialize_with = "parse::switch")]
    pub until_end: bool,
    /// 0: no limit.
    #[serde(deserialize_with = "parse::count")]
    pub max_messages: u64,
    /// Zero: never.
    #[serde(with = "parse::duration")]
    pub idle_exit: Duration,
    pub processor: String,
    #[serde(deserialize_with = "parse::command")]
    pub command: Vec<String>,
    #[serde(with = "parse::duration")]
    pub commit_interval: Duration,
    #[serde(deserialize_with = "parse::count")]
    pub memory_budget_mb: u64,
    pub on_failure: OnFailure,
    /// Empty: the message's topic and `.dlq`.
    pub dead_letter_topic: String,
    pub offset_out_of_range: OffsetOutOfRange,
    /// Zero: never.
    #[serde(with = "parse::duration")]
    pub topic_poll_interval: Duration,
    pub retry: Retry,
    pub breaker: Breaker,
    pub watchdog: Watchdog,
    pub restart: Restart,
    pub limits: Limits,
    pub membership: Membership,
    #[serde(default)]
    pub properties: Properties,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Verify {
    #[serde(with = "parse::duration")]
    pub deadline: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Shutdown {
    #[serde(with = "parse::duration")]
    pub deadline: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Latency {
    #[serde(with = "parse::duration")]
    pub warm_up: Duration,
    /// Empty: none is written.
    pub file: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Logging {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see Settings.toml")]
pub struct Monitoring {
    /// `None`: nowhere.
    #[serde(deserialize_with = "parse::listen")]
    pub listen: Option<SocketAddr>,
    #[serde(with = "parse::duration")]
    pub unready_after: Duration,
}

/// Defines an enum whose variants are the words that a setting allows.
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
                match text.as_str() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("allowed: {}", Self::WORDS.join(", "))),
                }
            }
        }
    };
}

words!(/// How the clients talk to the brokers.
SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext = "plaintext",
    /// TLS.
    Ssl = "ssl",
    /// SASL without TLS: the password crosses the network as the mechanism has it.
    SaslPlaintext = "sasl_plaintext",
    /// SASL over TLS.
    SaslSsl = "sasl_ssl",
});
words!(/// What the clients are tuned for.
Preset {
    /// As many messages a second as possible.
    Throughput = "throughput",
    /// Each message as soon as possible.
    LowLatency = "low_latency",
});
words!(/// How batches are compressed on the wire and in the log.
Compression {
    /// Not at all.
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
words!(/// Where a message's key comes from.
KeySource {
    /// No key: librdkafka spreads the messages over the partitions.
    None = "none",
    /// `key-0`, `key-1`, … up to `key_cardinality`, then again.
    RoundRobin = "round_robin",
    /// Any of `key-0` to `key-…`, all alike.
    Uniform = "uniform",
    /// Any of them, `key-0` the most often.
    Zipf = "zipf",
    /// From the message: what the generator set as key, else the payload's JSON field `key_field`.
    Message = "message",
});
words!(/// Who decides which worker reads which partition.
Assignment {
    /// The supervisor plans it.
    Manual = "manual",
    /// Kafka's consumer group, over any number of hosts.
    Group = "group",
});
words!(/// How partitions are dealt to workers.
Strategy {
    /// Neighbouring partitions to the same worker.
    Range = "range",
    /// In turn.
    RoundRobin = "round_robin",
});
words!(/// Where to start in a partition in which the group has committed nothing.
WithoutCommit {
    /// At the oldest message that is still there.
    Beginning = "beginning",
    /// After the newest message.
    End = "end",
});
words!(/// What becomes of a message whose processing failed.
OnFailure {
    /// The program stops; the message is the next one to be read at the next start.
    Stop = "stop",
    /// Logged, counted, and the next one is processed.
    Skip = "skip",
    /// A copy goes to the dead-letter topic, and the next one is processed.
    DeadLetter = "dead_letter",
});
words!(/// What to do where the next offset to be read is not in the log any more.
OffsetOutOfRange {
    /// The program ends, and says so.
    Stop = "stop",
    /// Go on at the oldest message that is there.
    Earliest = "earliest",
    /// Go on after the newest.
    Latest = "latest",
});
words!(/// What to do with a partition that a fresh client and a fresh worker did not move.
LastResort {
    /// Another worker gets it; if that does not help either, it is quarantined.
    Move = "move",
    /// It is read by nobody, and the report says so.
    Quarantine = "quarantine",
});
words!(/// What to do with a worker that dies too often.
Exceeded {
    /// It is started no more, and the others get its partitions.
    Park = "park",
    /// The program ends.
    End = "end",
});
words!(/// How a consumer group is kept.
GroupProtocol {
    /// By its members, cooperative and sticky.
    Classic = "classic",
    /// By the brokers: KIP-848, Kafka 4.0 or newer.
    Consumer = "consumer",
});
words!(/// How log lines look.
LogFormat {
    /// For people.
    Terminal = "terminal",
    /// One JSON object a line.
    Json = "json",
});
words!(/// The least important log lines that are written.
LogLevel {
    /// Data was lost or somebody has to act.
    Error = "error",
    /// Something is off; the program deals with it.
    Warning = "warning",
    /// What happens, in few lines.
    Info = "info",
    /// Single messages.
    Debug = "debug",
    /// Everything.
    Trace = "trace",
});

/// Where reading starts in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Start {
    /// Where the group has committed; else at `without_commit`.
    Committed,
    /// The oldest message that is still there, whatever is committed.
    Beginning,
    /// After the newest message, whatever is committed.
    End,
    /// The first message of this time or later, in milliseconds since 1970 UTC.
    Time(i64),
}

impl Settings {
    /// The topics that are read: `consumer.topics`, or `kafka.topic` where that is empty.
    pub fn consumed_topics(&self) -> Vec<String> {
        if self.consumer.topics.is_empty() { vec![self.kafka.topic.clone()] } else { self.consumer.topics.clone() }
    }
}

/// The built-in settings, for tests of what depends on them.
#[cfg(test)]
pub(crate) fn defaults() -> Settings {
    let processors = vec!["log".to_owned()];
    load(Inputs { processors, ..Inputs::default() }).expect("the defaults are valid").settings
}
