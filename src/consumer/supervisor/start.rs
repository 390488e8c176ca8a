//! From which offset a partition is read. Pure.

use crate::settings::{Consumer, Start, WithoutCommit};

/// What is known of a partition before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The oldest offset that is still there.
    pub beginning: i64,
    /// The next offset that will be written.
    pub end: i64,
    /// What the group has committed.
    pub committed: Option<i64>,
    /// The first offset of the start time; the end if nothing is that young.
    pub at_time: Option<i64>,
}

/// Where to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// There.
    At(i64),
    /// Nowhere: what the group has committed is not in the log.
    OutOfRange { committed: i64 },
}

/// Where to start, by the settings.
pub(super) fn begin(settings: &Consumer, known: Known) -> Begin {
    match (settings.start, known.committed) {
        (Start::Beginning, _) => Begin::At(known.beginning),
        (Start::End, _) => Begin::At(known.end),
        (Start::Time(_), _) => Begin::At(known.at_time.unwrap_or(known.end)),
        (Start::Committed, None) => Begin::At(match settings.without_commit {
            WithoutCommit::Beginning => known.beginning,
            WithoutCommit::End => known.end,
        }),
        (Start::Committed, Some(committed)) if (known.beginning..=known.end).contains(&committed) => {
            Begin::At(committed)
        }
        (Start::Committed, Some(committed)) => Begin::OutOfRange { committed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Start, without_commit: WithoutCommit, committed: Option<i64>) -> Begin {
        let mut settings = crate::settings::defaults().consumer;
        settings.start = start;
        settings.without_commit = without_commit;
        begin(&settings, Known { beginning: 10, end: 20, committed, at_time: Some(17) })
    }

    #[test]
    fn a_commit_is_where_it_goes_on() {
        assert_eq!(at(Start::Committed, WithoutCommit::Beginning, Some(15)), Begin::At(15));
        assert_eq!(at(Start::Committed, WithoutCommit::Beginning, Some(20)), Begin::At(20));
        assert_eq!(at(Start::Committed, WithoutCommit::Beginning, None), Begin::At(10));
        assert_eq!(at(Start::Committed, WithoutCommit::End, None), Begin::At(20));
    }

    #[test]
    fn other_starts_ignore_commits() {
        assert_eq!(at(Start::Beginning, WithoutCommit::End, Some(15)), Begin::At(10));
        assert_eq!(at(Start::End, WithoutCommit::Beginning, Some(15)), Begin::At(20));
        assert_eq!(at(Start::Time(1), WithoutCommit::Beginning, Some(15)), Begin::At(17));
    }

    #[test]
    fn no_jump_is_silent() {
        for committed in [3, 21] {
            let expected = Begin::OutOfRange { committed };
            assert_eq!(at(Start::Committed, WithoutCommit::End, Some(committed)), expected);
        }
    }
}
