//! Flags that all threads of a worker read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::lease::LeaseGate;
use crate::consumer::protocol::{PoisonMessage, WorkerConfig};
use crate::record::{Record, TopicPartition};

/// Flags of a worker: set by the manager, read by the partitions and the poll thread.
#[derive(Default)]
pub(super) struct WorkerFlags {
    /// The shutdown has begun: start no more messages.
    shutting_down: AtomicBool,
    /// The supervisor has paused the worker: start no more messages.
    paused: AtomicBool,
    /// Isolation mode: request permission for each message.
    isolated: AtomicBool,
    /// As [`WorkerConfig::suspects`].
    suspects: Vec<(TopicPartition, i64)>,
    /// Whether the next list has entries, which is checked for each message.
    any_poison: AtomicBool,
    poison_messages: Mutex<Vec<PoisonMessage>>,
    /// The lease, while the supervisor holds the lock on the group.
    pub(super) lease: LeaseGate,
}

impl WorkerFlags {
    /// The flags of a worker at its start.
    pub(super) fn new(config: &WorkerConfig) -> Arc<Self> {
        let flags = Self {
            paused: AtomicBool::new(config.paused),
            isolated: AtomicBool::new(config.isolated),
            suspects: config.suspects.clone(),
            lease: LeaseGate::new(config.lease),
            ..Self::default()
        };
        flags.set_poison_messages(config.poison_messages.clone());
        Arc::new(flags)
    }

    /// Records the begin of the shutdown. Returns whether it had begun before.
    pub(super) fn begin_shutdown(&self) -> bool {
        self.shutting_down.swap(true, Ordering::Relaxed)
    }

    /// Whether the shutdown has begun.
    pub(super) fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Relaxed)
    }

    /// Whether no message may be started, although the worker keeps its partitions.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed) || self.lease.is_suspended()
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Whether isolation mode is on.
    pub(super) fn is_isolating(&self) -> bool {
        self.isolated.load(Ordering::Relaxed)
    }

    pub(super) fn set_isolated(&self, isolated: bool) {
        self.isolated.store(isolated, Ordering::Relaxed);
    }

    /// Whether this message may be poison.
    pub(super) fn is_suspect(&self, record: &Record<'_>) -> bool {
        self.suspects.iter().any(|(partition, offset)| is_at(record, partition, *offset))
    }

    /// The reason for which this message must not be processed; `None` if it may be.
    pub(super) fn poison_reason(&self, record: &Record<'_>) -> Option<String> {
        if !self.any_poison.load(Ordering::Relaxed) {
            return None;
        }
        let poison_messages = self.poison_messages.lock().ok()?;
        let found = poison_messages.iter().find(|poison| is_at(record, &poison.partition, poison.offset));
        found.map(|poison| poison.reason.clone())
    }

    /// Replaces the list of poison messages.
    pub(super) fn set_poison_messages(&self, list: Vec<PoisonMessage>) {
        self.any_poison.store(!list.is_empty(), Ordering::Relaxed);
        // A panic while the lock was held has ended the process.
        if let Ok(mut poison_messages) = self.poison_messages.lock() {
            *poison_messages = list;
        }
    }
}

fn is_at(record: &Record<'_>, partition: &TopicPartition, offset: i64) -> bool {
    (partition.partition, offset) == (record.partition, record.offset) && partition.topic == record.topic
}
