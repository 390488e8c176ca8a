//! Members of a group wait for messages that may never come: after their position the log may hold only
//! transaction markers, aborted batches or compacted records. The supervisor detects this and moves their
//! positions. Pure.

use crate::kafka::offsets::Offsets;

/// The known gaps, and whether a search is in flight.
#[derive(Debug, Default)]
pub(super) struct GapSearch {
    pub(super) under_way: bool,
    /// Positions that a message follows: its worker receives it.
    pub(super) full: Offsets,
}

impl GapSearch {
    /// The positions of waiting workers for which it is unknown whether a message follows.
    pub(super) fn unknown(&mut self, starved: &Offsets) -> Offsets {
        self.full.retain(|partition, position| starved.get(partition) == Some(position));
        let is_unknown = |(partition, _): &(_, _)| !self.full.contains_key(*partition);
        starved.iter().filter(is_unknown).map(|(partition, position)| (partition.clone(), *position)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TopicPartition;

    #[test]
    fn a_position_that_a_message_follows_is_searched_once() {
        let at = |offset| Offsets::from([(TopicPartition::new("t", 0), offset)]);
        let mut search = GapSearch::default();
        assert_eq!(search.unknown(&at(5)), at(5));
        search.full = at(5);
        assert_eq!(search.unknown(&at(5)), Offsets::new());
        assert_eq!(search.unknown(&at(7)), at(7), "it has moved");
        assert_eq!(search.unknown(&at(5)), at(5), "another log: nothing is known of it");
    }
}
