//! Consumes one partition and processes its messages one after the other.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::fut::wrap_future;
use actix::prelude::*;
use slog::{debug, warn};
use tokio::sync::oneshot;

use super::circuit_breaker::CircuitBreaker;
use super::history_writer::no_history;
use super::messages::{
    AllowProcess, DataReady, NewPartition, PartitionEvent, ReadUntil, SkipGap, StartReading, StopPartition,
};
use super::partition_state::PartitionState;
use super::shared::Shared;
use crate::history::HistoryEntry;
use crate::kafka::consumer::{MessageQueue, PollResult};
use crate::record::OwnedRecord;
use crate::util::clock::ClockAnchor;

mod failure;
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
    stream: Option<Box<dyn MessageQueue>>,
    shared: Rc<Shared>,
    counters: Arc<PartitionState>,
    next: i64,
    /// The last stored offset. `None`: an offset has to be stored even if no message follows.
    stored: Option<i64>,
    /// When the last message was handled.
    now: Instant,
    anchor: ClockAnchor,
    /// Entries of handled messages that are not written to the history yet.
    entries: Vec<HistoryEntry>,
    until: Option<i64>,
    state: State,
    /// The size of the message that is processed asynchronously, if there is one.
    processing_bytes: u64,
    breaker: CircuitBreaker,
    /// The message that is held back, copied out of the queue's memory.
    kept: Option<PendingMessage>,
    /// The timer of a pause, or the delivery report of a dead-letter record.
    awaited: Option<SpawnHandle>,
    stopped: Option<oneshot::Sender<()>>,
}

/// A message that could not be handled at once.
struct PendingMessage {
    record: OwnedRecord,
    so_far: AttemptState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for [`StartReading`].
    Opening,
    /// Consumes. A message that is held back comes first: it waits for the quota or for the gate, or its pause
    /// is over.
    Reading,
    /// The message that is held back has requested permission, and waits for [`AllowProcess`].
    Announced,
    /// A message is processed asynchronously.
    Processing,
    /// The message that is held back has failed and waits for a retry; or its dead-letter record was not
    /// delivered and waits for one.
    Pausing,
    /// The dead-letter record of the message that is held back is in flight to the dead-letter topic.
    Sending,
    /// The stop offset is reached.
    AtEnd,
    /// A failure has stopped the partition.
    Halted,
}

impl PartitionConsumer {
    pub(super) fn new(opening: NewPartition, shared: Rc<Shared>) -> Self {
        let breaker = CircuitBreaker::new(&shared.context.settings.consumer.circuit_breaker);
        // The start offset may have to be committed, even if no message follows.
        let is_committed = opening.counters.uncommitted() != Some(opening.start);
        Self {
            stream: Some(opening.stream),
            shared,
            counters: opening.counters,
            next: opening.start,
            stored: is_committed.then_some(opening.start),
            now: Instant::now(),
            anchor: ClockAnchor::now(),
            entries: Vec::new(),
            until: opening.until,
            state: State::Opening,
            processing_bytes: 0,
            breaker,
            kept: None,
            awaited: None,
            stopped: None,
        }
    }

    /// Runs one time slice. Returns whether there may be more messages.
    fn read(&mut self, stream: &mut dyn MessageQueue, context: &mut Context<Self>) -> bool {
        let begun = Instant::now();
        self.now = begun;
        self.anchor = ClockAnchor::now();
        while self.now.duration_since(begun) < TIME_SLICE {
            if self.state != State::Reading || self.is_stopping() || self.is_paused() {
                return false;
            }
            if let Some(kept) = self.kept.take() {
                self.resume_pending(kept, context);
            } else if !self.shared.gate.has_room() {
                self.shared.gate.wait(context.address().recipient());
                return false;
            } else {
                match stream.poll_next() {
                    PollResult::Message(record) => self.start_message(&record, AttemptState::default(), context),
                    // All messages before it are processed: the queue is ordered.
                    PollResult::End(offset) => self.skip_gap(offset),
                    PollResult::Empty => return false,
                    PollResult::OutOfRange => {
                        let partition = self.counters.partition.clone();
                        self.stop_actor(PartitionEvent::OutOfRange { partition, offset: self.next });
                    }
                    PollResult::Trouble(reason) => {
                        if self.shared.throttle.borrow_mut().allows(self.now) {
                            let name = stream.partition();
                            warn!(self.shared.context.logger, "{name} cannot be read, retrying: {reason}";
                                "topic" => &name.topic, "partition" => name.partition, "offset" => self.next);
                        }
                    }
                    PollResult::Unreadable(reason) => {
                        let partition = self.counters.partition.clone();
                        let reason = format!(
                            "the log cannot be read at offset {}: {reason}; nothing after it is processed",
                            self.next
                        );
                        self.stop_actor(PartitionEvent::PartitionStopped { partition, offset: self.next, reason });
                    }
                    PollResult::Broken(reason) => self.stop_actor(PartitionEvent::Broken {
                        reason: format!("{} at offset {}: {reason}", stream.partition(), self.next),
                        permanent: true,
                    }),
                }
            }
            if self.kept.is_some() {
                return false;
            }
        }
        self.state == State::Reading
    }

