//! Helpers without knowledge of Kafka.

pub mod backoff;
pub mod blocking;
pub mod clock;
pub mod escape;
pub mod format;
pub mod panic;
pub mod rate_meter;
pub mod text_file;
pub mod text_table;
pub mod timer;
pub mod varint;
