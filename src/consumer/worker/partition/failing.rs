//! What becomes of a message that failed: it is tried again, and then stops everything, is skipped, or a copy of it goes to
//! the dead-letter topic. Meanwhile its partition waits, and nothing is stored; the others go on.

use std::time::{Duration, Instant, SystemTime};

use actix::fut::wrap_future;
use actix::prelude::*;
use slog::{error, info, warn};

use super::attempt::SoFar;
use super::{Kept, PartitionConsumer, State};
use crate::consumer::worker::backoff;
use crate::consumer::worker::counters::Fate;
use crate::consumer::worker::messages::Event;
use crate::dead_letter::{self, GivenUp};
use crate::kafka::dead_letters::Letter;
use crate::kafka::error::Failure;
use crate::record::OwnedRecord;
use crate::settings::OnFailure;
use crate::trace;

/// How long a copy that could not be delivered waits at first: long enough for the log to be read.
const COPY_BACKOFF: Duration = Duration::from_secs(1);
/// And at most: whoever has made the missing topic does not wait for long.
const COPY_BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Logs a line about this message, unless there are too many.
macro_rules! tell {
    ($level:ident, $partition:expr, $record:expr, $($text:tt)+) => {
        if $partition.shared.throttle.borrow_mut().allows(Instant::now()) {
            let record: &OwnedRecord = &$record;
            $level!(trace::in_context(&$partition.shared.context.logger, &record.borrow()), $($text)+;
                "topic" => &record.topic, "partition" => record.partition, "offset" => record.offset);
        }
    };
}

impl PartitionConsumer {
    /// The message could not be processed: it is tried again later, or given up.
    pub(super) fn failed(
        &mut self,
        record: OwnedRecord,
        mut so_far: SoFar,
        reason: String,
        context: &mut Context<Self>,
    ) {
        so_far.failures += 1;
        let retry = &self.shared.context.settings.consumer.retry;
        if so_far.failures > retry.attempts {
            self.give_up(record, so_far, reason, context);
            return;
        }
        if self.is_stopping() {
            self.leave(Kept { record, so_far }, &reason);
            return;
        }
        let pause = backoff::pause(retry.backoff, retry.backoff_max, so_far.failures, rand::random());
        let (attempt, most) = (so_far.failures, retry.attempts.saturating_add(1));
        tell!(
            warn,
            self,
            record,
            "message failed, attempt {attempt} of {most}, the next one in {:?}: {reason}",
            Duration::from_millis(pause.as_millis() as u64)
        );
        self.pause(Kept { record, so_far }, pause, context);
    }

    /// A stop does not wait for it: it is processed after the next start.
    fn leave(&mut self, kept: Kept, reason: &str) {
        tell!(info, self, kept.record, "message failed, it stays the next one: {reason}");
        self.leave_unfinished(&kept.so_far);
        self.state = State::Halted;
    }

    /// The partition waits; its thread does not.
    fn pause(&mut self, kept: Kept, pause: Duration, context: &mut Context<Self>) {
        self.counters.wait();
        self.kept = Some(kept);
        self.state = State::Pausing;
        self.awaited = Some(context.run_later(pause, |partition, context| {
            partition.awaited = None;
            partition.state = State::Reading;
            partition.turn(context);
        }));
    }

    /// The message is not tried again.
    pub(super) fn give_up(&mut self, record: OwnedRecord, so_far: SoFar, reason: String, context: &mut Context<Self>) {
        let on_failure = self.shared.context.settings.consumer.on_failure;
        if on_failure == OnFailure::Stop {
            self.leave_unfinished(&so_far);
            let partition = self.counters.partition.clone();
            self.halt(Event::MessageFailed { partition, offset: record.offset, reason });
            return;
        }
        if let Some(why) = self.breaker.opens() {
            self.leave_unfinished(&so_far);
            let partition = self.counters.partition.clone();
            let reason = format!("{why}; the last one: {reason}");
            self.halt(Event::PartitionStopped { partition, offset: record.offset, reason });
            return;
        }
        if on_failure == OnFailure::DeadLetter {
            let so_far = SoFar { given_up: Some(reason), ..so_far };
            self.counters.begin(record.offset);
            self.send_copy(Kept { record, so_far }, context);
            return;
        }
        tell!(warn, self, record, "message failed, skipped: {reason}");
        self.breaker.failed();
        let note = self.note(&record.borrow());
        self.advance(note, Fate::Skipped);
    }

