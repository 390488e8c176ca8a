//! The sessions of workers with a partition, and which repeated messages a crash explains.

use roaring::RoaringTreemap;

use super::anomalies::EXAMPLES;
use crate::history::HistoryEntry;

/// The session of a worker with a partition, from one assignment to the next.
#[derive(Clone, Debug)]
pub(super) struct PartitionSession {
    /// The index of the worker process.
    pub worker: u32,
    /// The expected position; `None` until it is known.
    pub next: Option<u64>,
    /// The end of everything that this process has processed of the partition, including earlier sessions.
    pub read_to: u64,
    /// The lowest offset processed in this session; `u64::MAX` if none.
    pub first: u64,
    /// The end of the offsets processed in this session; 0 if none.
    pub to: u64,
    /// The highest committed offset of this session; 0 if none.
    pub committed: u64,
    /// Offsets that another process had processed before.
    pub again: RoaringTreemap,
    /// The first of them, as many as there are samples, with the time of reprocessing in µs since the Unix epoch.
    first_again: Vec<(u64, HistoryEntry)>,
}

/// All sessions with a partition, in order of their start.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    all: Vec<PartitionSession>,
    /// The last used session, which is its process' latest.
    last: usize,
}

/// A change of a worker's position.
pub(super) struct PositionChange {
    /// It moved to an offset after everything that the process has processed.
    pub forward: bool,
    /// It moved back.
    pub back: bool,
    /// The offsets that it jumped over.
    pub jumped: std::ops::Range<u64>,
}

impl Sessions {
    /// Records an assignment.
    pub(super) fn begin(&mut self, worker: u32, start: Option<u64>) {
        let read_to = self.find(worker).map_or(0, |at| self.all[at].read_to);
        self.last = self.all.len();
        self.all.push(PartitionSession {
            worker,
            next: start,
            read_to,
            first: u64::MAX,
            to: 0,
            committed: 0,
            again: RoaringTreemap::new(),
            first_again: Vec::new(),
        });
    }

    fn find(&self, worker: u32) -> Option<usize> {
        match self.all.get(self.last) {
            Some(session) if session.worker == worker => Some(self.last),
            _ => self.all.iter().rposition(|session| session.worker == worker),
        }
    }

    /// The latest session of the process; a new one if the partition was never assigned to it.
    pub(super) fn of(&mut self, worker: u32) -> &mut PartitionSession {
        match self.find(worker) {
            Some(at) => self.last = at,
            None => self.begin(worker, None),
        }
        &mut self.all[self.last]
    }

    /// The messages of each session that were reprocessed without a crash that explains it.
    ///
    /// A crash explains an offset that the crashed process had processed but not committed: among the earlier
    /// sessions of other processes that covered the offset, the latest one's process has not exited cleanly, and no
    /// earlier session of another process has committed beyond the offset. Otherwise the history of the crashed
    /// process may have arrived after its successor's: if this process has not exited cleanly, the next session of
    /// another process may process the offset again.
    pub(super) fn unexplained_rereads(&self, clean: impl Fn(u32) -> bool) -> Vec<(&PartitionSession, RoaringTreemap)> {
        let each = self.all.iter().enumerate().filter(|(_, session)| !session.again.is_empty());
        each.map(|(at, session)| (session, self.unexplained_of(at, session, &clean))).collect()
    }

    fn unexplained_of(&self, at: usize, session: &PartitionSession, clean: &impl Fn(u32) -> bool) -> RoaringTreemap {
        let (mut open, mut bad) = (session.again.clone(), RoaringTreemap::new());
        let committed = self.committed_before(at);
        let earlier = self.all[..at].iter().filter(|earlier| earlier.worker != session.worker);
        for earlier in earlier.rev() {
            if open.is_empty() {
                break;
            }
            let mut part = open.clone();
            part.remove_range(..earlier.first);
            part.remove_range(earlier.to..);
            open -= &part;
            if !clean(earlier.worker) {
                part.remove_range(committed..);
            }
            bad |= part;
        }
        if !open.is_empty()
            && !clean(session.worker)
            && let Some(later) = (at + 1..self.all.len()).find(|later| self.all[*later].worker != session.worker)
        {
            open.remove_range(self.committed_before(later)..);
        }
        bad | open
    }

    /// The highest offset that other processes had committed before session `at`.
    fn committed_before(&self, at: usize) -> u64 {
        let worker = self.all.get(at).map(|session| session.worker);
        let earlier = self.all.iter().take(at).filter(|earlier| Some(earlier.worker) != worker);
        earlier.map(|earlier| earlier.committed).max().unwrap_or_default()
    }
}

impl PartitionSession {
    /// Moves the position after an offset.
    pub(super) fn read(&mut self, offset: u64) -> PositionChange {
        let next = self.next.unwrap_or(offset);
        let movement = PositionChange { forward: offset >= self.read_to, back: offset < next, jumped: next..offset };
        self.next = Some(offset + 1);
        self.read_to = self.read_to.max(offset + 1);
        (self.first, self.to) = (self.first.min(offset), self.to.max(offset + 1));
        movement
    }

    /// Records an offset that another process had processed before.
    pub(super) fn read_again(&mut self, offset: u64, time_us: u64, entry: &HistoryEntry) {
        self.again.insert(offset);
        if self.first_again.len() < EXAMPLES {
            self.first_again.push((time_us, *entry));
        }
    }

    /// The message at a reprocessed offset, and the time, if it is among the first.
    pub(super) fn recover_session(&self, offset: u64) -> Option<&(u64, HistoryEntry)> {
        self.first_again.iter().find(|(_, entry)| u64::try_from(entry.offset) == Ok(offset))
    }
}
