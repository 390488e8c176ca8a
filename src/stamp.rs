//! The stamp of a message, by which `verify` counts messages and from which end-to-end latency is measured.
//!
//! In a JSON object it is the last member, which is found at the payload's end without parsing; the message stays
//! plain JSON:
//!
//! ```json
//! {"id":7,"_stamp":"AAZEw2qkGAAD..."}
//! ```
//!
//! For other payloads and tombstones the same text is in the header `_stamp` (which costs 35 to 45 % of the
//! throughput, because librdkafka allocates a header list per message).
//!
//! The text is base64 (URL-safe alphabet) of 30 big-endian bytes:
//!
//! | bytes | content |
//! | --- | --- |
//! | 7 | the scheduled time, in µs since the Unix epoch |
//! | 2 | the producer thread |
//! | 8 | the sequence number in that thread, from 0 |
//! | 1 | [`StampKind`] |
//! | 8 | the run |
//! | 4 | CRC-32 of the bytes above, the key (after a byte that tells whether there is one) and the payload without
//! the stamp |

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use crc32fast::Hasher;

/// The name of the member and of the header.
pub const NAME: &str = "_stamp";
/// The size of a stamp.
const BYTES: usize = 30;
/// The length of its text: 30 bytes are 40 characters without padding.
pub const STAMP_LENGTH: usize = 40;
/// The text before the stamp in an object with other members.
const PREFIX: &[u8] = b",\"_stamp\":\"";
/// The text after it.
const SUFFIX: &[u8] = b"\"}";
/// The number of bytes that a stamp adds to an object with members.
pub const LENGTH: usize = PREFIX.len() + STAMP_LENGTH + SUFFIX.len() - 1;

/// The kind of a message. All but the first are injected faults (`producer.faults`), for testing consumers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum StampKind {
    /// A regular message.
    #[default]
    Regular = 0,
    /// The injected duplicate of a message.
    Duplicate = 1,
    /// A payload that is not JSON.
    Corrupt = 2,
    /// A message larger than the brokers' default limit.
    Oversized = 3,
}

impl StampKind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Regular, Self::Duplicate, Self::Corrupt, Self::Oversized].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Identifies a message, with its scheduled time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The run that produced it.
    pub run: u64,
    /// The producer thread.
    pub producer: u16,
    /// The sequence number in that thread, from 0.
    pub sequence: u64,
    /// When it was scheduled (with a rate) or generated, in µs since the Unix epoch.
    pub due_us: u64,
    /// The kind of message.
    pub kind: StampKind,
}

/// A stamp found in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampCheck {
    /// The stamp.
    pub stamp: Stamp,
    /// Whether its checksum matches the message.
    pub intact: bool,
}

/// The checksum of a stamp's preceding bytes, the key, and the payload without the stamp, which is `body` and `tail`.
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
    /// The stamp's text for a message with this key and payload, which is `body` and `tail`.
    fn text(&self, key: Option<&[u8]>, body: &[u8], tail: &[u8]) -> [u8; STAMP_LENGTH] {
        let mut bytes = [0; BYTES];
        // 2^56 µs are the year 4253.
        bytes[..7].copy_from_slice(&self.due_us.to_be_bytes()[1..]);
        bytes[7..9].copy_from_slice(&self.producer.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[17] = self.kind as u8;
        bytes[18..26].copy_from_slice(&self.run.to_be_bytes());
        let sum = checksum(&bytes[..26], key, body, tail);
        bytes[26..].copy_from_slice(&sum.to_be_bytes());
        let mut text = [0; STAMP_LENGTH];
        // Fails only if the text does not fit, and 30 bytes are always 40 characters.
        BASE64_URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).ok();
        text
    }

    /// Adds the stamp to a JSON object as its last member. Returns `false` without a change if `payload` is no object
    /// (only the first and last byte are checked: `{` and `}`).
    pub fn append(&self, key: Option<&[u8]>, payload: &mut Vec<u8>) -> bool {
        if !is_object(payload) {
            return false;
        }
        let text = self.text(key, &payload[..payload.len() - 1], b"}");
        payload.pop();
        // An object without members takes no comma.
        let empty = payload[1..].iter().all(u8::is_ascii_whitespace);
        payload.extend_from_slice(if empty { &PREFIX[1..] } else { PREFIX });
        payload.extend_from_slice(&text);
        payload.extend_from_slice(SUFFIX);
        true
    }

    /// The header value for a payload that cannot have the member.
    pub fn header(&self, key: Option<&[u8]>, payload: Option<&[u8]>) -> [u8; STAMP_LENGTH] {
        self.text(key, payload.unwrap_or_default(), &[])
    }
}

