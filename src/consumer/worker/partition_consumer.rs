//! Consumes one partition and processes its messages one after the other.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::fut::wrap_future;
use actix::prelude::*;
use slog::{debug, warn};
use tokio::sync::oneshot;

use super::circuit_breaker::CircuitBreaker;
use super::history_writer::no_history;
use super::messages::{DataReady, NewPartition, PartitionEvent};
use super::partition_state::PartitionState;
use super::shared::Shared;
use crate::consumer::protocol::{FailureKind, Revocation, WorkerFailure};
use crate::history::HistoryEntry;
use crate::kafka::consumer::{MessageQueue, PollResult};
use crate::record::OwnedRecord;
use crate::util::clock::ClockAnchor;

mod failure;
mod handlers;
mod process;

use process::AttemptState;

/// The longest time slice of a partition, unless one message takes longer. Then the offset is stored and the
/// other partitions have their slices.
const TIME_SLICE: Duration = Duration::from_millis(10);
/// The interval of an additional check of the queue, in case a wakeup was lost.
const LOST_WAKEUP_POLL: Duration = Duration::from_secs(1);

/// The actor of one assigned partition.
pub(super) struct PartitionConsumer {
    /// `None` once stopped.
    queue: Option<Box<dyn MessageQueue>>,
    shared: Rc<Shared>,
    state: Arc<PartitionState>,
    /// The next offset to process.
    position: i64,
    /// The last stored offset. `None`: an offset has to be stored even if no message follows.
    stored: Option<i64>,
    /// When the last message was handled.
    now: Instant,
    anchor: ClockAnchor,
    /// Entries of handled messages that are not written to the history yet.
    entries: Vec<HistoryEntry>,
    stop_offset: Option<i64>,
    phase: Phase,
    breaker: CircuitBreaker,
    /// Receives a message when the partition has stopped, if that was requested while a message is in processing.
    stop_reply: Option<oneshot::Sender<()>>,
}

/// A message that could not be handled at once, copied out of the queue's memory.
struct PendingMessage {
    record: OwnedRecord,
    attempts: AttemptState,
}

/// What the partition does. A message is boxed, so that a change of phase moves little.
enum Phase {
    /// Waits for [`super::messages::StartReading`].
    Opening,
    /// Consumes.
    Reading,
    /// Consumes, this message first: it waits for the quota or for the gate, or its pause is over.
    HeldBack(Box<PendingMessage>),
    /// This message has requested permission, and waits for [`super::messages::AllowProcess`].
    Announced(Box<PendingMessage>),
    /// A message of this size is processed asynchronously. It is the queue's last message, or was held back.
    Processing { bytes: u64, held_back: Option<Box<PendingMessage>> },
    /// The message has failed and waits for a retry; or its dead-letter record was not delivered and waits for one.
    Pausing { message: Box<PendingMessage>, timer: SpawnHandle },
    /// The message's dead-letter record is in flight to the dead-letter topic.
    Sending { message: Box<PendingMessage>, delivery: SpawnHandle },
    /// The stop offset is reached.
    AtEnd,
    /// A failure has stopped the partition, or it has stopped on request.
    Halted,
}

impl PartitionConsumer {
    pub(super) fn new(new: NewPartition, shared: Rc<Shared>) -> Self {
        let breaker = CircuitBreaker::new(&shared.context.settings.consumer.circuit_breaker);
        // The start offset may have to be committed, even if no message follows.
        let is_committed = new.state.uncommitted() != Some(new.start_offset);
        Self {
            queue: Some(new.queue),
            shared,
            state: new.state,
            position: new.start_offset,
            stored: is_committed.then_some(new.start_offset),
            now: Instant::now(),
            anchor: ClockAnchor::now(),
            entries: Vec::new(),
            stop_offset: new.stop_offset,
            phase: Phase::Opening,
            breaker,
            stop_reply: None,
        }
    }

