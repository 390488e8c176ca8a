//! Pads payloads to a size.

use super::rng::{Random, write_text};

/// The text before and after the padding in an object with members.
const BEFORE: &[u8] = b",\"_pad\":\"";
const BEHIND: &[u8] = b"\"}";
/// The number of bytes that empty padding adds to an object with members.
const LEAST: usize = BEFORE.len() + BEHIND.len() - 1;

/// Extends a JSON object by `missing` bytes: with a last member `"_pad":"…"`, or with spaces before its end if that
/// is too long. Returns `false` without a change if the payload is no object (only the first and last byte are
/// checked: `{` and `}`).
///
/// `missing` assumes an object with members when the message is stamped: an empty object needs one comma less, and
/// gets one space more here.
pub(crate) fn pad_object(payload: &mut Vec<u8>, missing: usize, stamped: bool, random: &mut Random) -> bool {
    let [b'{', inner @ .., b'}'] = payload.as_slice() else { return false };
    let empty = inner.iter().all(u8::is_ascii_whitespace);
    if missing == 0 {
        return true;
    }
    payload.pop();
    let comma = usize::from(!empty);
    match (missing + 1).checked_sub(LEAST + comma) {
        Some(filling) => {
            payload.extend_from_slice(&BEFORE[1 - comma..]);
            write_text(random, filling, payload);
            payload.extend_from_slice(BEHIND);
        }
        None => {
            payload.resize(payload.len() + missing + usize::from(empty && stamped), b' ');
            payload.push(b'}');
        }
    }
    true
}

/// Extends a payload to `length` with spaces at its end, which keeps JSON valid.
pub(crate) fn pad_spaces(payload: &mut Vec<u8>, length: usize) {
    if payload.len() < length {
        payload.resize(length, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::super::rng::{RngStream, rng_for};
    use super::*;
    use crate::generator::MessageContext;
    use crate::stamp::{LENGTH, Stamp};

    fn random() -> Random {
        rng_for(1, RngStream::Size, &MessageContext { producer: 0, producers: 1, sequence: 0, due_us: 0 })
    }

    #[test]
    fn every_length_is_met_with_and_without_a_stamp() {
        for object in ["{}", "{ }", "{\"a\":1}"] {
            for missing in 1..40 {
                for stamped in [false, true] {
                    let mut payload = object.as_bytes().to_vec();
                    assert!(pad_object(&mut payload, missing, stamped, &mut random()));
                    if stamped {
                        assert!(Stamp::default().append(None, &mut payload));
                    }
                    let stamp = if stamped { LENGTH } else { 0 };
                    let text = String::from_utf8(payload).unwrap();
                    assert_eq!(text.len(), object.len() + missing + stamp, "{text}");
                    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(value.get("a").is_some(), object.contains('a'), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_object_or_long_enough_is_left_as_it_is() {
        for other in ["", "{", "[1]", "text"] {
            let mut payload = other.as_bytes().to_vec();
            assert!(!pad_object(&mut payload, 50, true, &mut random()));
            assert_eq!(payload, other.as_bytes());
        }
        let mut payload = b"{\"a\":1}".to_vec();
        assert!(pad_object(&mut payload, 0, true, &mut random()));
        assert_eq!(payload, b"{\"a\":1}");
        pad_spaces(&mut payload, 9);
        assert_eq!(payload, b"{\"a\":1}  ");
    }
}
