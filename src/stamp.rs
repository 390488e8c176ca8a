//! The stamp: what `verify` counts by, and what end-to-end latency is measured from.
//!
//! A JSON object carries it as its last member, found at the payload's tail without parsing; the message stays plain
//! JSON, and the rest of it is the user's:
//!
//! ```json
//! {"id":7,"_stamp":"AAZEw2qkGAAD..."}
//! ```
//!
//! Any other payload, and a message without one, carries the same text as the header `_stamp` (which costs 35 to 45 %
//! of the throughput, because librdkafka allocates a list of headers for each message).
//!
//! The text is base64 (the URL alphabet) of 30 bytes, big-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 7 | when the message was due, in µs since 1970 UTC |
//! | 2 | the producer thread |
//! | 8 | the sequence number in that thread, from 0 |
//! | 1 | [`Kind`] |
//! | 8 | the run |
//! | 4 | CRC-32 of the bytes above, the key (after a byte that says whether there is one) and the payload without the stamp |

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use crc32fast::Hasher;

/// The name of the member, and of the header.
pub const NAME: &str = "_stamp";
/// Bytes of the stamp.
const BYTES: usize = 30;
/// Characters of its text: 30 bytes are 40 without padding.
pub const TEXT: usize = 40;
/// What stands before the text in an object that has other members.
const BEFORE: &[u8] = b",\"_stamp\":\"";
/// What stands behind it.
const BEHIND: &[u8] = b"\"}";
/// By how many bytes a stamp lengthens an object with members.
pub const LENGTH: usize = BEFORE.len() + TEXT + BEHIND.len() - 1;

/// What a message was made as. All but the first are deliberate faults (`producer.faults`), for testing what stands
/// behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// As it should be.
    #[default]
    Regular = 0,
    /// The second copy of a message that was sent twice.
    Duplicate = 1,
    /// A payload that is not JSON.
    Corrupt = 2,
    /// Larger than the brokers take by their default.
    Oversized = 3,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Regular, Self::Duplicate, Self::Corrupt, Self::Oversized].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Which message this is, and when it was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The run of the program that made it.
    pub run: u64,
    /// The producer thread.
    pub producer: u16,
    /// The how-manieth message of that thread, from 0.
    pub sequence: u64,
    /// When it was due (if there is a rate) or made, in µs since 1970 UTC.
    pub due_us: u64,
    /// What it was made as.
    pub kind: Kind,
}

/// A stamp that was found in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it says.
    pub stamp: Stamp,
    /// Whether its checksum fits the message.
    pub intact: bool,
}

/// The checksum over a stamp's bytes before it, the key, and the payload without the stamp, which is `body` and `tail`.
fn checksum(stamp: &[u8], key: Option<&[u8]>, body: &[u8], tail: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(stamp);
    hasher.update(&[u8::from(key.is_some())]);
    hasher.update(key.unwrap_or_default());
    hasher.update(body);
    hasher.update(tail);
    hasher.finalize()
}

impl Stamp {
    /// Its text for a message of this key and payload, which stands in `body` and `tail`.
    fn text(&self, key: Option<&[u8]>, body: &[u8], tail: &[u8]) -> [u8; TEXT] {
        let mut bytes = [0; BYTES];
        // 2^56 µs are the year 4253.
        bytes[..7].copy_from_slice(&self.due_us.to_be_bytes()[1..]);
        bytes[7..9].copy_from_slice(&self.producer.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[17] = self.kind as u8;
        bytes[18..26].copy_from_slice(&self.run.to_be_bytes());
        let sum = checksum(&bytes[..26], key, body, tail);
        bytes[26..].copy_from_slice(&sum.to_be_bytes());
        let mut text = [0; TEXT];
        // Refused only when the text does not fit, and 30 bytes are always 40 characters.
        let _fits = BASE64_URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        text
    }

    /// Stamps a JSON object by making the stamp its last member; `false`, and nothing is changed, if `payload` is none
    /// (it has to begin with `{` and end with `}`, which is all that is looked at).
    pub fn put(&self, key: Option<&[u8]>, payload: &mut Vec<u8>) -> bool {
        if !is_object(payload) {
            return false;
        }
        let text = self.text(key, &payload[..payload.len() - 1], b"}");
        payload.pop();
        // An object without members takes no comma.
        let empty = payload[1..].iter().all(u8::is_ascii_whitespace);
        payload.extend_from_slice(if empty { &BEFORE[1..] } else { BEFORE });
        payload.extend_from_slice(&text);
        payload.extend_from_slice(BEHIND);
        true
    }

    /// The header's value for a payload that takes no member.
    pub fn header(&self, key: Option<&[u8]>, payload: Option<&[u8]>) -> [u8; TEXT] {
        self.text(key, payload.unwrap_or_default(), &[])
    }
}

/// Whether a payload takes a member, by its ends.
fn is_object(payload: &[u8]) -> bool {
    matches!(payload, [b'{', .., b'}'])
}

/// The text at a payload's tail, and what stands before it.
fn tail(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = payload.strip_suffix(BEHIND)?;
    let (rest, text) = rest.split_at_checked(rest.len().checked_sub(TEXT)?)?;
    let body = rest.strip_suffix(&BEFORE[1..])?;
    Some((body, text))
}

/// When a message was due, in µs since 1970 UTC, by the stamp at its payload's tail, else by the one in `header`, which is
/// asked for only where one may be: with a payload that takes no member. Nothing is checked: this is for every message of a
/// fast reader.
pub fn due_us<'a>(payload: Option<&[u8]>, header: impl FnOnce() -> Option<&'a [u8]>) -> Option<u64> {
    let payload = payload.unwrap_or_default();
    let text = match tail(payload) {
        Some((_, text)) => text,
        None if is_object(payload) => return None,
        None => header().filter(|text| text.len() == TEXT)?,
    };
    // The first 12 characters are the time and the producer.
    let mut bytes = [0; 9];
    BASE64_URL_SAFE_NO_PAD.decode_slice(&text[..12], &mut bytes).ok()?;
    Some(bytes[..7].iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The stamp at the payload's tail, else the one in `header`, which is asked for only then.
pub fn find<'a>(
    key: Option<&[u8]>,
    payload: Option<&[u8]>,
    header: impl FnOnce() -> Option<&'a [u8]>,
) -> Option<Found> {
    let payload = payload.unwrap_or_default();
    if let Some((body, text)) = tail(payload)
        && let Some((stamp, bytes)) = parse(text)
    {
        let body = body.strip_suffix(b",").unwrap_or(body);
        let sum = checksum(&bytes[..26], key, body, b"}");
        return Some(Found { stamp, intact: sum.to_be_bytes() == bytes[26..] });
    }
    let (stamp, bytes) = parse(header()?)?;
    let sum = checksum(&bytes[..26], key, payload, &[]);
    Some(Found { stamp, intact: sum.to_be_bytes() == bytes[26..] })
}

/// The stamp at the payload's tail, else the one in `header`; its checksum is not looked at.
pub fn peek<'a>(payload: Option<&[u8]>, header: impl FnOnce() -> Option<&'a [u8]>) -> Option<Stamp> {
    let in_tail = tail(payload.unwrap_or_default()).and_then(|(_, text)| parse(text));
    in_tail.or_else(|| parse(header()?)).map(|(stamp, _)| stamp)
}

