//! A producer client: messages in, acknowledgements counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use slog::Logger;

use super::birth::Birth;
use super::config;
use super::deliveries::{Deliveries, Outcome, Outcomes};
use super::error::{Failure, creation, reason};
use super::events::ClientEvents;
use crate::message::Outgoing;
use crate::settings::Settings;
use crate::stamp;

struct SenderEvents {
    /// What the messages' times count from.
    epoch: Instant,
    client: ClientEvents,
    deliveries: Arc<Deliveries>,
    outcomes: Option<Arc<dyn Outcomes>>,
}

impl ClientContext for SenderEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.client.stats_raw(statistics);
    }
}

impl ProducerContext for SenderEvents {
    /// A [`Birth`].
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, birth: usize) {
        let (message, place) = match result {
            Ok(message) => {
                self.deliveries.acknowledge(Birth::from_word(birth).age(self.epoch.elapsed()));
                (message, Some((message.partition(), message.offset())))
            }
            Err((error, message)) => {
                self.deliveries.fail(reason(error));
                (message, None)
            }
        };
        if let Some(outcomes) = &self.outcomes
            && let Some(stamp) = stamp::peek(message.payload(), || header(message))
        {
            outcomes.tell(Outcome { stamp, place });
        }
    }
}

/// The value of the stamp's header.
fn header<'a>(message: &'a BorrowedMessage<'_>) -> Option<&'a [u8]> {
    message.headers()?.iter().find(|header| header.key == stamp::NAME)?.value
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Too many wait for their acknowledgement: try again in a moment.
    QueueFull,
    /// This message will never be taken, and why; others may be.
    Refused(String),
    /// Nothing more will be taken, and why.
    Fatal(String),
}

/// A client of one producer thread; its acknowledgements are served by a thread of its own.
pub struct Sender {
    producer: ThreadedProducer<SenderEvents>,
    topic: String,
    epoch: Instant,
    deliveries: Arc<Deliveries>,
    outcomes: Option<Arc<dyn Outcomes>>,
}

impl Sender {
    /// Makes the client; it connects by itself. `outcomes` is told of every stamped message.
    ///
    /// # Errors
    /// [`Failure::Settings`].
    pub fn new(settings: &Settings, outcomes: Option<Arc<dyn Outcomes>>, logger: &Logger) -> Result<Self, Failure> {
        let deliveries = Arc::new(Deliveries::default());
        let epoch = Instant::now();
        let events = SenderEvents {
            epoch,
            client: ClientEvents::new(logger),
            deliveries: Arc::clone(&deliveries),
            outcomes: outcomes.clone(),
        };
        let producer = config::sender(settings).create_with_context(events).map_err(|error| creation(&error))?;
        Ok(Self { producer, topic: settings.kafka.topic.clone(), epoch, deliveries, outcomes })
    }

    /// What became of what was sent.
    pub fn deliveries(&self) -> Arc<Deliveries> {
        Arc::clone(&self.deliveries)
    }

    /// Hands one message over, now; it is copied. It was due at `due`. What becomes of it is counted in
    /// [`Sender::deliveries`].
    ///
    /// # Errors
    /// See [`SendError`]; nothing is counted then.
    pub fn send(&self, message: &Outgoing, due: Instant, now: Instant) -> Result<(), SendError> {
        let birth = Birth::new(now.saturating_duration_since(self.epoch), now.saturating_duration_since(due));
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, birth.word());
        if !message.tombstone {
            record = record.payload(&message.payload);
        }
        if let Some(key) = &message.key {
            record = record.key(key);
        }
        if !message.headers.is_empty() {
            record = record.headers(headers(&message.headers));
        }
        self.producer.send(record).map_err(|(error, _)| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => SendError::QueueFull,
            Some(RDKafkaErrorCode::Fatal) => SendError::Fatal(self.fatal().unwrap_or_else(|| reason(&error))),
            _ => SendError::Refused(reason(&error)),
        })
    }

    /// Counts one message that was never taken, and tells of it.
    pub fn refuse(&self, message: &Outgoing, reason: String) {
        self.deliveries.fail(reason);
        let payload = (!message.tombstone).then_some(message.payload.as_slice());
        let header = || message.headers.iter().find(|(name, _)| name == stamp::NAME).map(|(_, value)| value.as_slice());
        if let Some(outcomes) = &self.outcomes
            && let Some(stamp) = stamp::peek(payload, header)
        {
            outcomes.tell(Outcome { stamp, place: None });
        }
    }

    fn fatal(&self) -> Option<String> {
        self.producer.client().fatal_error().map(|(_, text)| text)
    }

    /// Waits up to `timeout` for what was sent; whether all of it was acknowledged or given up.
    pub fn flush(&self, timeout: Duration) -> bool {
        let all = self.producer.flush(timeout).is_ok() && self.producer.in_flight_count() == 0;
        if let Some(outcomes) = &self.outcomes {
            outcomes.flush();
        }
        all
    }

    /// Gives up what is still under way. Messages on their way to a broker may yet arrive there.
    pub fn abandon(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}

fn headers(list: &[(String, Vec<u8>)]) -> OwnedHeaders {
    let header = |headers: OwnedHeaders, (name, value): &(String, Vec<u8>)| {
        headers.insert(Header { key: name, value: Some(value) })
    };
    list.iter().fold(OwnedHeaders::new_with_capacity(list.len()), header)
}