    /// Sends the copy of a message that was given up; it is dealt with when that is acknowledged.
    pub(super) fn send_copy(&mut self, kept: Kept, context: &mut Context<Self>) {
        let Kept { record, so_far } = &kept;
        let error = so_far.given_up.as_deref().unwrap_or_default();
        if self.is_stopping() {
            let error = error.to_owned();
            self.leave(kept, &error);
            return;
        }
        let worker = self.shared.context.slot;
        let given_up = GivenUp { error, attempts: so_far.failures, at: SystemTime::now(), worker };
        let headers = dead_letter::headers(&record.borrow(), given_up);
        let topic = self.shared.context.settings.dead_letter_topic(&record.topic);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let sent = self.shared.dead_letters.send(Letter { topic: &topic, key, value, headers: &headers });
        match sent {
            Ok(delivery) => {
                self.counters.wait();
                self.kept = Some(kept);
                self.state = State::Sending;
                self.awaited =
                    Some(context.spawn(wrap_future::<_, Self>(delivery).map(move |told, partition, context| {
                        partition.awaited = None;
                        let gone =
                            || Failure::Topic { topic: topic.clone(), reason: "the client has ended".to_owned() };
                        let told = told.unwrap_or_else(|_| Err(gone()));
                        partition.copy_told(&topic, told, context);
                    })));
            }
            Err(failure) => self.undelivered(kept, &topic, &failure, context),
        }
    }

    /// What became of the copy.
    fn copy_told(&mut self, topic: &str, told: Result<(), Failure>, context: &mut Context<Self>) {
        let Some(kept) = self.kept.take() else { return };
        self.state = State::Reading;
        match told {
            Ok(()) => {
                let Kept { record, so_far } = kept;
                let reason = so_far.given_up.unwrap_or_default();
                tell!(warn, self, record, "message failed, a copy is in the topic {topic:?}: {reason}");
                self.breaker.failed();
                let note = self.note(&record.borrow());
                (self.now, self.anchor) = (Instant::now(), crate::clock::Anchor::now());
                self.advance(note, Fate::DeadLettered);
            }
            Err(failure) => self.undelivered(kept, topic, &failure, context),
        }
        self.after_later(context);
    }

    /// Whatever was promised of the message, nothing is stored before its copy is safe.
    fn undelivered(&mut self, mut kept: Kept, topic: &str, failure: &Failure, context: &mut Context<Self>) {
        kept.so_far.undelivered += 1;
        let pause = backoff::pause(COPY_BACKOFF, COPY_BACKOFF_MAX, kept.so_far.undelivered, rand::random());
        let hint = hint(topic, failure);
        tell!(
            error,
            self,
            kept.record,
            "the copy of a message that failed could not be delivered to the dead-letter topic {topic:?}: {failure}{hint}; \
             its partition waits, and it is tried again in {:.1?}",
            pause
        );
        self.pause(kept, pause, context);
    }

    /// Tells how many lines were too many.
    pub(super) fn tell_left_out(&self) {
        if let Some(lines) = self.shared.throttle.borrow_mut().take_left_out() {
            warn!(self.shared.context.logger, "and {lines} more lines about messages that failed, in this worker");
        }
    }
}

/// What to look at when a copy could not be delivered, behind a semicolon. Most failures say it themselves.
fn hint(topic: &str, failure: &Failure) -> String {
    let Failure::Topic { reason, .. } = failure else { return String::new() };
    if reason.starts_with("no acknowledgement has come in time") {
        // What librdkafka says, too, where the brokers tell nobody that there is no such topic.
        return format!("; `topics describe {topic}` shows whether it is there, `topics create {topic}:…` makes it");
    }
    match reason.as_str() {
        "Broker: Message size too large" => {
            format!("; with its headers it is larger than {topic} takes: raise that topic's max.message.bytes")
        }
        "Broker: Topic authorization failed" => format!("; allow this user to write to {topic}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_was_not_delivered_is_told_with_what_helps() {
        let hint = |reason: &str| hint("dead", &Failure::Topic { topic: "dead".to_owned(), reason: reason.to_owned() });
        let timed_out = hint("no acknowledgement has come in time (1/1 brokers are down)");
        assert!(timed_out.starts_with("; `topics describe dead`"), "{timed_out}");
        assert!(hint("Broker: Message size too large").ends_with("raise that topic's max.message.bytes"));
        assert_eq!(hint("Broker: Topic authorization failed"), "; allow this user to write to dead");
        assert_eq!(hint("Broker: Invalid required acks value"), "");
    }
}
