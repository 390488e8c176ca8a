//! State that a worker's partitions share, on the processing thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use actix::Recipient;

use super::history_writer::HistoryWriter;
use super::isolation_gate::IsolationGate;
use super::latency_recorder::LatencyRecorder;
use super::log_limiter::LogLimiter;
use super::messages::PartitionEvent;
use super::worker_flags::WorkerFlags;
use crate::kafka::dead_letter_producer::DeadLetterProducer;
use crate::latency::scope::StampScope;
use crate::processor::{Processor, WorkerContext};

/// State that all partitions of a worker share, on the processing thread.
pub(super) struct Shared {
    pub(super) processor: RefCell<Box<dyn Processor>>,
    pub(super) context: WorkerContext,
    pub(super) quota: MessageQuota,
    pub(super) flags: Arc<WorkerFlags>,
    pub(super) history: Option<Arc<HistoryWriter>>,
    pub(super) latencies: RefCell<LatencyRecorder>,
    /// Which stamped messages are timed.
    pub(super) stamps: StampScope,
    pub(super) events: Recipient<PartitionEvent>,
    pub(super) dead_letters: DeadLetterProducer,
    pub(super) gate: IsolationGate,
    /// Whether the processor has returned a result yet.
    pub(super) has_result: Cell<bool>,
    /// When the processor was created.
    pub(super) created: Instant,
    /// Limits the lines about failed messages.
    pub(super) log_limiter: RefCell<LogLimiter>,
}

/// The number of further messages that the worker may handle (`consumer.max_messages`); `None`: no limit.
pub(super) struct MessageQuota(Cell<Option<u64>>);

impl MessageQuota {
    pub(super) fn new(messages: Option<u64>) -> Self {
        Self(Cell::new(messages))
    }

    /// Reserves one message; `false` if none is left.
    pub(super) fn take(&self) -> bool {
        let Some(left) = self.0.get() else { return true };
        self.0.set(Some(left.saturating_sub(1)));
        left > 0
    }

    /// Releases the reservation of a message that is not handled here.
    pub(super) fn release(&self) {
        self.0.set(self.0.get().map(|left| left + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_used_up_and_what_is_released_can_be_taken_again() {
        let quota = MessageQuota::new(Some(2));
        assert_eq!([quota.take(), quota.take(), quota.take()], [true, true, false]);
        quota.release();
        assert_eq!([quota.take(), quota.take()], [true, false]);
        let unlimited = MessageQuota::new(None);
        unlimited.release();
        assert!((0..1_000).all(|_| unlimited.take()));
    }
}
