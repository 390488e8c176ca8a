//! A message as a JSON object: the output of `print` and `produce --dry-run` and the input of `command`. Characters
//! that a terminal would interpret are JSON escapes (`\u009b`), which a JSON parser reads as the same characters.

use std::io::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;
use serde_json::value::RawValue;

use crate::record::Record;
use crate::util::escape::escape_json;

/// Writes `record` as one line of JSON with a newline at its end.
///
/// Members: `topic`, `partition`, `offset`, `timestamp_ms`, `key`, `value`, `headers` (a list of pairs, because names
/// may repeat). A value that is JSON is embedded as JSON, other text is a string in `value_text`, bytes that are not
/// UTF-8 are base64 in `value_base64`; a tombstone is `"value":null`. Key and headers: a string, or `{"base64":…}`.
pub(super) fn write_line(out: &mut Vec<u8>, id: Option<u64>, record: &Record<'_>) -> Result<(), serde_json::Error> {
    // Writing to a Vec cannot fail; only the serializer can.
    out.push(b'{');
    if let Some(id) = id {
        write!(out, "\"id\":{id},").map_err(serde_json::Error::io)?;
    }
    out.extend_from_slice(b"\"topic\":");
    serde_json::to_writer(&mut *out, record.topic)?;
    write!(out, ",\"partition\":{},\"offset\":{}", record.partition, record.offset).map_err(serde_json::Error::io)?;
    if let Some(time) = record.timestamp_ms {
        write!(out, ",\"timestamp_ms\":{time}").map_err(serde_json::Error::io)?;
    }
    write_message(out, record.key, record.value, &record.headers.list())?;
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// Writes the members for a message's content, each with a comma before it: `key`, the value, and `headers` if there
/// are any.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
) -> Result<(), serde_json::Error> {
    let begun = out.len();
    out.extend_from_slice(b",\"key\":");
    serde_json::to_writer(&mut *out, &string_or_base64(key))?;
    write_value(out, value)?;
    if !headers.is_empty() {
        let pairs: Vec<_> = headers.iter().map(|(name, value)| json!([name, string_or_base64(*value)])).collect();
        out.extend_from_slice(b",\"headers\":");
        serde_json::to_writer(&mut *out, &pairs)?;
    }
    escape_json(out, begun);
    Ok(())
}

fn write_value(out: &mut Vec<u8>, value: Option<&[u8]>) -> Result<(), serde_json::Error> {
    let Some(bytes) = value else {
        out.extend_from_slice(b",\"value\":null");
        return Ok(());
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        out.extend_from_slice(b",\"value_base64\":");
        return serde_json::to_writer(out, &BASE64_STANDARD.encode(bytes));
    };
    match serde_json::from_str::<&RawValue>(text) {
        // A message must be one line. JSON strings contain no raw line breaks, so these are only between values.
        Ok(raw) => {
            out.extend_from_slice(b",\"value\":");
            out.extend(raw.get().bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
            Ok(())
        }
        Err(_) => {
            out.extend_from_slice(b",\"value_text\":");
            serde_json::to_writer(out, text)
        }
    }
}

/// The member for a value: JSON under `value`, other text under `value_text`, bytes that are not UTF-8 under
/// `value_base64`; a tombstone is `null` under `value`. JSON is not copied verbatim.
pub(crate) fn value_member(value: Option<&[u8]>) -> (&'static str, serde_json::Value) {
    let Some(bytes) = value else { return ("value", serde_json::Value::Null) };
    match std::str::from_utf8(bytes) {
        Ok(text) => match serde_json::from_str(text) {
            Ok(json) => ("value", json),
            Err(_) => ("value_text", json!(text)),
        },
        Err(_) => ("value_base64", json!(BASE64_STANDARD.encode(bytes))),
    }
}

/// A string, or `{"base64": …}` for bytes that are not UTF-8.
pub(crate) fn string_or_base64(bytes: Option<&[u8]>) -> serde_json::Value {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => serde_json::Value::Null,
        Some((Ok(text), _)) => json!(text),
        Some((Err(_), bytes)) => json!({"base64": BASE64_STANDARD.encode(bytes)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: Option<&[u8]>, value: Option<&[u8]>) -> serde_json::Value {
        let mut out = Vec::new();
        let record = Record { topic: "t", partition: 1, offset: 2, timestamp_ms: Some(3), key, value, headers: &() };
        write_line(&mut out, Some(7), &record).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1, "one message is one line");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_kind_of_value_has_its_place() {
        assert_eq!(line(None, Some(b"{\"a\":\n 1.50}"))["value"]["a"], 1.5);
        assert_eq!(line(None, Some(b"12345678901234567890123"))["id"], 7);
        assert_eq!(line(None, Some(b"not json"))["value_text"], "not json");
        assert_eq!(line(None, Some(b""))["value_text"], "");
        assert_eq!(line(None, Some(&[0xff]))["value_base64"], "/w==");
        assert!(line(None, None)["value"].is_null());
        assert_eq!(line(Some(b"k"), None)["key"], "k");
        assert_eq!(line(Some(&[0xff]), None)["key"]["base64"], "/w==");
        assert_eq!(
            line(None, None),
            json!({"id":7,"topic":"t","partition":1,"offset":2,"timestamp_ms":3,"key":null,"value":null})
        );
    }

    #[test]
    fn no_letter_steers_a_terminal() {
        let text = "x\u{9b}2J\u{202e}";
        let json = serde_json::to_string(text).unwrap();
        for value in [text, &json, &format!("{{\"{text}\":1}}")] {
            let mut out = Vec::new();
            write_message(&mut out, Some(text.as_bytes()), Some(value.as_bytes()), &[(text, Some(text.as_bytes()))])
                .unwrap();
            let shown = String::from_utf8(out).unwrap();
            assert!(!shown.chars().any(crate::util::escape::is_unsafe), "{shown:?}");
            let parsed: serde_json::Value = serde_json::from_str(&format!("{{{}}}", &shown[1..])).unwrap();
            assert_eq!((&parsed["key"], &parsed["headers"][0][0]), (&json!(text), &json!(text)));
        }
    }

    #[test]
    fn headers_keep_their_order_and_repetitions() {
        let headers = vec![("a".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None)];
        let record = Record {
            topic: "t",
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: &headers,
        };
        let mut out = Vec::new();
        write_line(&mut out, None, &record).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["headers"], json!([["a", "1"], ["a", null]]));
    }
}
