//! Messages between the coordinator and its producer threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::Message;

use crate::exit::ExitStatus;
use crate::report::{FaultsReport, ProduceReport};

/// To a producer thread: generate and send messages on schedule. Returns after its time slice, so that the thread
/// stays responsive.
#[derive(Message)]
#[rtype(result = "BatchResult")]
pub struct ProduceBatch {
    /// The maximum number of messages.
    pub count: u64,
    /// The size after which the batch ends.
    pub bytes: u64,
    /// Messages scheduled at this time or later are not sent.
    pub until: Option<Instant>,
}

/// The result of a [`ProduceBatch`].
#[derive(Debug, Default)]
pub struct BatchResult {
    /// Messages that the client accepted or rejected, or the generator rejected; injected duplicates do not count.
    pub sent: u64,
    /// The injected faults among them, and injected duplicates.
    pub faults: FaultsReport,
    /// The size of the keys and payloads that the client accepted.
    pub bytes: u64,
    /// The size of the largest of these messages.
    pub largest: u64,
    /// The largest delay of a message after its scheduled time.
    pub delay: Duration,
    /// When the last message was sent.
    pub last: Option<Instant>,
    /// Set if this thread cannot continue.
    pub ended: Option<BatchEnd>,
}

impl BatchResult {
    /// Adds a later batch of the same thread.
    pub fn add(&mut self, later: &Self) {
        self.sent += later.sent;
        self.faults.add(&later.faults);
        self.bytes += later.bytes;
        self.largest = self.largest.max(later.largest);
        self.delay = self.delay.max(later.delay);
        self.last = later.last.or(self.last);
        self.ended = self.ended.take().or_else(|| later.ended.clone());
    }
}

/// Why a thread cannot continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchEnd {
    /// The user's generator panicked.
    Panicked(String),
    /// The Kafka client has failed permanently.
    Fatal(String),
}

impl BatchEnd {
    /// Describes the end of producer `number`.
    pub fn describe(&self, number: usize) -> String {
        match self {
            Self::Panicked(text) => format!("producer {number}: the generator {text}"),
            Self::Fatal(text) => format!("producer {number}: {text}"),
        }
    }
}

/// To a producer thread: wait until every sent message is acknowledged or has failed.
#[derive(Message)]
#[rtype(result = "Flushed")]
pub struct Flush {
    /// The deadline.
    pub deadline: Instant,
}

/// The result of a [`Flush`].
#[derive(Debug, Default)]
pub struct Flushed {
    /// The deadline that expired first; outstanding messages were purged.
    pub expired: Option<DeadlineKind>,
    /// Set if this thread could not have continued.
    pub ended: Option<BatchEnd>,
}

/// The deadline that expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineKind {
    /// That of [`Flush`]: `producer.flush_timeout`.
    Flushing,
    /// That of [`StopFlag::stop`]: `shutdown.timeout`.
    Stopped,
}

/// To the coordinator: the number of the topic's messages that consumers have read, each counted once. Used only with
/// a limit of unconsumed messages.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ConsumedUpTo(pub u64);

/// The coordinator's final result.
#[derive(Debug)]
pub struct ProducerResult {
    /// The exit status.
    pub exit: ExitStatus,
    /// The report.
    pub report: ProduceReport,
    /// Whether a signal stopped the run early.
    pub interrupted: bool,
    /// Whether a thread could not continue: its generator panicked, its client failed, or the topic was deleted.
    pub broken: bool,
    /// Whether the topic was deleted: its messages cannot be consumed any more.
    pub topic_deleted: bool,
}

/// A flag that producer threads check while they process a message.
#[derive(Debug, Default)]
pub struct StopFlag {
    stop: AtomicBool,
    flush_by: Mutex<Option<Instant>>,
}

impl StopFlag {
    /// Stops sending and limits a flush to `flush_by`.
    pub fn stop(&self, flush_by: Instant) {
        if let Ok(mut current) = self.flush_by.lock() {
            // A second stop never extends the deadline.
            *current = Some(current.map_or(flush_by, |by: Instant| by.min(flush_by)));
        }
        self.stop.store(true, Ordering::Release);
    }

    /// Returns whether sending must stop.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The deadline of a flush, which [`StopFlag::stop`] may have shortened.
    pub fn flush_by(&self, deadline: Instant) -> Instant {
        let stopped = self.flush_by.lock().ok().and_then(|by| *by);
        stopped.map_or(deadline, |by| by.min(deadline))
    }
}
