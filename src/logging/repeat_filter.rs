//! Counts similar warnings and errors instead of repeating them. Pure.
//!
//! Two lines are similar if they start alike except for their numbers. [`LINES`] lines of a kind are written per
//! [`WINDOW`]; further ones are counted, and one line at the end of the window reports their number.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The maximum number of written lines per kind and window.
const LINES: u32 = 20;
/// The length of a window.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// The maximum number of kinds; lines of further kinds are written.
const MAX_KINDS: usize = 500;
/// The number of characters that determine a line's kind.
const KIND_CHARS: usize = 48;

/// Suppressed lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    /// Their number.
    pub(super) lines: u64,
    /// The time in which they occurred.
    pub(super) over: Duration,
    /// The last of them.
    pub(super) last: String,
    /// Whether they were errors.
    pub(super) errors: bool,
}

/// Counts lines by kind.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<String, Kind>);

#[derive(Debug)]
struct Kind {
    begun: Instant,
    written: u32,
    left_out: u64,
    last: String,
    errors: bool,
}

impl Kind {
    fn repeated(self, now: Instant) -> Option<Repeated> {
        let Self { begun, left_out: lines, last, errors, .. } = self;
        (lines > 0).then(|| Repeated { lines, over: now.saturating_duration_since(begun), last, errors })
    }
}

impl Repeats {
    /// Returns whether this line is written. Expired windows must be taken ([`Self::take_over`]) before.
    pub(super) fn allows(&mut self, now: Instant, text: &str, is_error: bool) -> bool {
        let kinds = self.0.len();
        let name = kind_of(text);
        if kinds >= MAX_KINDS && !self.0.contains_key(&name) {
            return true;
        }
        let kind = self.0.entry(name).or_insert_with(|| Kind {
            begun: now,
            written: 0,
            left_out: 0,
            last: String::new(),
            errors: is_error,
        });
        if kind.written < LINES {
            kind.written += 1;
            return true;
        }
        kind.left_out += 1;
        text.clone_into(&mut kind.last);
        false
    }

    /// Takes the suppressed lines of expired windows.
    pub(super) fn take_over(&mut self, now: Instant) -> Vec<Repeated> {
        let over: Vec<String> = self
            .0
            .iter()
            .filter(|(_, kind)| now.saturating_duration_since(kind.begun) >= WINDOW)
            .map(|(name, _)| name.clone())
            .collect();
        over.iter().filter_map(|name| self.0.remove(name)?.repeated(now)).collect()
    }

    /// Takes all suppressed lines.
    pub(super) fn take_all(&mut self, now: Instant) -> Vec<Repeated> {
        self.0.drain().filter_map(|(_, kind)| kind.repeated(now)).collect()
    }
}

/// The start of a line, with its numbers replaced by `#`.
fn kind_of(text: &str) -> String {
    let mut kind = String::with_capacity(KIND_CHARS);
    for character in text.chars() {
        let character = if character.is_ascii_digit() { '#' } else { character };
        if character != '#' || !kind.ends_with('#') {
            kind.push(character);
        }
        if kind.len() >= KIND_CHARS {
            break;
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_kind_are_counted_beyond_the_first() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let text = |number: u32| format!("message failed, attempt {number} of 3: no");
        let written = (0..100).filter(|number| repeats.allows(now, &text(*number), false)).count();
        assert_eq!(written, LINES as usize);
        assert!(repeats.allows(now, "another warning", false), "another kind");
        assert_eq!(repeats.take_over(now + WINDOW / 2), []);
        let expected = Repeated { lines: 80, over: WINDOW, last: text(99), errors: false };
        assert_eq!(repeats.take_over(now + WINDOW), [expected]);
        assert!(repeats.allows(now + WINDOW, &text(100), false), "a new window");
        assert_eq!(repeats.take_over(now + 3 * WINDOW), [], "nothing was left out");
    }

    #[test]
    fn at_the_end_nothing_is_kept_back() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        (0..22).for_each(|_| _ = repeats.allows(now, "it failed", true));
        let left: Vec<_> = repeats.take_all(now).into_iter().map(|it| (it.lines, it.errors)).collect();
        assert_eq!(left, [(2, true)]);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        for one in 'a'..='z' {
            for other in "abcdefghijklmnopqrstuvwxyz".chars() {
                assert!(repeats.allows(now, &format!("{one}{other}"), false));
            }
        }
        assert_eq!(repeats.0.len(), MAX_KINDS);
        assert!(kind_of(&"x".repeat(100_000)).len() <= KIND_CHARS + 4);
    }
}
