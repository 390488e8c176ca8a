//! `log`: writes messages to the log.

use slog::{Level, Logger, o};

use crate::record::Record;
use crate::util::escape::one_line;

/// The maximum number of bytes of a value in a log line.
const MAX_LOGGED_BYTES: usize = 2_000;

/// Logs one message: a JSON object by fields, other values as text or as a byte count.
pub(super) fn write(record: &Record<'_>, logger: &Logger) {
    let logger = match record.key {
        Some(key) => logger.new(o!("key" => preview(Some(key)))),
        None => logger.clone(),
    };
    slog::log!(logger, Level::Info, "", "message";
        "topic" => record.topic, "partition" => record.partition, "offset" => record.offset,
        "value" => preview(record.value));
}

/// The value as one readable line.
fn preview(value: Option<&[u8]>) -> String {
    let Some(bytes) = value else { return "null (tombstone)".to_owned() };
    let Ok(text) = std::str::from_utf8(bytes) else { return format!("{} bytes, not UTF-8", bytes.len()) };
    let text = text.trim_end();
    let end = text.floor_char_boundary(MAX_LOGGED_BYTES);
    let shown = one_line(&text[..end]);
    if end < text.len() { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_one_readable_line() {
        assert_eq!(preview(None), "null (tombstone)");
        assert_eq!(preview(Some(b"")), "");
        assert_eq!(preview(Some(b"{\"a\":\n1}")), "{\"a\": 1}");
        assert_eq!(preview(Some(&[0xff, 0xfe])), "2 bytes, not UTF-8");
        assert_eq!(preview(Some(b"\x1b[31mred")), "\\u{1b}[31mred", "no escape reaches the terminal");
        let long = "é".repeat(5_000);
        assert!(preview(Some(long.as_bytes())).ends_with("… (10000 bytes)"));
    }
}
