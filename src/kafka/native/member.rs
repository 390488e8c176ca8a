//! By what id a group knows a client.

use std::ffi::CStr;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka_sys as sys;

/// Whether the client has an id in its group: not before it has joined, and not after its leave is on the way. (With KIP-848
/// it gives itself one, and keeps it.)
pub(in crate::kafka) fn has_id<C: ConsumerContext>(client: &BaseConsumer<C>) -> bool {
    let client = client.client().native_ptr();
    // SAFETY: the client lives. The text that is returned is ours, and given back by librdkafka's own call after it was
    // looked at; it may be null.
    unsafe {
        let id = sys::rd_kafka_memberid(client);
        let is_there = !id.is_null() && !CStr::from_ptr(id).is_empty();
        sys::rd_kafka_mem_free(client, id.cast());
        is_there
    }
}
