//! A producer client with delivery statistics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use slog::Logger;

use super::acl::{Needs, Right, is_denied};
use super::client_config;
use super::client_context::ClientContext;
use super::delivery_reports::{DeliveryObserver, DeliveryOutcome, DeliveryStats};
use super::error::{KafkaError, code_text, creation};
use super::ffi::produce::ProducerTopic;
use super::health::ClientHealth;
use super::send_time::SendTime;
use super::size_limits::SizeLimits;
use super::statistics::ClientReport;
use crate::generator::MessageBuffer;
use crate::settings::Settings;
use crate::stamp;

mod events;

use events::{EventThread, ProducerContext, is_topic_missing};

/// The maximum size of a client's queue, in KiB.
const QUEUE_KBYTES: &str = "queue.buffering.max.kbytes";

/// The poll interval of a flush. Each poll wakes the client's threads.
const FLUSH_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Why a message was not enqueued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The queue is full, or the client does not know the topic at the moment: retry later.
    QueueFull,
    /// The client will never accept this message, for this reason; it may accept others.
    Refused(String),
    /// The client accepts no more messages, for this reason.
    Fatal(String),
}

/// The client of one producer thread, with its own event thread.
pub struct ProducerClient {
    _serving: EventThread,
    topic: ProducerTopic<ProducerContext>,
    name: String,
    epoch: Instant,
    /// The maximum size of the queue in KiB, for error texts.
    queue_kbytes: String,
    limits: Arc<SizeLimits>,
    deliveries: Arc<DeliveryStats>,
    outcomes: Option<Arc<dyn DeliveryObserver>>,
}

impl ProducerClient {
    /// Creates the client, which connects in the background. Its batches are limited to `max_message_bytes`, the
    /// topic's `max.message.bytes`, if known. `outcomes` receives the outcome of every stamped message.
    ///
    /// # Errors
    /// [`KafkaError::Settings`].
    pub fn new(
        settings: &Settings,
        max_message_bytes: Option<u64>,
        outcomes: Option<Arc<dyn DeliveryObserver>>,
        logger: &Logger,
    ) -> Result<Self, KafkaError> {
        let deliveries = Arc::new(DeliveryStats::default());
        let epoch = Instant::now();
        let config = client_config::producer(settings, max_message_bytes);
        let native = config.create_native_config().map_err(|error| creation(&error))?;
        let property = |name| native.get(name).unwrap_or_default();
        let limits = Arc::new(SizeLimits {
            topic: settings.kafka.topic.clone(),
            max_message_bytes,
            batch_size: property(client_config::BATCH_SIZE),
            client_bytes: property(client_config::MESSAGE_MAX_BYTES),
        });
        let events = ProducerContext {
            acks: client_config::acks(settings)?,
            epoch,
            warm_up: settings.latency.warm_up,
            timed_from: AtomicU64::new(0),
            client: ClientContext::with_statistics(logger, settings, &settings.producer.properties),
            limits: Arc::clone(&limits),
            deliveries: Arc::clone(&deliveries),
            outcomes: outcomes.clone(),
            denied: OnceLock::new(),
        };
        let queue_kbytes = config.get(QUEUE_KBYTES).unwrap_or_default().to_owned();
        let producer: BaseProducer<ProducerContext> =
            config.create_with_context(events).map_err(|error| creation(&error))?;
        let producer = Arc::new(producer);
        let serving = EventThread::start(&producer)?;
        let name = settings.kafka.topic.clone();
        let Some(topic) = ProducerTopic::new(producer, &name) else {
            return Err(KafkaError::Topic { topic: name, reason: "no topic can have this name".to_owned() });
        };
        Ok(Self { _serving: serving, topic, name, epoch, queue_kbytes, limits, deliveries, outcomes })
    }

