//! A producer client: messages in, acknowledgements counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use slog::Logger;

use super::config;
use super::error::{Failure, creation, reason};
use super::events::ClientEvents;
use crate::latency::Latency;
use crate::message::Outgoing;
use crate::settings::Settings;

/// What became of the messages that were sent.
#[derive(Default)]
pub struct Deliveries {
    acknowledged: AtomicU64,
    latency: Mutex<Latency>,
    failed: Mutex<BTreeMap<String, u64>>,
}

impl Deliveries {
    /// How many the brokers have acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn acknowledge(&self, time: Duration) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut latency) = self.latency.lock() {
            latency.record(time);
        }
    }

    /// Adds how long the acknowledgements have taken.
    pub fn add_latency_to(&self, total: &mut Latency) {
        if let Ok(latency) = self.latency.lock() {
            total.add(&latency);
        }
    }

    /// How many were given up, by reason.
    pub fn failed(&self) -> BTreeMap<String, u64> {
        self.failed.lock().map(|failed| failed.clone()).unwrap_or_default()
    }

    /// Counts one message that was given up.
    pub fn fail(&self, reason: String) {
        if let Ok(mut failed) = self.failed.lock() {
            *failed.entry(reason).or_default() += 1;
        }
    }
}

struct SenderEvents {
    /// What the messages' times count from.
    epoch: Instant,
    client: ClientEvents,
    deliveries: Arc<Deliveries>,
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
    /// Microseconds from the epoch to the moment that the message's time counts from.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, since: usize) {
        match result {
            Ok(_) => {
                let since = Duration::from_micros(since as u64);
                self.deliveries.acknowledge(self.epoch.elapsed().saturating_sub(since));
            }
            Err((error, _)) => self.deliveries.fail(reason(error)),
        }
    }
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
}

impl Sender {
    /// Makes the client; it connects by itself.
    ///
    /// # Errors
    /// [`Failure::Settings`].
    pub fn new(settings: &Settings, logger: &Logger) -> Result<Self, Failure> {
        let deliveries = Arc::new(Deliveries::default());
        let epoch = Instant::now();
        let events = SenderEvents { epoch, client: ClientEvents::new(logger), deliveries: Arc::clone(&deliveries) };
        let producer = config::sender(settings).create_with_context(events).map_err(|error| creation(&error))?;
        Ok(Self { producer, topic: settings.kafka.topic.clone(), epoch, deliveries })
    }

    /// What became of what was sent.
    pub fn deliveries(&self) -> Arc<Deliveries> {
        Arc::clone(&self.deliveries)
    }

    /// Hands one message over; it is copied. Its time counts from `since`. What becomes of it is counted in [`Sender::deliveries`].
    ///
    /// # Errors
    /// See [`SendError`]; nothing is counted then.
    pub fn send(&self, message: &Outgoing, since: Instant) -> Result<(), SendError> {
        // Wide enough for 71 minutes on a machine of 32 bits, and for ever on the others.
        let since = since.saturating_duration_since(self.epoch).as_micros() as usize;
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, since);
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

    fn fatal(&self) -> Option<String> {
        self.producer.client().fatal_error().map(|(_, text)| text)
    }

    /// Waits up to `timeout` for what was sent; whether all of it was acknowledged or given up.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.producer.flush(timeout).is_ok() && self.producer.in_flight_count() == 0
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
