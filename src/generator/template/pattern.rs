//! `$pattern`: text that matches a regular expression.
//!
//! Classes are ASCII: `\d` is 0 to 9, and open classes such as `.`, `\W` or `[^a]` are limited to printable
//! characters; `(?u:…)` around a part enables Unicode. `*` and `+` repeat up to 16 times more than required. Anchors
//! are rejected: the text is the whole match.

use rand_regex::{Error, Regex};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Capture, Class, ClassBytes, ClassBytesRange, Hir, HirKind, Repetition};

/// The maximum number of extra repetitions of an open repetition.
const MORE: u32 = 16;
/// The maximum text length in bytes, because patterns are compiled into memory.
const MAX_MATCH_BYTES: u64 = 1_000_000;

/// Compiles a pattern.
pub(super) fn compile(pattern: String) -> Result<Regex, String> {
    let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(&pattern);
    let parsed = parsed.map_err(|error| format!("{pattern:?} is no regular expression: {}", last_line(&error)))?;
    match longest(&parsed) {
        Some(0..=MAX_MATCH_BYTES) => {}
        _ => return Err(format!("{pattern:?} matches texts of more than {MAX_MATCH_BYTES} bytes")),
    }
    let regex = Regex::with_hir(printable(parsed), MORE).map_err(|error| match error {
        Error::Anchor => {
            format!("{pattern:?} has an anchor (^, $, \\b …), and the text is the whole match anyway: leave it out")
        }
        other => format!("{pattern:?} matches nothing that could be written: {}", last_line(&other)),
    })?;
    if regex.is_utf8() { Ok(regex) } else { Err(format!("{pattern:?} matches bytes that are no text")) }
}

/// The library's errors are multi-line drawings; the last line has the error.
fn last_line(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// The maximum match length in bytes, where an empty part counts as 1; `None` on overflow.
fn longest(hir: &Hir) -> Option<u64> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(1),
        HirKind::Literal(literal) => u64::try_from(literal.0.len()).ok(),
        HirKind::Class(_) => Some(4),
        HirKind::Capture(capture) => longest(&capture.sub),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.or_else(|| repetition.min.checked_add(MORE))?;
            longest(&repetition.sub)?.checked_mul(u64::from(times).max(1))
        }
        HirKind::Concat(parts) => parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(longest(part)?)),
        HirKind::Alternation(parts) => parts.iter().try_fold(1, |most, part| Some(longest(part)?.max(most))),
    }
}

/// Narrows classes that contain more than ASCII to printable characters.
fn printable(hir: Hir) -> Hir {
    let all = |parts: Vec<Hir>| parts.into_iter().map(printable).collect();
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(Class::Bytes(mut class)) => {
            if !class.is_ascii() {
                class.intersect(&ClassBytes::new([ClassBytesRange::new(b' ', b'~')]));
            }
            Hir::class(Class::Bytes(class))
        }
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => {
            Hir::repetition(Repetition { min, max, greedy, sub: Box::new(printable(*sub)) })
        }
        HirKind::Capture(Capture { index, name, sub }) => {
            Hir::capture(Capture { index, name, sub: Box::new(printable(*sub)) })
        }
        HirKind::Concat(parts) => Hir::concat(all(parts)),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)),
    }
}

#[cfg(test)]
mod tests {
    use rand::distr::Distribution;

    use super::super::super::rng::{RngStream, rng_for};
    use super::*;
    use crate::generator::MessageContext;

    fn samples(pattern: &str) -> Vec<String> {
        let regex = compile(pattern.to_owned()).unwrap();
        let text = |sequence| {
            let source = MessageContext { producer: 0, producers: 1, sequence, due_us: 0 };
            let bytes: Vec<u8> = regex.sample(&mut rng_for(7, RngStream::Payload, &source));
            String::from_utf8(bytes).unwrap()
        };
        (0..200).map(text).collect()
    }

    #[test]
    fn classes_are_ascii_and_printable() {
        for text in samples(r"[A-Z]{3}-\d{4}") {
            let (upper, digits) = text.split_once('-').unwrap();
            assert!(upper.len() == 3 && upper.bytes().all(|byte| byte.is_ascii_uppercase()), "{text}");
            assert!(digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
        }
        for text in samples(r".[^a]\W") {
            assert!(text.len() == 3 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
            assert_ne!(text.as_bytes()[1], b'a');
        }
        assert!(samples("(?u:[äöü])ß|x").iter().any(|text| text.chars().count() == 2 && text.ends_with('ß')));
    }

    #[test]
    fn open_repetitions_end() {
        let lengths: Vec<usize> = samples("a+").iter().map(String::len).collect();
        assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&1), Some(&17)));
    }

    #[test]
    fn nothing_repeated_is_nothing() {
        assert!(samples("((){9999}){9999}").iter().all(String::is_empty));
    }

    #[test]
    fn invalid_and_too_long_patterns_are_rejected() {
        let error_of = |pattern: &str| compile(pattern.to_owned()).unwrap_err();
        assert_eq!(error_of("a("), "\"a(\" is no regular expression: unclosed group");
        assert!(error_of("^a$").contains("has an anchor"));
        assert!(error_of("[a&&b]").contains("matches nothing"));
        assert!(error_of(r"(?-u:\xff)").contains("no text"));
        for pattern in ["a{1000001}", "((a{1000}){1000}){1000}", "(x{0,70000}){70000}", "a{4294967295,}"] {
            assert!(error_of(pattern).contains("more than 1000000 bytes"), "{pattern}");
        }
    }
}
