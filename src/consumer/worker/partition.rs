//! Reads one partition and has each message processed, one after the other.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::fut::wrap_future;
use actix::prelude::*;
use slog::{debug, warn};
use tokio::sync::oneshot;

use super::breaker::Breaker;
use super::counters::Counters;
use super::journal::no_journal;
use super::messages::{DataReady, Event, Opening, Proceed, ReadUntil, StopPartition};
use super::shared::Shared;
use crate::clock::Anchor;
use crate::journal::Entry;
use crate::kafka::reader::{Next, PartitionStream};
use crate::record::OwnedRecord;

mod attempt;
mod failing;

use attempt::SoFar;

/// How long one turn takes at most, unless one message takes longer; then the offset is stored and the other partitions
/// have theirs.
const TURN: Duration = Duration::from_millis(10);
/// A look at the queue without having been called, in case a call was lost.
const SAFETY_TICK: Duration = Duration::from_secs(1);

/// The actor of one assigned partition.
pub(super) struct PartitionConsumer {
    /// `None` once stopped.
    stream: Option<PartitionStream>,
    shared: Rc<Shared>,
    counters: Arc<Counters>,
    next: i64,
    /// `None`: the client has to be told, also if nothing more is read.
    stored: Option<i64>,
    /// When the last message was dealt with.
    now: Instant,
    anchor: Anchor,
    /// Dealt with and not yet in the journal.
    entries: Vec<Entry>,
    until: Option<i64>,
    state: State,
    breaker: Breaker,
    /// The message in hand, if it had to be taken out of the queue's memory.
    kept: Option<Kept>,
    /// Ends a pause, or hears what became of a copy.
    awaited: Option<SpawnHandle>,
    stopped: Option<oneshot::Sender<()>>,
}

/// A message that could not be dealt with at once.
struct Kept {
    record: OwnedRecord,
    so_far: SoFar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Reads; a message that was kept, if there is one, comes next: it waits for a grant or for its turn at the gate, or its pause
    /// is over.
    Reading,
    /// The message that was kept is announced, and waits for [`Proceed`].
    Announced,
    /// A message is being processed meanwhile.
    Processing,
    /// The message that was kept has failed, and is tried again later; or its copy could not be delivered, likewise.
    Pausing,
    /// The message that was kept is given up, and its copy is on the way to the dead-letter topic.
    Sending,
    /// Everything that was to be read is.
    AtEnd,
    /// A failure: nothing more is read.
    Halted,
}

impl PartitionConsumer {
    pub(super) fn new(opening: Opening, shared: Rc<Shared>) -> Self {
        let breaker = Breaker::new(&shared.context.settings.consumer.breaker);
        // What the client before this one could not commit, this one has to.
        let is_committed = opening.counters.uncommitted() != Some(opening.start);
        Self {
            stream: Some(opening.stream),
            shared,
            counters: opening.counters,
            next: opening.start,
            stored: is_committed.then_some(opening.start),
            now: Instant::now(),
            anchor: Anchor::now(),
            entries: Vec::new(),
            until: opening.until,
            state: State::Reading,
            breaker,
            kept: None,
            awaited: None,
            stopped: None,
        }
    }

    /// One turn; whether there may be more to read.
    fn read(&mut self, stream: &mut PartitionStream, context: &mut Context<Self>) -> bool {
        let begun = Instant::now();
        self.now = begun;
        self.anchor = Anchor::now();
        while self.now.duration_since(begun) < TURN {
            if self.state != State::Reading || self.is_stopping() || self.is_quiet() {
                return false;
            }
            if let Some(kept) = self.kept.take() {
                self.take_kept(kept, context);
            } else {
                match stream.read_next() {
                    Next::Message(message) => self.take(&message.record(), SoFar::default(), context),
                    // Messages may be missing at the very end: a transaction's mark is none, and a compacted topic has gaps.
                    Next::End(offset) => {
                        self.counters.reach_end(offset);
                        if self.is_read() {
                            self.reach_end();
                        }
                    }
                    Next::Empty => return false,
                    Next::OutOfRange => {
                        let partition = self.counters.partition.clone();
                        self.halt(Event::OutOfRange { partition, offset: self.next });
                    }
                    Next::Trouble(reason) => {
                        if self.shared.throttle.borrow_mut().allows(self.now) {
                            let name = stream.partition();
                            warn!(self.shared.context.logger, "{name} cannot be read for now, it is tried again: {reason}";
                                "topic" => &name.topic, "partition" => name.partition, "offset" => self.next);
                        }
                    }
                    Next::Unreadable(reason) => {
                        let partition = self.counters.partition.clone();
                        let reason = format!(
                            "what stands in the log from offset {} on cannot be read: {reason}; nothing behind it is processed",
                            self.next
                        );
                        self.halt(Event::PartitionStopped { partition, offset: self.next, reason });
                    }
                    Next::Broken(reason) => self.halt(Event::Broken {
                        reason: format!("{} at offset {}: {reason}", stream.partition(), self.next),
                        lasting: true,
                    }),
                }
            }
            if self.kept.is_some() {
                return false;
            }
        }
        self.state == State::Reading
    }

