//! The event queue of a producer client: delivery reports, errors, log lines, statistics.
//!
//! rdkafka's own loop reports each delivery separately, with two reference counts per message, and hides which
//! deliveries came with the same response: the clock must be read for each.

use std::borrow::Cow;
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka_sys as sys;

use super::message::{RawMessage, code};

unsafe extern "C" {
    /// librdkafka's declaration, with the result as C's `i32`: `rdkafka_sys` declares an enum, for which an unknown
    /// newer code would be an invalid value.
    fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> i32;
}

/// The event queue of a client; one thread polls it.
pub(in crate::kafka) struct EventQueue<C: ProducerContext + 'static> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Fields are dropped after `drop` below: the client outlives the queue.
    _producer: Arc<BaseProducer<C>>,
}

// SAFETY: any thread may use a queue, and this value has one owner at a time.
unsafe impl<C: ProducerContext + 'static> Send for EventQueue<C> {}

impl<C: ProducerContext + 'static> EventQueue<C> {
    /// Takes the event queue of a client that nothing else polls.
    pub(in crate::kafka) fn new(producer: &Arc<BaseProducer<C>>) -> Option<Self> {
        // SAFETY: the client lives. The returned handle is reference-counted and released in `drop`.
        let queue = unsafe { sys::rd_kafka_queue_get_main(producer.client().native_ptr()) };
        Some(Self { queue: NonNull::new(queue)?, _producer: Arc::clone(producer) })
    }

    /// Waits up to `timeout` for the next event.
    pub(in crate::kafka) fn poll(&mut self, timeout: Duration) -> Option<QueueEvent<'_>> {
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: we own the queue and its client lives. We own the returned event and destroy it in `drop`.
        let native = unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), milliseconds) };
        Some(QueueEvent { native: NonNull::new(native)?, _queue: PhantomData })
    }
}

impl<C: ProducerContext + 'static> Drop for EventQueue<C> {
    fn drop(&mut self) {
        // SAFETY: this is the counted handle from `new`. The client still lives.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// An event of a client.
pub(in crate::kafka) struct QueueEvent<'a> {
    native: NonNull<sys::rd_kafka_event_t>,
    /// Borrows the queue.
    _queue: PhantomData<&'a mut ()>,
}

/// The content of an event.
pub(in crate::kafka) enum EventPayload<'a> {
    /// Delivery reports, see [`QueueEvent::next_delivery`].
    Deliveries,
    Error(RDKafkaErrorCode, Cow<'a, str>),
    /// Syslog level, facility, text.
    Log(i32, Cow<'a, str>, Cow<'a, str>),
    Statistics(&'a [u8]),
    /// An event that a producer does not need.
    Other,
}

impl QueueEvent<'_> {
    /// The event's content.
    pub(in crate::kafka) fn payload(&self) -> EventPayload<'_> {
        let native = self.native.as_ptr();
        // SAFETY: the event lives. Its texts are C strings that live as long as it does.
        unsafe {
            match sys::rd_kafka_event_type(native) {
                sys::RD_KAFKA_EVENT_DR => EventPayload::Deliveries,
                sys::RD_KAFKA_EVENT_ERROR => EventPayload::Error(
                    code(rd_kafka_event_error(native)).unwrap_or(RDKafkaErrorCode::Unknown),
                    text(sys::rd_kafka_event_error_string(native)),
                ),
                sys::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                    match sys::rd_kafka_event_log(native, &raw mut facility, &raw mut line, &raw mut level) {
                        0 => EventPayload::Log(level, text(facility), text(line)),
                        _ => EventPayload::Other,
                    }
                }
                sys::RD_KAFKA_EVENT_STATS => {
                    let statistics = sys::rd_kafka_event_stats(native);
                    if statistics.is_null() {
                        EventPayload::Other
                    } else {
                        EventPayload::Statistics(CStr::from_ptr(statistics).to_bytes())
                    }
                }
                _ => EventPayload::Other,
            }
        }
    }

    /// The next delivered or failed message.
    pub(in crate::kafka) fn next_delivery(&mut self) -> Option<RawMessage<'_>> {
        // SAFETY: the event outlives this borrow. Its messages belong to it and are destroyed with it.
        unsafe { sys::rd_kafka_event_message_next(self.native.as_ptr()).as_ref() }.map(RawMessage::new)
    }
}

impl Drop for QueueEvent<'_> {
    fn drop(&mut self) {
        // SAFETY: we own the event, and nothing borrows from it any more.
        unsafe { sys::rd_kafka_event_destroy(self.native.as_ptr()) };
    }
}

/// Reads a C string; null is empty.
///
/// # Safety
/// A non-null pointer must point to a C string that lives as long as the result.
unsafe fn text<'a>(start: *const c_char) -> Cow<'a, str> {
    if start.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: guaranteed by the caller.
    unsafe { CStr::from_ptr(start) }.to_string_lossy()
}
