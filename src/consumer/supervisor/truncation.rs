//! Whether a partition's log has become shorter than what was read of it: its topic was deleted and made again, or messages
//! were lost. No error tells a reader so.

use std::collections::BTreeMap;

use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;

/// So many answers in a row have to say so: a new leader may know of its log's end a moment later than its readers.
const CERTAIN: u32 = 3;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Truncation(BTreeMap<TopicPartition, u32>);

impl Truncation {
    /// `positions` were read before the `ends` were asked for. The text is for people.
    pub(super) fn look(&mut self, positions: &Offsets, ends: &Offsets) -> Option<String> {
        self.0.retain(|partition, _| positions.get(partition) > ends.get(partition) && ends.contains_key(partition));
        for (partition, end) in ends {
            let Some(position) = positions.get(partition).filter(|position| *position > end) else { continue };
            let seen = self.0.entry(partition.clone()).or_default();
            *seen += 1;
            if *seen >= CERTAIN {
                return Some(format!(
                    "{partition}: read up to {position}, but the log ends at {end}: the topic was deleted and made again, or has \
                     lost messages; start with --from-beginning, or take another consumer.group"
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_log_is_told_when_it_stays_so() {
        let at = |offset| Offsets::from([(TopicPartition::new("t", 0), offset)]);
        let mut truncation = Truncation::default();
        assert_eq!(truncation.look(&at(10), &at(10)), None);
        assert_eq!(truncation.look(&at(10), &at(5)), None);
        assert_eq!(truncation.look(&at(10), &at(5)), None);
        assert_eq!(truncation.look(&at(10), &at(10)), None, "it was a new leader");
        assert_eq!((0..2).find_map(|_| truncation.look(&at(10), &at(5))), None);
        assert!(truncation.look(&at(10), &at(5)).is_some_and(|text| text.contains("t/0")));
    }
}