fn parse(text: &[u8]) -> Option<(Stamp, [u8; BYTES])> {
    let mut bytes = [0; BYTES];
    let length = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    let number = |range: std::ops::Range<usize>| bytes[range].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let stamp = Stamp {
        due_us: number(0..7),
        producer: number(7..9) as u16,
        sequence: number(9..17),
        kind: Kind::from_byte(bytes[17])?,
        run: number(18..26),
    };
    (length == BYTES).then_some((stamp, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAMP: Stamp =
        Stamp { run: 0xfedc_ba98, producer: 3, sequence: 1 << 40, due_us: 1_796_000_000_000_000, kind: Kind::Regular };

    fn none<'a>() -> Option<&'a [u8]> {
        None
    }

    #[test]
    fn an_object_carries_it_as_its_last_member() {
        for (object, length) in [("{\"a\":1}", 7 + LENGTH), ("{}", 2 + LENGTH - 1), ("{ }", 3 + LENGTH - 1)] {
            let mut payload = object.as_bytes().to_vec();
            assert!(STAMP.put(Some(b"k"), &mut payload));
            assert_eq!(payload.len(), length);
            let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(value[NAME].as_str().unwrap().len(), TEXT);
            assert_eq!(find(Some(b"k"), Some(&payload), none), Some(Found { stamp: STAMP, intact: true }), "{object}");
            let not_asked = || -> Option<&[u8]> { panic!("the tail has it") };
            assert_eq!(due_us(Some(&payload), not_asked), Some(STAMP.due_us));
        }
    }

    #[test]
    fn what_is_no_object_is_left_as_it_is() {
        for other in ["", "{", "[1]", "text", "\"}\""] {
            let mut payload = other.as_bytes().to_vec();
            assert!(!STAMP.put(None, &mut payload));
            assert_eq!(payload, other.as_bytes());
            let header = STAMP.header(None, Some(&payload));
            let found = find(None, Some(&payload), || Some(&header));
            assert_eq!(found, Some(Found { stamp: STAMP, intact: true }));
            assert_eq!(due_us(Some(&payload), || Some(&header)), Some(STAMP.due_us), "{other}");
            assert_eq!(due_us(Some(&payload), || Some(&header[1..])), None, "{other}");
        }
        let header = STAMP.header(Some(b"k"), None);
        assert!(find(Some(b"k"), None, || Some(&header)).unwrap().intact, "a tombstone");
        assert_eq!(due_us(None, || Some(&header)), Some(STAMP.due_us));
        let not_asked = || -> Option<&[u8]> { panic!("an object has it at its tail") };
        assert_eq!(due_us(Some(b"{\"a\":1}"), not_asked), None);
    }

    #[test]
    fn foreign_messages_have_none() {
        for other in
            ["", "{\"a\":1}", "x\"}", "{\"_stamp\":\"short\"}", &format!("\"_stamp\":\"{}\"}}", "*".repeat(40))]
        {
            assert_eq!(find(None, Some(other.as_bytes()), none), None, "{other}");
            assert_eq!(due_us(Some(other.as_bytes()), none), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_noticed(at in 0_usize..200, to: u8, body in "[a-z]{0,40}") {
            let mut payload = serde_json::to_vec(&serde_json::json!({"text": body})).unwrap();
            STAMP.put(Some(b"key"), &mut payload);
            let at = at % payload.len();
            let changed = payload[at] != to;
            payload[at] = to;
            let found = find(Some(b"key"), Some(&payload), none);
            prop_assert_eq!(found.is_some_and(|found| found.intact), !changed);
            let other_key = find(Some(b"kex"), Some(&payload), none);
            prop_assert!(!other_key.is_some_and(|found| found.intact));
        }
    }
}
