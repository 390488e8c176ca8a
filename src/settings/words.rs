//! Settings whose values are words.

use serde::{Deserialize, Serialize};

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
