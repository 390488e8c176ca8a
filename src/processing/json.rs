//! A message as one JSON object: what `print` and `produce --dry-run` write and what `command` feeds its program.

use std::io::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;
use serde_json::value::RawValue;

use crate::record::Record;

/// Writes `record` as one line of JSON, ended by a newline.
///
/// `topic`, `partition`, `offset`, `timestamp_ms`, `key`, `value`, `headers` (a list of pairs, since names may
/// repeat). A value that is JSON stands as JSON, other text as a string under `value_text`, bytes that are not UTF-8
/// as base64 under `value_base64`; a tombstone is `"value":null`. Key and headers: a string, or `{"base64":…}`.
pub(super) fn write_line(out: &mut Vec<u8>, id: Option<u64>, record: &Record<'_>) -> Result<(), serde_json::Error> {
    // Writes to a Vec cannot fail; the only source of errors is a serializer's own.
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

/// The members of what is in a message, each with a comma before it: `key`, the value, and `headers` if there are any.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
) -> Result<(), serde_json::Error> {
    out.extend_from_slice(b",\"key\":");
    serde_json::to_writer(&mut *out, &text_or_base64(key))?;
    write_value(out, value)?;
    if !headers.is_empty() {
        let pairs: Vec<_> = headers.iter().map(|(name, value)| json!([name, text_or_base64(*value)])).collect();
        out.extend_from_slice(b",\"headers\":");
        serde_json::to_writer(&mut *out, &pairs)?;
    }
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
        // One message is one line. JSON's strings have no raw line breaks: one that is found stands between values.
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

fn text_or_base64(bytes: Option<&[u8]>) -> serde_json::Value {
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
