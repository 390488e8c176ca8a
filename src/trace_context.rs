//! The trace context of a message: the header `traceparent` of W3C Trace Context
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>). It is added to log lines about the message and, like
//! all headers, to its dead-letter record. Nothing is exported: a tracing backend finds the lines by `trace_id`.

use slog::{Logger, o};

use crate::record::Record;

/// The header's name.
pub const HEADER: &str = "traceparent";

/// The trace context of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace id: 32 hexadecimal digits.
    pub trace_id: String,
    /// The id of the span that has sent the message: 16 hexadecimal digits.
    pub span_id: String,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// The trace context of a message; `None` if the header is missing or invalid.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        Self::parse(record.header(HEADER)?)
    }

    /// Parses the header's value: `00-TRACE-SPAN-FLAGS`. A later version may have further fields.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim();
        let mut fields = text.split('-');
        let version = hexadecimal(fields.next()?, 2)?;
        let (trace_id, span_id) = (hexadecimal(fields.next()?, 32)?, hexadecimal(fields.next()?, 16)?);
        let flags = u8::from_str_radix(hexadecimal(fields.next()?, 2)?, 16).ok()?;
        let is_known = match version {
            "ff" => false,
            "00" => fields.next().is_none(),
            _ => true,
        };
        let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
        (is_known && !is_zero(trace_id) && !is_zero(span_id)).then(|| Self {
            trace_id: trace_id.to_owned(),
            span_id: span_id.to_owned(),
            sampled: flags & 1 == 1,
        })
    }
}

fn hexadecimal(text: &str, digits: usize) -> Option<&str> {
    let valid = text.len() == digits && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    valid.then_some(text)
}

/// A logger for lines about a message, with its `trace_id` and `span_id` if it has them.
pub fn within_trace(logger: &Logger, record: &Record<'_>) -> Logger {
    match TraceContext::of(record) {
        Some(trace) => logger.new(o!("span_id" => trace.span_id, "trace_id" => trace.trace_id)),
        None => logger.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_header_is_read() {
        let trace = TraceContext::parse(VALID.as_bytes()).unwrap();
        assert_eq!(trace.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((trace.span_id.as_str(), trace.sampled), ("00f067aa0ba902b7", true));
        assert!(!TraceContext::parse(VALID.replace("-01", "-00").as_bytes()).unwrap().sampled);
        assert!(TraceContext::parse(format!("cc{}-more", &VALID[2..]).as_bytes()).is_some(), "a later version");
    }

    #[test]
    fn what_the_standard_calls_invalid_is_none() {
        let zeros = |from: &str, digits| VALID.replace(from, &"0".repeat(digits));
        let wrong = [
            String::new(),
            VALID.to_uppercase(),
            VALID[..54].to_owned(),
            format!("{VALID}-more"),
            format!("ff{}", &VALID[2..]),
            zeros("4bf92f3577b34da6a3ce929d0e0e4736", 32),
            zeros("00f067aa0ba902b7", 16),
            VALID.replace('4', "g"),
        ];
        for value in wrong {
            assert_eq!(TraceContext::parse(value.as_bytes()), None, "{value}");
        }
        assert_eq!(TraceContext::parse(&[0xff; 55]), None);
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(value: Vec<u8>) {
            TraceContext::parse(&value);
        }
    }
}
