//! What travels between the coordinator and its producers.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::Message;

use crate::exit::Exit;
use crate::report::{FaultsReport, ProduceReport};

/// To a producer: generate and send messages, each when it is due. It returns when its time slice is over, so that no
/// producer is out of reach for long.
#[derive(Message)]
#[rtype(result = "Slice")]
pub struct Produce {
    /// At most so many messages.
    pub count: u64,
    /// And no more once so many bytes were sent.
    pub bytes: u64,
    /// What is due then or later is not sent.
    pub until: Option<Instant>,
}

/// What a producer did with a [`Produce`].
#[derive(Debug, Default)]
pub struct Slice {
    /// Messages that were taken or refused by the client, or refused by the generator; second copies do not count.
    pub sent: u64,
    /// Those of them that were made wrong on purpose, and second copies.
    pub faults: FaultsReport,
    /// Bytes of the keys and payloads that the client has taken.
    pub bytes: u64,
    /// The largest of these messages' bytes.
    pub largest: u64,
    /// By how much it was too late, at worst.
    pub delay: Duration,
    /// When the last message was sent.
    pub last: Option<Instant>,
    /// Set if this producer cannot go on.
    pub ended: Option<Ended>,
}

/// Why a producer cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The user's generator panicked.
    Panicked(String),
    /// The Kafka client takes nothing more.
    Fatal(String),
}

/// To a producer: wait until everything that was sent is acknowledged or given up.
#[derive(Message)]
#[rtype(result = "Flushed")]
pub struct Flush {
    /// Until then at the latest.
    pub deadline: Instant,
}

/// Everything is acknowledged or given up.
#[derive(Debug, Default)]
pub struct Flushed {
    /// A deadline came first: what was under way then was given up.
    pub given_up: Option<GivenUp>,
}

/// Which deadline it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// That of [`Flush`]: `producer.flush_timeout`.
    Flushing,
    /// That of [`Halt::stop`]: `shutdown.deadline`.
    Stopped,
}

/// To the coordinator: so many messages of the topic have been read on the other side, each counted once. Only a run
/// with an unread limit listens.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Consumed(pub u64);

/// From the coordinator, once: how it all ended.
#[derive(Debug)]
pub struct Outcome {
    /// The end.
    pub exit: Exit,
    /// What was produced.
    pub report: ProduceReport,
    /// Whether a signal ended it before its time.
    pub interrupted: bool,
    /// Whether a producer could not go on: its generator has panicked, or its client takes nothing more.
    pub broken: bool,
}

/// What reaches producers in the middle of their work, where no message can.
#[derive(Debug, Default)]
pub struct Halt {
    stop: AtomicBool,
    flush_by: Mutex<Option<Instant>>,
}

impl Halt {
    /// Send nothing more, and flush until `flush_by` only.
    pub fn stop(&self, flush_by: Instant) {
        if let Ok(mut current) = self.flush_by.lock() {
            // A second word does not give more time.
            *current = Some(current.map_or(flush_by, |by: Instant| by.min(flush_by)));
        }
        self.stop.store(true, Ordering::Release);
    }

    /// Whether nothing more is to be sent.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The deadline of a flush, which [`Halt::stop`] may have moved.
    pub fn flush_by(&self, deadline: Instant) -> Instant {
        let stopped = self.flush_by.lock().ok().and_then(|by| *by);
        stopped.map_or(deadline, |by| by.min(deadline))
    }
}
