//! The start offset of a partition, with the log lines about it, or the reason why it cannot be consumed.

use std::collections::BTreeMap;

use slog::{Logger, warn};

use super::messages::DiscoveredPartition;
use crate::consumer::start_offset::{KnownOffsets, StartPosition, resolve_start};
use crate::exit::ExitStatus;
use crate::kafka::offsets::Watermarks;
use crate::kafka::topic_id::{DECIDE, Recreated};
use crate::record::TopicPartition;
use crate::settings::{Assignment, OffsetOutOfRange, Settings};

/// Limits an explicit start offset to the log: messages below the low watermark are deleted.
pub(super) fn start_no_lower(start: i64, logger: &Logger, partition: &TopicPartition, watermarks: Watermarks) -> i64 {
    if start < watermarks.low {
        warn!(logger, "{partition}: {} messages are gone from the log", watermarks.low - start;
            "from" => start, "to" => watermarks.low);
    }
    start.clamp(watermarks.low, watermarks.high)
}

/// The start offset of a partition whose committed offset belongs to a previous topic of the same name.
pub(super) fn start_of_recreated(
    settings: &Settings,
    logger: &Logger,
    partition: &TopicPartition,
    watermarks: Watermarks,
    recreated: &Recreated,
) -> Result<i64, ExitStatus> {
    let policy = settings.consumer.offset_out_of_range;
    let at = match policy {
        OffsetOutOfRange::Stop => return Err(ExitStatus::failed(format!("{recreated}; {DECIDE}"))),
        OffsetOutOfRange::Earliest => watermarks.low,
        OffsetOutOfRange::Latest => watermarks.high,
    };
    warn!(logger, "{partition}: {recreated}; going on at {at}"; "consumer.offset_out_of_range" => policy.word());
    Ok(at)
}

pub(super) fn start_at(
    settings: &Settings,
    logger: &Logger,
    partition: &TopicPartition,
    known: KnownOffsets,
) -> Result<i64, ExitStatus> {
    let watermarks = known.watermarks;
    match resolve_start(&settings.consumer, known) {
        StartPosition::At(offset) => Ok(offset),
        StartPosition::OutOfRange { committed } => {
            let group = &settings.consumer.group_id;
            let text = if committed < watermarks.low {
                format!(
                    "{partition}: the group {group:?} has committed offset {committed}, but the log begins at {}: {} messages are \
                     gone, unprocessed: retention was shorter than the pause",
                    watermarks.low,
                    watermarks.low - committed
                )
            } else {
                format!(
                    "{partition}: the group {group:?} has committed offset {committed}, but the log ends at {}: the topic was \
                     deleted and created again, or has lost messages",
                    watermarks.high
                )
            };
            let at = match settings.consumer.offset_out_of_range {
                OffsetOutOfRange::Stop => {
                    let manual = match settings.consumer.assignment {
                        Assignment::Manual => "start with --from-beginning, ",
                        Assignment::Group => "",
                    };
                    return Err(ExitStatus::failed(format!(
                        "{text}; go on with consumer.offset_out_of_range = \"earliest\" or \"latest\", {manual}or take another \
                         consumer.group_id"
                    )));
                }
                OffsetOutOfRange::Earliest => watermarks.low,
                OffsetOutOfRange::Latest => watermarks.high,
            };
            let unread = (at - committed).max(0);
            warn!(logger, "{text}; going on at {at}, {unread} messages further"; "consumer.offset_out_of_range" => settings.consumer.offset_out_of_range.word());
            Ok(at)
        }
    }
}

/// The maximum number of partitions per topic that a warning names.
const MAX_NAMED: usize = 50;

/// Returns a warning for each topic that starts below the group's committed offset: the first commit moves the
/// committed offset back, and everything in between is processed again.
pub(super) fn rewind_warnings(group: &str, found: &[DiscoveredPartition]) -> Vec<String> {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for DiscoveredPartition { start, committed, .. } in found {
        if let Some(committed) = committed.filter(|committed| start.start < *committed) {
            let TopicPartition { topic, partition } = &start.partition;
            topics.entry(topic).or_default().push(format!("{partition} from {committed} to {}", start.start));
        }
    }
    let warning = |(topic, partitions): (&str, Vec<String>)| {
        let more = partitions.len().saturating_sub(MAX_NAMED);
        let named = partitions.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        format!(
            "the group {group:?} is about to move back in the topic {topic:?}: its committed offset of partition {named}{more}; what is \
             in between is processed again. To look without committing, use --read-only (consumer.read_only)"
        )
    };
    topics.into_iter().map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_below_the_commit_is_announced_by_topic() {
        use crate::consumer::protocol::PartitionAssignment;
        let found = |topic: &str, partition, start, committed| {
            let start = PartitionAssignment {
                partition: TopicPartition::new(topic, partition),
                start,
                until: None,
                topic_id: None,
            };
            DiscoveredPartition { start, end: 200, committed }
        };
        let ahead = [found("t", 0, 150, Some(150)), found("t", 1, 160, Some(150)), found("t", 2, 0, None)];
        assert!(rewind_warnings("g", &ahead).is_empty());
        let back = [found("t", 0, 0, Some(150)), found("t", 1, 5, Some(75)), found("u", 3, 9, Some(10))];
        let warnings = rewind_warnings("g", &back);
        assert_eq!(warnings.len(), 2);
        let expected = "the group \"g\" is about to move back in the topic \"t\": its committed offset of partition 0 from 150 to 0, 1 from 75 to 5;";
        assert!(warnings[0].starts_with(expected), "{}", warnings[0]);
        let many: Vec<_> = (0..60).map(|partition| found("t", partition, 0, Some(1))).collect();
        assert!(rewind_warnings("g", &many)[0].contains(", and 10 more;"));
    }
}
