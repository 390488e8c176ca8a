//! Texts and TOML values to types. The same functions read what arrives as text (environment, `--set`, flags), what a
//! TOML file has, and the JSON by which a worker gets the settings.

use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

use super::Start;

/// A list of texts: an array, or separated by commas.
pub(super) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(Texts { what: "an array of texts, or a text separated by commas", split: at_commas })
}

/// An external command with its arguments: an array, or a text as a shell would split it.
pub(super) fn command<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(Texts { what: "an array of texts, or a command line", split: as_command_line })
}

type Split = fn(&str) -> Result<Vec<String>, String>;

struct Texts {
    what: &'static str,
    split: Split,
}

impl<'de> Visitor<'de> for Texts {
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

/// `a, b` → `["a", "b"]`; nothing between two commas is nothing.
fn at_commas(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// Splits at blanks. Quotes of both kinds keep blanks; a backslash keeps the next character, except between single
/// quotes. Nothing is expanded.
fn as_command_line(text: &str) -> Result<Vec<String>, String> {
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

/// Where to listen: an address and a port; a port alone is on the loopback address; empty is nowhere.
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

/// `a=b,c=d` → pairs; a value may contain `=`.
pub(super) fn assignments(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |item: String| match item.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err("expected NAME=VALUE, separated by commas".to_owned()),
    };
    at_commas(text)?.into_iter().map(pair).collect()
}

/// A whole number that is not negative.
pub(super) fn count<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(Count(PhantomData))
}

struct Count<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for Count<T> {
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

/// A number.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    from.deserialize_any(Number)
}

struct Number;

impl Visitor<'_> for Number {
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

/// True or false.
pub(super) fn switch<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    from.deserialize_any(Switch)
}

struct Switch;

impl Visitor<'_> for Switch {
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

/// The same words for whatever has the wrong type; serde's own repeat the value, which may be secret.
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
        from.deserialize_any(Text)
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration with its unit, such as \"5s\" or \"250ms\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text.trim()).map_err(|_| expected(&self))
        }

        /// Nothing is nothing in every unit.
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

/// From here on, digits are milliseconds since 1970 (this is in 1973); less was probably meant as seconds.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;
/// The end of the year 9999, the last that RFC 3339 can write.
const LAST_MILLISECONDS: i64 = 253_402_300_799_999;

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.trim() {
            "committed" => Ok(Self::Committed),
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => milliseconds(digits),
            time => humantime::parse_rfc3339(time).ok().and_then(since_1970).map(Self::Time).ok_or_else(|| {
                "allowed: committed, beginning, end, a time in UTC such as 2026-11-23T10:00:00Z, or milliseconds since 1970"
                    .to_owned()
            }),
        }
    }
}

fn milliseconds(digits: &str) -> Result<Start, String> {
    match digits.parse() {
        Ok(number @ FIRST_MILLISECONDS..=LAST_MILLISECONDS) => Ok(Start::Time(number)),
        _ => Err(format!(
            "a time as a number is milliseconds since 1970, {FIRST_MILLISECONDS} to {LAST_MILLISECONDS}; or write it as \
             2026-11-23T10:00:00Z"
        )),
    }
}

fn since_1970(time: SystemTime) -> Option<i64> {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok())
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        match start {
            Start::Committed => "committed".to_owned(),
            Start::Beginning => "beginning".to_owned(),
            Start::End => "end".to_owned(),
            Start::Time(number) => {
                // A time that no setting gives but a program could make; it must print all the same.
                let number = number.clamp(0, LAST_MILLISECONDS).unsigned_abs();
                humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(number)).to_string()
            }
        }
    }
}
