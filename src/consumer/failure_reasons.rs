//! The reasons for which messages were skipped or dead-lettered, with counts: pure.
//!
//! Reasons are texts of processors and programs. Numbers in them are replaced (`no stock for #`), and long texts
//! are cut. After the first [`MAX_REASONS`] all other reasons share one row.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::util::escape::{one_line, truncate_chars};

/// The maximum number of reasons with separate rows.
const MAX_REASONS: usize = 50;
/// The maximum length of a reason, in characters.
const REASON_CHARS: usize = 100;
/// The row that all other reasons share.
const OTHER: &str = "other";

/// Messages that were skipped or dead-lettered, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReasons(BTreeMap<String, u64>);

impl FailureReasons {
    /// Counts one message.
    pub fn count(&mut self, reason: &str) {
        self.add_to(name_of(reason), 1);
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(reason, count)| self.add_to(reason.clone(), *count));
    }

    fn add_to(&mut self, reason: String, count: u64) {
        let is_known = self.0.contains_key(&reason);
        let reason = if is_known || self.0.len() < MAX_REASONS { reason } else { OTHER.to_owned() };
        *self.0.entry(reason).or_default() += count;
    }

    /// Whether no message was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Messages by reason.
    pub fn by_reason(&self) -> &BTreeMap<String, u64> {
        &self.0
    }
}

/// The reason as one line, each number as `#`.
fn name_of(reason: &str) -> String {
    let mut name = String::new();
    for letter in one_line(&truncate_chars(reason, 4 * REASON_CHARS)).chars() {
        let letter = if letter.is_ascii_digit() { '#' } else { letter };
        if letter != '#' || !name.ends_with('#') {
            name.push(letter);
        }
    }
    truncate_chars(name.trim(), REASON_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_distinguished_without_their_numbers() {
        let mut reasons = FailureReasons::default();
        (0..1_000).for_each(|number| reasons.count(&format!("no stock for {number}\n")));
        reasons.count("refused");
        let mut sum = FailureReasons::default();
        sum.add(&reasons);
        sum.add(&reasons);
        assert_eq!(sum.by_reason(), &[("no stock for #".to_owned(), 2_000), ("refused".to_owned(), 2)].into());
    }

    #[test]
    fn many_reasons_and_long_ones_take_little_room() {
        let mut reasons = FailureReasons::default();
        let text = |number: u32| "x".repeat(1 + number as usize);
        (0..80).for_each(|number| reasons.count(&text(number)));
        assert_eq!((reasons.by_reason().len(), reasons.by_reason()[OTHER]), (MAX_REASONS + 1, 30));
        let mut long = FailureReasons::default();
        long.count(&"x".repeat(120_000));
        assert_eq!(long.by_reason().keys().next().map(|reason| reason.chars().count()), Some(REASON_CHARS));
    }
}
