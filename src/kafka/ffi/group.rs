//! The members of a consumer group: `DescribeConsumerGroups`, for which rdkafka has no function.
//!
//! rdkafka's `fetch_group_list` requests all groups from every broker, fails while any broker is down, and does not
//! list the members of KIP-848 groups. This request goes to the group's coordinator only.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::message::code;

unsafe extern "C" {
    /// librdkafka's declaration, with the result as C's `i32`: see [`super::event_queue`].
    fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> i32;
    fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> i32;
}

/// The maximum that librdkafka accepts: one hour.
const REQUEST_TIMEOUT_MS: i32 = 3_600_000;

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The member id; a client that rejoins may get another one.
    pub member_id: String,
    /// Its `client.id`.
    pub client_id: String,
    /// The address of its connection.
    pub address: String,
}

/// A librdkafka handle that is destroyed with its owner.
struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    fn new(handle: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        Some(Self(NonNull::new(handle)?, destroy))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: we own the handle, and this is librdkafka's function that destroys it.
        unsafe { (self.1)(self.0.as_ptr()) };
    }
}

/// A request to a group's coordinator, which librdkafka sends when there is one. Must be dropped before its client.
pub(in crate::kafka) struct Inquiry {
    queue: Owned<sys::rd_kafka_queue_t>,
}

// SAFETY: any thread may use a queue, and this value has one owner at a time.
unsafe impl Send for Inquiry {}

impl Inquiry {
    /// Requests the members of `group`.
    ///
    /// librdkafka aborts the process when a coordinator comes back after such a request has timed out
    /// (librdkafka#4605): the client must be dropped before [`REQUEST_TIMEOUT_MS`].
    pub(in crate::kafka) fn send<C: ClientContext>(client: &Client<C>, group: &str) -> Result<Self, RDKafkaErrorCode> {
        let group = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
        let client = client.native_ptr();
        // SAFETY: the client lives until this returns, and then as long as the queue. Each handle is checked and
        // destroyed by its owner. The call copies the name and the options.
        unsafe {
            let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
            let options = sys::rd_kafka_AdminOptions_new(client, operation);
            let options = Owned::new(options, sys::rd_kafka_AdminOptions_destroy).ok_or(RDKafkaErrorCode::Fail)?;
            let refused = sys::rd_kafka_AdminOptions_set_request_timeout(
                options.0.as_ptr(),
                REQUEST_TIMEOUT_MS,
                ptr::null_mut(),
                0,
            );
            if refused != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(RDKafkaErrorCode::InvalidArgument);
            }
            let queue = sys::rd_kafka_queue_new(client);
            let queue = Owned::new(queue, sys::rd_kafka_queue_destroy).ok_or(RDKafkaErrorCode::Fail)?;
            let mut names = [group.as_ptr()];
            sys::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), 1, options.0.as_ptr(), queue.0.as_ptr());
            Ok(Self { queue })
        }
    }

    /// The response, if it arrives within `timeout`: the members known to the coordinator, none if the group does not
    /// exist.
    pub(in crate::kafka) fn poll(&self, timeout: Duration) -> Option<Result<Vec<GroupMember>, RDKafkaErrorCode>> {
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: we own the queue, and the client lives. The event's owner destroys it.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue.0.as_ptr(), milliseconds);
            let event = Owned::new(event, sys::rd_kafka_event_destroy)?;
            Some(members_of(event.0))
        }
    }
}

/// # Safety
/// The event must live during the call.
unsafe fn members_of(event: NonNull<sys::rd_kafka_event_t>) -> Result<Vec<GroupMember>, RDKafkaErrorCode> {
    // SAFETY: the event lives and owns everything that is read here; nullable pointers are checked.
    unsafe {
        if let Some(code) = code(rd_kafka_event_error(event.as_ptr())) {
            return Err(code);
        }
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.as_ptr());
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        let Some(group) = (count > 0 && !groups.is_null()).then(|| *groups) else {
            return Err(RDKafkaErrorCode::Fail);
        };
        let error = sys::rd_kafka_ConsumerGroupDescription_error(group);
        let failed = if error.is_null() { None } else { code(rd_kafka_error_code(error)) };
        match failed {
            Some(RDKafkaErrorCode::GroupIdNotFound) => return Ok(Vec::new()),
            Some(code) => return Err(code),
            None => {}
        }
        let members = 0..sys::rd_kafka_ConsumerGroupDescription_member_count(group);
        let members = members.map(|number| sys::rd_kafka_ConsumerGroupDescription_member(group, number));
        let described = members.filter(|member| !member.is_null()).map(|member| GroupMember {
            member_id: text(sys::rd_kafka_MemberDescription_consumer_id(member)),
            client_id: text(sys::rd_kafka_MemberDescription_client_id(member)),
            address: text(sys::rd_kafka_MemberDescription_host(member)),
        });
        Ok(described.collect())
    }
}

/// # Safety
/// Null, or a C string that lives during the call.
unsafe fn text(start: *const c_char) -> String {
    // SAFETY: guaranteed by the caller.
    if start.is_null() { String::new() } else { unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned() }
}
