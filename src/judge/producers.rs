//! What is known of each producer.

use std::collections::HashMap;

use roaring::RoaringTreemap;

use super::seen::Seen;

/// A producer thread of a run.
#[derive(Default)]
pub(super) struct Producer {
    /// See [`crate::stamp::Stamp`].
    pub run: u64,
    /// See [`crate::stamp::Stamp`].
    pub number: u16,
    /// Sequences that were read.
    pub processed: Seen,
    /// Sequences of second copies, made on purpose, that were read.
    pub copies: Seen,
    /// Sequences of which the producer was told that they failed.
    pub failed: RoaringTreemap,
}

impl Producer {
    /// Whether a message of this sequence was read somewhere.
    pub(super) fn was_processed(&self, sequence: u64) -> bool {
        self.processed.contains(sequence) || self.copies.contains(sequence)
    }

    /// How many sequences are missing from the lowest (or 0, if everything was read from the start) to the highest,
    /// and the first `most` of them. `excused` are claimed by messages with a wrong checksum.
    pub(super) fn gaps(&self, from_start: bool, excused: &RoaringTreemap, most: usize) -> (u64, Vec<u64>) {
        let ends = [&self.processed, &self.copies].map(|seen| seen.first().zip(seen.last()));
        let Some((first, last)) =
            ends.into_iter().flatten().reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
        else {
            return (0, Vec::new());
        };
        let first = if from_start { 0 } else { first };
        let copies_only = self.copies.iter().filter(|copy| !self.processed.contains(*copy)).count() as u64;
        let excuse = |sequence: &u64| (first..=last).contains(sequence) && !self.was_processed(*sequence);
        let excused_here = excused.iter().filter(excuse).count() as u64;
        let missing = last - first + 1 - self.processed.len() - copies_only - excused_here;
        let mut examples = Vec::new();
        let mut at = first;
        while examples.len() < most && (examples.len() as u64) < missing {
            at = self.processed.first_missing(at);
            if !self.copies.contains(at) && !excused.contains(at) {
                examples.push(at);
            }
            at += 1;
        }
        (missing, examples)
    }
}

/// The producers of one run, or of all.
pub(super) struct Producers {
    run: Option<u64>,
    all: Vec<Producer>,
    /// If every run is judged: which producer of which run is where.
    known: HashMap<(u64, u16), usize>,
    last: Option<((u64, u16), usize)>,
}

impl Producers {
    /// Of this run, or of all.
    pub(super) fn new(run: Option<u64>) -> Self {
        Self { run, all: Vec::new(), known: HashMap::new(), last: None }
    }

    /// Where the producer is in the list; `None` if its run is not judged.
    pub(super) fn index(&mut self, run: u64, number: u16) -> Option<usize> {
        match self.run {
            Some(judged) if judged != run => None,
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

    /// The producer at an index that [`Producers::index`] gave.
    pub(super) fn at(&mut self, index: usize) -> &mut Producer {
        &mut self.all[index]
    }

    /// A producer of the run that is judged, if anything is known of it.
    pub(super) fn get(&self, number: u16) -> Option<&Producer> {
        self.all.get(usize::from(number))
    }

    /// All of them.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Producer> {
        self.all.iter()
    }
}
