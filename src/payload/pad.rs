//! Payloads of a size.

use super::random::{Random, write_text};

/// What stands around the filling in an object that has other members.
const BEFORE: &[u8] = b",\"_pad\":\"";
const BEHIND: &[u8] = b"\"}";
/// By how many bytes an empty filling lengthens an object with members.
const LEAST: usize = BEFORE.len() + BEHIND.len() - 1;

/// Makes a JSON object longer by `missing` bytes, with a last member `"_pad":"…"`, or, where that is too much, with
/// blanks before its end. `false`, and nothing is changed, if it is no object (it has to begin with `{` and end with
/// `}`, which is all that is looked at).
///
/// `missing` is meant for an object that has members when it is stamped: one without takes a comma less later, and a
/// blank more here.
pub(crate) fn pad(payload: &mut Vec<u8>, missing: usize, stamped: bool, random: &mut Random) -> bool {
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

/// Makes any payload as long as `length`, with blanks at its end: JSON stays JSON.
pub(crate) fn blanks(payload: &mut Vec<u8>, length: usize) {
    if payload.len() < length {
        payload.resize(length, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{Draw, of_message};
    use super::*;
    use crate::message::Source;
    use crate::stamp::{LENGTH, Stamp};

    fn random() -> Random {
        of_message(1, Draw::Size, &Source { producer: 0, producers: 1, sequence: 0, due_us: 0 })
    }

    #[test]
    fn every_length_is_met_with_and_without_a_stamp() {
        for object in ["{}", "{ }", "{\"a\":1}"] {
            for missing in 1..40 {
                for stamped in [false, true] {
                    let mut payload = object.as_bytes().to_vec();
                    assert!(pad(&mut payload, missing, stamped, &mut random()));
                    if stamped {
                        assert!(Stamp::default().put(None, &mut payload));
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
            assert!(!pad(&mut payload, 50, true, &mut random()));
            assert_eq!(payload, other.as_bytes());
        }
        let mut payload = b"{\"a\":1}".to_vec();
        assert!(pad(&mut payload, 0, true, &mut random()));
        assert_eq!(payload, b"{\"a\":1}");
        blanks(&mut payload, 9);
        assert_eq!(payload, b"{\"a\":1}  ");
    }
}
