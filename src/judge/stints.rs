//! Who read a partition when, and which messages that were read again a crash explains.

use roaring::RoaringTreemap;

use super::findings::EXAMPLES;
use crate::journal::Entry;

/// A reader's time with a partition, from an assignment to the next one.
#[derive(Clone, Debug)]
pub(super) struct Stint {
    /// Which reader.
    pub reader: u32,
    /// The offset that it should read next; `None` until it is known.
    pub next: Option<u64>,
    /// Behind everything that this reader has read of the partition, in earlier stints too.
    pub read_to: u64,
    /// The lowest offset that it read in this stint; the highest number if none.
    pub first: u64,
    /// Behind the highest one; 0 if none.
    pub to: u64,
    /// The highest offset that it told as committed; 0 if none.
    pub committed: u64,
    /// Offsets that were read before, and not by this reader.
    pub again: RoaringTreemap,
    /// The first of them, as many as there are examples, and when they were read again, in µs since 1970 UTC.
    first_again: Vec<(u64, Entry)>,
}

/// All stints with a partition, in the order that they began.
#[derive(Clone, Debug, Default)]
pub(super) struct Stints {
    all: Vec<Stint>,
    /// The one that was asked for last; it is its reader's latest.
    last: usize,
}

/// How a reader's position moved.
pub(super) struct Move {
    /// It went on, to an offset behind all that it has read.
    pub forward: bool,
    /// It went back.
    pub back: bool,
    /// What it jumped over.
    pub jumped: std::ops::Range<u64>,
}

impl Stints {
    /// An assignment.
    pub(super) fn begin(&mut self, reader: u32, start: Option<u64>) {
        let read_to = self.find(reader).map_or(0, |at| self.all[at].read_to);
        self.last = self.all.len();
        self.all.push(Stint {
            reader,
            next: start,
            read_to,
            first: u64::MAX,
            to: 0,
            committed: 0,
            again: RoaringTreemap::new(),
            first_again: Vec::new(),
        });
    }

    fn find(&self, reader: u32) -> Option<usize> {
        match self.all.get(self.last) {
            Some(stint) if stint.reader == reader => Some(self.last),
            _ => self.all.iter().rposition(|stint| stint.reader == reader),
        }
    }

    /// The reader's latest stint; one begins if it was never assigned the partition.
    pub(super) fn of(&mut self, reader: u32) -> &mut Stint {
        match self.find(reader) {
            Some(at) => self.last = at,
            None => self.begin(reader, None),
        }
        &mut self.all[self.last]
    }

    /// Each stint's messages that were read again without a crash that explains it.
    ///
    /// A crash explains an offset that the dead reader had read and not yet committed: of the earlier stints of others
    /// that went over the offset, the latest one's reader has no clean end, and no earlier stint of another reader told
    /// a commit beyond the offset. If there is none, the dead reader's own journal came late, after its
    /// successor's: this reader has no clean end, and the next stint of another reader may read the offset again.
    pub(super) fn unexplained(&self, clean: impl Fn(u32) -> bool) -> Vec<(&Stint, RoaringTreemap)> {
        let each = self.all.iter().enumerate().filter(|(_, stint)| !stint.again.is_empty());
        each.map(|(at, stint)| (stint, self.unexplained_of(at, stint, &clean))).collect()
    }

    fn unexplained_of(&self, at: usize, stint: &Stint, clean: &impl Fn(u32) -> bool) -> RoaringTreemap {
        let (mut open, mut bad) = (stint.again.clone(), RoaringTreemap::new());
        let committed = self.committed_before(at);
        let earlier = self.all[..at].iter().filter(|earlier| earlier.reader != stint.reader);
        for earlier in earlier.rev() {
            if open.is_empty() {
                break;
            }
            let mut part = open.clone();
            part.remove_range(..earlier.first);
            part.remove_range(earlier.to..);
            open -= &part;
            if !clean(earlier.reader) {
                part.remove_range(committed..);
            }
            bad |= part;
        }
        if !open.is_empty()
            && !clean(stint.reader)
            && let Some(later) = (at + 1..self.all.len()).find(|later| self.all[*later].reader != stint.reader)
        {
            open.remove_range(self.committed_before(later)..);
        }
        bad | open
    }

    /// The highest offset that other readers had told as committed before stint `at`.
    fn committed_before(&self, at: usize) -> u64 {
        let reader = self.all.get(at).map(|stint| stint.reader);
        let earlier = self.all.iter().take(at).filter(|earlier| Some(earlier.reader) != reader);
        earlier.map(|earlier| earlier.committed).max().unwrap_or_default()
    }
}

impl Stint {
    /// Takes the position behind an offset.
    pub(super) fn read(&mut self, offset: u64) -> Move {
        let next = self.next.unwrap_or(offset);
        let movement = Move { forward: offset >= self.read_to, back: offset < next, jumped: next..offset };
        self.next = Some(offset + 1);
        self.read_to = self.read_to.max(offset + 1);
        (self.first, self.to) = (self.first.min(offset), self.to.max(offset + 1));
        movement
    }

    /// An offset was read before, and not by this reader.
    pub(super) fn read_again(&mut self, offset: u64, time_us: u64, entry: &Entry) {
        self.again.insert(offset);
        if self.first_again.len() < EXAMPLES {
            self.first_again.push((time_us, *entry));
        }
    }

    /// What was found at an offset that was read again, and when, if it is among the first.
    pub(super) fn found_again(&self, offset: u64) -> Option<&(u64, Entry)> {
        self.first_again.iter().find(|(_, entry)| u64::try_from(entry.offset) == Ok(offset))
    }
}
