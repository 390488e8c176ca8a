//! Processing of one message, and the conditions for it.

use std::time::{Duration, Instant};

use actix::fut::wrap_future;
use actix::prelude::*;

use super::{PartitionConsumer, PendingMessage, Phase};
use crate::consumer::protocol::{FailureKind, WorkerEvent, WorkerFailure};
use crate::consumer::worker::messages::PartitionEvent;
use crate::consumer::worker::partition_state::MessageOutcome;
use crate::history::HistoryEntry;
use crate::latency::scope::Timing;
use crate::processor::{ProcessError, ProcessResult};
use crate::record::Record;
use crate::stamp;
use crate::util::panic::{CatchPanic, catch_panic};

/// How long a message that may be poison waits for other messages to be processed before it.
const SUSPECTS_WAIT: Duration = Duration::from_secs(1);

/// The state of the attempts at a message.
#[derive(Clone, Debug, Default)]
pub(super) struct AttemptState {
    /// The message is reserved in the quota ([`super::super::shared::MessageQuota`]).
    pub(super) has_quota: bool,
    /// In isolation mode: the supervisor has permitted it.
    pub(super) is_allowed: bool,
    /// The number of failed attempts.
    pub(super) failures: u64,
    /// The reason of the final failure; only the dead-letter record is missing.
    pub(super) final_failure: Option<String>,
    /// The number of failed deliveries of the dead-letter record.
    pub(super) undelivered: u64,
}

/// Data about the message in flight.
pub(super) struct RecordMeta {
    offset: i64,
    /// When processing began.
    begun: Instant,
    /// The timing from the message's stamp.
    timing: Option<Timing>,
    /// The history entry, if there is a history.
    entry: Option<HistoryEntry>,
}

impl PartitionConsumer {
    /// Continues with the message that is held back.
    pub(super) fn resume_held_back(&mut self, context: &mut Context<Self>) {
        let Phase::HeldBack(message) = std::mem::replace(&mut self.phase, Phase::Reading) else { return };
        if message.attempts.final_failure.is_some() {
            self.send_to_dlq(message, context);
            return;
        }
        self.start_message(&message.record.borrow(), message.attempts.clone(), context);
        if let Phase::Processing { held_back, .. } = &mut self.phase {
            // Kept until the result is known.
            *held_back = Some(message);
        }
    }

    /// Processes one message, unless it lies beyond the stop offset or has to wait: for the quota, or for
    /// permission.
    pub(super) fn start_message(
        &mut self,
        record: &Record<'_>,
        mut attempts: AttemptState,
        context: &mut Context<Self>,
    ) {
        if self.stop_offset.is_some_and(|offset| record.offset >= offset) {
            self.leave_unfinished(&attempts);
            self.reach_end();
            return;
        }
        if !attempts.has_quota && !self.shared.quota.take() {
            // Another partition may release a message; this one checks again once a second.
            self.phase = Phase::HeldBack(Box::new(PendingMessage { record: record.to_owned(), attempts }));
            return;
        }
        attempts.has_quota = true;
        if let Some(reason) = self.shared.flags.poison_reason(record) {
            self.on_final_failure(record.to_owned(), attempts, reason, context);
        } else if self.shared.flags.is_isolating() && !attempts.is_allowed {
            self.request_process(record, attempts, context);
        } else {
            self.process(record, attempts, context);
        }
    }

    /// Waits for the gate, then for permission of the supervisor.
    fn request_process(&mut self, record: &Record<'_>, attempts: AttemptState, context: &mut Context<Self>) {
        let message = Box::new(PendingMessage { record: record.to_owned(), attempts });
        // The results of other messages show whether the program works at all. The partition checks again once a
        // second.
        let shared = &self.shared;
        let waits_for_others =
            !shared.has_result.get() && shared.created.elapsed() < SUSPECTS_WAIT && shared.flags.is_suspect(record);
        if waits_for_others || !shared.gate.try_enter_exclusive(context.address().recipient()) {
            self.phase = Phase::HeldBack(message);
            return;
        }
        self.phase = Phase::Announced(message);
        let partition = self.state.partition.clone();
        self.report(WorkerEvent::RequestProcess { partition, offset: record.offset });
    }

    /// Processes the message that the supervisor has permitted.
    pub(super) fn proceed(&mut self, context: &mut Context<Self>) {
        let Phase::Announced(mut message) = std::mem::replace(&mut self.phase, Phase::Reading) else { return };
        // Partitions that this wakes run later than this one.
        self.shared.gate.leave(0);
        let is_stopping = self.is_stopping();
        message.attempts.is_allowed = !is_stopping;
        self.phase = Phase::HeldBack(message);
        if !is_stopping {
            self.resume_held_back(context);
            self.continue_reading(context);
        }
    }

    fn report(&self, event: WorkerEvent) {
        self.shared.events.do_send(PartitionEvent::Report(event));
    }

