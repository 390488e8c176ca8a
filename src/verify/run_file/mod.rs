//! The run file: the acknowledgements recorded by `verify --produce-only`, for a check by `verify --consume-only` on
//! another machine or later.
//!
//! Its first line is JSON and identifies the run; little-endian binary blocks follow:
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | the kind: 1 the CRC-32 of the first line, 2 records, 3 the end: the numbers of acknowledgements and failures
//! |
//! | 3 | 0 |
//! | 4 | size of the body |
//! | 4 | CRC-32 of the body |
//! | 4 | CRC-32 of the bytes above |
//!
//! A record takes 2 bytes where producers write batches, and rarely more than 7. A file without an end block is
//! incomplete: its records are used, and the verdict reports it.

mod block;
mod reader;
mod writer;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use reader::Reader;
pub use writer::{OpenFile, Writer};

/// The version of this format.
pub const RUN_FILE_VERSION: u32 = 1;

/// The first line of a run file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// See [`RUN_FILE_VERSION`].
    version: u32,
    /// The run id in all stamps: 16 hexadecimal digits.
    #[serde(with = "hexadecimal")]
    pub run: u64,
    /// The topic.
    pub topic: String,
    /// Its number of partitions.
    partitions: usize,
    /// The high watermark of each partition when the run started.
    pub starts: Vec<i64>,
    /// The number of producer threads.
    pub producers: u32,
    /// When the run started.
    pub started: String,
}

impl Header {
    /// Creates the header of a run that starts now: `starts` are the partitions' high watermarks, `started` is the
    /// time as text.
    pub fn new(
        run: u64,
        topic: impl Into<String>,
        starts: Vec<i64>,
        producers: u32,
        started: impl Into<String>,
    ) -> Self {
        let (topic, started) = (topic.into(), started.into());
        Self { version: RUN_FILE_VERSION, run, topic, partitions: starts.len(), starts, producers, started }
    }

    /// What is wrong with the header, if it could be parsed.
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

/// A record of a run file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it, and the stamp documents them")]
pub enum RunFileRecord {
    /// An acknowledgement; a negative offset means that the brokers did not report one.
    Acknowledged { producer: u16, sequence: u64, partition: i32, offset: i64 },
    /// A failed delivery.
    Failed { producer: u16, sequence: u64 },
}

/// The content of a run file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The number of acknowledgements.
    pub acknowledged: u64,
    /// The number of failures.
    pub failed: u64,
    /// Whether the file has its end block; otherwise the last records are missing.
    pub complete: bool,
}

/// Why a run file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// An I/O error.
    #[error("run file {}: cannot be {done}: {error}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The operation: created, written, read.
        done: &'static str,
        /// The error.
        error: std::io::Error,
    },
    /// The file is no run file.
    #[error("run file {}: {problem}; name a file that `verify --produce-only --run-file` has written", path.display())]
    NoRunFile {
        /// The path.
        path: PathBuf,
        /// What is wrong with its first line.
        problem: String,
    },
    /// Another version of this program wrote the file.
    #[error("run file {}: it has version {found}, and this program reads version {RUN_FILE_VERSION}; read it with the program that wrote it", path.display())]
    Version {
        /// The path.
        path: PathBuf,
        /// The version of the file.
        found: u32,
    },
    /// The file is damaged.
    #[error("run file {}: it is broken at byte {at}: {problem}; copy it again from where it was written", path.display())]
    Broken {
        /// The path.
        path: PathBuf,
        /// The offset of the damaged block.
        at: u64,
        /// What is wrong with the block.
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
