//! Detects a partition whose log has become shorter than what was consumed of it: messages were lost, or its
//! topic was created again on brokers that have no topic ids. The consumer gets no error in this case.

use std::collections::BTreeMap;

use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;

/// The number of consecutive replies that have to confirm it: a new leader may learn its high watermark a moment
/// later than the consumers.
const CONFIRMATIONS: u32 = 3;

/// Detects truncated logs: see the [module](self).
#[derive(Debug, Default)]
pub(super) struct TruncationDetector(BTreeMap<TopicPartition, u32>);

impl TruncationDetector {
    /// Compares positions with high watermarks. `positions` were read before the request for the `ends` was
    /// sent. Returns a description for the operator.
    pub(super) fn check(&mut self, positions: &Offsets, ends: &Offsets) -> Option<String> {
        self.0.retain(|partition, _| positions.get(partition) > ends.get(partition) && ends.contains_key(partition));
        for (partition, end) in ends {
            let Some(position) = positions.get(partition).filter(|position| *position > end) else { continue };
            let confirmations = self.0.entry(partition.clone()).or_default();
            *confirmations += 1;
            if *confirmations >= CONFIRMATIONS {
                return Some(format!(
                    "{partition}: read up to {position}, but the log ends at {end}: the topic was deleted and created again, or \
                     has lost messages"
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
    fn a_shorter_log_is_reported_when_it_stays_so() {
        let at = |offset| Offsets::from([(TopicPartition::new("t", 0), offset)]);
        let mut truncation = TruncationDetector::default();
        assert_eq!(truncation.check(&at(10), &at(10)), None);
        assert_eq!(truncation.check(&at(10), &at(5)), None);
        assert_eq!(truncation.check(&at(10), &at(5)), None);
        assert_eq!(truncation.check(&at(10), &at(10)), None, "it was a new leader");
        assert_eq!((0..2).find_map(|_| truncation.check(&at(10), &at(5))), None);
        assert!(truncation.check(&at(10), &at(5)).is_some_and(|text| text.contains("t/0")));
    }
}
