//! The state of each producer.

use std::collections::HashMap;

use roaring::RoaringTreemap;

use super::offset_set::DenseSet;

/// A producer thread of a run.
#[derive(Default)]
pub(super) struct Producer {
    /// See [`crate::stamp::Stamp`].
    pub run: u64,
    /// See [`crate::stamp::Stamp`].
    pub number: u16,
    /// Processed sequence numbers.
    pub processed: DenseSet,
    /// Processed sequence numbers of injected duplicates.
    pub duplicates: DenseSet,
    /// Sequence numbers of failed messages.
    pub failed: RoaringTreemap,
}

impl Producer {
    /// Returns whether a message with this sequence number was processed.
    pub(super) fn was_processed(&self, sequence: u64) -> bool {
        self.processed.contains(sequence) || self.duplicates.contains(sequence)
    }

    /// The number of missing sequence numbers from the lowest (or 0, if all was consumed from the start) to the
    /// highest, and the first `max` of them. `excused` are sequence numbers of messages with a wrong checksum.
    pub(super) fn gaps(&self, from_start: bool, excused: &RoaringTreemap, max: usize) -> (u64, Vec<u64>) {
        let ends = [&self.processed, &self.duplicates].map(|seen| seen.first().zip(seen.last()));
        let Some((first, last)) =
            ends.into_iter().flatten().reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
        else {
            return (0, Vec::new());
        };
        let first = if from_start { 0 } else { first };
        let duplicates_only =
            self.duplicates.iter().filter(|duplicate| !self.processed.contains(*duplicate)).count() as u64;
        let excuse = |sequence: &u64| (first..=last).contains(sequence) && !self.was_processed(*sequence);
        let excused_here = excused.iter().filter(excuse).count() as u64;
        let missing = last - first + 1 - self.processed.len() - duplicates_only - excused_here;
        let mut examples = Vec::new();
        let mut at = first;
        while examples.len() < max && (examples.len() as u64) < missing {
            at = self.processed.first_missing(at);
            if !self.duplicates.contains(at) && !excused.contains(at) {
                examples.push(at);
            }
            at += 1;
        }
        (missing, examples)
    }
}

/// The producers of one run, or of all runs.
pub(super) struct Producers {
    run: Option<u64>,
    all: Vec<Producer>,
    /// The index of each producer, if all runs are checked.
    known: HashMap<(u64, u16), usize>,
    last: Option<((u64, u16), usize)>,
}

impl Producers {
    /// Creates the list for this run, or for all runs.
    pub(super) fn new(run: Option<u64>) -> Self {
        Self { run, all: Vec::new(), known: HashMap::new(), last: None }
    }

    /// The index of the producer; `None` if its run is not checked.
    pub(super) fn index(&mut self, run: u64, number: u16) -> Option<usize> {
        match self.run {
            Some(checked) if checked != run => None,
            Some(_) => {
                let index = usize::from(number);
                while self.all.len() <= index {
                    let number = self.all.len() as u16;
                    self.all.push(Producer { run, number, ..Producer::default() });
                }
                Some(index)
            }
            None => {
                if let Some((last, index)) = self.last
                    && last == (run, number)
                {
                    return Some(index);
                }
                let all = &mut self.all;
                let index = *self.known.entry((run, number)).or_insert_with(|| {
                    all.push(Producer { run, number, ..Producer::default() });
                    all.len() - 1
                });
                self.last = Some(((run, number), index));
                Some(index)
            }
        }
    }

    /// The producer at an index from [`Producers::index`].
    pub(super) fn at(&mut self, index: usize) -> &mut Producer {
        &mut self.all[index]
    }

    /// A producer of the checked run, if known.
    pub(super) fn get(&self, number: u16) -> Option<&Producer> {
        self.all.get(usize::from(number))
    }

    /// All producers.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Producer> {
        self.all.iter()
    }
}