    /// A turn, and what follows from it.
    fn turn(&mut self, context: &mut Context<Self>) {
        let Some(mut stream) = self.stream.take() else { return };
        let more = self.read(&mut stream, context);
        self.counters.see(stream.end(), stream.take_bytes());
        self.store(&stream);
        self.stream = Some(stream);
        self.shared.times.borrow_mut().hand_over(Instant::now(), false);
        if more {
            self.schedule(context);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopped.is_some() || self.shared.stopping.load(Ordering::Relaxed)
    }

    fn is_quiet(&self) -> bool {
        self.shared.orders.quiet.load(Ordering::Relaxed)
    }

    fn is_cautious(&self) -> bool {
        self.shared.orders.cautious.load(Ordering::Relaxed)
    }

    /// Whether nothing is left of what was to be read.
    fn is_read(&self) -> bool {
        let here = self.counters.read_up_to().map_or(self.next, |end| end.max(self.next));
        self.until.is_some_and(|until| here >= until)
    }

    fn reach_end(&mut self) {
        self.state = State::AtEnd;
        self.shared.events.do_send(Event::EndReached(self.counters.partition.clone()));
    }

    fn halt(&mut self, event: Event) {
        self.state = State::Halted;
        self.counters.give_up();
        self.shared.events.do_send(event);
    }

    /// Only what was processed is ever stored, and nothing behind a message that failed.
    fn store(&mut self, stream: &PartitionStream) {
        if self.stored == Some(self.next) {
            return;
        }
        if let Some(journal) = &self.shared.journal {
            if let Err(error) = journal.processed(self.anchor.unix_us(self.now), &self.entries) {
                self.halt(Event::Broken { reason: no_journal(&error), lasting: false });
                return;
            }
            self.entries.clear();
        }
        match stream.store(self.next) {
            Ok(()) => {
                self.stored = Some(self.next);
                self.counters.stored(self.next);
            }
            // Tried again after the next turn, and when it stops.
            Err(error) => debug!(self.shared.context.logger, "{error}"),
        }
    }

    /// What was waited for has come: it may be stored, and reading goes on.
    fn after_later(&mut self, context: &mut Context<Self>) {
        if let Some(stream) = self.stream.take() {
            self.store(&stream);
            self.stream = Some(stream);
        }
        match self.stopped.take() {
            Some(stopped) => self.stop(stopped, false, context),
            None => self.schedule(context),
        }
    }

    fn schedule(&self, context: &mut Context<Self>) {
        if self.counters.call() {
            // A plain notification would be handled before any other actor of this thread has its turn.
            let turn_of_others = wrap_future::<_, Self>(tokio::task::yield_now());
            context.spawn(turn_of_others.map(|(), _, context| context.notify(DataReady)));
        }
    }

    /// A message in hand stays unprocessed, and is the next one to be read.
    fn stop(&mut self, stopped: oneshot::Sender<()>, lost: bool, context: &mut Context<Self>) {
        if let Some(awaited) = self.awaited.take() {
            context.cancel_future(awaited);
        }
        if matches!(self.state, State::Announced | State::Processing) {
            self.shared.gate.leave();
        }
        match self.kept.take() {
            // Left alone in the middle of it: it has had its grant.
            _ if self.state == State::Processing => self.leave_unfinished(&SoFar { granted: true, ..SoFar::default() }),
            Some(kept) => self.leave_unfinished(&kept.so_far),
            None => {}
        }
        self.state = State::Halted;
        if let Some(stream) = self.stream.take()
            && !lost
        {
            self.store(&stream);
        }
        self.counters.give_up();
        self.counters.answer();
        self.shared.times.borrow_mut().hand_over(self.now, true);
        // The router that asked may have been ended by its deadline.
        let _unheard = stopped.send(());
        // A message of a lost partition that is being processed is left alone with it.
        context.stop();
    }
}

impl Actor for PartitionConsumer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(stream) = &mut self.stream {
            let (counters, this) = (Arc::clone(&self.counters), context.address().downgrade());
            stream.on_ready(move || {
                if counters.call()
                    && let Some(this) = this.upgrade()
                {
                    this.do_send(DataReady);
                }
            });
        }
        if self.is_read() {
            self.reach_end();
        }
        // What came before `on_ready` has called nobody.
        self.counters.call();
        context.notify(DataReady);
        context.run_interval(SAFETY_TICK, |partition, context| {
            partition.schedule(context);
            partition.tell_left_out();
        });
    }
}

impl Handler<DataReady> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, _: DataReady, context: &mut Self::Context) {
        // Before the queue is looked at: what comes afterwards calls again.
        self.counters.answer();
        match self.state {
            State::Reading => self.turn(context),
            // Cautious no more.
            State::Announced if !self.is_cautious() => self.proceed(context),
            _ => {}
        }
    }
}

impl Handler<ReadUntil> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, ReadUntil(until): ReadUntil, _: &mut Self::Context) {
        self.until = Some(until);
        if self.state == State::Reading && self.is_read() {
            // It waits for a grant, or for its turn, and does not belong to what is to be read.
            if let Some(kept) = self.kept.take() {
                self.leave_unfinished(&kept.so_far);
            }
            self.reach_end();
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
            // The sender is dropped unsent only with the actor, and then there is nothing to wait for.
            let _stopped = waiting.await;
        })
    }
}

impl Handler<Proceed> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, Proceed(offset): Proceed, context: &mut Self::Context) {
        let announced = self.kept.as_ref().map(|kept| kept.record.offset);
        if self.state == State::Announced && announced == Some(offset) {
            self.proceed(context);
        }
    }
}
