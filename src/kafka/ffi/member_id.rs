//! The member id of a client in its group.

use std::ffi::CStr;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka_sys as sys;

/// Returns whether the client has a member id: it has none before it joins and after it has sent LeaveGroup. (With
/// KIP-848 the client creates its id and keeps it.)
pub(in crate::kafka) fn has_id<C: ConsumerContext>(client: &BaseConsumer<C>) -> bool {
    let client = client.client().native_ptr();
    // SAFETY: the client lives. We own the returned text, which may be null, and free it with librdkafka's function.
    unsafe {
        let id = sys::rd_kafka_memberid(client);
        let is_there = !id.is_null() && !CStr::from_ptr(id).is_empty();
        sys::rd_kafka_mem_free(client, id.cast());
        is_there
    }
}
