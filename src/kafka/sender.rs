//! A producer client: messages in, acknowledgements counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use slog::Logger;

use super::birth::Birth;
use super::config;
use super::deliveries::{Deliveries, Outcome, Outcomes};
use super::error::{Failure, code_text, creation, reason};
use super::events::{ClientEvents, tell_client_events};
use super::native::events::{Event, EventQueue, Said};
use super::native::topic::ProducerTopic;
use super::statistics::ClientStatus;
use crate::message::Outgoing;
use crate::settings::Settings;
use crate::stamp::{self, Stamp};

/// How much may wait in a client's queue, in KiB.
const QUEUE_KBYTES: &str = "queue.buffering.max.kbytes";

/// How often a flush looks whether everything has come back. Each look wakes the client's threads, so it is not often.
const FLUSHED: Duration = Duration::from_millis(5);

struct SenderEvents {
    /// What the messages' times count from.
    epoch: Instant,
    /// `latency.warm_up`.
    warm_up: Duration,
    /// What was due earlier, in µs after the epoch, is not timed.
    timed_from: AtomicU64,
    client: ClientEvents,
    deliveries: Arc<Deliveries>,
    outcomes: Option<Arc<dyn Outcomes>>,
}

tell_client_events!(SenderEvents);

impl ProducerContext for SenderEvents {
    /// A [`Birth`].
    type DeliveryOpaque = usize;

    /// Only what comes when the client is dropped: [`Serving`] takes everything before.
    fn delivery(&self, result: &DeliveryResult<'_>, birth: usize) {
        let (message, place) = match result {
            Ok(message) => (message, Ok((message.partition(), message.offset()))),
            Err((error, message)) => (message, Err(reason(error))),
        };
        self.delivered(birth, self.epoch.elapsed(), place, || {
            stamp::peek(message.payload(), || message.headers()?.iter().find(|header| header.key == stamp::NAME)?.value)
        });
    }
}

impl SenderEvents {
    /// Deals with all that comes until `stopped`.
    fn serve(&self, events: &mut EventQueue<Self>, stopped: &AtomicBool) {
        while !stopped.load(Ordering::Relaxed) {
            let Some(mut event) = events.poll(POLL) else { continue };
            match event.said() {
                Said::Deliveries => self.serve_deliveries(&mut event),
                Said::Error(code, text) => self.error(KafkaError::Global(code), text.trim()),
                Said::Log(level, facility, text) => self.log(log_level(level), facility.trim(), text.trim()),
                Said::Statistics(json) => self.stats_raw(json),
                Said::Other => {}
            }
        }
    }

    /// All of them came at once: the clock is read once.
    fn serve_deliveries(&self, event: &mut Event<'_>) {
        let now = self.epoch.elapsed();
        while let Some(message) = event.next_delivery() {
            let result = match message.error() {
                None => Ok((message.partition(), message.offset())),
                Some(code) => Err(code_text(code)),
            };
            self.delivered(message.opaque(), now, result, || {
                stamp::peek(message.payload(), || {
                    message.headers().into_iter().find(|(name, _)| *name == stamp::NAME)?.1
                })
            });
        }
    }

    fn delivered(
        &self,
        birth: usize,
        now: Duration,
        result: Result<(i32, i64), String>,
        stamp: impl FnOnce() -> Option<Stamp>,
    ) {
        let place = result.as_ref().ok().copied();
        match result {
            Ok(_) => {
                let age = Birth::from_word(birth).age(now);
                let due = now.saturating_sub(age.since_due).as_micros() as u64;
                self.deliveries.acknowledge((due >= self.timed_from.load(Ordering::Relaxed)).then_some(age));
            }
            Err(reason) => self.deliveries.fail(reason),
        }
        if let Some(outcomes) = &self.outcomes
            && let Some(stamp) = stamp()
        {
            outcomes.tell(Outcome { stamp, place });
        }
    }
}