    fn process(&mut self, record: &Record<'_>, mut attempts: AttemptState, context: &mut Context<Self>) {
        // The next attempt has to request permission again.
        attempts.is_allowed = false;
        self.state.begin_message(record.offset);
        if attempts.failures > 0 {
            self.state.begin_retry();
        }
        let mut meta = self.meta(record);
        let result = match catch_panic(|| self.shared.processor.borrow_mut().process(record)) {
            Ok(ProcessResult::Done(result)) => result,
            Ok(ProcessResult::Later(future)) => {
                // Other partitions run meanwhile.
                meta.begun = Instant::now();
                let bytes = (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
                self.phase = Phase::Processing { bytes, held_back: None };
                self.shared.gate.enter(bytes);
                context.spawn(wrap_future::<_, Self>(CatchPanic(future)).map(move |result, partition, context| {
                    let result = result.unwrap_or_else(|panic| Err(ProcessError::Message(panic)));
                    partition.on_async_result(meta, attempts, result, context);
                }));
                return;
            }
            Err(panic) => Err(ProcessError::Message(panic)),
        };
        if let Some(reason) = self.on_result(meta, result) {
            self.on_failure(record.to_owned(), attempts, reason, context);
        }
    }

    fn on_async_result(
        &mut self,
        meta: RecordMeta,
        attempts: AttemptState,
        result: Result<(), ProcessError>,
        context: &mut Context<Self>,
    ) {
        // A partition that was halted meanwhile has left the gate.
        let Phase::Processing { bytes, held_back } = std::mem::replace(&mut self.phase, Phase::Halted) else { return };
        self.phase = Phase::Reading;
        self.shared.gate.leave(bytes);
        if let Some(reason) = self.on_result(meta, result) {
            // It was held back, or nothing was read since.
            let current = || Some(self.queue.as_ref()?.current()?.to_owned());
            match held_back.map(|message| message.record).or_else(current) {
                Some(record) => self.on_failure(record, attempts, reason, context),
                None => {
                    let reason = format!("a message that failed is gone: {reason}");
                    self.halt(PartitionEvent::Failed(WorkerFailure::of_worker(FailureKind::Transient, reason)));
                }
            }
        }
        self.continue_reading(context);
    }

    /// Collects the data about a message that are needed when it is handled: the message itself may be gone
    /// then.
    pub(super) fn meta(&self, record: &Record<'_>) -> RecordMeta {
        let header = || record.header(stamp::NAME);
        let Some(history) = &self.shared.history else {
            let stamp = stamp::find_where_put(record.key, record.value, header);
            let timing = stamp.map(|stamp| self.shared.stamps.timing(&stamp));
            return RecordMeta { offset: record.offset, begun: self.now, timing, entry: None };
        };
        let stamp = stamp::find(record.key, record.value, header);
        let timing = stamp.map(|stamp| self.shared.stamps.timing(&stamp));
        RecordMeta {
            offset: record.offset,
            begun: self.now,
            timing,
            entry: Some(history.entry(record, stamp.as_ref())),
        }
    }

    /// Handles the result of an attempt. Returns the reason if the message has failed.
    fn on_result(&mut self, meta: RecordMeta, result: Result<(), ProcessError>) -> Option<String> {
        if matches!(result, Ok(()) | Err(ProcessError::Message(_))) && !self.shared.has_result.replace(true) {
            self.report(WorkerEvent::FirstResult);
        }
        match result.map_err(ProcessError::shortened) {
            Ok(()) => {
                self.breaker.record_success();
                self.advance(meta, MessageOutcome::Processed);
            }
            Err(ProcessError::Message(reason)) => return Some(reason),
            Err(ProcessError::Worker(reason)) => self.halt(processor_failed(reason)),
            Err(ProcessError::Crash(reason)) => {
                self.report(WorkerEvent::ProcessorCrashed);
                self.halt(processor_failed(reason));
            }
            Err(ProcessError::OutputClosed) => self.halt(PartitionEvent::Report(WorkerEvent::OutputClosed)),
        }
        None
    }

    /// Records that the message is handled, and moves the position.
    pub(super) fn advance(&mut self, meta: RecordMeta, outcome: MessageOutcome) {
        let next = meta.offset + 1;
        (self.position, self.now) = (next, Instant::now());
        self.state.finish_message(next, outcome);
        let is_processed = outcome == MessageOutcome::Processed;
        if let Some(timing) = meta.timing.filter(|_| is_processed) {
            self.shared.latencies.borrow_mut().stamped(timing, self.anchor.unix_us(self.now));
        }
        if is_processed {
            self.shared.latencies.borrow_mut().record_processing(meta.begun, self.now);
        }
        self.entries.extend(meta.entry.map(|entry| HistoryEntry { failed: !is_processed, ..entry }));
        if self.is_at_end() {
            self.reach_end();
        }
    }

    /// Releases a message that is not handled here: it does not count towards the quota.
    pub(super) fn leave_unfinished(&self, attempts: &AttemptState) {
        self.state.clear_in_flight();
        if attempts.has_quota {
            self.shared.quota.release();
        }
    }
}

fn processor_failed(reason: String) -> PartitionEvent {
    PartitionEvent::Failed(WorkerFailure::of_processor(FailureKind::Transient, reason))
}
