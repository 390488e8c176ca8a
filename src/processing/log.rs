//! `log`: how a message looks in the log.

use slog::{Level, Logger, o};

use crate::record::Record;

/// Longest part of a value that is logged, in bytes: a log line is for reading.
const LONGEST: usize = 2_000;

/// Logs one message: JSON objects field by field, everything else as text or as a byte count.
pub(super) fn write(record: &Record<'_>, logger: &Logger) {
    let logger = match record.key {
        Some(key) => logger.new(o!("key" => readable(Some(key)))),
        None => logger.clone(),
    };
    slog::log!(logger, Level::Info, "", "message";
        "topic" => record.topic, "partition" => record.partition, "offset" => record.offset,
        "value" => readable(record.value));
}

/// The value as one readable line.
fn readable(value: Option<&[u8]>) -> String {
    let Some(bytes) = value else { return "null (tombstone)".to_owned() };
    let Ok(text) = std::str::from_utf8(bytes) else { return format!("{} bytes, not UTF-8", bytes.len()) };
    let text = text.trim_end();
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let shown: String = text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if end < text.len() { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_one_readable_line() {
        assert_eq!(readable(None), "null (tombstone)");
        assert_eq!(readable(Some(b"")), "");
        assert_eq!(readable(Some(b"{\"a\":\n1}")), "{\"a\": 1}");
        assert_eq!(readable(Some(&[0xff, 0xfe])), "2 bytes, not UTF-8");
        assert_eq!(readable(Some(b"\x1b[31mred")), " [31mred", "no escape reaches the terminal");
        let long = "é".repeat(5_000);
        assert!(readable(Some(long.as_bytes())).ends_with("… (10000 bytes)"));
    }
}
