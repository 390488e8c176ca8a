//! What a producer client says: deliveries, errors, log lines, statistics.
//!
//! rdkafka's own loop tells of each delivery alone, with two reference counts for each message, and hides that hundreds of
//! them came with one answer of a broker and at one time: the clock has to be read for each of them.

use std::borrow::Cow;
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka_sys as sys;

use super::message::{NativeMessage, code};

unsafe extern "C" {
    /// As librdkafka declares it, but for the result, which is an `i32` to C: `rdkafka_sys` makes an enum of it, and a code
    /// that is newer than the library would be none of its values.
    fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> i32;
}

/// A client's events, to be taken by one thread.
pub(in crate::kafka) struct EventQueue<C: ProducerContext + 'static> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Fields are dropped after `drop` below: the client goes last.
    _producer: Arc<BaseProducer<C>>,
}

// SAFETY: a queue may be used by any thread, and this value's owner is one at a time.
unsafe impl<C: ProducerContext + 'static> Send for EventQueue<C> {}

impl<C: ProducerContext + 'static> EventQueue<C> {
    /// The events of this client, which nobody else polls.
    pub(in crate::kafka) fn new(producer: &Arc<BaseProducer<C>>) -> Option<Self> {
        // SAFETY: the client lives. The handle that is returned is counted, and given back in `drop`.
        let queue = unsafe { sys::rd_kafka_queue_get_main(producer.client().native_ptr()) };
        Some(Self { queue: NonNull::new(queue)?, _producer: Arc::clone(producer) })
    }

    /// Waits for the next event; not longer than `timeout`.
    pub(in crate::kafka) fn poll(&mut self, timeout: Duration) -> Option<Event<'_>> {
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is ours and its client lives. The event that is returned is ours, and is destroyed in `drop`.
        let native = unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), milliseconds) };
        Some(Event { native: NonNull::new(native)?, _queue: PhantomData })
    }
}

impl<C: ProducerContext + 'static> Drop for EventQueue<C> {
    fn drop(&mut self) {
        // SAFETY: the handle is counted, and this is the one that `new` was given. The client still lives.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// One event.
pub(in crate::kafka) struct Event<'a> {
    native: NonNull<sys::rd_kafka_event_t>,
    /// The queue is lent out meanwhile.
    _queue: PhantomData<&'a mut ()>,
}

/// What an event says.
pub(in crate::kafka) enum Said<'a> {
    /// Messages were delivered or given up: see [`Event::next_delivery`].
    Deliveries,
    Error(RDKafkaErrorCode, Cow<'a, str>),
    /// Level (as syslog has it), facility, text.
    Log(i32, Cow<'a, str>, Cow<'a, str>),
    Statistics(&'a [u8]),
    /// Nothing that a producer has to know.
    Other,
}

impl Event<'_> {
    /// What it says.
    pub(in crate::kafka) fn said(&self) -> Said<'_> {
        let native = self.native.as_ptr();
        // SAFETY: the event lives. Its texts are C strings, which live as long as it does.
        unsafe {
            match sys::rd_kafka_event_type(native) {
                sys::RD_KAFKA_EVENT_DR => Said::Deliveries,
                sys::RD_KAFKA_EVENT_ERROR => Said::Error(
                    code(rd_kafka_event_error(native)).unwrap_or(RDKafkaErrorCode::Unknown),
                    text(sys::rd_kafka_event_error_string(native)),
                ),
                sys::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                    match sys::rd_kafka_event_log(native, &raw mut facility, &raw mut line, &raw mut level) {
                        0 => Said::Log(level, text(facility), text(line)),
                        _ => Said::Other,
                    }
                }
                sys::RD_KAFKA_EVENT_STATS => {
                    let statistics = sys::rd_kafka_event_stats(native);
                    if statistics.is_null() {
                        Said::Other
                    } else {
                        Said::Statistics(CStr::from_ptr(statistics).to_bytes())
                    }
                }
                _ => Said::Other,
            }
        }
    }

    /// The next message that was delivered or given up.
    pub(in crate::kafka) fn next_delivery(&mut self) -> Option<NativeMessage<'_>> {
        // SAFETY: the event lives, and lives longer than this borrow. Messages belong to it, and are destroyed with it.
        unsafe { sys::rd_kafka_event_message_next(self.native.as_ptr()).as_ref() }.map(NativeMessage::new)
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        // SAFETY: the event was given to us, once; what it lent out is gone.
        unsafe { sys::rd_kafka_event_destroy(self.native.as_ptr()) };
    }
}

/// A C string, or nothing.
///
/// # Safety
/// A pointer that is not null points to a C string that lives as long as the result.
unsafe fn text<'a>(start: *const c_char) -> Cow<'a, str> {
    if start.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: as the caller has promised.
    unsafe { CStr::from_ptr(start) }.to_string_lossy()
}