    /// Runs a time slice, stores offsets and schedules the next one.
    fn run_slice(&mut self, context: &mut Context<Self>) {
        let Some(mut stream) = self.stream.take() else { return };
        let more = self.read(&mut *stream, context);
        self.release(&mut *stream);
        self.counters.update_end(stream.high_watermark(), stream.take_bytes());
        self.store(&*stream);
        self.stream = Some(stream);
        self.shared.times.borrow_mut().flush(Instant::now(), false);
        if more {
            self.schedule(context);
        }
    }

    /// Frees the memory of the last message: large messages of many partitions would add up until each partition
    /// has its next slice.
    fn release(&self, stream: &mut dyn MessageQueue) {
        if self.state != State::Processing {
            stream.release();
        }
        if matches!(self.state, State::AtEnd | State::Halted) {
            stream.finish();
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopped.is_some() || self.shared.stopping.load(Ordering::Relaxed)
    }

    fn is_paused(&self) -> bool {
        let orders = &self.shared.orders;
        orders.paused.load(Ordering::Relaxed) || orders.lease.is_suspended()
    }

    fn is_isolating(&self) -> bool {
        self.shared.orders.isolated.load(Ordering::Relaxed)
    }

    /// Whether everything up to the stop offset is handled.
    fn is_read(&self) -> bool {
        self.until.is_some_and(|until| self.next >= until)
    }

    /// Moves the position over offsets that hold no message (transaction markers, aborted batches, compacted
    /// records), so that the committed offset reaches the end of the log.
    fn skip_gap(&mut self, end: i64) {
        if end > self.next {
            self.next = end;
            self.counters.skip_gap(end);
        }
        if self.is_read() {
            self.reach_end();
        }
    }

    fn reach_end(&mut self) {
        self.state = State::AtEnd;
        self.stream.iter().for_each(|stream| stream.finish());
        self.shared.events.do_send(PartitionEvent::EndReached(self.counters.partition.clone()));
    }

    fn stop_actor(&mut self, event: PartitionEvent) {
        self.state = State::Halted;
        self.stream.iter().for_each(|stream| stream.finish());
        self.counters.give_up();
        self.shared.events.do_send(event);
    }

    /// Stores the position. Stores only what was handled, and nothing after a message that failed.
    fn store(&mut self, stream: &dyn MessageQueue) {
        if self.stored == Some(self.next) {
            return;
        }
        if let Some(history) = &self.shared.history {
            if let Err(error) = history.processed(self.anchor.unix_us(self.now), &self.entries) {
                self.stop_actor(PartitionEvent::Broken { reason: no_history(&error), permanent: false });
                return;
            }
            self.entries.clear();
        }
        match stream.store(self.next) {
            Ok(()) => {
                self.stored = Some(self.next);
                self.counters.stored(self.next);
            }
            // Tried again after the next slice, and when the partition stops.
            Err(error) => debug!(self.shared.context.logger, "{error}"),
        }
    }

    /// Continues after an asynchronous result: stores the offset and consumes further.
    fn after_later(&mut self, context: &mut Context<Self>) {
        if let Some(mut stream) = self.stream.take() {
            self.store(&*stream);
            self.release(&mut *stream);
            self.stream = Some(stream);
        }
        match self.stopped.take() {
            Some(stopped) => self.stop(stopped, false, context),
            None => self.schedule(context),
        }
    }

    fn schedule(&self, context: &mut Context<Self>) {
        if self.counters.call() {
            // A plain notification would be handled before the other actors of this thread run.
            let turn_of_others = wrap_future::<_, Self>(tokio::task::yield_now());
            context.spawn(turn_of_others.map(|(), _, context| context.notify(DataReady)));
        }
    }

    /// Stops the partition. A message that is held back stays unprocessed; the next owner starts with it.
    fn stop(&mut self, stopped: oneshot::Sender<()>, lost: bool, context: &mut Context<Self>) {
        if let Some(awaited) = self.awaited.take() {
            context.cancel_future(awaited);
        }
        if matches!(self.state, State::Announced | State::Processing) {
            self.shared.gate.leave(std::mem::take(&mut self.processing_bytes));
        }
        match self.kept.take() {
            // The message is abandoned during processing: it has its share of the quota.
            _ if self.state == State::Processing => {
                self.leave_unfinished(&AttemptState { has_quota: true, ..AttemptState::default() })
            }
            Some(kept) => self.leave_unfinished(&kept.so_far),
            None => {}
        }
        self.state = State::Halted;
        if let Some(stream) = self.stream.take()
            && !lost
        {
            self.store(&*stream);
        }
        self.log_rest_left_out();
        self.counters.give_up();
        self.counters.reply();
        self.shared.times.borrow_mut().flush(self.now, true);
        // The router that sent the request may have exited at its deadline.
        stopped.send(()).ok();
        // A message of a lost partition that is in processing is abandoned with it.
        context.stop();
    }
}

impl Actor for PartitionConsumer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(stream) = &mut self.stream {
            let (counters, this) = (Arc::clone(&self.counters), context.address().downgrade());
            stream.on_ready(Box::new(move || {
                if counters.call()
                    && let Some(this) = this.upgrade()
                {
                    this.do_send(DataReady);
                }
            }));
        }
        if self.is_read() {
            self.reach_end();
        }
        context.run_interval(LOST_WAKEUP_POLL, |partition, context| {
            partition.schedule(context);
            partition.log_left_out();
        });
    }
}

