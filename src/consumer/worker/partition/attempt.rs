//! One message: whether it may be processed now, and its processing.

use std::time::Instant;

use actix::fut::wrap_future;
use actix::prelude::*;

use super::{Kept, PartitionConsumer, State};
use crate::consumer::worker::counters::Fate;
use crate::consumer::worker::messages::Event;
use crate::journal::Entry;
use crate::panics::{Guarded, guarded};
use crate::processing::{Failure, Processing};
use crate::record::Record;
use crate::stamp;

/// What has been done about a message.
#[derive(Clone, Debug, Default)]
pub(super) struct SoFar {
    /// A grant was taken for it.
    pub(super) granted: bool,
    /// The supervisor lets it be processed, though cautious.
    pub(super) announced: bool,
    /// How often it has failed.
    pub(super) failures: u64,
    /// Why it was given up; only its copy is missing.
    pub(super) given_up: Option<String>,
    /// How often its copy could not be delivered.
    pub(super) undelivered: u64,
}

/// What is known of a message in hand.
pub(super) struct Note {
    offset: i64,
    /// When processing began.
    begun: Instant,
    /// In µs since 1970 UTC, by its stamp.
    due_us: Option<u64>,
    /// For the journal, if there is one.
    entry: Option<Entry>,
}

impl PartitionConsumer {
    /// Goes on with a message that was kept.
    pub(super) fn take_kept(&mut self, kept: Kept, context: &mut Context<Self>) {
        if kept.so_far.given_up.is_some() {
            self.send_copy(kept, context);
            return;
        }
        self.take(&kept.record.borrow(), kept.so_far.clone(), context);
        if self.state == State::Processing {
            // Until it is known what becomes of it.
            self.kept = Some(kept);
        }
    }

    /// Has one message processed, unless it is not to be read, or waits: for a grant, or to be announced.
    pub(super) fn take(&mut self, record: &Record<'_>, mut so_far: SoFar, context: &mut Context<Self>) {
        if self.until.is_some_and(|until| record.offset >= until) {
            self.leave_unfinished(&so_far);
            self.reach_end();
            return;
        }
        if !so_far.granted && !self.shared.budget.take() {
            self.keep(record, so_far);
            self.shared.events.do_send(Event::NeedGrant);
            return;
        }
        so_far.granted = true;
        if let Some(reason) = self.shared.orders.condemnation(record) {
            self.give_up(record.to_owned(), so_far, reason, context);
        } else if self.is_cautious() && !so_far.announced {
            self.announce(record, so_far, context);
        } else {
            self.process(record, so_far, context);
        }
    }

    fn keep(&mut self, record: &Record<'_>, so_far: SoFar) {
        self.kept = Some(Kept { record: record.to_owned(), so_far });
    }

    /// Waits for its turn at the gate, and behind it for the supervisor.
    fn announce(&mut self, record: &Record<'_>, so_far: SoFar, context: &mut Context<Self>) {
        self.keep(record, so_far);
        if self.shared.gate.enter_alone(context.address().recipient()) {
            self.state = State::Announced;
            let partition = self.counters.partition.clone();
            self.shared.events.do_send(Event::Announce { partition, offset: record.offset });
        }
    }

    /// The announced message may be processed.
    pub(super) fn proceed(&mut self, context: &mut Context<Self>) {
        self.state = State::Reading;
        // Those who are woken by this come after it: their turn is later.
        self.shared.gate.leave();
        let Some(mut kept) = self.kept.take() else { return };
        if self.is_stopping() {
            self.kept = Some(kept);
            return;
        }
        kept.so_far.announced = true;
        self.take_kept(kept, context);
        self.after_later(context);
    }

    fn process(&mut self, record: &Record<'_>, mut so_far: SoFar, context: &mut Context<Self>) {
        // The next attempt is announced anew.
        so_far.announced = false;
        self.counters.begin(record.offset);
        if so_far.failures > 0 {
            self.counters.retry();
        }
        let mut note = self.note(record);
        let result = match guarded(|| self.shared.processor.borrow_mut().process(record)) {
            Ok(Processing::Done(result)) => result,
            Ok(Processing::Later(future)) => {
                self.state = State::Processing;
                // Meanwhile others have their turns.
                note.begun = Instant::now();
                self.shared.gate.enter();
                context.spawn(wrap_future::<_, Self>(Guarded(future)).map(move |result, partition, context| {
                    partition.state = State::Reading;
                    partition.shared.gate.leave();
                    partition.later(note, so_far, result.unwrap_or_else(|panic| Err(Failure::Message(panic))), context);
                }));
                return;
            }
            Err(panic) => Err(Failure::Message(panic)),
        };
        if let Some(reason) = self.processed(note, result) {
            self.failed(record.to_owned(), so_far, reason, context);
        }
    }

    fn later(&mut self, note: Note, so_far: SoFar, result: Result<(), Failure>, context: &mut Context<Self>) {
        let kept = self.kept.take();
        if let Some(reason) = self.processed(note, result) {
            // It was kept, or nothing was read since.
            let current = || Some(self.stream.as_ref()?.current()?.record().to_owned());
            match kept.map(|kept| kept.record).or_else(current) {
                Some(record) => self.failed(record, so_far, reason, context),
                None => {
                    let reason = format!("a message that failed is gone: {reason}");
                    self.halt(Event::Broken { reason, lasting: false });
                }
            }
        }
        self.after_later(context);
    }

    /// What has to be known of a message when it is dealt with, and it may be gone then.
    pub(super) fn note(&self, record: &Record<'_>) -> Note {
        let header = || record.header(stamp::NAME);
        let Some(journal) = &self.shared.journal else {
            let due_us = stamp::due_us(record.value, header);
            return Note { offset: record.offset, begun: self.now, due_us, entry: None };
        };
        let found = stamp::find(record.key, record.value, header);
        let due_us = found.filter(|found| found.intact).map(|found| found.stamp.due_us);
        Note { offset: record.offset, begun: self.now, due_us, entry: Some(journal.entry(record, found.as_ref())) }
    }

    /// What has come of an attempt; the reason, if it is the message that has failed.
    fn processed(&mut self, note: Note, result: Result<(), Failure>) -> Option<String> {
        match result {
            Ok(()) => {
                self.breaker.succeeded();
                self.advance(note, Fate::Processed);
            }
            Err(Failure::Message(reason)) => return Some(reason),
            Err(Failure::Worker(reason)) => self.halt(Event::Broken { reason, lasting: false }),
            Err(Failure::Crash(reason)) => self.halt(Event::Crashed { reason }),
            Err(Failure::OutputClosed) => self.halt(Event::OutputClosed),
        }
        None
    }

    /// The message is dealt with.
    pub(super) fn advance(&mut self, note: Note, fate: Fate) {
        let next = note.offset + 1;
        (self.next, self.now) = (next, Instant::now());
        self.counters.end(next, fate);
        let processed = fate == Fate::Processed;
        if let Some(due_us) = note.due_us.filter(|_| processed) {
            self.shared.times.borrow_mut().due(due_us, self.anchor.unix_us(self.now));
        }
        if processed {
            self.shared.times.borrow_mut().took(note.begun, self.now);
        }
        self.entries.extend(note.entry.map(|entry| Entry { failed: !processed, ..entry }));
        if self.until.is_some_and(|until| next >= until) {
            self.reach_end();
        }
    }

    /// The message will not be dealt with here: whoever reads on needs a grant for it.
    pub(super) fn leave_unfinished(&self, so_far: &SoFar) {
        self.counters.give_up();
        if so_far.granted {
            self.shared.budget.add(1);
        }
    }
}
