//! Processing of one message, and the conditions for it.

use std::time::{Duration, Instant};

use actix::fut::wrap_future;
use actix::prelude::*;

use super::{PartitionConsumer, PendingMessage, State};
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
    pub(super) announced: bool,
    /// The number of failed attempts.
    pub(super) failures: u64,
    /// The reason of the final failure; only the dead-letter record is missing.
    pub(super) given_up: Option<String>,
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
    /// Continues with a message that was held back.
    pub(super) fn resume_pending(&mut self, kept: PendingMessage, context: &mut Context<Self>) {
        if kept.so_far.given_up.is_some() {
            self.send_to_dlq(kept, context);
            return;
        }
        self.start_message(&kept.record.borrow(), kept.so_far.clone(), context);
        if self.state == State::Processing {
            // Kept until the result is known.
            self.kept = Some(kept);
        }
    }

    /// Processes one message, unless it lies beyond the stop offset or has to wait: for the quota, or for
    /// permission.
    pub(super) fn start_message(&mut self, record: &Record<'_>, mut so_far: AttemptState, context: &mut Context<Self>) {
        if self.until.is_some_and(|until| record.offset >= until) {
            self.leave_unfinished(&so_far);
            self.reach_end();
            return;
        }
        if !so_far.has_quota && !self.shared.quota.take() {
            // Another partition may release a message; this one checks again once a second.
            self.hold_pending(record, so_far);
            return;
        }
        so_far.has_quota = true;
        if let Some(reason) = self.shared.orders.poison_reason(record) {
            self.give_up(record.to_owned(), so_far, reason, context);
        } else if self.is_isolating() && !so_far.announced {
            self.request_process(record, so_far, context);
        } else {
            self.process(record, so_far, context);
        }
    }

    fn hold_pending(&mut self, record: &Record<'_>, so_far: AttemptState) {
        self.kept = Some(PendingMessage { record: record.to_owned(), so_far });
    }

    /// Waits for the gate, then for permission of the supervisor.
    fn request_process(&mut self, record: &Record<'_>, so_far: AttemptState, context: &mut Context<Self>) {
        self.hold_pending(record, so_far);
        // The results of other messages show whether the program works at all. The partition checks again once a
        // second.
        let shared = &self.shared;
        if !shared.has_result.get() && shared.since.elapsed() < SUSPECTS_WAIT && shared.orders.is_suspect(record) {
            return;
        }
        if self.shared.gate.try_enter_exclusive(context.address().recipient()) {
            self.state = State::Announced;
            let partition = self.counters.partition.clone();
            self.shared.events.do_send(PartitionEvent::Announce { partition, offset: record.offset });
        }
    }

    /// Processes the message that the supervisor has permitted.
    pub(super) fn proceed(&mut self, context: &mut Context<Self>) {
        self.state = State::Reading;
        // Partitions that this wakes run later than this one.
        self.shared.gate.leave(0);
        let Some(mut kept) = self.kept.take() else { return };
        if self.is_stopping() {
            self.kept = Some(kept);
            return;
        }
        kept.so_far.announced = true;
        self.resume_pending(kept, context);
        self.after_later(context);
    }

    fn process(&mut self, record: &Record<'_>, mut so_far: AttemptState, context: &mut Context<Self>) {
        // The next attempt has to request permission again.
        so_far.announced = false;
        self.counters.begin(record.offset);
        if so_far.failures > 0 {
            self.counters.retry();
        }
        let mut note = self.note(record);
        let result = match catch_panic(|| self.shared.processor.borrow_mut().process(record)) {
            Ok(ProcessResult::Done(result)) => result,
            Ok(ProcessResult::Later(future)) => {
                self.state = State::Processing;
                // Other partitions run meanwhile.
                note.begun = Instant::now();
                let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                self.processing_bytes = bytes as u64;
                self.shared.gate.enter(self.processing_bytes);
                context.spawn(wrap_future::<_, Self>(CatchPanic(future)).map(move |result, partition, context| {
                    partition.state = State::Reading;
                    partition.shared.gate.leave(std::mem::take(&mut partition.processing_bytes));
                    partition.on_async_done(
                        note,
                        so_far,
                        result.unwrap_or_else(|panic| Err(ProcessError::Message(panic))),
                        context,
                    );
                }));
                return;
            }
            Err(panic) => Err(ProcessError::Message(panic)),
        };
        if let Some(reason) = self.processed(note, result) {
            self.on_failure(record.to_owned(), so_far, reason, context);
        }
    }

    fn on_async_done(
        &mut self,
        note: RecordMeta,
        so_far: AttemptState,
        result: Result<(), ProcessError>,
        context: &mut Context<Self>,
    ) {
        let kept = self.kept.take();
        if let Some(reason) = self.processed(note, result) {
            // It was held back, or nothing was read since.
            let current = || Some(self.stream.as_ref()?.current()?.to_owned());
            match kept.map(|kept| kept.record).or_else(current) {
                Some(record) => self.on_failure(record, so_far, reason, context),
                None => {
                    let reason = format!("a message that failed is gone: {reason}");
                    self.stop_actor(PartitionEvent::Broken { reason, permanent: false });
                }
            }
        }
        self.after_later(context);
    }

    /// Collects the data about a message that are needed when it is handled: the message itself may be gone
    /// then.
    pub(super) fn note(&self, record: &Record<'_>) -> RecordMeta {
        let header = || record.header(stamp::NAME);
        let Some(history) = &self.shared.history else {
            let found = stamp::find_where_put(record.key, record.value, header);
            let timing = found.map(|found| self.shared.stamps.timing(&found));
            return RecordMeta { offset: record.offset, begun: self.now, timing, entry: None };
        };
        let found = stamp::find(record.key, record.value, header);
        let timing = found.map(|found| self.shared.stamps.timing(&found));
        RecordMeta {
            offset: record.offset,
            begun: self.now,
            timing,
            entry: Some(history.entry(record, found.as_ref())),
        }
    }

    /// Handles the result of an attempt. Returns the reason if the message has failed.
    fn processed(&mut self, note: RecordMeta, result: Result<(), ProcessError>) -> Option<String> {
        if matches!(result, Ok(()) | Err(ProcessError::Message(_))) && !self.shared.has_result.replace(true) {
            self.shared.events.do_send(PartitionEvent::FirstResult);
        }
        match result.map_err(ProcessError::shortened) {
            Ok(()) => {
                self.breaker.succeeded();
                self.advance(note, MessageOutcome::Processed);
            }
            Err(ProcessError::Message(reason)) => return Some(reason),
            Err(ProcessError::Worker(reason)) => self.stop_actor(PartitionEvent::ProcessorFailed { reason }),
            Err(ProcessError::Crash(reason)) => self.stop_actor(PartitionEvent::Crashed { reason }),
            Err(ProcessError::OutputClosed) => self.stop_actor(PartitionEvent::OutputClosed),
        }
        None
    }

    /// Records that the message is handled, and moves the position.
    pub(super) fn advance(&mut self, note: RecordMeta, fate: MessageOutcome) {
        let next = note.offset + 1;
        (self.next, self.now) = (next, Instant::now());
        self.counters.end(next, fate);
        let processed = fate == MessageOutcome::Processed;
        if let Some(timing) = note.timing.filter(|_| processed) {
            self.shared.times.borrow_mut().stamped(timing, self.anchor.unix_us(self.now));
        }
        if processed {
            self.shared.times.borrow_mut().record_processing(note.begun, self.now);
        }
        self.entries.extend(note.entry.map(|entry| HistoryEntry { failed: !processed, ..entry }));
        if self.until.is_some_and(|until| next >= until) {
            self.reach_end();
        }
    }

    /// Releases a message that is not handled here: it does not count towards the quota.
    pub(super) fn leave_unfinished(&self, so_far: &AttemptState) {
        self.counters.give_up();
        if so_far.has_quota {
            self.shared.quota.release();
        }
    }
}
