//! The ids of topics (`DescribeTopics`), for which rdkafka has no function.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::message::code;
use crate::kafka::topic_id::{TopicId, TopicIds};

unsafe extern "C" {
    /// librdkafka's declaration, with the result as C's `i32`: see [`super::event_queue`].
    fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> i32;
}

/// An owned librdkafka object with the function that frees it.
struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    fn new(object: *mut T, free: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        Some(Self(NonNull::new(object)?, free))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the owner frees the object once, with the function for its type.
        unsafe { (self.1)(self.0.as_ptr()) };
    }
}

/// The ids of these topics. Topics that do not exist are left out; the map is empty if the brokers have no topic ids
/// (before Kafka 2.8).
///
/// # Errors
/// The brokers' error, or a timeout.
pub(in crate::kafka) fn topic_ids<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topics: &[String],
    timeout: Duration,
) -> Result<TopicIds, RDKafkaErrorCode> {
    let names: Vec<_> = topics.iter().filter_map(|topic| CString::new(topic.as_str()).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let client = client.client().native_ptr();
    let milliseconds = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX).max(1);
    let none = RDKafkaErrorCode::InvalidArgument;
    // SAFETY: the client lives until the end of this function. librdkafka copies the names. Each returned object has
    // an owner here: queue, collection, options, and the event, whose result and topics live as long as it does. Each
    // function gets objects of its type; the error text of a rejected timeout may be null.
    unsafe {
        let queue = Owned::new(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy).ok_or(none)?;
        let collection = Owned::new(
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )
        .ok_or(none)?;
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = sys::rd_kafka_AdminOptions_new(client, operation);
        let options = Owned::new(options, sys::rd_kafka_AdminOptions_destroy).ok_or(none)?;
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0.as_ptr(), milliseconds, std::ptr::null_mut(), 0);
        sys::rd_kafka_DescribeTopics(client, collection.0.as_ptr(), options.0.as_ptr(), queue.0.as_ptr());
        // librdkafka replies at the request's timeout at the latest.
        let event = sys::rd_kafka_queue_poll(queue.0.as_ptr(), milliseconds.saturating_add(1_000));
        let event = Owned::new(event, sys::rd_kafka_event_destroy).ok_or(RDKafkaErrorCode::OperationTimedOut)?;
        match code(rd_kafka_event_error(event.0.as_ptr())) {
            None => Ok(ids_of(event.0.as_ptr())),
            Some(code) => Err(code),
        }
    }
}

/// # Safety
/// The event must live during the call.
unsafe fn ids_of(event: *mut sys::rd_kafka_event_t) -> TopicIds {
    let mut ids = TopicIds::new();
    // SAFETY: the caller guarantees that the event lives; it owns the result, an array of `count` topics with their
    // names and ids. Nullable pointers are checked.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return ids;
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() {
            return ids;
        }
        for topic in std::slice::from_raw_parts(topics, count) {
            let name = sys::rd_kafka_TopicDescription_name(*topic);
            let id = sys::rd_kafka_TopicDescription_topic_id(*topic);
            if name.is_null() || id.is_null() {
                continue;
            }
            let is_none =
                sys::rd_kafka_Uuid_most_significant_bits(id) == 0 && sys::rd_kafka_Uuid_least_significant_bits(id) == 0;
            let text = sys::rd_kafka_Uuid_base64str(id);
            if !is_none && !text.is_null() {
                let id = TopicId::new(&CStr::from_ptr(text).to_string_lossy());
                ids.insert(CStr::from_ptr(name).to_string_lossy().into_owned(), id);
            }
        }
    }
    ids
}
