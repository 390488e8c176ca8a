//! From which offset a partition is read that a group has dealt, or whose next offset is gone. Pure.

use crate::settings::{Consumer, OffsetOutOfRange, WithoutCommit};

/// What the brokers say of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The oldest offset that is still there.
    pub(super) beginning: i64,
    /// The next offset that will be written.
    pub(super) end: i64,
}

/// Where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// There.
    At(i64),
    /// There, and what has to be said about it.
    Jump(i64, String),
    /// Nowhere, and why.
    Nowhere(String),
}

/// Where a partition begins of which the group has committed nothing.
pub(super) fn without_commit(settings: &Consumer, known: Known) -> i64 {
    match settings.without_commit {
        WithoutCommit::Beginning => known.beginning,
        WithoutCommit::End => known.end,
    }
}

/// Where to go on in a partition that should be read from `offset` on.
pub(super) fn wanted(policy: OffsetOutOfRange, offset: i64, known: Known) -> Begin {
    let Known { beginning, end } = known;
    if (beginning..=end).contains(&offset) {
        return Begin::At(offset);
    }
    let what = if offset < beginning {
        let missing = beginning - offset;
        format!(
            "{missing} message(s) from offset {offset} on are gone from the log, unprocessed: retention was too short"
        )
    } else {
        format!("offset {offset} is behind the log's end: the topic was made again, or has lost messages")
    };
    let holds = format!("the log holds {beginning} to {end}");
    match policy {
        OffsetOutOfRange::Stop => Begin::Nowhere(format!(
            "{what}; {holds}; to go on at one of its ends, set consumer.offset_out_of_range = \"earliest\" or \"latest\""
        )),
        OffsetOutOfRange::Earliest => {
            Begin::Jump(beginning, format!("{what}; {holds}; going on at {beginning} (consumer.offset_out_of_range)"))
        }
        OffsetOutOfRange::Latest => Begin::Jump(
            end,
            format!(
                "{what}; {holds}; going on at {end} (consumer.offset_out_of_range), past {} that are there",
                end - beginning
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known = Known { beginning: 10, end: 20 };

    #[test]
    fn what_is_wanted_and_in_the_log_is_where_it_begins() {
        for offset in [10, 15, 20] {
            assert_eq!(wanted(OffsetOutOfRange::Stop, offset, KNOWN), Begin::At(offset));
        }
        let mut settings = crate::settings::defaults().consumer;
        assert_eq!(without_commit(&settings, KNOWN), 10);
        settings.without_commit = WithoutCommit::End;
        assert_eq!(without_commit(&settings, KNOWN), 20);
    }

    #[test]
    fn no_jump_is_silent() {
        let jump = |policy, offset| match wanted(policy, offset, KNOWN) {
            Begin::Jump(at, text) => (at, text),
            other => panic!("{other:?}"),
        };
        let (at, text) = jump(OffsetOutOfRange::Earliest, 3);
        assert!(at == 10 && text.starts_with("7 message(s) from offset 3 on"), "{at}: {text}");
        let (at, text) = jump(OffsetOutOfRange::Latest, 3);
        assert!(at == 20 && text.contains("past 10 that are there"), "{at}: {text}");
        let (at, text) = jump(OffsetOutOfRange::Earliest, 21);
        assert!(at == 10 && text.contains("behind the log's end"), "{at}: {text}");
    }

    #[test]
    fn stop_names_what_would_go_on() {
        for offset in [9, 21] {
            let Begin::Nowhere(text) = wanted(OffsetOutOfRange::Stop, offset, KNOWN) else { panic!("it goes on") };
            assert!(text.contains("consumer.offset_out_of_range") && text.contains("10 to 20"), "{text}");
        }
    }
}
