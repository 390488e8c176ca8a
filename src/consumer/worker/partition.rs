//! Reads one partition and has each message processed, one after the other.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::fut::wrap_future;
use actix::prelude::*;
use slog::{debug, warn};
use tokio::sync::oneshot;

use super::counters::Counters;
use super::journal::no_journal;
use super::messages::{DataReady, Event, Opening, ReadUntil, StopPartition};
use super::shared::Shared;
use crate::clock::Anchor;
use crate::journal::Entry;
use crate::kafka::reader::{Next, PartitionStream};
use crate::panics::{Guarded, guarded};
use crate::processing::{Failure, Processing};
use crate::record::{OwnedRecord, Record};
use crate::settings::OnFailure;
use crate::stamp;

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
    stored: i64,
    /// When the last message was dealt with.
    now: Instant,
    anchor: Anchor,
    /// Dealt with and not yet in the journal.
    entries: Vec<Entry>,
    until: Option<i64>,
    /// The end was known before anything was read: a partition's end that is met is the one that was meant. (One that
    /// is set later may be further away than an end that was met meanwhile.)
    until_from_start: bool,
    state: State,
    /// A message that waits for a grant: it is out of the queue already.
    waiting: Option<OwnedRecord>,
    /// A [`DataReady`] is on its way.
    scheduled: Arc<AtomicBool>,
    stopped: Option<oneshot::Sender<()>>,
}

/// What is known of a message in hand.
struct Note {
    offset: i64,
    /// In µs since 1970 UTC, by its stamp.
    due_us: Option<u64>,
    /// For the journal, if there is one.
    entry: Option<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// A message is being processed meanwhile.
    Processing,
    /// Everything that was to be read is.
    AtEnd,
    /// A failure: nothing more is read.
    Halted,
}

impl PartitionConsumer {
    pub(super) fn new(opening: Opening, shared: Rc<Shared>) -> Self {
        Self {
            stream: Some(opening.stream),
            shared,
            counters: opening.counters,
            next: opening.start,
            stored: opening.start,
            now: Instant::now(),
            anchor: Anchor::now(),
            entries: Vec::new(),
            until: opening.until,
            until_from_start: opening.until.is_some(),
            state: State::Reading,
            waiting: None,
            // The first one is sent by `started`.
            scheduled: Arc::new(AtomicBool::new(true)),
            stopped: None,
        }
    }

    /// One turn; whether there may be more to read.
    fn read(&mut self, stream: &mut PartitionStream, context: &mut Context<Self>) -> bool {
        let begun = Instant::now();
        self.now = begun;
        self.anchor = Anchor::now();
        loop {
            if self.state != State::Reading || self.shared.stopping.load(Ordering::Relaxed) {
                return false;
            }
            if let Some(record) = self.waiting.take() {
                self.take(&record.borrow(), context);
            } else {
                match stream.read_next() {
                    Next::Message(message) => self.take(&message.record(), context),
                    // Messages may be missing at the very end: a transaction's mark is none, and a compacted topic has gaps.
                    Next::End if self.until_from_start => self.reach_end(),
                    Next::End => {}
                    Next::Empty => return false,
                    Next::Broken(reason) => self.halt(Event::Broken {
                        reason: format!("{} at offset {}: {reason}", stream.partition(), self.next),
                        lasting: true,
                    }),
                }
            }
            if self.waiting.is_some() {
                return false;
            }
            if self.now.duration_since(begun) >= TURN {
                break;
            }
        }
        self.state == State::Reading
    }

    /// Has one message processed, unless it is not to be read or waits for a grant.
    fn take(&mut self, record: &Record<'_>, context: &mut Context<Self>) {
        if self.until.is_some_and(|until| record.offset >= until) {
            self.reach_end();
        } else if self.shared.budget.take() {
            self.process(record, context);
        } else {
            self.waiting = Some(record.to_owned());
            self.shared.events.do_send(Event::NeedGrant);
        }
    }

    fn process(&mut self, record: &Record<'_>, context: &mut Context<Self>) {
        self.counters.begin();
        let note = self.note(record);
        match guarded(|| self.shared.processor.borrow_mut().process(record)) {
            Ok(Processing::Done(result)) => self.processed(note, result),
            Ok(Processing::Later(future)) => {
                self.state = State::Processing;
                context.spawn(wrap_future::<_, Self>(Guarded(future)).map(move |result, partition, context| {
                    partition.state = State::Reading;
                    partition.processed(note, result.unwrap_or_else(|panic| Err(Failure::Message(panic))));
                    partition.after_later(context);
                }));
            }
            Err(panic) => self.processed(note, Err(Failure::Message(panic))),
        }
    }