    /// Runs one time slice. Returns whether there may be more messages.
    fn read(&mut self, queue: &mut dyn MessageQueue, context: &mut Context<Self>) -> bool {
        let begun = Instant::now();
        self.now = begun;
        self.anchor = ClockAnchor::now();
        while self.now.duration_since(begun) < TIME_SLICE {
            if self.is_stopping() || self.shared.flags.is_paused() {
                return false;
            }
            match self.phase {
                Phase::Reading if !self.shared.gate.has_room() => {
                    self.shared.gate.wait(context.address().recipient());
                    return false;
                }
                Phase::Reading => {
                    if !self.poll_queue(queue, context) {
                        return false;
                    }
                }
                Phase::HeldBack(_) => self.resume_held_back(context),
                _ => return false,
            }
            if matches!(self.phase, Phase::HeldBack(_)) {
                return false;
            }
        }
        matches!(self.phase, Phase::Reading)
    }

    /// Handles the next message or event of the queue. Returns whether there was one.
    fn poll_queue(&mut self, queue: &mut dyn MessageQueue, context: &mut Context<Self>) -> bool {
        match queue.poll_next() {
            PollResult::Empty => return false,
            PollResult::Message(record) => self.start_message(&record, AttemptState::default(), context),
            // All messages before it are processed: the queue is ordered.
            PollResult::End(offset) => self.skip_gap(offset),
            PollResult::OutOfRange => {
                let partition = self.state.partition.clone();
                self.halt(PartitionEvent::OutOfRange { partition, offset: self.position });
            }
            PollResult::Trouble(reason) => {
                if self.shared.log_limiter.borrow_mut().allows(self.now) {
                    let name = queue.partition();
                    warn!(self.shared.context.logger, "{name} cannot be read, retrying: {reason}";
                        "topic" => &name.topic, "partition" => name.partition, "offset" => self.position);
                }
            }
            PollResult::Unreadable(reason) => {
                let (partition, offset) = (self.state.partition.clone(), self.position);
                let reason =
                    format!("the log cannot be read at offset {offset}: {reason}; nothing after it is processed");
                self.halt(PartitionEvent::PartitionStopped { partition, offset, reason });
            }
            PollResult::Broken(reason) => {
                let reason = format!("{} at offset {}: {reason}", queue.partition(), self.position);
                self.halt(PartitionEvent::Failed(WorkerFailure::of_worker(FailureKind::Permanent, reason)));
            }
        }
        true
    }

    /// Runs a time slice, stores offsets and schedules the next one.
    fn run_slice(&mut self, context: &mut Context<Self>) {
        let Some(mut queue) = self.queue.take() else { return };
        let more = self.read(&mut *queue, context);
        self.release(&mut *queue);
        self.state.update_high_watermark(queue.high_watermark(), queue.take_bytes());
        self.store(&*queue);
        self.queue = Some(queue);
        self.shared.latencies.borrow_mut().flush(Instant::now(), false);
        if more {
            self.schedule(context);
        }
    }

