//! Conversion of texts and TOML values to types. The same functions convert texts (environment, `--set`, flags), the values of a
//! TOML file, and the JSON in which a worker receives the settings.
//!
//! Own visitors, also for durations: the errors of `humantime-serde`, `serde_with` and serde itself repeat the value, which may be
//! secret.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

/// A value as it is written.
enum Scalar<'a> {
    Text(&'a str),
    Integer(i128),
    Float(f64),
    Bool(bool),
    /// JSON's `null`.
    Null,
}

/// The problem of a value: its own text, or `None` for what the setting expects.
type Problem = Option<String>;

struct ScalarVisitor<T> {
    expected: &'static str,
    convert: fn(Scalar<'_>) -> Result<T, Problem>,
}

impl<T> ScalarVisitor<T> {
    fn visit<E: Error>(self, scalar: Scalar<'_>) -> Result<T, E> {
        (self.convert)(scalar)
            .map_err(|problem| E::custom(problem.unwrap_or_else(|| format!("expected {}", self.expected))))
    }
}

impl<T> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.visit(Scalar::Text(text))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit(Scalar::Integer(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit(Scalar::Integer(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.visit(Scalar::Float(number))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        self.visit(Scalar::Bool(value))
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        self.visit(Scalar::Null)
    }
}

/// Parses a number, in which `_` may separate digits.
fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    text.trim().replace('_', "").parse().map_err(|_| None)
}

/// A non-negative integer.
pub(super) fn count<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<T, D::Error> {
    let convert = |scalar: Scalar<'_>| {
        let number = match scalar {
            Scalar::Text(text) => parse::<u64>(text)?,
            Scalar::Integer(number) => u64::try_from(number).map_err(|_| None)?,
            _ => return Err(None),
        };
        T::try_from(number).map_err(|_| Some("the number is too large".to_owned()))
    };
    from.deserialize_any(ScalarVisitor { expected: "a whole number, 0 or more", convert })
}

/// A floating-point number.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let convert = |scalar: Scalar<'_>| match scalar {
        Scalar::Text(text) => parse(text),
        Scalar::Integer(number) => Ok(number as f64),
        Scalar::Float(number) => Ok(number),
        _ => Err(None),
    };
    from.deserialize_any(ScalarVisitor { expected: "a number", convert })
}

/// A boolean.
pub(super) fn switch<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let convert = |scalar: Scalar<'_>| match scalar {
        Scalar::Text(text) => text.trim().parse().map_err(|_| None),
        Scalar::Bool(value) => Ok(value),
        _ => Err(None),
    };
    from.deserialize_any(ScalarVisitor { expected: "true or false", convert })
}

/// A text that must be quoted: TOML parses an unquoted `1e5` as a number, and its original characters are lost.
pub(super) fn quoted<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let convert = |scalar: Scalar<'_>| match scalar {
        Scalar::Text(text) => Ok(text.to_owned()),
        _ => Err(None),
    };
    from.deserialize_any(ScalarVisitor { expected: "a text in quotes", convert })
}

/// A listen address: an address and a port. A port alone means the loopback address; an empty value means no listener.
pub(super) fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let expected = "an address and a port, such as 127.0.0.1:9464 (this machine only) or 0.0.0.0:9464 (everybody); a port alone is \
                    on this machine only; empty: off";
    let convert = |scalar: Scalar<'_>| match scalar {
        Scalar::Text(text) => listen_address(text.trim()),
        Scalar::Integer(port) => listen_address(&port.to_string()),
        Scalar::Null => Ok(None),
        _ => Err(None),
    };
    from.deserialize_any(ScalarVisitor { expected, convert })
}

fn listen_address(text: &str) -> Result<Option<SocketAddr>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    match port.parse() {
        Ok(port) => Ok(Some((Ipv4Addr::LOCALHOST, port).into())),
        Err(_) => text.parse().map(Some).map_err(|_| None),
    }
}

/// A duration as text with its unit, such as `"1m 30s"`.
pub(super) mod duration {
    use super::{Duration, Scalar, ScalarVisitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let convert = |scalar: Scalar<'_>| match scalar {
            Scalar::Text(text) => humantime::parse_duration(text.trim()).map_err(|_| None),
            // Zero needs no unit.
            Scalar::Integer(0) => Ok(Duration::ZERO),
            _ => Err(None),
        };
        from.deserialize_any(ScalarVisitor {
            expected: "a duration with its unit, such as \"5s\" or \"250ms\"",
            convert,
        })
    }
}

/// A list of strings: an array, or comma-separated text.
pub(super) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(ListVisitor { expected: "an array of texts, or a text separated by commas", split: at_commas })
}

/// An external command with its arguments: an array, or a text that is split like a shell command line.
pub(super) fn command<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(ListVisitor { expected: "an array of texts, or a command line", split: command_words })
}

struct ListVisitor {
    expected: &'static str,
    split: fn(&str) -> Result<Vec<String>, String>,
}

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
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

/// Parses `a=b,c=d` into pairs; a value may contain `=`.
pub(super) fn assignments(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |item: String| match item.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err("expected NAME=VALUE, separated by commas".to_owned()),
    };
    at_commas(text)?.into_iter().map(pair).collect()
}