impl Handler<StartReading> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, _: StartReading, context: &mut Self::Context) {
        if self.state == State::Opening {
            self.state = State::Reading;
            // Events before `on_ready` have woken no actor.
            self.counters.call();
            context.notify(DataReady);
        }
    }
}

impl Handler<DataReady> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, _: DataReady, context: &mut Self::Context) {
        // Before the queue is checked: events that come afterwards wake the actor again.
        self.counters.reply();
        match self.state {
            State::Reading => self.run_slice(context),
            // Isolation mode is off again.
            State::Announced if !self.is_isolating() => self.proceed(context),
            _ => {}
        }
    }
}

impl Handler<ReadUntil> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, ReadUntil(until): ReadUntil, _: &mut Self::Context) {
        self.until = Some(until);
        if matches!(self.state, State::Opening | State::Reading) && self.is_read() {
            // It waits for the quota or for the gate, and lies beyond the stop offset.
            if let Some(kept) = self.kept.take() {
                self.leave_unfinished(&kept.so_far);
            }
            self.reach_end();
        }
    }
}

impl Handler<SkipGap> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, SkipGap { start, end }: SkipGap, _: &mut Self::Context) {
        // A message that was received meanwhile, or is in flight, has moved the position or keeps it where it
        // is.
        if self.state != State::Reading || self.kept.is_some() || self.next != start {
            return;
        }
        self.skip_gap(end);
        if let Some(stream) = self.stream.take() {
            self.store(&*stream);
            self.stream = Some(stream);
        }
    }
}

impl Handler<StopPartition> for PartitionConsumer {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, StopPartition { lost }: StopPartition, context: &mut Self::Context) -> Self::Result {
        let (stopped, waiting) = oneshot::channel();
        if self.state == State::Processing && !lost {
            self.stopped = Some(stopped);
        } else {
            self.stop(stopped, lost, context);
        }
        Box::pin(async move {
            // The sender is dropped unsent only together with the actor, and then there is nothing to wait for.
            waiting.await.ok();
        })
    }
}

impl Handler<AllowProcess> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, AllowProcess(offset): AllowProcess, context: &mut Self::Context) {
        let announced = self.kept.as_ref().map(|kept| kept.record.offset);
        if self.state == State::Announced && announced == Some(offset) {
            self.proceed(context);
        }
    }
}
