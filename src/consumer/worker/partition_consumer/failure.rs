//! Handles a failed message: it is retried; after the last attempt it stops the partition, is skipped, or is
//! sent to the dead-letter topic. Meanwhile its partition waits, and no offset is stored; other partitions
//! continue.

use std::time::{Duration, Instant, SystemTime};

use actix::fut::wrap_future;
use actix::prelude::*;
use slog::{error, info, warn};

use super::process::AttemptState;
use super::{PartitionConsumer, PendingMessage, State};
use crate::consumer::worker::messages::PartitionEvent;
use crate::consumer::worker::partition_state::MessageOutcome;
use crate::dead_letter::{self, FailedRecord};
use crate::kafka::dead_letter_producer::DeadLetterRecord;
use crate::kafka::error::KafkaError;
use crate::record::OwnedRecord;
use crate::settings::OnFailure;
use crate::trace_context;
use crate::util::backoff;
use crate::util::format::{pluralize, seconds};

/// The initial backoff after a failed delivery of a dead-letter record: long enough to read the log.
const DLQ_RETRY_BACKOFF: Duration = Duration::from_secs(1);
/// The maximum backoff: delivery continues soon after an operator has created the missing topic.
const COPY_BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Logs a line about this message, subject to the limit.
macro_rules! tell {
    ($level:ident, $partition:expr, $record:expr, $($text:tt)+) => {
        if $partition.shared.throttle.borrow_mut().allows(Instant::now()) {
            let record: &OwnedRecord = &$record;
            $level!(trace_context::within_trace(&$partition.shared.context.logger, &record.borrow()), $($text)+;
                "topic" => &record.topic, "partition" => record.partition, "offset" => record.offset);
        }
    };
}