    /// Requests the topic's metadata, so that the client connects and gets its producer id at once instead of half a
    /// second after its creation.
    ///
    /// # Errors
    /// No broker responds within `timeout`.
    pub fn warm_up(&self, timeout: Duration) -> Result<(), KafkaError> {
        // The first response may arrive before the connection counts as up; the second one triggers the request.
        for _ in 0..2 {
            let metadata = self.topic.producer().client().fetch_metadata(Some(&self.name), timeout);
            // A timeout has no cause; the connection's last error does.
            let last = self.topic.producer().context().client.last_error();
            let last = last.map(|last| format!(" ({last})")).unwrap_or_default();
            let needs = Needs::of_topic(Right::WriteTopic(self.name.clone()));
            let what = format!("the topic {:?}{last}", self.name);
            metadata.map_err(|error| KafkaError::of_request(&needs, &what, &error))?;
        }
        Ok(())
    }

    /// Sets the start of the run, from which `latency.warm_up` counts.
    pub fn set_warm_up_start(&self, begun: Instant) {
        let events = self.topic.producer().context();
        let from = begun.saturating_duration_since(self.epoch).saturating_add(events.warm_up);
        events.timed_from.store(u64::try_from(from.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Takes the latest statistics report; `None` if none arrived since the last call.
    pub fn take_report(&self) -> Option<ClientReport> {
        self.topic.producer().context().client.take_report()
    }

    /// Whether the client reaches the cluster; `None` without statistics.
    pub fn health(&self) -> Option<ClientHealth> {
        self.topic.producer().context().client.health()
    }

    /// The delivery statistics.
    pub fn deliveries(&self) -> Arc<DeliveryStats> {
        Arc::clone(&self.deliveries)
    }

    /// Enqueues a copy of one message, which was scheduled at `due`. [`ProducerClient::deliveries`] counts the
    /// outcome.
    ///
    /// # Errors
    /// See [`SendError`]; nothing is counted then.
    pub fn send(&self, message: &MessageBuffer, due: Instant, now: Instant) -> Result<(), SendError> {
        let send_time = SendTime::new(now.saturating_duration_since(self.epoch), now.saturating_duration_since(due));
        let mut result = self.enqueue(message, send_time);
        if result == Err(RDKafkaErrorCode::QueueFull) && self.topic.producer().in_flight_count() == 0 {
            // The queue is empty now, and nothing else sends.
            result = self.enqueue(message, send_time);
            if result == Err(RDKafkaErrorCode::QueueFull) {
                return Err(SendError::Refused(format!(
                    "larger than the client's whole queue ({QUEUE_KBYTES} = {}): set it in producer.properties",
                    self.queue_kbytes
                )));
            }
        }
        result.map_err(|code| match code {
            RDKafkaErrorCode::QueueFull => SendError::QueueFull,
            RDKafkaErrorCode::Fatal => SendError::Fatal(self.broken().unwrap_or_else(|| code_text(code))),
            RDKafkaErrorCode::MessageSizeTooLarge => SendError::Refused(self.limits.refused_by_client()),
            _ if is_topic_missing(code) => {
                self.deliveries.set_topic_missing(true);
                SendError::QueueFull
            }
            _ if is_denied(code) => {
                self.topic.producer().context().deny(code);
                SendError::Fatal(self.broken().unwrap_or_else(|| code_text(code)))
            }
            _ => SendError::Refused(code_text(code)),
        })
    }

    fn enqueue(&self, message: &MessageBuffer, send_time: SendTime) -> Result<(), RDKafkaErrorCode> {
        let payload = (!message.tombstone).then_some(message.payload.as_slice());
        let key = message.key.as_deref();
        if message.headers.is_empty() {
            self.topic.send(key, payload, send_time.to_opaque())
        } else {
            self.send_with_headers(key, payload, &message.headers, send_time)
        }
    }

    fn send_with_headers(
        &self,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        list: &[(String, Vec<u8>)],
        send_time: SendTime,
    ) -> Result<(), RDKafkaErrorCode> {
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.name, send_time.to_opaque());
        (record.key, record.payload, record.headers) =
            (key, payload, Some(to_headers(list.iter().map(|(name, value)| (name, Some(value))))));
        let unknown = RDKafkaErrorCode::Unknown;
        self.topic.producer().send(record).map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(unknown))
    }

    /// Counts and reports one message that was never enqueued.
    pub fn fail_locally(&self, message: &MessageBuffer, reason: String) {
        self.deliveries.fail(reason);
        let payload = (!message.tombstone).then_some(message.payload.as_slice());
        let header = || message.headers.iter().find(|(name, _)| name == stamp::NAME).map(|(_, value)| value.as_slice());
        if let Some(outcomes) = &self.outcomes
            && let Some(stamp) = stamp::parse_unchecked(payload, header)
        {
            outcomes.notify(DeliveryOutcome { stamp, place: None });
        }
    }

    /// Why nothing more can be sent: a right is missing, or the client has failed permanently. `None` while it works.
    pub fn broken(&self) -> Option<String> {
        let (client, events) = (self.topic.producer().client(), self.topic.producer().context());
        let fatal = client.fatal_error();
        if let Some((code, _)) = fatal.as_ref().filter(|(code, _)| is_denied(*code)) {
            events.deny(*code);
        }
        events.denied.get().cloned().or(fatal.map(|(_, text)| text))
    }

    /// Waits up to `timeout` for outstanding deliveries; returns whether all have completed.
    pub fn flush(&self, timeout: Duration) -> bool {
        let (producer, deadline) = (self.topic.producer(), Instant::now() + timeout);
        // librdkafka's own call waits in steps of 100 ms.
        let all = loop {
            let all = producer.flush(Duration::ZERO).is_ok() && producer.in_flight_count() == 0;
            if all || Instant::now() >= deadline {
                break all;
            }
            std::thread::sleep(FLUSH_POLL_INTERVAL);
        };
        if let Some(outcomes) = &self.outcomes {
            outcomes.flush();
        }
        all
    }

    /// Purges all messages in queue and in flight, which are then reported as failed. A message in flight may still
    /// arrive at the broker.
    pub fn purge(&self) {
        // Waiting for the purge in the client's threads has no timeout.
        self.topic.producer().purge(PurgeConfig::default().queue().inflight().non_blocking());
    }
}

/// Headers as rdkafka takes them; `None` is a null value.
pub(super) fn to_headers<'a>(list: impl ExactSizeIterator<Item = (&'a String, Option<&'a Vec<u8>>)>) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(list.len());
    list.fold(headers, |headers, (key, value)| headers.insert(Header { key, value }))
}

