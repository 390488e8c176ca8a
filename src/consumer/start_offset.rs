//! The start offset of a partition: when the run starts, when a group assigns it, when its position is out of
//! range. Pure.

use crate::kafka::offsets::Watermarks;
use crate::kafka::topic_id::{DECIDE, Recreated};
use crate::settings::{AutoOffsetReset, Consumer, OffsetOutOfRange, StartOffset};
use crate::util::format::pluralize;

/// The known offsets of a partition before it is consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownOffsets {
    /// The low and high watermark of its log.
    pub watermarks: Watermarks,
    /// The group's committed offset.
    pub committed: Option<i64>,
    /// The first offset at or after the start time; `None` if every message is older.
    pub at_time: Option<i64>,
}

/// The start position of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartPosition {
    /// At this offset.
    At(i64),
    /// None: the group's committed offset is not in the log.
    OutOfRange { committed: i64 },
}

/// Determines the start position from the settings.
pub(crate) fn resolve_start(settings: &Consumer, known: KnownOffsets) -> StartPosition {
    let Watermarks { low, high } = known.watermarks;
    match (settings.start, known.committed) {
        (StartOffset::Earliest, _) => StartPosition::At(low),
        (StartOffset::Latest, _) => StartPosition::At(high),
        (StartOffset::Time(_), _) => StartPosition::At(known.at_time.unwrap_or(high)),
        (StartOffset::Committed, None) => StartPosition::At(match settings.auto_offset_reset {
            AutoOffsetReset::Earliest => low,
            AutoOffsetReset::Latest => high,
        }),
        (StartOffset::Committed, Some(committed)) if (low..=high).contains(&committed) => StartPosition::At(committed),
        (StartOffset::Committed, Some(committed)) => StartPosition::OutOfRange { committed },
    }
}

/// The offset at which a partition continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The requested offset.
    At(i64),
    /// Another offset, with the text for the log.
    Jump(i64, String),
    /// None, with the reason.
    Nowhere(String),
}

/// The start offset of a partition without a committed offset. A partition that `is_new`, added while the run
/// consumes its topic, starts at its low watermark under either setting: it has no messages from before the run.
pub(crate) fn reset_offset(settings: &Consumer, watermarks: Watermarks, is_new: bool) -> i64 {
    match settings.auto_offset_reset {
        AutoOffsetReset::Latest if !is_new => watermarks.high,
        AutoOffsetReset::Earliest | AutoOffsetReset::Latest => watermarks.low,
    }
}

