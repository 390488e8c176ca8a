//! The failure that ends a worker.

use serde::{Deserialize, Serialize};

/// A failure that ends a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFailure {
    /// The part that has failed.
    pub part: FailedPart,
    /// Whether another start helps.
    pub kind: FailureKind,
    /// The reason of the failure.
    pub reason: String,
}

/// The part of a worker that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailedPart {
    /// The processor, or the external program that it writes to.
    Processor,
    /// Any other part: the Kafka client, the history.
    Worker,
}

/// Whether another start helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// Another start may succeed.
    Transient,
    /// Another start would fail in the same way.
    Permanent,
}

impl WorkerFailure {
    /// A failure of the processor.
    pub fn of_processor(kind: FailureKind, reason: impl ToString) -> Self {
        Self { part: FailedPart::Processor, kind, reason: reason.to_string() }
    }

    /// A failure of another part.
    pub fn of_worker(kind: FailureKind, reason: impl ToString) -> Self {
        Self { part: FailedPart::Worker, kind, reason: reason.to_string() }
    }
}