    /// What has to be known of a message when it is dealt with, and it may be gone then.
    fn note(&self, record: &Record<'_>) -> Note {
        let header = || record.header(stamp::NAME);
        let Some(journal) = &self.shared.journal else {
            let due_us = record.value.and_then(stamp::due_us);
            return Note { offset: record.offset, due_us, entry: None };
        };
        let found = stamp::find(record.key, record.value, header);
        let due_us = found.filter(|found| found.intact).map(|found| found.stamp.due_us);
        Note { offset: record.offset, due_us, entry: Some(journal.entry(record, found.as_ref())) }
    }

    fn processed(&mut self, note: Note, result: Result<(), Failure>) {
        let offset = note.offset;
        let partition = &self.counters.partition;
        let failure = match result {
            Ok(()) => {
                self.advance(note, true);
                return;
            }
            Err(failure) => failure,
        };
        match (failure, self.shared.context.settings.consumer.on_failure) {
            (Failure::Message(reason), OnFailure::Skip) => {
                warn!(self.shared.context.logger, "message failed, skipped: {reason}";
                    "topic" => &partition.topic, "partition" => partition.partition, "offset" => offset);
                self.advance(note, false);
            }
            (Failure::Message(reason), OnFailure::Stop) => {
                let partition = partition.clone();
                self.halt(Event::MessageFailed { partition, offset, reason });
            }
            (Failure::Worker(reason), _) => self.halt(Event::Broken { reason, lasting: false }),
            (Failure::OutputClosed, _) => self.halt(Event::OutputClosed),
        }
    }

    fn advance(&mut self, note: Note, processed: bool) {
        let next = note.offset + 1;
        (self.next, self.now) = (next, Instant::now());
        self.counters.end(next, processed);
        if let Some(due_us) = note.due_us.filter(|_| processed) {
            self.shared.times.borrow_mut().record(due_us, self.anchor.unix_us(self.now));
        }
        self.entries.extend(note.entry.map(|entry| Entry { failed: !processed, ..entry }));
        if self.until.is_some_and(|until| next >= until) {
            self.reach_end();
        }
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
        if self.next == self.stored {
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
            Ok(()) => self.stored = self.next,
            // Tried again after the next turn, and when it stops.
            Err(error) => debug!(self.shared.context.logger, "{error}"),
        }
    }

    fn after_later(&mut self, context: &mut Context<Self>) {
        if let Some(stream) = self.stream.take() {
            self.store(&stream);
            self.stream = Some(stream);
        }
        match self.stopped.take() {
            Some(stopped) => self.stop(stopped),
            None => self.schedule(context),
        }
    }

    fn schedule(&self, context: &mut Context<Self>) {
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            // A plain notification would be handled before any other actor of this thread has its turn.
            let turn_of_others = wrap_future::<_, Self>(tokio::task::yield_now());
            context.spawn(turn_of_others.map(|(), _, context| context.notify(DataReady)));
        }
    }

    fn stop(&mut self, stopped: oneshot::Sender<()>) {
        self.waiting = None;
        if let Some(stream) = self.stream.take() {
            self.store(&stream);
        }
        self.shared.times.borrow_mut().hand_over(self.now, true);
        // The router that asked may have been ended by its deadline.
        let _unheard = stopped.send(());
    }
}

impl Actor for PartitionConsumer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(stream) = &mut self.stream {
            let (scheduled, this) = (Arc::clone(&self.scheduled), context.address().downgrade());
            stream.on_ready(move || {
                if !scheduled.swap(true, Ordering::AcqRel)
                    && let Some(this) = this.upgrade()
                {
                    this.do_send(DataReady);
                }
            });
        }
        if self.until.is_some_and(|until| self.next >= until) {
            self.reach_end();
        }
        // What came before `on_ready` has called nobody.
        context.notify(DataReady);
        context.run_interval(SAFETY_TICK, |partition, context| partition.schedule(context));
    }
}

impl Handler<DataReady> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, _: DataReady, context: &mut Self::Context) {
        // Before the queue is looked at: what comes afterwards calls again.
        self.scheduled.store(false, Ordering::Release);
        if self.state != State::Reading {
            return;
        }
        let Some(mut stream) = self.stream.take() else { return };
        let more = self.read(&mut stream, context);
        self.store(&stream);
        self.stream = Some(stream);
        self.shared.times.borrow_mut().hand_over(Instant::now(), false);
        if more {
            self.schedule(context);
        }
    }
}

impl Handler<ReadUntil> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, ReadUntil(until): ReadUntil, _: &mut Self::Context) {
        self.until = Some(until);
        if self.state == State::Reading && self.next >= until {
            self.reach_end();
        }
    }
}

impl Handler<StopPartition> for PartitionConsumer {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopPartition, _: &mut Self::Context) -> Self::Result {
        let (stopped, waiting) = oneshot::channel();
        if self.state == State::Processing {
            self.stopped = Some(stopped);
        } else {
            self.stop(stopped);
        }
        Box::pin(async move {
            // The sender is dropped unsent only with the actor, and then there is nothing to wait for.
            let _stopped = waiting.await;
        })
    }
}