/// Determines where a partition continues that should be consumed from `offset`.
pub(crate) fn requested_offset(policy: OffsetOutOfRange, offset: i64, watermarks: Watermarks) -> Begin {
    let Watermarks { low: beginning, high: end } = watermarks;
    if (beginning..=end).contains(&offset) {
        return Begin::At(offset);
    }
    let what = if offset < beginning {
        let missing = beginning.abs_diff(offset);
        format!(
            "{} from offset {offset} on are gone from the log, unprocessed: retention was too short",
            pluralize(missing, "message")
        )
    } else {
        format!("offset {offset} is behind the log's end: the topic was created again, or has lost messages")
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

/// Determines where a partition continues whose topic was created again since the group's last commit.
pub(crate) fn of_recreated(policy: OffsetOutOfRange, recreated: &Recreated, watermarks: Watermarks) -> Begin {
    let at = match policy {
        OffsetOutOfRange::Stop => return Begin::Nowhere(format!("{recreated}; {DECIDE}")),
        OffsetOutOfRange::Earliest => watermarks.low,
        OffsetOutOfRange::Latest => watermarks.high,
    };
    Begin::Jump(at, format!("{recreated}; going on at {at} (consumer.offset_out_of_range)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::topic_id::TopicId;

    const WATERMARKS: Watermarks = Watermarks { low: 10, high: 20 };

    #[test]
    fn what_is_wanted_and_in_the_log_is_where_it_begins() {
        for offset in [10, 15, 20] {
            assert_eq!(requested_offset(OffsetOutOfRange::Stop, offset, WATERMARKS), Begin::At(offset));
        }
        let mut settings = crate::settings::defaults().consumer;
        assert_eq!(reset_offset(&settings, WATERMARKS, false), 10);
        settings.auto_offset_reset = AutoOffsetReset::Latest;
        assert_eq!(reset_offset(&settings, WATERMARKS, false), 20);
        assert_eq!(reset_offset(&settings, WATERMARKS, true), 10);
    }

    #[test]
    fn no_jump_of_a_worker_is_silent() {
        let jump = |policy, offset| match requested_offset(policy, offset, WATERMARKS) {
            Begin::Jump(at, text) => (at, text),
            other => panic!("{other:?}"),
        };
        let (at, text) = jump(OffsetOutOfRange::Earliest, 3);
        assert!(at == 10 && text.starts_with("7 messages from offset 3 on"), "{at}: {text}");
        let (at, text) = jump(OffsetOutOfRange::Latest, 3);
        assert!(at == 20 && text.contains("past 10 that are there"), "{at}: {text}");
        let (at, text) = jump(OffsetOutOfRange::Earliest, 21);
        assert!(at == 10 && text.contains("behind the log's end"), "{at}: {text}");
    }

    #[test]
    fn a_topic_that_was_created_again_starts_as_it_was_decided() {
        let [before, now] = ["before", "now"].map(TopicId::new);
        let recreated = Recreated { topic: "t".to_owned(), before, now };
        let begin = |policy| of_recreated(policy, &recreated, WATERMARKS);
        assert!(matches!(begin(OffsetOutOfRange::Stop), Begin::Nowhere(text) if text.contains("created again")));
        assert!(matches!(begin(OffsetOutOfRange::Earliest), Begin::Jump(10, _)));
        assert!(matches!(begin(OffsetOutOfRange::Latest), Begin::Jump(20, _)));
    }

    #[test]
    fn stop_names_what_would_go_on() {
        for offset in [9, 21] {
            let Begin::Nowhere(text) = requested_offset(OffsetOutOfRange::Stop, offset, WATERMARKS) else {
                panic!("it goes on")
            };
            assert!(text.contains("consumer.offset_out_of_range") && text.contains("10 to 20"), "{text}");
        }
    }

    fn at(start: StartOffset, auto_offset_reset: AutoOffsetReset, committed: Option<i64>) -> StartPosition {
        let mut settings = crate::settings::defaults().consumer;
        settings.start = start;
        settings.auto_offset_reset = auto_offset_reset;
        resolve_start(&settings, KnownOffsets { watermarks: WATERMARKS, committed, at_time: Some(17) })
    }

    #[test]
    fn a_commit_is_where_it_goes_on() {
        assert_eq!(at(StartOffset::Committed, AutoOffsetReset::Earliest, Some(15)), StartPosition::At(15));
        assert_eq!(at(StartOffset::Committed, AutoOffsetReset::Earliest, Some(20)), StartPosition::At(20));
        assert_eq!(at(StartOffset::Committed, AutoOffsetReset::Earliest, None), StartPosition::At(10));
        assert_eq!(at(StartOffset::Committed, AutoOffsetReset::Latest, None), StartPosition::At(20));
    }

    #[test]
    fn other_starts_ignore_commits() {
        assert_eq!(at(StartOffset::Earliest, AutoOffsetReset::Latest, Some(15)), StartPosition::At(10));
        assert_eq!(at(StartOffset::Latest, AutoOffsetReset::Earliest, Some(15)), StartPosition::At(20));
        assert_eq!(at(StartOffset::Time(1), AutoOffsetReset::Earliest, Some(15)), StartPosition::At(17));
    }

    #[test]
    fn no_jump_is_silent() {
        for committed in [3, 21] {
            let expected = StartPosition::OutOfRange { committed };
            assert_eq!(at(StartOffset::Committed, AutoOffsetReset::Latest, Some(committed)), expected);
        }
    }
}
