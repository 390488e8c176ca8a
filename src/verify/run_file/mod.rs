//! The run file: what `verify --produce-only` was told by the brokers, for `verify --consume-only` to judge by, on another
//! machine or day.
//!
//! Its first line is JSON and says which run it is; binary blocks follow, little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the kind: 1 the CRC-32 of the first line, 2 records, 3 the end: how many acknowledgements and failures there are |
//! | 3 | 0 |
//! | 4 | bytes of the body |
//! | 4 | CRC-32 of the body |
//! | 4 | CRC-32 of the bytes above |
//!
//! A record takes 2 bytes where producers write batches, and seldom more than 7. A file without an end was cut off; what is in it
//! is used, and that it was cut off is told.

mod block;
mod reader;
mod writer;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use reader::Reader;
pub use writer::{Opened, Writer};

/// The version of this format.
pub const VERSION: u32 = 1;

/// What a run file begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// See [`VERSION`].
    version: u32,
    /// The run that all stamps carry: 16 hexadecimal digits.
    #[serde(with = "hexadecimal")]
    pub run: u64,
    /// The topic that was written to.
    pub topic: String,
    /// How many partitions it had.
    partitions: usize,
    /// Where each of them ended when the run began.
    pub starts: Vec<i64>,
    /// How many producer threads there were.
    pub producers: u32,
    /// When the run began.
    pub started: String,
}

impl Header {
    /// Of a run that begins now: `starts` are the ends of the topic's partitions, `started` is the time as text.
    pub fn new(
        run: u64,
        topic: impl Into<String>,
        starts: Vec<i64>,
        producers: u32,
        started: impl Into<String>,
    ) -> Self {
        let (topic, started) = (topic.into(), started.into());
        Self { version: VERSION, run, topic, partitions: starts.len(), starts, producers, started }
    }

    /// What is wrong with it, if it could be read at all.
    fn problem(&self) -> Option<String> {
        if self.partitions != self.starts.len() {
            return Some(format!("{} partitions, and where {} of them start", self.partitions, self.starts.len()));
        }
        let negative = self.starts.iter().find(|start| **start < 0);
        negative.map(|start| format!("a partition that starts at offset {start}"))
    }
}

mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(|_| D::Error::custom(format!("run {text:?} is no hexadecimal number")))
    }
}

/// What a producer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it, and the stamp documents them")]
pub enum Record {
    /// The message stands there; a negative offset is one that the brokers did not tell.
    Acknowledged { producer: u16, sequence: u64, partition: i32, offset: i64 },
    /// It does not, as far as the producer knows.
    Failed { producer: u16, sequence: u64 },
}

/// How much there is in a run file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Acknowledgements.
    pub acknowledged: u64,
    /// Failures.
    pub failed: u64,
    /// The file has its end. If not, what was told last is not in it.
    pub complete: bool,
}

/// Why a run file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// The file system refuses.
    #[error("run file {}: cannot be {done}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: created, written, read.
        done: &'static str,
        /// Why not.
        error: std::io::Error,
    },
    /// It is something else.
    #[error("run file {}: {problem}; name a file that `verify --produce-only --run-file` has written", path.display())]
    NoRunFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with its beginning.
        problem: String,
    },
    /// Another version of this program wrote it.
    #[error("run file {}: it has version {found}, and this program reads version {VERSION}; read it with the program that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It was damaged.
    #[error("run file {}: it is broken at byte {at}: {problem}; copy it anew from where it was written", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where the block begins that does not hold.
        at: u64,
        /// What is wrong with it.
        problem: String,
    },
}

impl RunFileError {
    fn io(path: &Path, done: &'static str, error: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), done, error }
    }
}

#[cfg(test)]
mod tests;
