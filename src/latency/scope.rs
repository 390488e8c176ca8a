//! The rules by which stamps count for the latency from scheduled to processed. Pure: no I/O, no state.
//!
//! A stamp is text in a message, which is untrusted input. It counts if its checksum matches the message, if it belongs to the
//! measured run (where that is known), and if the message was scheduled after the consuming process started: the age of an earlier
//! message depends on when the consumer was started, not on the latency of messages.

use serde::{Deserialize, Serialize};

use crate::stamp::StampCheck;

/// The scope of a latency measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampScope {
    /// When the consuming process started, in µs since 1970 UTC.
    pub since_us: u64,
    /// The measured run; `None`: any run.
    pub run: Option<u64>,
}

/// How a stamp counts for the latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// It counts; contains the scheduled time of the message in µs since 1970 UTC.
    Due(u64),
    /// The message was scheduled before the process started.
    Older,
    /// The stamp belongs to another run.
    OtherRun,
    /// The checksum does not match the message.
    Corrupt,
}

/// Numbers of processed messages whose stamps do not count for the latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// Number of [`Timing::Older`].
    pub older: u64,
    /// Number of [`Timing::OtherRun`].
    pub other_run: u64,
    /// Number of [`Timing::Corrupt`].
    pub corrupt: u64,
}

impl StampScope {
    /// Returns how a stamp counts.
    pub fn timing(&self, found: &StampCheck) -> Timing {
        let stamp = &found.stamp;
        if !found.intact {
            Timing::Corrupt
        } else if self.run.is_some_and(|run| run != stamp.run) {
            Timing::OtherRun
        } else if stamp.due_us < self.since_us {
            Timing::Older
        } else {
            Timing::Due(stamp.due_us)
        }
    }
}

impl Excluded {
    /// Whether all numbers are zero.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the numbers of `other`.
    pub fn add(&mut self, other: &Self) {
        self.older += other.older;
        self.other_run += other.other_run;
        self.corrupt += other.corrupt;
    }

    /// Returns the line below the table of latencies; empty if all numbers are zero.
    pub fn line(&self) -> String {
        let parts = [
            (self.older, "were stamped before this process was started"),
            (self.other_run, "are of another run"),
            (self.corrupt, "have a stamp whose checksum does not fit"),
        ];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        let parts: Vec<_> = parts
            .map(|(number, what)| format!("{} messages {what}", crate::util::format::format_count(*number)))
            .collect();
        if parts.is_empty() { String::new() } else { format!("not counted: {}\n", parts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;

    #[test]
    fn only_intact_stamps_of_the_run_that_were_due_since_the_start_count() {
        let scope = StampScope { since_us: 1_000, run: None };
        let found = |due_us, run, intact| StampCheck { stamp: Stamp { due_us, run, ..Stamp::default() }, intact };
        assert_eq!(scope.timing(&found(1_000, 7, true)), Timing::Due(1_000));
        assert_eq!(scope.timing(&found(999, 7, true)), Timing::Older);
        assert_eq!(scope.timing(&found(1_000, 7, false)), Timing::Corrupt, "forged");
        let scope = StampScope { run: Some(7), ..scope };
        assert_eq!(scope.timing(&found(1_000, 7, true)), Timing::Due(1_000));
        assert_eq!(scope.timing(&found(1_000, 8, true)), Timing::OtherRun);
    }

    #[test]
    fn what_is_excluded_is_named_with_its_number() {
        let mut sum = Excluded { older: 12_345, ..Excluded::default() };
        sum.add(&Excluded { corrupt: 2, ..Excluded::default() });
        let expected = "not counted: 12,345 messages were stamped before this process was started, 2 messages have a stamp \
            whose checksum does not fit\n";
        assert_eq!(sum.line(), expected);
        assert_eq!(Excluded::default().line(), "");
    }
}