#[cfg(test)]
mod tests {
    use slog::{Discard, o};

    use super::*;

    #[test]
    fn a_message_larger_than_the_whole_queue_is_refused_and_not_tried_for_ever() {
        let mut settings = crate::settings::defaults();
        settings.kafka.brokers = vec!["127.0.0.1:9".to_owned()];
        settings.producer.threads = 32;
        settings.producer.properties.insert("message.max.bytes".to_owned(), "10000000".to_owned());
        let sender = ProducerClient::new(&settings, None, None, &Logger::root(Discard, o!())).unwrap();
        let send = |bytes, headers| {
            let message = MessageBuffer { payload: vec![b'x'; bytes], headers, ..MessageBuffer::default() };
            sender.send(&message, Instant::now(), Instant::now())
        };
        for headers in [vec![], vec![("a".to_owned(), b"b".to_vec())]] {
            // Unserved broker errors count as in flight.
            let begun = Instant::now();
            let mut sent = send(5_000_000, headers.clone());
            while sent == Err(SendError::QueueFull) && begun.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(1));
                sent = send(5_000_000, headers.clone());
            }
            let Err(SendError::Refused(reason)) = sent else { panic!("it is not refused: {sent:?}") };
            assert!(reason.contains("queue.buffering.max.kbytes = 4096"), "{reason}");
        }
        // While other messages wait, the size cannot be decided.
        assert_eq!(send(3_000_000, vec![]), Ok(()));
        assert_eq!(send(3_000_000, vec![]), Err(SendError::QueueFull));
        sender.purge();
    }
}
