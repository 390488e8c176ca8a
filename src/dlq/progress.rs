//! The progress of replays in one partition, across runs. Pure.
//!
//! It is stored as a committed offset: the offset is the first record that is not done, and its metadata lists the
//! later records that are not done. A record is done when it was sent back, parked or skipped.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::kafka::cluster_client::Committed;
use crate::util::varint::{decode, encode};

/// The maximum number of records in flight before the progress is committed: after a crash, up to this number may be
/// sent again.
pub(super) const BATCH: usize = 500;
/// The prefix of the metadata, with the version of the format.
const FORMAT: &str = "dlq1:";
/// The maximum size of metadata with the default of `offset.metadata.max.bytes`.
const MAX_METADATA_BYTES: usize = 4_096;
/// The maximum growth of the metadata by one batch of [`BATCH`] records.
const BATCH_METADATA_BYTES: usize = 1_500;
/// The maximum number of open records of a partition: limits the memory, even for invalid metadata.
const MAX_OPEN: usize = 1_000_000;

/// See the [module documentation](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The first record that was not yet read.
    position: i64,
    /// Records before the position that are not done.
    open: BTreeSet<i64>,
}

impl Progress {
    /// Creates the progress where nothing is done from this offset on.
    pub(super) fn new(position: i64) -> Self {
        Self { position, open: BTreeSet::new() }
    }

    /// Decodes committed progress. Without metadata of this format, everything before the committed offset is done,
    /// as after a reset by Kafka's own tools.
    pub(super) fn of(committed: &Committed) -> Self {
        decode_progress(committed).unwrap_or_else(|| Self::new(committed.offset))
    }

    /// Encodes the progress for a commit.
    pub(super) fn committed(&self) -> Committed {
        let offset = self.first_open();
        if self.open.is_empty() {
            return Committed { offset, metadata: String::new() };
        }
        let mut bytes = Vec::new();
        encode(&mut bytes, self.position.abs_diff(offset));
        let mut at = offset;
        for (start, end) in runs(&self.open) {
            // The number of done records before these, and the number of these.
            encode(&mut bytes, start.abs_diff(at));
            encode(&mut bytes, end.abs_diff(start));
            at = end;
        }
        Committed { offset, metadata: format!("{FORMAT}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)) }
    }

    /// The first record that is not done.
    pub(super) fn first_open(&self) -> i64 {
        self.open.first().copied().unwrap_or(self.position)
    }

    /// The first record that was not yet read.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Returns whether a record is done.
    pub(super) fn is_done(&self, offset: i64) -> bool {
        offset < self.position && !self.open.contains(&offset)
    }

    /// Records that a record was read, and whether it is done.
    pub(super) fn note(&mut self, offset: i64, done: bool) {
        self.position = self.position.max(offset + 1);
        if done {
            self.open.remove(&offset);
        } else {
            self.open.insert(offset);
        }
    }

    /// Sets the log start offset; returns the maximum number of records that were deleted before they were done.
    pub(super) fn begin_at(&mut self, log_start: i64) -> u64 {
        let kept = self.open.split_off(&log_start);
        let lost = self.open.len() as u64 + u64::try_from(log_start - self.position).unwrap_or(0);
        self.open = kept;
        self.position = self.position.max(log_start);
        lost
    }

    /// Returns whether the metadata may overflow with one more batch.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() + BATCH > MAX_OPEN
            || self.committed().metadata.len() + BATCH_METADATA_BYTES > MAX_METADATA_BYTES
    }
}

/// Groups adjacent offsets into ranges of a first offset and an exclusive end.
fn runs(offsets: &BTreeSet<i64>) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some((_, end)) if *end == *offset => *end += 1,
            _ => runs.push((*offset, offset + 1)),
        }
    }
    runs
}

