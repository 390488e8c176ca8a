//! A message in librdkafka's memory.

use std::ffi::{CStr, c_void};
use std::ptr;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

/// A message in librdkafka's memory, or an error of its partition.
#[derive(Clone, Copy)]
pub(in crate::kafka) struct RawMessage<'a> {
    native: &'a sys::rd_kafka_message_t,
}

impl<'a> RawMessage<'a> {
    /// Wraps a message that lives as long as this borrow.
    pub(super) fn new(native: &'a sys::rd_kafka_message_t) -> Self {
        Self { native }
    }

    /// The opaque value of a delivery report.
    pub(in crate::kafka) fn opaque(self) -> usize {
        self.native._private as usize
    }

    pub(in crate::kafka) fn partition(self) -> i32 {
        self.native.partition
    }

    /// The error of a partition or of a failed delivery; `None` for a message.
    pub(in crate::kafka) fn error(self) -> Option<RDKafkaErrorCode> {
        // SAFETY: the field is an `i32` in C. It is not read as the declared enum, because librdkafka passes on
        // broker codes that are newer than this library.
        code(unsafe { (&raw const self.native.err).cast::<i32>().read() })
    }

    /// The next fetch position: after a message, or at the end of a partition. `None` for other errors.
    pub(super) fn next_position(self) -> Option<i64> {
        match self.error() {
            None => Some(self.offset() + 1),
            Some(RDKafkaErrorCode::PartitionEOF) => Some(self.offset()),
            Some(_) => None,
        }
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

    /// The timestamp in milliseconds since the Unix epoch.
    pub(in crate::kafka) fn timestamp(self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives, and `kind` is written before the call returns.
        let time = unsafe { sys::rd_kafka_message_timestamp(self.native, &raw mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && time >= 0).then_some(time)
    }

    /// All headers, in order.
    pub(in crate::kafka) fn headers(self) -> Vec<(&'a str, Option<&'a [u8]>)> {
        let mut list = ptr::null_mut();
        // SAFETY: the message lives; the returned list belongs to it and lives as long.
        let found = unsafe { sys::rd_kafka_message_headers(self.native, &raw mut list) };
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Vec::new();
        }
        (0..).map_while(|number| self.header(list, number)).collect()
    }

    fn header(self, list: *const sys::rd_kafka_headers_t, number: usize) -> Option<(&'a str, Option<&'a [u8]>)> {
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message, which lives. If the header exists, all three values are written,
        // the name as a C string; they live as long as the message.
        let name = unsafe {
            let found = sys::rd_kafka_header_get_all(list, number, &raw mut name, &raw mut value, &raw mut length);
            (found == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| CStr::from_ptr(name))
        }?;
        // Header names in Kafka are UTF-8; others are replaced.
        Some((name.to_str().unwrap_or("(not UTF-8)"), bytes(self.native, value, length)))
    }
}

/// Converts a librdkafka code; `None` is no error. A code unknown to this version is [`RDKafkaErrorCode::Unknown`].
pub(super) fn code(number: i32) -> Option<RDKafkaErrorCode> {
    let known = sys::rd_kafka_resp_err_t::try_from(number).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from);
    (number != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as i32).then_some(known)
}

/// The bytes at a pointer and length of a message; `None` for null.
fn bytes(_of: &sys::rd_kafka_message_t, start: *const c_void, length: usize) -> Option<&[u8]> {
    // SAFETY: librdkafka's pointer and length describe immutable memory of the message, which the result borrows.
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
        // SAFETY: all fields of a message may be 0 or null.
        let mut native: sys::rd_kafka_message_t = unsafe { std::mem::zeroed() };
        // SAFETY: as C would write it.
        unsafe { (&raw mut native.err).cast::<i32>().write(30_000) };
        assert_eq!(RawMessage::new(&native).error(), Some(RDKafkaErrorCode::Unknown));
    }
}
