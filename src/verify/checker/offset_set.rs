//! A dense set of numbers: a partition's offsets or a producer's sequence numbers, which arrive nearly in order and
//! nearly without gaps.
//!
//! A bitmap in blocks of [`BITS`]. Each full block is one number in a roaring bitmap, so that a billion consecutive
//! numbers take less than 40 KB; a partial block takes 512 bytes. The last used block is cached, which makes an
//! insertion a few instructions.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

/// Numbers per block.
const BITS: u64 = 4_096;
/// Words per block.
const WORDS_PER_BLOCK: usize = (BITS / 64) as usize;

/// The bits of a block.
pub(super) type Words = [u64; WORDS_PER_BLOCK];

/// A partial block.
#[derive(Clone)]
struct Block {
    words: Words,
    count: u16,
}

/// A set of numbers.
#[derive(Clone, Default)]
pub(super) struct DenseSet {
    /// The last used block, if it is partial.
    hot: Option<(u64, Box<Block>)>,
    /// The other partial blocks.
    partial: BTreeMap<u64, Box<Block>>,
    /// The numbers of the full blocks.
    full: RoaringTreemap,
    count: u64,
}

/// The block of a number, the word in the block and the bit in the word.
fn split(number: u64) -> (u64, usize, u64) {
    (number / BITS, (number % BITS / 64) as usize, 1 << (number % 64))
}

impl DenseSet {
    /// Adds a number; returns `false` if it was already present.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let (block, word, bit) = split(number);
        if self.hot.as_ref().is_none_or(|(hot, _)| *hot != block) && !self.warm(block) {
            return false;
        }
        let Some((_, hot)) = &mut self.hot else { return false };
        if hot.words[word] & bit != 0 {
            return false;
        }
        hot.words[word] |= bit;
        hot.count += 1;
        self.count += 1;
        if u64::from(hot.count) == BITS {
            self.full.insert(block);
            self.hot = None;
        }
        true
    }

    /// Caches the block; returns `false` if it is full.
    fn warm(&mut self, block: u64) -> bool {
        let next = match self.partial.remove(&block) {
            Some(next) => next,
            None if self.full.contains(block) => return false,
            None => Box::new(Block { words: [0; WORDS_PER_BLOCK], count: 0 }),
        };
        if let Some((number, before)) = self.hot.replace((block, next)) {
            self.partial.insert(number, before);
        }
        true
    }

    /// The block, if it is partial.
    fn partial(&self, block: u64) -> Option<&Block> {
        match &self.hot {
            Some((hot, found)) if *hot == block => Some(found),
            _ => self.partial.get(&block).map(Box::as_ref),
        }
    }

    /// Returns whether the number is present.
    pub(super) fn contains(&self, number: u64) -> bool {
        let (block, word, bit) = split(number);
        match self.partial(block) {
            Some(found) => found.words[word] & bit != 0,
            None => self.full.contains(block),
        }
    }

    /// The number of elements.
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// The numbers of the non-empty blocks.
    pub(super) fn blocks(&self) -> RoaringTreemap {
        let mut blocks = self.full.clone();
        blocks.extend(self.partial.keys().copied());
        blocks.extend(self.hot.iter().map(|(block, _)| *block));
        blocks
    }

    /// The bits of a block.
    pub(super) fn words(&self, block: u64) -> Words {
        match self.partial(block) {
            Some(found) => found.words,
            None if self.full.contains(block) => [u64::MAX; WORDS_PER_BLOCK],
            None => [0; WORDS_PER_BLOCK],
        }
    }

    /// The range of a block's numbers.
    pub(super) fn range(block: u64) -> std::ops::Range<u64> {
        block.saturating_mul(BITS)..block.saturating_add(1).saturating_mul(BITS)
    }

    /// The lowest number.
    pub(super) fn first(&self) -> Option<u64> {
        self.blocks().min().and_then(|block| self.in_block(block).next())
    }

    /// The highest number.
    pub(super) fn last(&self) -> Option<u64> {
        self.blocks().max().and_then(|block| self.in_block(block).last())
    }

    /// The elements of a block.
    fn in_block(&self, block: u64) -> impl Iterator<Item = u64> {
        let words = self.words(block);
        Self::range(block).filter(move |number| {
            let (_, word, bit) = split(*number);
            words[word] & bit != 0
        })
    }

    /// All elements in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.blocks().into_iter().flat_map(|block| self.in_block(block))
    }

    /// The first number from `from` on that is missing.
    pub(super) fn first_missing(&self, from: u64) -> u64 {
        let mut at = from;
        loop {
            let (block, _, _) = split(at);
            if !self.full.contains(block) {
                let Some(found) = self.partial(block) else { return at };
                let (words, range) = (&found.words, at..Self::range(block).end);
                let missing = range.into_iter().find(|number| {
                    let (_, word, bit) = split(*number);
                    words[word] & bit == 0
                });
                if let Some(missing) = missing {
                    return missing;
                }
            }
            at = Self::range(block).end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_that_all_came_cost_next_to_nothing() {
        let mut seen = DenseSet::default();
        assert!((0..100 * BITS).all(|number| seen.insert(number)));
        assert!(seen.hot.is_none() && seen.partial.is_empty());
        assert_eq!((seen.len(), seen.full.len()), (100 * BITS, 100));
        assert!(!seen.insert(5));
        assert_eq!(seen.first_missing(3), 100 * BITS);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_set_holds(
            starts in prop::collection::vec((0..6 * BITS, 1..3 * BITS), 1..6),
            more in prop::collection::vec(0..10 * BITS, 0..50),
            from in 0..10 * BITS,
        ) {
            let (mut seen, mut model) = (DenseSet::default(), BTreeSet::new());
            for number in starts.into_iter().flat_map(|(start, length)| start..start + length).chain(more) {
                prop_assert_eq!(seen.insert(number), model.insert(number));
            }
            prop_assert_eq!(seen.len(), model.len() as u64);
            prop_assert_eq!(seen.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!((seen.first(), seen.last()), (model.first().copied(), model.last().copied()));
            prop_assert!((0..10 * BITS).all(|number| seen.contains(number) == model.contains(&number)));
            prop_assert_eq!(Some(seen.first_missing(from)), (from..).find(|number| !model.contains(number)));
        }
    }
}