impl PartitionConsumer {
    /// Handles a failure: the message is retried later, or the failure is final.
    pub(super) fn on_failure(
        &mut self,
        record: OwnedRecord,
        mut so_far: AttemptState,
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
            self.skip_message(PendingMessage { record, so_far }, &reason);
            return;
        }
        let pause = backoff::delay(retry.backoff, retry.backoff_max, so_far.failures, rand::random());
        let (attempt, most) = (so_far.failures, retry.attempts.saturating_add(1));
        tell!(
            warn,
            self,
            record,
            "message failed, attempt {attempt} of {most}, the next one in {:?}: {reason}",
            Duration::from_millis(pause.as_millis() as u64)
        );
        self.pause(PendingMessage { record, so_far }, pause, context);
    }

    /// Stops without waiting for the message: it is processed after the next start.
    fn skip_message(&mut self, kept: PendingMessage, reason: &str) {
        tell!(info, self, kept.record, "message failed, it stays the next one: {reason}");
        self.leave_unfinished(&kept.so_far);
        self.state = State::Halted;
    }

    /// Pauses the partition without blocking its thread.
    fn pause(&mut self, kept: PendingMessage, pause: Duration, context: &mut Context<Self>) {
        self.counters.wait();
        self.kept = Some(kept);
        self.state = State::Pausing;
        self.awaited = Some(context.run_later(pause, |partition, context| {
            partition.awaited = None;
            partition.state = State::Reading;
            partition.run_slice(context);
        }));
    }

    /// Handles a message that is not retried any more.
    pub(super) fn give_up(
        &mut self,
        record: OwnedRecord,
        so_far: AttemptState,
        reason: String,
        context: &mut Context<Self>,
    ) {
        let on_failure = self.shared.context.settings.consumer.on_failure;
        if on_failure == OnFailure::Stop {
            self.leave_unfinished(&so_far);
            let partition = self.counters.partition.clone();
            self.stop_actor(PartitionEvent::MessageFailed { partition, offset: record.offset, reason });
            return;
        }
        if let Some(why) = self.breaker.opens() {
            self.leave_unfinished(&so_far);
            let partition = self.counters.partition.clone();
            let reason = format!("{why}; the last one: {reason}");
            self.stop_actor(PartitionEvent::PartitionStopped { partition, offset: record.offset, reason });
            return;
        }
        if on_failure == OnFailure::DeadLetter {
            let so_far = AttemptState { given_up: Some(reason), ..so_far };
            self.counters.begin(record.offset);
            self.send_to_dlq(PendingMessage { record, so_far }, context);
            return;
        }
        tell!(warn, self, record, "message failed, skipped: {reason}");
        self.shared.times.borrow_mut().failed(&reason);
        self.breaker.failed();
        let note = self.note(&record.borrow());
        self.advance(note, MessageOutcome::Skipped);
    }

    /// Sends the dead-letter record of a failed message. The message is handled when the delivery is
    /// acknowledged.
    pub(super) fn send_to_dlq(&mut self, kept: PendingMessage, context: &mut Context<Self>) {
        let PendingMessage { record, so_far } = &kept;
        let error = so_far.given_up.as_deref().unwrap_or_default();
        if self.is_stopping() {
            let error = error.to_owned();
            self.skip_message(kept, &error);
            return;
        }
        let worker = self.shared.context.slot;
        let given_up = FailedRecord { error, attempts: so_far.failures, at: SystemTime::now(), worker };
        let headers = dead_letter::headers(&record.borrow(), given_up);
        let topic = self.shared.context.settings.dead_letter_topic(&record.topic);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let sent = self.shared.dead_letters.send(DeadLetterRecord { topic: &topic, key, value, headers: &headers });
        match sent {
            Ok(delivery) => {
                self.counters.wait();
                self.kept = Some(kept);
                self.state = State::Sending;
                self.awaited =
                    Some(context.spawn(wrap_future::<_, Self>(delivery).map(move |reported, partition, context| {
                        partition.awaited = None;
                        let gone =
                            || KafkaError::Topic { topic: topic.clone(), reason: "the client has ended".to_owned() };
                        let reported = reported.unwrap_or_else(|_| Err(gone()));
                        partition.on_dlq_delivery(&topic, reported, context);
                    })));
            }
            Err(failure) => self.on_dlq_failure(kept, &topic, &failure, context),
        }
    }

    /// Handles the delivery report of the dead-letter record.
    fn on_dlq_delivery(&mut self, topic: &str, reported: Result<(), KafkaError>, context: &mut Context<Self>) {
        let Some(kept) = self.kept.take() else { return };
        self.state = State::Reading;
        match reported {
            Ok(()) => {
                let PendingMessage { record, so_far } = kept;
                let reason = so_far.given_up.unwrap_or_default();
                tell!(warn, self, record, "message failed, a copy is in the topic {topic:?}: {reason}");
                self.shared.times.borrow_mut().failed(&reason);
                self.breaker.failed();
                let note = self.note(&record.borrow());
                (self.now, self.anchor) = (Instant::now(), crate::util::clock::ClockAnchor::now());
                self.advance(note, MessageOutcome::DeadLettered);
            }
            Err(failure) => self.on_dlq_failure(kept, topic, &failure, context),
        }
        self.after_later(context);
    }

    /// Retries the delivery of a dead-letter record. No offset is stored before the record is delivered.
    fn on_dlq_failure(
        &mut self,
        mut kept: PendingMessage,
        topic: &str,
        failure: &KafkaError,
        context: &mut Context<Self>,
    ) {
        if failure.is_denied() {
            self.leave_unfinished(&kept.so_far);
            let reason = format!("{} failed, and has no copy: {failure}", kept.record.borrow());
            self.stop_actor(PartitionEvent::Broken { reason, permanent: true });
            return;
        }
        kept.so_far.undelivered += 1;
        let pause = backoff::delay(DLQ_RETRY_BACKOFF, COPY_BACKOFF_MAX, kept.so_far.undelivered, rand::random());
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

    /// Logs the number of suppressed lines periodically.
    pub(super) fn log_left_out(&self) {
        let left_out = self.shared.throttle.borrow_mut().take_suppressed(Instant::now());
        self.log_more(left_out);
    }

    /// Logs the number of suppressed lines when the partition stops.
    pub(super) fn log_rest_left_out(&self) {
        let left_out = self.shared.throttle.borrow_mut().take_rest(Instant::now());
        self.log_more(left_out);
    }

    fn log_more(&self, left_out: Option<(u64, Duration)>) {
        if let Some((lines, time)) = left_out {
            let (lines, time) = (pluralize(lines, "more line"), seconds(time.as_secs_f64()));
            warn!(self.shared.context.logger, "{lines} about messages that failed in the last {time}, in this worker");
        }
    }
}

/// A hint for a dead-letter record that was not delivered, after a semicolon. Most failures need none.
fn hint(topic: &str, failure: &KafkaError) -> String {
    match failure {
        // librdkafka reports a missing topic in the same way while the brokers do not reply for it.
        KafkaError::Topic { reason, .. } | KafkaError::Unavailable { reason, .. }
            if reason.starts_with("delivery timed out") =>
        {
            format!("; `topics describe {topic}` shows whether it is there, `topics create {topic}:…` makes it")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_was_not_delivered_is_told_with_what_helps() {
        let hint =
            |reason: &str| hint("dead", &KafkaError::Topic { topic: "dead".to_owned(), reason: reason.to_owned() });
        let timed_out = hint("delivery timed out (1/1 brokers are down)");
        assert!(timed_out.starts_with("; `topics describe dead`"), "{timed_out}");
        assert_eq!(hint("Broker: Invalid required acks value"), "");
    }
}
