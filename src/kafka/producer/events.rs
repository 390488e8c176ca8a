//! Serves the events of a producer client: delivery reports, errors, log lines and statistics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientContext as _;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Headers as _};
use rdkafka::producer::{BaseProducer, Producer};

use crate::kafka::acl::{Right, is_denied};
use crate::kafka::client_context::{ClientContext, delegate_client_events};
use crate::kafka::delivery_reports::{DeliveryObserver, DeliveryOutcome, DeliveryStats};
use crate::kafka::error::{KafkaError, code_text};
use crate::kafka::ffi::event_queue::{EventPayload, EventQueue, QueueEvent};
use crate::kafka::send_time::SendTime;
use crate::kafka::size_limits::SizeLimits;
use crate::os::limits;
use crate::settings::Acks;
use crate::stamp::{self, Stamp};

/// The poll timeout of the event thread, and so the maximum delay of its stop.
const POLL_TIMEOUT: Duration = Duration::from_millis(10);

/// The callbacks of a producer client.
pub(super) struct ProducerContext {
    pub(super) acks: Acks,
    /// The origin of the messages' times.
    pub(super) epoch: Instant,
    /// `latency.warm_up`.
    pub(super) warm_up: Duration,
    /// Messages scheduled before this time, in µs after the epoch, have no latency recorded.
    pub(super) timed_from: AtomicU64,
    pub(super) client: ClientContext,
    pub(super) limits: Arc<SizeLimits>,
    pub(super) deliveries: Arc<DeliveryStats>,
    pub(super) outcomes: Option<Arc<dyn DeliveryObserver>>,
    /// The missing right, after the brokers denied a message.
    pub(super) denied: OnceLock<String>,
}

delegate_client_events!(ProducerContext);

impl rdkafka::producer::ProducerContext for ProducerContext {
    /// A [`SendTime`].
    type DeliveryOpaque = usize;

    /// Handles only the reports that arrive while the client is dropped: [`EventThread`] handles the others.
    fn delivery(&self, result: &DeliveryResult<'_>, send_time: usize) {
        let (message, place) = match result {
            Ok(message) => (message, Ok((message.partition(), message.offset()))),
            Err((error, message)) => (message, Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown))),
        };
        self.delivered(send_time, self.epoch.elapsed(), place, || {
            stamp::parse_unchecked(message.payload(), || {
                message.headers()?.iter().find(|header| header.key == stamp::NAME)?.value
            })
        });
    }
}

impl ProducerContext {
    /// Records that the right on the topic is missing.
    pub(super) fn deny(&self, code: RDKafkaErrorCode) {
        self.denied.get_or_init(|| {
            let topic = &self.limits.topic;
            KafkaError::denied(format!("the topic {topic:?}"), Right::WriteTopic(topic.clone()), code).to_string()
        });
    }

    /// Handles all events until `stopped`.
    fn poll_events(&self, events: &mut EventQueue<Self>, stopped: &AtomicBool) {
        while !stopped.load(Ordering::Relaxed) {
            let Some(mut event) = events.poll(POLL_TIMEOUT) else { continue };
            match event.payload() {
                EventPayload::Deliveries => self.serve_deliveries(&mut event),
                EventPayload::Error(code, text) => self.error(RdKafkaError::Global(code), text.trim()),
                EventPayload::Log(level, facility, text) => self.log(log_level(level), facility.trim(), text.trim()),
                EventPayload::Statistics(json) => self.stats_raw(json),
                EventPayload::Other => {}
            }
        }
    }

    /// All deliveries of an event arrive together: the clock is read once.
    fn serve_deliveries(&self, event: &mut QueueEvent<'_>) {
        let now = self.epoch.elapsed();
        while let Some(message) = event.next_delivery() {
            let result = match message.error() {
                None => Ok((message.partition(), message.offset())),
                Some(code) => Err(code),
            };
            self.delivered(message.opaque(), now, result, || {
                stamp::parse_unchecked(message.payload(), || {
                    message.headers().into_iter().find(|(name, _)| *name == stamp::NAME)?.1
                })
            });
        }
    }

    /// Why a sent message failed.
    fn reason(&self, code: RDKafkaErrorCode) -> String {
        use RDKafkaErrorCode::{MessageSizeTooLarge, MessageTimedOut, PurgeInflight, PurgeQueue};
        match code {
            MessageSizeTooLarge => self.limits.refused_by_broker(),
            MessageTimedOut if self.client.is_throttled() => format!(
                "{} while the brokers throttled this client (a quota of the cluster): lower the rate, or raise \
                 producer.message_timeout",
                code_text(code)
            ),
            _ if is_topic_missing(code) => {
                self.deliveries.set_topic_missing(true);
                self.topic_deleted()
            }
            // The deletion of the topic is the cause of the purge.
            PurgeInflight | PurgeQueue if self.deliveries.is_topic_missing() => self.topic_deleted(),
            _ => code_text(code),
        }
    }

    fn topic_deleted(&self) -> String {
        format!("the topic {:?} was deleted", self.limits.topic)
    }

    fn delivered(
        &self,
        send_time: usize,
        now: Duration,
        result: Result<(i32, i64), RDKafkaErrorCode>,
        stamp: impl FnOnce() -> Option<Stamp>,
    ) {
        let place = result.as_ref().ok().copied();
        let result = result.map_err(|code| {
            if is_denied(code) {
                self.deny(code);
            }
            self.reason(code)
        });
        match result {
            Ok(_) if self.acks == Acks::None => self.deliveries.send_unacknowledged(),
            Ok(_) => {
                let age = SendTime::from_opaque(send_time).age(now);
                let due = now.saturating_sub(age.since_due).as_micros() as u64;
                self.deliveries.record_ack((due >= self.timed_from.load(Ordering::Relaxed)).then_some(age));
            }
            Err(reason) => self.deliveries.fail(reason),
        }
        if let Some(outcomes) = &self.outcomes
            && let Some(stamp) = stamp()
        {
            outcomes.notify(DeliveryOutcome { stamp, place });
        }
    }
}

/// Whether the client or a broker does not know the topic, which existed when the client was created.
pub(super) fn is_topic_missing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(code, UnknownPartition | UnknownTopic | UnknownTopicOrPartition)
}

/// Converts a syslog level.
fn log_level(number: i32) -> RDKafkaLogLevel {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    let levels = [Emerg, Alert, Critical, Error, Warning, Notice, Info];
    usize::try_from(number).ok().and_then(|number| levels.get(number).copied()).unwrap_or(Debug)
}

/// The thread that serves a client's delivery reports, errors and log lines; stops when dropped.
pub(super) struct EventThread {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EventThread {
    pub(super) fn start(producer: &Arc<BaseProducer<ProducerContext>>) -> Result<Self, KafkaError> {
        let failed = |reason: String| KafkaError::Request { what: "the deliveries".to_owned(), reason };
        let mut events = EventQueue::new(producer).ok_or_else(|| failed("the client has no queue".to_owned()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, context) = (Arc::clone(&stop), Arc::clone(producer.context()));
        let serve = move || context.poll_events(&mut events, &stopped);
        let thread = std::thread::Builder::new().name("deliveries".to_owned()).spawn(serve);
        let thread =
            thread.map_err(|error| failed(format!("no thread could be started: {}", limits::named(&error))))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for EventThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread would have aborted the process.
            thread.join().ok();
        }
    }
}
