//! A message of a dead-letter topic, as it is shown. What stands in it may be anything: nothing of it reaches a terminal as
//! more than letters.

use serde_json::{Value, json};

use crate::dead_letter::DeadLetter;
use crate::printable::{cut, printable};
use crate::record::OwnedRecord;
use crate::trace::Trace;

/// How much of a value is shown, in bytes.
const SHOWN: usize = 200;
/// The same in the table, in characters: of errors and values.
const IN_TABLE: usize = 60;

/// The table's head.
pub(super) fn head() -> String {
    line("at", "from", "given up", "tries", "replayed", "key", "error", "value")
}

#[allow(clippy::too_many_arguments, reason = "as many as the table has columns")]
fn line(at: &str, from: &str, time: &str, tries: &str, replayed: &str, key: &str, error: &str, value: &str) -> String {
    format!("{at:<24}  {from:<24}  {time:<24}  {tries:>5}  {replayed:<8}  {key:<12}  {error}  |  {value}\n")
}

/// One line of the table.
pub(super) fn in_table(copy: &OwnedRecord, letter: Option<&DeadLetter>, replayed: bool) -> String {
    let at = copy.borrow().to_string();
    let from = letter.map(|letter| format!("{}@{}", letter.origin, letter.offset));
    let part = |bytes: Option<&[u8]>, most| bytes.map_or_else(|| "-".to_owned(), |bytes| cut(&printable(bytes), most));
    line(
        &at,
        &from.map_or_else(|| "-".to_owned(), |from| printable(from.as_bytes())),
        &letter.map_or_else(|| "-".to_owned(), |letter| cut(&printable(letter.time.as_bytes()), 24)),
        &letter.map_or_else(|| "-".to_owned(), |letter| letter.attempts.to_string()),
        if replayed { "yes" } else { "no" },
        &part(copy.key.as_deref(), 12),
        &part(letter.map(|letter| letter.error.as_bytes()), IN_TABLE),
        &part(copy.value.as_deref().map(|value| &value[..value.len().min(SHOWN)]), IN_TABLE),
    )
}

/// One line of JSON.
pub(super) fn in_json(copy: &OwnedRecord, letter: Option<&DeadLetter>, replayed: bool) -> String {
    let value = copy.value.as_deref();
    let first = value.map(|value| &value[..value.len().min(SHOWN)]);
    let line = json!({
        "topic": copy.topic, "partition": copy.partition, "offset": copy.offset,
        "origin": letter.map(|letter| json!({
            "topic": letter.origin.topic, "partition": letter.origin.partition, "offset": letter.offset,
        })),
        "error": letter.map(|letter| &letter.error),
        "attempts": letter.map(|letter| letter.attempts),
        "time": letter.map(|letter| &letter.time),
        "worker": letter.map(|letter| &letter.worker),
        "replays": letter.map(|letter| letter.replays),
        "trace_id": Trace::of(&copy.borrow()).map(|trace| trace.trace_id),
        "replayed": replayed,
        "key": text_or_bytes(copy.key.as_deref()),
        "value": text_or_bytes(first),
        "value_bytes": value.map(<[u8]>::len),
    });
    let mut text = String::new();
    for letter in line.to_string().chars() {
        if letter.escape_debug().len() > 1 && !matches!(letter, '"' | '\\' | '\'') {
            let mut units = [0; 2];
            letter.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(letter);
        }
    }
    text.push('\n');
    text
}

/// Text as it is; other bytes as `{"bytes": "…"}`, with everything that is no text as `\xNN`.
fn text_or_bytes(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        // It was cut in the middle of a letter.
        Err(error) if error.error_len().is_none() && bytes.len() == SHOWN => {
            json!(String::from_utf8_lossy(&bytes[..error.valid_up_to()]))
        }
        Err(_) => json!({"bytes": printable(bytes)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::{self, GivenUp};

    fn copy(key: Option<&[u8]>, value: Option<&[u8]>, error: &str) -> OwnedRecord {
        let mut copy = OwnedRecord {
            topic: "orders".to_owned(),
            partition: 1,
            offset: 7,
            timestamp_ms: None,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        };
        let at = std::time::SystemTime::UNIX_EPOCH;
        let given_up = GivenUp { error, attempts: 3, at, worker: 0 };
        copy.headers = dead_letter::headers(&copy.borrow(), given_up);
        copy.topic = "orders.dlq".to_owned();
        copy
    }

    #[test]
    fn hostile_bytes_are_letters() {
        let hostile = "\u{1b}[2J\u{9b}31m\u{202e}\r\n\u{7f}ü\0";
        let copy = copy(Some(b"\xff\x1b"), Some(hostile.as_bytes()), hostile);
        let letter = DeadLetter::of(&copy);
        for line in [in_table(&copy, letter.as_ref(), false), in_json(&copy, letter.as_ref(), false)] {
            let (last, rest) = line.split_at(line.len() - 1);
            assert_eq!(rest, "\n");
            assert!(
                last.chars().all(|letter| letter == ' '
                    || letter.is_alphanumeric()
                    || letter.escape_debug().len() == 1
                    || "\"'\\".contains(letter)),
                "{line:?}"
            );
            assert!(last.contains('ü'), "letters are left as they are: {line}");
        }
    }

    #[test]
    fn json_says_everything_and_means_what_stood_there() {
        let hostile = "\u{1b}\u{202e}\\\"\u{1f600}\u{e0001}";
        let copy = copy(None, Some(hostile.as_bytes()), "no such article");
        let line: Value = serde_json::from_str(&in_json(&copy, DeadLetter::of(&copy).as_ref(), true)).unwrap();
        assert_eq!(line["value"], hostile);
        assert_eq!((&line["key"], &line["value_bytes"]), (&Value::Null, &json!(hostile.len())));
        assert_eq!(line["origin"], json!({"topic": "orders", "partition": 1, "offset": 7}));
        assert_eq!(
            (&line["error"], &line["attempts"], &line["replayed"]),
            (&json!("no such article"), &json!(3), &json!(true))
        );
        let foreign = OwnedRecord { headers: Vec::new(), value: Some(vec![0xff, b'a']), ..copy };
        let line: Value = serde_json::from_str(&in_json(&foreign, None, false)).unwrap();
        assert_eq!((&line["origin"], &line["value"]), (&Value::Null, &json!({"bytes": "\\xffa"})));
    }

    #[test]
    fn long_values_are_cut() {
        let copy = copy(None, Some("ü".repeat(500).as_bytes()), "x");
        let letter = DeadLetter::of(&copy);
        assert!(in_table(&copy, letter.as_ref(), false).chars().count() < 250);
        let line: Value = serde_json::from_str(&in_json(&copy, letter.as_ref(), false)).unwrap();
        assert_eq!((line["value"].as_str().unwrap().chars().count(), &line["value_bytes"]), (100, &json!(1_000)));
    }
}