fn decode_progress(committed: &Committed) -> Option<Progress> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(committed.metadata.strip_prefix(FORMAT)?).ok()?;
    let mut rest = bytes.as_slice();
    let mut number = || i64::try_from(decode(&mut rest)?).ok();
    let position = committed.offset.checked_add(number()?)?;
    let (mut open, mut at) = (BTreeSet::new(), committed.offset);
    while let Some(done) = number() {
        let start = at.checked_add(done)?;
        at = start.checked_add(number()?).filter(|end| *end <= position)?;
        if at.abs_diff(start) > (MAX_OPEN - open.len()) as u64 {
            return None;
        }
        open.extend(start..at);
    }
    Some(Progress { position, open })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noted(notes: impl IntoIterator<Item = (i64, bool)>) -> Progress {
        let mut progress = Progress::new(10);
        notes.into_iter().for_each(|(offset, done)| progress.note(offset, done));
        progress
    }

    #[test]
    fn a_record_that_is_not_done_does_not_undo_those_behind_it() {
        let progress = noted([(10, true), (11, false), (12, true), (13, true)]);
        assert_eq!(progress.committed().offset, 11);
        let again = Progress::of(&progress.committed());
        assert_eq!(again, progress);
        let done: Vec<_> = (10..15).map(|offset| again.is_done(offset)).collect();
        assert_eq!(done, [true, false, true, true, false]);
        let all = noted([(11, false), (12, true), (11, true)]);
        assert_eq!(all.committed(), Committed { offset: 13, metadata: String::new() });
    }

    #[test]
    fn metadata_of_others_or_broken_metadata_is_ignored() {
        for metadata in ["", "somebody else's", "dlq1:", "dlq1:=", "dlq1:AAEB", "dlq2:AA"] {
            let committed = Committed { offset: 7, metadata: metadata.to_owned() };
            assert_eq!(Progress::of(&committed), Progress::new(7), "{metadata}");
        }
    }

    #[test]
    fn what_retention_has_deleted_is_forgotten_and_counted() {
        let mut progress = noted([(10, false), (11, true), (12, false), (13, true)]);
        assert_eq!(progress.begin_at(12), 1);
        assert_eq!((progress.first_open(), progress.position()), (12, 14));
        assert_eq!(progress.begin_at(20), 1 + 6);
        assert_eq!((progress.first_open(), progress.position()), (20, 20));
    }

    #[test]
    fn it_is_full_before_a_batch_could_be_too_much() {
        // Every second record is open: the worst case of a batch.
        let mut progress = Progress::new(0);
        let mut offset = 0;
        while !progress.is_full() {
            for _ in 0..BATCH {
                progress.note(offset, offset % 2 == 0);
                offset += 1;
            }
        }
        let length = progress.committed().metadata.len();
        assert!(length <= MAX_METADATA_BYTES, "{length}");
        assert!(offset > 1_500, "{offset}");
        let many = noted((10..100_000).map(|offset| (offset, false)));
        assert!(!many.is_full(), "neighbours cost nothing");
    }

    proptest! {
        #[test]
        fn no_metadata_makes_it_panic(
            offset: i64, numbers in prop::collection::vec(prop_oneof![any::<u64>(), 0..2_000_000_u64], 0..20), text: String,
        ) {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|number| encode(&mut bytes, *number));
            for rest in [BASE64_URL_SAFE_NO_PAD.encode(bytes), text] {
                let progress = Progress::of(&Committed { offset, metadata: format!("{FORMAT}{rest}") });
                prop_assert!(progress.open.len() <= MAX_OPEN);
                prop_assert!(progress.first_open() <= progress.position());
            }
        }

        #[test]
        fn what_is_committed_is_what_is_read(
            notes in prop::collection::vec(any::<bool>(), 0..500), start in 0_i64..1 << 40,
        ) {
            let mut progress = Progress::new(start);
            (start..).zip(&notes).for_each(|(offset, done)| progress.note(offset, *done));
            let again = Progress::of(&progress.committed());
            for (offset, done) in (start..).zip(&notes) {
                prop_assert_eq!(again.is_done(offset), *done);
            }
            prop_assert_eq!(again.committed(), progress.committed());
        }
    }
}
