//! A message in librdkafka's memory.

use std::ffi::{CStr, c_void};
use std::ptr;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

/// A message in librdkafka's memory, or an error of its partition.
#[derive(Clone, Copy)]
pub(in crate::kafka) struct NativeMessage<'a> {
    native: &'a sys::rd_kafka_message_t,
}

impl<'a> NativeMessage<'a> {
    /// Of a message that lives as long as this borrow.
    pub(super) fn new(native: &'a sys::rd_kafka_message_t) -> Self {
        Self { native }
    }

    /// The word that it was sent with; of a delivery.
    pub(in crate::kafka) fn opaque(self) -> usize {
        self.native._private as usize
    }

    pub(in crate::kafka) fn partition(self) -> i32 {
        self.native.partition
    }

    /// Set if this is no message, or was not delivered.
    pub(in crate::kafka) fn error(self) -> Option<RDKafkaErrorCode> {
        // SAFETY: the field is an `i32` to C. It is not read as the enum that it is declared to be: brokers have codes that
        // are newer than this library, which hands them on as they are.
        code(unsafe { (&raw const self.native.err).cast::<i32>().read() })
    }

    pub(in crate::kafka) fn offset(self) -> i64 {
        self.native.offset
    }

    pub(in crate::kafka) fn key(self) -> Option<&'a [u8]> {
        bytes(self.native, self.native.key, self.native.key_len)
    }

    pub(in crate::kafka) fn payload(self) -> Option<&'a [u8]> {
        bytes(self.native, self.native.payload, self.native.len)
    }

    /// In milliseconds since 1970 UTC.
    pub(in crate::kafka) fn timestamp(self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives, and `kind` is written before the call returns.
        let time = unsafe { sys::rd_kafka_message_timestamp(self.native, &raw mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && time >= 0).then_some(time)
    }

    /// All headers, in order.
    pub(in crate::kafka) fn headers(self) -> Vec<(&'a str, Option<&'a [u8]>)> {
        let mut list = ptr::null_mut();
        // SAFETY: the message lives; the list that is returned belongs to it and lives as long.
        let found = unsafe { sys::rd_kafka_message_headers(self.native, &raw mut list) };
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Vec::new();
        }
        (0..).map_while(|number| self.header(list, number)).collect()
    }

    fn header(self, list: *const sys::rd_kafka_headers_t, number: usize) -> Option<(&'a str, Option<&'a [u8]>)> {
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message, which lives; the three are written if there is such a header, the name
        // as a C string. They live as long as the message.
        let name = unsafe {
            let found = sys::rd_kafka_header_get_all(list, number, &raw mut name, &raw mut value, &raw mut length);
            (found == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| CStr::from_ptr(name))
        }?;
        // Kafka's names are UTF-8; another one says so.
        Some((name.to_str().unwrap_or("(not UTF-8)"), bytes(self.native, value, length)))
    }
}

/// What a code of librdkafka's means; `None` is no error. One that this version does not know is [`RDKafkaErrorCode::Unknown`].
pub(super) fn code(number: i32) -> Option<RDKafkaErrorCode> {
    let known = sys::rd_kafka_resp_err_t::try_from(number).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from);
    (number != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as i32).then_some(known)
}

/// What a pointer and a length of a message's mean; null is none.
fn bytes(_of: &sys::rd_kafka_message_t, start: *const c_void, length: usize) -> Option<&[u8]> {
    // SAFETY: librdkafka's pairs of pointer and length are to memory that belongs to the message and is not written any
    // more; the result borrows the message.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), length) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_nobody_knows_is_an_unknown_error() {
        assert_eq!(code(0), None);
        assert_eq!(code(10), Some(RDKafkaErrorCode::MessageSizeTooLarge));
        assert_eq!(code(-184), Some(RDKafkaErrorCode::QueueFull));
        assert_eq!([-1, 30_000, i32::MIN].map(code), [Some(RDKafkaErrorCode::Unknown); 3]);
        // SAFETY: all of a message's fields may be 0, null among them.
        let mut native: sys::rd_kafka_message_t = unsafe { std::mem::zeroed() };
        // SAFETY: as C would write it.
        unsafe { (&raw mut native.err).cast::<i32>().write(30_000) };
        assert_eq!(NativeMessage::new(&native).error(), Some(RDKafkaErrorCode::Unknown));
    }
}