    /// Frees the memory of the last message: large messages of many partitions would add up until each partition
    /// has its next slice.
    fn release(&self, queue: &mut dyn MessageQueue) {
        if !matches!(self.phase, Phase::Processing { .. }) {
            queue.release();
        }
        if matches!(self.phase, Phase::AtEnd | Phase::Halted) {
            queue.finish();
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop_reply.is_some() || self.shared.flags.is_shutting_down()
    }

    /// Whether everything up to the stop offset is handled.
    fn is_at_end(&self) -> bool {
        self.stop_offset.is_some_and(|offset| self.position >= offset)
    }

    /// Moves the position over offsets that hold no message (transaction markers, aborted batches, compacted
    /// records), so that the committed offset reaches the end of the log.
    fn skip_gap(&mut self, end: i64) {
        if end > self.position {
            self.position = end;
            self.state.skip_gap(end);
        }
        if self.is_at_end() {
            self.reach_end();
        }
    }

    fn reach_end(&mut self) {
        self.phase = Phase::AtEnd;
        self.queue.iter().for_each(|queue| queue.finish());
        self.shared.events.do_send(PartitionEvent::EndReached(self.state.partition.clone()));
    }

    /// Processes nothing more, for this reason.
    fn halt(&mut self, event: PartitionEvent) {
        match std::mem::replace(&mut self.phase, Phase::Halted) {
            Phase::Announced(_) => self.shared.gate.leave(0),
            Phase::Processing { bytes, .. } => self.shared.gate.leave(bytes),
            _ => {}
        }
        self.queue.iter().for_each(|queue| queue.finish());
        self.state.clear_in_flight();
        self.shared.events.do_send(event);
    }

    /// Stores the position. Stores only what was handled, and nothing after a message that failed.
    fn store(&mut self, queue: &dyn MessageQueue) {
        if self.stored == Some(self.position) {
            return;
        }
        if let Some(history) = &self.shared.history {
            if let Err(error) = history.processed(self.anchor.unix_us(self.now), &self.entries) {
                let failure = WorkerFailure::of_worker(FailureKind::Transient, no_history(&error));
                self.halt(PartitionEvent::Failed(failure));
                return;
            }
            self.entries.clear();
        }
        match queue.store(self.position) {
            Ok(()) => {
                self.stored = Some(self.position);
                self.state.record_stored(self.position);
            }
            // Tried again after the next slice, and when the partition stops.
            Err(error) => debug!(self.shared.context.logger, "{error}"),
        }
    }

    /// Continues after an asynchronous result: stores the offset and consumes further.
    fn continue_reading(&mut self, context: &mut Context<Self>) {
        if let Some(mut queue) = self.queue.take() {
            self.store(&*queue);
            self.release(&mut *queue);
            self.queue = Some(queue);
        }
        match self.stop_reply.take() {
            Some(reply) => self.stop(reply, Revocation::Committed, context),
            None => self.schedule(context),
        }
    }

    fn schedule(&self, context: &mut Context<Self>) {
        if self.state.set_woken() {
            // A plain notification would be handled before the other actors of this thread run.
            let turn_of_others = wrap_future::<_, Self>(tokio::task::yield_now());
            context.spawn(turn_of_others.map(|(), _, context| context.notify(DataReady)));
        }
    }

    /// Stops the partition. A message that is held back stays unprocessed; the next owner starts with it.
    fn stop(&mut self, reply: oneshot::Sender<()>, revocation: Revocation, context: &mut Context<Self>) {
        match std::mem::replace(&mut self.phase, Phase::Halted) {
            Phase::HeldBack(message) => self.leave_unfinished(&message.attempts),
            Phase::Announced(message) => {
                self.shared.gate.leave(0);
                self.leave_unfinished(&message.attempts);
            }
            // The message is abandoned during processing: it has its share of the quota.
            Phase::Processing { bytes, .. } => {
                self.shared.gate.leave(bytes);
                self.leave_unfinished(&AttemptState { has_quota: true, ..AttemptState::default() });
            }
            Phase::Pausing { message, timer: awaited } | Phase::Sending { message, delivery: awaited } => {
                context.cancel_future(awaited);
                self.leave_unfinished(&message.attempts);
            }
            Phase::Opening | Phase::Reading | Phase::AtEnd | Phase::Halted => {}
        }
        if let Some(queue) = self.queue.take()
            && revocation == Revocation::Committed
        {
            self.store(&*queue);
        }
        self.log_remaining_suppressed();
        self.state.clear_in_flight();
        self.state.clear_woken();
        self.shared.latencies.borrow_mut().flush(self.now, true);
        // The manager that sent the request may have exited at its deadline.
        reply.send(()).ok();
        // A message of a lost partition that is in processing is abandoned with it.
        context.stop();
    }
}
