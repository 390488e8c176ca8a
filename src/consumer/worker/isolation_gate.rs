//! Limits which messages of a worker are in processing at the same time: one in isolation mode, else as many as
//! fit into the memory limit.

use std::cell::{Cell, RefCell};

use actix::Recipient;

use super::messages::DataReady;

/// The gate in front of the processor.
pub(super) struct IsolationGate {
    /// The number of messages in processing, or waiting for permission.
    inside: Cell<usize>,
    /// The bytes of keys and values in processing.
    bytes: Cell<u64>,
    /// At this number of bytes no further message enters.
    max_bytes: u64,
    /// The partitions that wait since the last message has left.
    waiting: RefCell<Vec<Recipient<DataReady>>>,
}

impl IsolationGate {
    /// Messages in processing may have this number of bytes, plus one more message.
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { inside: Cell::new(0), bytes: Cell::new(0), max_bytes, waiting: RefCell::default() }
    }

    /// Enters if the gate is empty. Otherwise the partition is woken when a message has left.
    pub(super) fn try_enter_exclusive(&self, partition: Recipient<DataReady>) -> bool {
        if self.inside.get() == 0 {
            self.enter(0);
            return true;
        }
        self.wait(partition);
        false
    }

    /// Whether another message fits in addition to those in processing.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.get() < self.max_bytes
    }

    /// Wakes the partition when a message has left.
    pub(super) fn wait(&self, partition: Recipient<DataReady>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.contains(&partition) {
            waiting.push(partition);
        }
    }

    /// Records that a message of this size enters.
    pub(super) fn enter(&self, bytes: u64) {
        self.inside.set(self.inside.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// Records that a message leaves. All waiting partitions try again, in the order in which they came. The
    /// caller has to end its turn so that they go first.
    pub(super) fn leave(&self, bytes: u64) {
        self.inside.set(self.inside.get().saturating_sub(1));
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
        self.waiting.take().into_iter().for_each(|partition| partition.do_send(DataReady));
    }
}
