//! The message key taken from a member of a JSON object.

use std::fmt;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The member `field` of a JSON object as a key; `None` if the payload is no object or has no such member. The other
/// members are skipped without building them.
pub(crate) fn key_from_field(payload: &[u8], field: &str) -> Option<Vec<u8>> {
    let mut from = serde_json::Deserializer::from_slice(payload);
    let found = from.deserialize_map(Member(field)).ok()?;
    from.end().ok()?;
    of_json(found?.get().as_bytes())
}

/// A JSON value as a key: a string without its quotes, `null` as no key, other values as written.
pub(super) fn of_json(json: &[u8]) -> Option<Vec<u8>> {
    match json {
        b"null" => None,
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Some(inner.to_vec()),
        [b'"', ..] => serde_json::from_slice::<String>(json).ok().map(String::into_bytes),
        _ => Some(json.to_vec()),
    }
}

struct Member<'a>(&'a str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            if name == self.0 {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_message_is_its_key() {
        let payload = br#"{"id":7,"name":"a b","nothing":null,"quoted":"a\"\u00e4","list":[1, 2]}"#;
        assert_eq!(key_from_field(payload, "id").unwrap(), b"7");
        assert_eq!(key_from_field(payload, "name").unwrap(), b"a b");
        assert_eq!(key_from_field(payload, "quoted").unwrap(), "a\"ä".as_bytes());
        assert_eq!(key_from_field(payload, "list").unwrap(), b"[1, 2]");
        assert_eq!(key_from_field(payload, "nothing"), None);
        assert_eq!(key_from_field(payload, "missing"), None);
    }

    #[test]
    fn what_is_no_object_has_no_key() {
        for other in ["not json", "[1]", "{\"id\":1", "{\"id\":1}2", ""] {
            assert_eq!(key_from_field(other.as_bytes(), "id"), None, "{other}");
        }
    }
}