/// Returns whether a payload is an object, by its first and last byte.
fn is_object(payload: &[u8]) -> bool {
    matches!(payload, [b'{', .., b'}'])
}

/// The stamp's text at the payload's end, and the part before it.
fn tail(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = payload.strip_suffix(SUFFIX)?;
    let (rest, text) = rest.split_at_checked(rest.len().checked_sub(STAMP_LENGTH)?)?;
    let body = rest.strip_suffix(&PREFIX[1..])?;
    Some((body, text))
}

/// Like [`find`], but ignores the header of a payload that is an object; for fast consumers.
pub fn find_where_put<'a>(
    key: Option<&[u8]>,
    payload: Option<&[u8]>,
    header: impl FnOnce() -> Option<&'a [u8]>,
) -> Option<StampCheck> {
    let takes_member = is_object(payload.unwrap_or_default());
    find(key, payload, || if takes_member { None } else { header() })
}

/// The stamp at the payload's end, otherwise the one in `header`, which is called only then.
pub fn find<'a>(
    key: Option<&[u8]>,
    payload: Option<&[u8]>,
    header: impl FnOnce() -> Option<&'a [u8]>,
) -> Option<StampCheck> {
    let payload = payload.unwrap_or_default();
    if let Some((body, text)) = tail(payload)
        && let Some((stamp, bytes)) = parse(text)
    {
        let body = body.strip_suffix(b",").unwrap_or(body);
        let sum = checksum(&bytes[..26], key, body, b"}");
        return Some(StampCheck { stamp, intact: sum.to_be_bytes() == bytes[26..] });
    }
    let (stamp, bytes) = parse(header()?)?;
    let sum = checksum(&bytes[..26], key, payload, &[]);
    Some(StampCheck { stamp, intact: sum.to_be_bytes() == bytes[26..] })
}

