//! Handles a failed message: it is retried; after the last attempt it stops the partition, is skipped, or is
//! sent to the dead-letter topic. Meanwhile its partition waits, and no offset is stored; other partitions
//! continue.

use std::time::{Duration, Instant, SystemTime};

use actix::fut::wrap_future;
use actix::prelude::*;
use slog::{error, info, warn};

use super::process::AttemptState;
use super::{PartitionConsumer, PendingMessage, Phase};
use crate::consumer::protocol::{FailureKind, WorkerFailure};
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
const DLQ_RETRY_BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Logs a line about this message, subject to the limit.
macro_rules! log_message {
    ($level:ident, $partition:expr, $record:expr, $($text:tt)+) => {
        if $partition.shared.log_limiter.borrow_mut().allows(Instant::now()) {
            let record: &OwnedRecord = $record;
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
        mut attempts: AttemptState,
        reason: String,
        context: &mut Context<Self>,
    ) {
        attempts.failures += 1;
        let retry = &self.shared.context.settings.consumer.retry;
        if attempts.failures > retry.attempts {
            self.on_final_failure(record, attempts, reason, context);
            return;
        }
        if self.is_stopping() {
            self.leave_for_next_start(&record, &attempts, &reason);
            return;
        }
        let pause = backoff::delay(retry.backoff, retry.backoff_max, attempts.failures, rand::random());
        let (attempt, most) = (attempts.failures, retry.attempts.saturating_add(1));
        log_message!(
            warn,
            self,
            &record,
            "message failed, attempt {attempt} of {most}, the next one in {:?}: {reason}",
            Duration::from_millis(pause.as_millis() as u64)
        );
        self.pause(Box::new(PendingMessage { record, attempts }), pause, context);
    }

    /// Stops without waiting for the message: it is processed after the next start.
    fn leave_for_next_start(&mut self, record: &OwnedRecord, attempts: &AttemptState, reason: &str) {
        log_message!(info, self, record, "message failed, it stays the next one: {reason}");
        self.leave_unfinished(attempts);
        self.phase = Phase::Halted;
    }

    /// Pauses the partition without blocking its thread.
    fn pause(&mut self, message: Box<PendingMessage>, pause: Duration, context: &mut Context<Self>) {
        self.state.begin_wait();
        let timer = context.run_later(pause, |partition, context| {
            // Unless it was halted meanwhile.
            if let Phase::Pausing { message, .. } = std::mem::replace(&mut partition.phase, Phase::Halted) {
                partition.phase = Phase::HeldBack(message);
                partition.run_slice(context);
            }
        });
        self.phase = Phase::Pausing { message, timer };
    }

    /// Handles a message that is not retried any more.
    pub(super) fn on_final_failure(
        &mut self,
        record: OwnedRecord,
        attempts: AttemptState,
        reason: String,
        context: &mut Context<Self>,
    ) {
        let on_failure = self.shared.context.settings.consumer.on_failure;
        if on_failure == OnFailure::Stop {
            self.leave_unfinished(&attempts);
            let partition = self.state.partition.clone();
            self.halt(PartitionEvent::MessageFailed { partition, offset: record.offset, reason });
            return;
        }
        if let Some(why) = self.breaker.would_open() {
            self.leave_unfinished(&attempts);
            let partition = self.state.partition.clone();
            let reason = format!("{why}; the last one: {reason}");
            self.halt(PartitionEvent::PartitionStopped { partition, offset: record.offset, reason });
            return;
        }
        if on_failure == OnFailure::DeadLetter {
            let attempts = AttemptState { final_failure: Some(reason), ..attempts };
            self.state.begin_message(record.offset);
            self.send_to_dlq(Box::new(PendingMessage { record, attempts }), context);
            return;
        }
        log_message!(warn, self, &record, "message failed, skipped: {reason}");
        self.shared.latencies.borrow_mut().failed(&reason);
        self.breaker.record_failure();
        let meta = self.meta(&record.borrow());
        self.advance(meta, MessageOutcome::Skipped);
    }

    /// Sends the dead-letter record of a failed message. The message is handled when the delivery is
    /// acknowledged.
    pub(super) fn send_to_dlq(&mut self, message: Box<PendingMessage>, context: &mut Context<Self>) {
        let PendingMessage { record, attempts } = &*message;
        let error = attempts.final_failure.as_deref().unwrap_or_default();
        if self.is_stopping() {
            self.leave_for_next_start(record, attempts, error);
            return;
        }
        let worker = self.shared.context.slot;
        let failed = FailedRecord { error, attempts: attempts.failures, at: SystemTime::now(), worker };
        let headers = dead_letter::headers(&record.borrow(), failed);
        let topic = self.shared.context.settings.dead_letter_topic(&record.topic);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let sent = self.shared.dead_letters.send(DeadLetterRecord { topic: &topic, key, value, headers: &headers });
        match sent {
            Ok(delivery) => {
                self.state.begin_wait();
                let delivery = wrap_future::<_, Self>(delivery).map(move |report, partition, context| {
                    let gone = || KafkaError::Topic { topic: topic.clone(), reason: "the client has ended".to_owned() };
                    partition.on_dlq_delivery(&topic, report.unwrap_or_else(|_| Err(gone())), context);
                });
                self.phase = Phase::Sending { message, delivery: context.spawn(delivery) };
            }
            Err(failure) => self.on_dlq_failure(message, &topic, &failure, context),
        }
    }

    /// Handles the delivery report of the dead-letter record.
    fn on_dlq_delivery(&mut self, topic: &str, report: Result<(), KafkaError>, context: &mut Context<Self>) {
        // Unless it was halted meanwhile.
        let Phase::Sending { message, .. } = std::mem::replace(&mut self.phase, Phase::Halted) else { return };
        self.phase = Phase::Reading;
        match report {
            Ok(()) => {
                let PendingMessage { record, attempts } = *message;
                let reason = attempts.final_failure.unwrap_or_default();
                log_message!(warn, self, &record, "message failed, a copy is in the topic {topic:?}: {reason}");
                self.shared.latencies.borrow_mut().failed(&reason);
                self.breaker.record_failure();
                let meta = self.meta(&record.borrow());
                (self.now, self.anchor) = (Instant::now(), crate::util::clock::ClockAnchor::now());
                self.advance(meta, MessageOutcome::DeadLettered);
            }
            Err(failure) => self.on_dlq_failure(message, topic, &failure, context),
        }
        self.continue_reading(context);
    }

    /// Retries the delivery of a dead-letter record. No offset is stored before the record is delivered.
    fn on_dlq_failure(
        &mut self,
        mut message: Box<PendingMessage>,
        topic: &str,
        failure: &KafkaError,
        context: &mut Context<Self>,
    ) {
        if failure.is_denied() {
            self.leave_unfinished(&message.attempts);
            let reason = format!("{} failed, and has no copy: {failure}", message.record.borrow());
            self.halt(PartitionEvent::Failed(WorkerFailure::of_worker(FailureKind::Permanent, reason)));
            return;
        }
        message.attempts.undelivered += 1;
        let pause =
            backoff::delay(DLQ_RETRY_BACKOFF, DLQ_RETRY_BACKOFF_MAX, message.attempts.undelivered, rand::random());
        let hint = hint(topic, failure);
        log_message!(
            error,
            self,
            &message.record,
            "the copy of a message that failed could not be delivered to the dead-letter topic {topic:?}: {failure}{hint}; \
             its partition waits, and it is tried again in {:.1?}",
            pause
        );
        self.pause(message, pause, context);
    }

    /// Logs the number of suppressed lines periodically.
    pub(super) fn log_suppressed(&self) {
        let suppressed = self.shared.log_limiter.borrow_mut().take_suppressed(Instant::now());
        self.log_suppressed_count(suppressed);
    }

    /// Logs the number of suppressed lines when the partition stops.
    pub(super) fn log_remaining_suppressed(&self) {
        let suppressed = self.shared.log_limiter.borrow_mut().take_rest(Instant::now());
        self.log_suppressed_count(suppressed);
    }

    fn log_suppressed_count(&self, suppressed: Option<(u64, Duration)>) {
        if let Some((lines, time)) = suppressed {
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
    fn an_undelivered_dead_letter_record_is_reported_with_a_hint() {
        let hint =
            |reason: &str| hint("dead", &KafkaError::Topic { topic: "dead".to_owned(), reason: reason.to_owned() });
        let timed_out = hint("delivery timed out (1/1 brokers are down)");
        assert!(timed_out.starts_with("; `topics describe dead`"), "{timed_out}");
        assert_eq!(hint("Broker: Invalid required acks value"), "");
    }
}