/// As syslog numbers them.
fn log_level(number: i32) -> RDKafkaLogLevel {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    let levels = [Emerg, Alert, Critical, Error, Warning, Notice, Info];
    usize::try_from(number).ok().and_then(|number| levels.get(number).copied()).unwrap_or(Debug)
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

/// How long one poll of the serving thread lasts; acknowledgements are served as they come, and its end within this time.
const POLL: Duration = Duration::from_millis(10);

/// The thread that serves a client's acknowledgements, errors and log lines; it ends with this value.
struct Serving {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    fn start(producer: &Arc<BaseProducer<SenderEvents>>) -> Result<Self, Failure> {
        let failed = |reason: String| Failure::Request { what: "the deliveries".to_owned(), reason };
        let mut events = EventQueue::new(producer).ok_or_else(|| failed("the client has no queue".to_owned()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, context) = (Arc::clone(&stop), Arc::clone(producer.context()));
        let serve = move || context.serve(&mut events, &stopped);
        let thread = std::thread::Builder::new().name("deliveries".to_owned()).spawn(serve);
        let thread = thread.map_err(|error| failed(format!("no thread could be started: {error}")))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic would have ended the process.
            let _ended = thread.join();
        }
    }
}

/// A client of one producer thread; its acknowledgements are served by a thread of its own.
pub struct Sender {
    _serving: Serving,
    topic: ProducerTopic<SenderEvents>,
    name: String,
    epoch: Instant,
    /// What the queue holds at most, in KiB, for people.
    queue_kbytes: String,
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
            warm_up: settings.latency.warm_up,
            timed_from: AtomicU64::new(0),
            client: ClientEvents::watched(logger, settings, &settings.producer.properties),
            deliveries: Arc::clone(&deliveries),
            outcomes: outcomes.clone(),
        };
        let config = config::sender(settings);
        let queue_kbytes = config.get(QUEUE_KBYTES).unwrap_or_default().to_owned();
        let producer: BaseProducer<SenderEvents> =
            config.create_with_context(events).map_err(|error| creation(&error))?;
        let producer = Arc::new(producer);
        let serving = Serving::start(&producer)?;
        let name = settings.kafka.topic.clone();
        let Some(topic) = ProducerTopic::new(producer, &name) else {
            return Err(Failure::Topic { topic: name, reason: "no topic can have this name".to_owned() });
        };
        Ok(Self { _serving: serving, topic, name, epoch, queue_kbytes, deliveries, outcomes })
    }

    /// Gets the topic's metadata, which makes the client connect and ask for its producer id at once; by itself it does
    /// so half a second after it was made.
    ///
    /// # Errors
    /// When no broker answers within `timeout`.
    pub fn warm_up(&self, timeout: Duration) -> Result<(), Failure> {
        // The first answer may come before the connection counts as up, and the second one makes it ask again.
        for _ in 0..2 {
            let metadata = self.topic.producer().client().fetch_metadata(Some(&self.name), timeout);
            metadata.map_err(|error| Failure::request(format!("the topic {:?}", self.name), &error))?;
        }
        Ok(())
    }

    /// The run begins: what `latency.warm_up` counts from.
    pub fn begin(&self, begun: Instant) {
        let events = self.topic.producer().context();
        let from = begun.saturating_duration_since(self.epoch).saturating_add(events.warm_up);
        events.timed_from.store(u64::try_from(from.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What the client has counted, if it has since this was asked last; only with `monitoring.listen`.
    pub fn take_counted(&self) -> Option<ClientStatus> {
        self.topic.producer().context().client.take_counted()
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
        let mut result = self.hand_over(message, birth);
        if result == Err(RDKafkaErrorCode::QueueFull) && self.topic.producer().in_flight_count() == 0 {
            // By now the queue is empty, and nobody else sends.
            result = self.hand_over(message, birth);
            if result == Err(RDKafkaErrorCode::QueueFull) {
                return Err(SendError::Refused(format!(
                    "larger than the client's whole queue ({QUEUE_KBYTES} = {}): set it in producer.properties",
                    self.queue_kbytes
                )));
            }
        }
        result.map_err(|code| match code {
            RDKafkaErrorCode::QueueFull => SendError::QueueFull,
            RDKafkaErrorCode::Fatal => SendError::Fatal(self.fatal().unwrap_or_else(|| code_text(code))),
            _ => SendError::Refused(code_text(code)),
        })
    }

    fn hand_over(&self, message: &Outgoing, birth: Birth) -> Result<(), RDKafkaErrorCode> {
        let payload = (!message.tombstone).then_some(message.payload.as_slice());
        let key = message.key.as_deref();
        if message.headers.is_empty() {
            self.topic.send(key, payload, birth.word())
        } else {
            self.send_with_headers(key, payload, &message.headers, birth)
        }
    }

    fn send_with_headers(
        &self,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        list: &[(String, Vec<u8>)],
        birth: Birth,
    ) -> Result<(), RDKafkaErrorCode> {
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.name, birth.word());
        (record.key, record.payload, record.headers) = (key, payload, Some(headers(list)));
        let unknown = RDKafkaErrorCode::Unknown;
        self.topic.producer().send(record).map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(unknown))
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
        self.topic.producer().client().fatal_error().map(|(_, text)| text)
    }

    /// Waits up to `timeout` for what was sent; whether all of it was acknowledged or given up.
    pub fn flush(&self, timeout: Duration) -> bool {
        let (producer, deadline) = (self.topic.producer(), Instant::now() + timeout);
        // Waiting in the library's own call is waiting in steps of 100 ms.
        let all = loop {
            let all = producer.flush(Duration::ZERO).is_ok() && producer.in_flight_count() == 0;
            if all || Instant::now() >= deadline {
                break all;
            }
            std::thread::sleep(FLUSHED);
        };
        if let Some(outcomes) = &self.outcomes {
            outcomes.flush();
        }
        all
    }

    /// Gives up what is still under way, which comes back as failed a moment later. Messages on their way to a broker may
    /// yet arrive there.
    pub fn abandon(&self) {
        // Waiting for the client's threads to have done it has no deadline.
        self.topic.producer().purge(PurgeConfig::default().queue().inflight().non_blocking());
    }
}

fn headers(list: &[(String, Vec<u8>)]) -> OwnedHeaders {
    let header = |headers: OwnedHeaders, (name, value): &(String, Vec<u8>)| {
        headers.insert(Header { key: name, value: Some(value) })
    };
    list.iter().fold(OwnedHeaders::new_with_capacity(list.len()), header)
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
        let sender = Sender::new(&settings, None, &Logger::root(Discard, o!())).unwrap();
        let send = |bytes, headers| {
            let message = Outgoing { payload: vec![b'x'; bytes], headers, ..Outgoing::default() };
            sender.send(&message, Instant::now(), Instant::now())
        };
        for headers in [vec![], vec![("a".to_owned(), b"b".to_vec())]] {
            // What the client has to say of its brokers counts as something under way, until it is heard.
            let begun = Instant::now();
            let mut sent = send(5_000_000, headers.clone());
            while sent == Err(SendError::QueueFull) && begun.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(1));
                sent = send(5_000_000, headers.clone());
            }
            let Err(SendError::Refused(reason)) = sent else { panic!("it is not refused: {sent:?}") };
            assert!(reason.contains("queue.buffering.max.kbytes = 4096"), "{reason}");
        }
        // While others wait it is not known yet.
        assert_eq!(send(3_000_000, vec![]), Ok(()));
        assert_eq!(send(3_000_000, vec![]), Err(SendError::QueueFull));
        sender.abandon();
    }
}
