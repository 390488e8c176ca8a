//! Messages as seen by processors; independent of the Kafka library.

use std::fmt;

/// A consumed message, borrowed from the client's memory.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The create time (or log append time, by the topic's setting), in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, parsed on access.
    pub headers: &'a dyn Headers,
}

/// The headers of a message. Names may repeat; a value may be null.
pub trait Headers {
    /// All headers in order.
    fn list(&self) -> Vec<(&str, Option<&[u8]>)>;
}

impl Headers for () {
    fn list(&self) -> Vec<(&str, Option<&[u8]>)> {
        Vec::new()
    }
}

impl Headers for Vec<(String, Option<Vec<u8>>)> {
    fn list(&self) -> Vec<(&str, Option<&[u8]>)> {
        self.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect()
    }
}

/// A message that owns its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// See [`Record`].
    pub topic: String,
    /// See [`Record`].
    pub partition: i32,
    /// See [`Record`].
    pub offset: i64,
    /// See [`Record`].
    pub timestamp_ms: Option<i64>,
    /// See [`Record`].
    pub key: Option<Vec<u8>>,
    /// See [`Record`].
    pub value: Option<Vec<u8>>,
    /// See [`Record`].
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record<'_> {
    /// The value of the first header with this name; `None` if there is none or its value is null.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.list().into_iter().find(|(known, _)| *known == name)?.1
    }

    /// An owned copy.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "the standard trait's blanket implementation clones the borrow")]
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            topic: self.topic.to_owned(),
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(<[u8]>::to_vec),
            headers: self
                .headers
                .list()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

impl OwnedRecord {
    /// A borrowed view.
    pub fn borrow(&self) -> Record<'_> {
        Record {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
        }
    }
}

impl fmt::Display for Record<'_> {
    /// The position of the message: `topic/partition@offset`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