/// Like [`find`], without verifying the checksum.
pub fn parse_unchecked<'a>(payload: Option<&[u8]>, header: impl FnOnce() -> Option<&'a [u8]>) -> Option<Stamp> {
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
        kind: StampKind::from_byte(bytes[17])?,
        run: number(18..26),
    };
    (length == BYTES).then_some((stamp, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAMP: Stamp = Stamp {
        run: 0xfedc_ba98,
        producer: 3,
        sequence: 1 << 40,
        due_us: 1_796_000_000_000_000,
        kind: StampKind::Regular,
    };

    fn none<'a>() -> Option<&'a [u8]> {
        None
    }

    #[test]
    fn an_object_carries_it_as_its_last_member() {
        for (object, length) in [("{\"a\":1}", 7 + LENGTH), ("{}", 2 + LENGTH - 1), ("{ }", 3 + LENGTH - 1)] {
            let mut payload = object.as_bytes().to_vec();
            assert!(STAMP.append(Some(b"k"), &mut payload));
            assert_eq!(payload.len(), length);
            let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(value[NAME].as_str().unwrap().len(), STAMP_LENGTH);
            assert_eq!(
                find(Some(b"k"), Some(&payload), none),
                Some(StampCheck { stamp: STAMP, intact: true }),
                "{object}"
            );
            let not_asked = || -> Option<&[u8]> { panic!("the tail has it") };
            let found = find_where_put(Some(b"k"), Some(&payload), not_asked);
            assert_eq!(found, Some(StampCheck { stamp: STAMP, intact: true }));
        }
    }

    #[test]
    fn what_is_no_object_is_left_as_it_is() {
        for other in ["", "{", "[1]", "text", "\"}\""] {
            let mut payload = other.as_bytes().to_vec();
            assert!(!STAMP.append(None, &mut payload));
            assert_eq!(payload, other.as_bytes());
            let header = STAMP.header(None, Some(&payload));
            let found = find(None, Some(&payload), || Some(&header));
            assert_eq!(found, Some(StampCheck { stamp: STAMP, intact: true }));
            assert_eq!(find_where_put(None, Some(&payload), || Some(&header)), found, "{other}");
            assert_eq!(find_where_put(None, Some(&payload), || Some(&header[1..])), None, "{other}");
        }
        let header = STAMP.header(Some(b"k"), None);
        assert!(find(Some(b"k"), None, || Some(&header)).unwrap().intact, "a tombstone");
        assert!(find_where_put(Some(b"k"), None, || Some(&header)).unwrap().intact);
        let not_asked = || -> Option<&[u8]> { panic!("an object has it at its tail") };
        assert_eq!(find_where_put(None, Some(b"{\"a\":1}"), not_asked), None);
    }

    #[test]
    fn foreign_messages_have_none() {
        for other in
            ["", "{\"a\":1}", "x\"}", "{\"_stamp\":\"short\"}", &format!("\"_stamp\":\"{}\"}}", "*".repeat(40))]
        {
            assert_eq!(find(None, Some(other.as_bytes()), none), None, "{other}");
            assert_eq!(find_where_put(None, Some(other.as_bytes()), none), None, "{other}");
        }
    }

    /// Payloads whose end resembles a stamp.
    fn nearly_stamped() -> impl Strategy<Value = Vec<u8>> {
        let text = prop_oneof!["[A-Za-z0-9_-]{40}", "[A-Za-z0-9+/=_-]{36,44}", "\\PC{36,44}"];
        let end = prop_oneof![Just(SUFFIX.to_vec()), prop::collection::vec(any::<u8>(), 0..3)];
        let begin =
            prop_oneof![Just(PREFIX.to_vec()), Just(PREFIX[1..].to_vec()), prop::collection::vec(any::<u8>(), 0..12)];
        (any::<Vec<u8>>(), begin, text, end)
            .prop_map(|(body, begin, text, end)| [&body, &begin, text.as_bytes(), &end].concat())
    }

    proptest! {
        #[test]
        fn any_stamp_is_found_as_it_was_put(
            numbers: (u64, u16, u64, u64), kind in 0_u8..4, key: Option<Vec<u8>>, body: Vec<u8>,
        ) {
            let (run, producer, sequence, due_us) = numbers;
            let stamp = Stamp { run, producer, sequence, due_us: due_us >> 8, kind: StampKind::from_byte(kind).unwrap() };
            let key = key.as_deref();
            let found = Some(StampCheck { stamp, intact: true });
            let mut object = [b"{", &body[..], b"}"].concat();
            prop_assert!(stamp.append(key, &mut object));
            prop_assert_eq!(find(key, Some(&object), none), found);
            prop_assert_eq!((parse_unchecked(Some(&object), none), find_where_put(key, Some(&object), none)), (Some(stamp), found));
            let header = stamp.header(key, Some(&body));
            if tail(&body).is_none() {
                prop_assert_eq!(find(key, Some(&body), || Some(&header)), found);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(key: Option<Vec<u8>>, payload in nearly_stamped(), header in nearly_stamped()) {
            for header in [None, Some(&header[..]), Some(&payload[..])] {
                let found = find(key.as_deref(), Some(&payload), || header);
                prop_assert_eq!(found.map(|found| found.stamp), parse_unchecked(Some(&payload), || header));
                let where_put = find_where_put(key.as_deref(), Some(&payload), || header);
                prop_assert!(where_put.is_none() || where_put == found);
            }
        }

        #[test]
        fn one_changed_byte_is_noticed(at in 0_usize..200, to: u8, body in "[a-z]{0,40}") {
            let mut payload = serde_json::to_vec(&serde_json::json!({"text": body})).unwrap();
            STAMP.append(Some(b"key"), &mut payload);
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
