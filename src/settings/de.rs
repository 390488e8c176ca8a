//! Conversion of texts and TOML values to types. The same functions convert texts (environment, `--set`, flags), the values of a
//! TOML file, and the JSON in which a worker receives the settings.

use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

use super::StartOffset;

/// A list of strings: an array, or comma-separated text.
pub(super) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(StringListVisitor {
        what: "an array of texts, or a text separated by commas",
        split: at_commas,
    })
}

/// An external command with its arguments: an array, or a text that is split like a shell command line.
pub(super) fn command<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(StringListVisitor { what: "an array of texts, or a command line", split: command_words })
}

type Split = fn(&str) -> Result<Vec<String>, String>;

struct StringListVisitor {
    what: &'static str,
    split: Split,
}

impl<'de> Visitor<'de> for StringListVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        (self.split)(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

/// Splits `a, b` into `["a", "b"]`. Empty items are dropped.
fn at_commas(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// Splits at blanks. Quotes of both kinds preserve blanks; a backslash escapes the next character, except in single quotes.
/// Nothing is expanded.
pub(super) fn command_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            (_, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => {
                let kept = characters.next().ok_or("the command ends with a backslash")?;
                word.get_or_insert_default().push(kept);
            }
            (_, None) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    match quote {
        Some(open) => Err(format!("the quote {open} is not closed")),
        None => Ok(words.into_iter().chain(word).collect()),
    }
}

/// A listen address: an address and a port. A port alone means the loopback address; an empty value means no listener.
pub(super) fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    from.deserialize_any(Listen)
}

struct Listen;

impl<'de> Visitor<'de> for Listen {
    type Value = Option<SocketAddr>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an address and a port, such as 127.0.0.1:9464 (this machine only) or 0.0.0.0:9464 (everybody); a port alone is on \
             this machine only; empty: off",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
        let address = match port.parse() {
            Ok(port) => Some((Ipv4Addr::LOCALHOST, port).into()),
            Err(_) => text.parse().ok(),
        };
        address.map(Some).ok_or_else(|| expected(&self))
    }

    fn visit_i64<E: Error>(self, port: i64) -> Result<Self::Value, E> {
        self.visit_str(&port.to_string())
    }

    fn visit_u64<E: Error>(self, port: u64) -> Result<Self::Value, E> {
        self.visit_str(&port.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Parses `a=b,c=d` into pairs; a value may contain `=`.
pub(super) fn assignments(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |item: String| match item.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err("expected NAME=VALUE, separated by commas".to_owned()),
    };
    at_commas(text)?.into_iter().map(pair).collect()
}

/// A non-negative integer.
pub(super) fn count<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(UnsignedVisitor(PhantomData))
}

struct UnsignedVisitor<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for UnsignedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, 0 or more")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::custom("the number is too large"))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        u64::try_from(number).map_err(|_| expected(&self)).and_then(|number| self.visit_u64(number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Err(expected(&self))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Err(expected(&self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        match text.trim().replace('_', "").parse() {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(expected(&self)),
        }
    }
}

/// A floating-point number.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    from.deserialize_any(FloatVisitor)
}

struct FloatVisitor;

impl Visitor<'_> for FloatVisitor {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<f64, E> {
        Err(expected(&self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        text.trim().replace('_', "").parse().map_err(|_| expected(&self))
    }
}

/// A text that must be quoted: TOML parses an unquoted `1e5` as a number, and its original characters are lost.
pub(super) fn quoted<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    from.deserialize_any(Quoted)
}

struct Quoted;

impl Visitor<'_> for Quoted {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<String, E> {
        Err(expected(&self))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<String, E> {
        Err(expected(&self))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<String, E> {
        Err(expected(&self))
    }
}

/// A boolean.
pub(super) fn switch<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    from.deserialize_any(BoolVisitor)
}

struct BoolVisitor;

impl Visitor<'_> for BoolVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<bool, E> {
        Err(expected(&self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        text.trim().parse().map_err(|_| expected(&self))
    }
}

/// The error for a value of the wrong type. serde's own errors repeat the value, which may be secret.
fn expected<E: Error>(visitor: &dyn serde::de::Expected) -> E {
    E::custom(format!("expected {visitor}"))
}

/// A duration as text with its unit, such as `"1m 30s"`.
pub(super) mod duration {
    use super::{Duration, Error, Visitor, expected, fmt};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        from.deserialize_any(StringVisitor)
    }

    struct StringVisitor;

    impl Visitor<'_> for StringVisitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration with its unit, such as \"5s\" or \"250ms\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text.trim()).map_err(|_| expected(&self))
        }

        /// Zero needs no unit.
        fn visit_i64<E: Error>(self, number: i64) -> Result<Duration, E> {
            if number == 0 { Ok(Duration::ZERO) } else { Err(expected(&self)) }
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Duration, E> {
            Err(expected(&self))
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<Duration, E> {
            Err(expected(&self))
        }
    }
}

/// The smallest number that is read as milliseconds since 1970 (this one is in 1973); a smaller number was probably meant as
/// seconds.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;
/// The end of the year 9999, the last year that RFC 3339 supports.
const LAST_MILLISECONDS: i64 = 253_402_300_799_999;

impl TryFrom<String> for StartOffset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "committed" => Ok(Self::Committed),
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => milliseconds(digits),
            _ => humantime::parse_rfc3339(text.trim()).ok().and_then(since_1970).map(Self::Time).ok_or_else(|| {
                "allowed: committed, earliest, latest, a time in UTC such as 2026-11-23T10:00:00Z, or milliseconds since 1970"
                    .to_owned()
            }),
        }
    }
}

fn milliseconds(digits: &str) -> Result<StartOffset, String> {
    match digits.parse() {
        Ok(number @ FIRST_MILLISECONDS..=LAST_MILLISECONDS) => Ok(StartOffset::Time(number)),
        _ => Err(format!(
            "a time as a number is milliseconds since 1970, {FIRST_MILLISECONDS} to {LAST_MILLISECONDS}; or write it as \
             2026-11-23T10:00:00Z"
        )),
    }
}

fn since_1970(time: SystemTime) -> Option<i64> {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok())
}

impl From<StartOffset> for String {
    fn from(start: StartOffset) -> Self {
        match start {
            StartOffset::Committed => "committed".to_owned(),
            StartOffset::Earliest => "earliest".to_owned(),
            StartOffset::Latest => "latest".to_owned(),
            StartOffset::Time(number) => {
                // A time outside this range does not come from a setting, but a program could create it, and it must be
                // printable.
                let number = number.clamp(0, LAST_MILLISECONDS).unsigned_abs();
                humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(number)).to_string()
            }
        }
    }
}
