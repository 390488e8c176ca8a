//! Formats the records of a dead-letter topic. Their content is untrusted: control characters are escaped.

use serde_json::json;

use crate::dead_letter::DeadLetter;
use crate::processor::json::{string_or_base64, value_member};
use crate::record::OwnedRecord;
use crate::trace_context::TraceContext;
use crate::util::escape::{escape_control, escape_json, truncate_chars};

/// The maximum number of bytes of a value in JSON.
const SHOWN: usize = 200;
/// The maximum number of characters of an error or value in the table.
const IN_TABLE: usize = 60;

/// The table's header.
pub(super) fn table_header() -> String {
    format_row("at", "from", "failed at", "tries", "done", "key", "error", "value")
}

#[allow(clippy::too_many_arguments, reason = "as many as the table has columns")]
fn format_row(
    at: &str,
    from: &str,
    time: &str,
    tries: &str,
    done: &str,
    key: &str,
    error: &str,
    value: &str,
) -> String {
    format!("{at:<24}  {from:<24}  {time:<24}  {tries:>5}  {done:<8}  {key:<12}  {error}  |  {value}\n")
}

/// A row of the table.
pub(super) fn in_table(record: &OwnedRecord, dead_letter: Option<&DeadLetter>, done: bool) -> String {
    let at = record.borrow().to_string();
    let from = dead_letter.map(|dead_letter| format!("{}@{}", dead_letter.origin, dead_letter.offset));
    let part = |bytes: Option<&[u8]>, most| {
        bytes.map_or_else(|| "-".to_owned(), |bytes| truncate_chars(&escape_control(bytes), most))
    };
    format_row(
        &at,
        &from.map_or_else(|| "-".to_owned(), |from| escape_control(from.as_bytes())),
        &dead_letter.map_or_else(
            || "-".to_owned(),
            |dead_letter| truncate_chars(&escape_control(dead_letter.time.as_bytes()), 24),
        ),
        &dead_letter.map_or_else(|| "-".to_owned(), |dead_letter| dead_letter.attempts.to_string()),
        if done { "yes" } else { "no" },
        &part(record.key.as_deref(), 12),
        &part(dead_letter.map(|dead_letter| dead_letter.error.as_bytes()), IN_TABLE),
        &part(record.value.as_deref().map(|value| &value[..value.len().min(SHOWN)]), IN_TABLE),
    )
}

/// A line of JSON. Key and value have the format of `print`, with the value cut to [`SHOWN`] bytes.
pub(super) fn in_json(record: &OwnedRecord, dead_letter: Option<&DeadLetter>, done: bool) -> String {
    let value = record.value.as_deref();
    let mut line = json!({
        "topic": record.topic, "partition": record.partition, "offset": record.offset,
        "origin": dead_letter.map(|dead_letter| json!({
            "topic": dead_letter.origin.topic, "partition": dead_letter.origin.partition, "offset": dead_letter.offset,
        })),
        "error": dead_letter.map(|dead_letter| &dead_letter.error),
        "attempts": dead_letter.map(|dead_letter| dead_letter.attempts),
        "time": dead_letter.map(|dead_letter| &dead_letter.time),
        "worker": dead_letter.map(|dead_letter| &dead_letter.worker),
        "replays": dead_letter.map(|dead_letter| dead_letter.replays),
        "trace_id": TraceContext::of(&record.borrow()).map(|trace| trace.trace_id),
        "done": done,
        "key": string_or_base64(record.key.as_deref()),
        "value_bytes": value.map(<[u8]>::len),
    });
    let (name, value) = value_member(value.map(first_bytes));
    line[name] = value;
    let mut bytes = line.to_string().into_bytes();
    escape_json(&mut bytes, 0);
    bytes.push(b'\n');
    String::from_utf8_lossy(&bytes).into_owned()
}

/// At most [`SHOWN`] bytes; text is cut between two characters.
fn first_bytes(value: &[u8]) -> &[u8] {
    let first = &value[..value.len().min(SHOWN)];
    match std::str::from_utf8(first) {
        Err(error) if error.error_len().is_none() && first.len() < value.len() => &first[..error.valid_up_to()],
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::dead_letter::{self, FailedRecord};

    fn record(key: Option<&[u8]>, value: Option<&[u8]>, error: &str) -> OwnedRecord {
        let mut record = OwnedRecord {
            topic: "orders".to_owned(),
            partition: 1,
            offset: 7,
            timestamp_ms: None,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        };
        let at = std::time::SystemTime::UNIX_EPOCH;
        let given_up = FailedRecord { error, attempts: 3, at, worker: 0 };
        record.headers = dead_letter::headers(&record.borrow(), given_up);
        record.topic = "orders.dlq".to_owned();
        record
    }

    #[test]
    fn hostile_bytes_are_letters() {
        let hostile = "\u{1b}[2J\u{9b}31m\u{202e}\r\n\u{7f}ü\0";
        let record = record(Some(b"\xff\x1b"), Some(hostile.as_bytes()), hostile);
        let dead_letter = DeadLetter::from_headers(&record);
        for line in [in_table(&record, dead_letter.as_ref(), false), in_json(&record, dead_letter.as_ref(), false)] {
            let (last, rest) = line.split_at(line.len() - 1);
            assert_eq!(rest, "\n");
            assert!(
                last.chars().all(|character| character == ' '
                    || character.is_alphanumeric()
                    || character.escape_debug().len() == 1
                    || "\"'\\".contains(character)),
                "{line:?}"
            );
            assert!(last.contains('ü'), "letters are left as they are: {line}");
        }
    }

    #[test]
    fn json_has_everything_unchanged() {
        let hostile = "\u{1b}\u{202e}\\\"\u{1f600}\u{e0001}";
        let record = record(None, Some(hostile.as_bytes()), "no such article");
        let line: Value =
            serde_json::from_str(&in_json(&record, DeadLetter::from_headers(&record).as_ref(), true)).unwrap();
        assert_eq!(line["value_text"], hostile);
        assert_eq!((&line["key"], &line["value_bytes"]), (&Value::Null, &json!(hostile.len())));
        assert_eq!(line["origin"], json!({"topic": "orders", "partition": 1, "offset": 7}));
        assert_eq!(
            (&line["error"], &line["attempts"], &line["done"]),
            (&json!("no such article"), &json!(3), &json!(true))
        );
        let foreign = OwnedRecord { headers: Vec::new(), value: Some(vec![0xff, b'a']), ..record };
        let line: Value = serde_json::from_str(&in_json(&foreign, None, false)).unwrap();
        assert_eq!((&line["origin"], &line["value_base64"]), (&Value::Null, &json!("/2E=")));
    }

    #[test]
    fn long_values_are_cut() {
        let record = record(None, Some("ü".repeat(500).as_bytes()), "x");
        let dead_letter = DeadLetter::from_headers(&record);
        assert!(in_table(&record, dead_letter.as_ref(), false).chars().count() < 250);
        let line: Value = serde_json::from_str(&in_json(&record, dead_letter.as_ref(), false)).unwrap();
        assert_eq!((line["value_text"].as_str().unwrap().chars().count(), &line["value_bytes"]), (100, &json!(1_000)));
    }
}
