//! Limits the prefetched messages of a client over all partitions. Pure.
//!
//! librdkafka limits each partition queue separately: it fetches for a queue that is not full, and a response has at
//! least one batch, however large. The total of many queues with large messages would be unbounded. A client above
//! its budget pauses the partitions for which librdkafka would fetch, and resumes them in turn, longest paused first,
//! after enough messages are processed.

/// The fetch limits of a client, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FetchLimits {
    /// The limit of all queues together.
    pub(super) total: u64,
    /// The size at which a queue is full and librdkafka stops fetching for it.
    pub(super) queue: u64,
    /// The maximum size of one fetch for one partition.
    pub(super) partition_fetch: u64,
}

const MIB: u64 = 1 << 20;

impl FetchLimits {
    /// The limits of a client with `partitions` partitions and a budget of `budget` bytes. A quarter of the budget is
    /// reserved for messages in processing.
    pub(super) fn new(budget: u64, partitions: usize) -> Self {
        let total = budget - budget / 4;
        let share = (total - total / 8) / (partitions.max(1) as u64);
        // The minimum fits a batch of small messages; above the maximum throughput does not improve.
        let partition_fetch = (share / 2).clamp(16 << 10, MIB);
        let queue = share.saturating_sub(partition_fetch).clamp(16 << 10, 16 * MIB);
        Self { total, queue, partition_fetch }
    }

    /// Returns whether this number of partitions can exceed the limit soon after all queues were empty.
    pub(super) fn is_exceeded_soon(&self, partitions: usize) -> bool {
        partitions as u64 * MIB > self.total
    }

    /// Decides which partitions to pause and which to resume.
    pub(super) fn decide(&self, seen: &[QueueState]) -> FetchChange {
        // A partition without known message sizes is assumed to have the largest ones.
        let unknown = seen.iter().filter_map(|state| state.mean_bytes).max().unwrap_or(0);
        let mean = |state: &QueueState| state.mean_bytes.unwrap_or(unknown);
        let held = |state: &QueueState| if state.is_done { 0 } else { state.messages * mean(state) };
        let all: u64 = seen.iter().map(held).sum();
        let mut change = FetchChange::default();
        if all > self.total {
            let may_fetch = |state: &QueueState| !state.is_done && state.paused.is_none() && held(state) < self.queue;
            change.pause = (0..seen.len()).filter(|at| may_fetch(&seen[*at])).collect();
        } else if all < self.total / 2 {
            let may_go_on = |state: &QueueState| state.paused.is_some() && !state.is_done;
            let mut paused: Vec<_> = (0..seen.len()).filter(|at| may_go_on(&seen[*at])).collect();
            paused.sort_by_key(|at| seen[*at].paused);
            let mut room = self.total / 2 - all;
            for at in paused {
                change.resume.push(at);
                room = room.saturating_sub(mean(&seen[at]).max(self.partition_fetch));
                if room == 0 {
                    break;
                }
            }
        }
        // A finished partition keeps its messages until it is paused.
        let is_stale = |state: &QueueState| state.is_done && state.paused.is_none() && state.messages > 0;
        change.pause.extend((0..seen.len()).filter(|at| is_stale(&seen[*at])));
        let is_any_paused =
            seen.iter().any(|state| state.paused.is_some() && !state.is_done) || !change.pause.is_empty();
        change.is_tight = is_any_paused || all > self.total / 4;
        change
    }
}

/// The state of a partition's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct QueueState {
    pub(super) messages: u64,
    /// The partition is finished: its queue is no longer consumed.
    pub(super) is_done: bool,
    /// The mean size of the last consumed messages; `None` before the first.
    pub(super) mean_bytes: Option<u64>,
    /// The sequence number of the pause, if paused: a lower number is earlier.
    pub(super) paused: Option<u64>,
}

/// The changes, as indices of partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FetchChange {
    pub(super) pause: Vec<usize>,
    pub(super) resume: Vec<usize>,
    /// The queues must be checked again soon.
    pub(super) is_tight: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(messages: u64, kib: u64, paused: Option<u64>) -> QueueState {
        QueueState { messages, is_done: false, mean_bytes: Some(kib << 10), paused }
    }

    #[test]
    fn queues_that_are_full_hold_no_more_than_all_may() {
        for budget in [1, 16, 64, 1_024] {
            for partitions in [1, 2, 4, 30, 300] {
                let limits = FetchLimits::new(budget * MIB, partitions);
                let full = (limits.queue + limits.partition_fetch) * partitions as u64;
                // With many partitions in a small budget not even small fetches fit.
                assert!(full <= limits.total || limits.queue == 16 << 10, "{limits:?} for {partitions}");
            }
        }
        assert_eq!(FetchLimits::new(64 * MIB, 1).queue, 16 * MIB);
        assert_eq!(FetchLimits::new(64 * MIB, usize::MAX).partition_fetch, 16 << 10);
    }

    #[test]
    fn what_may_still_fetch_is_paused_when_all_hold_too_much() {
        let limits = FetchLimits::new(16 * MIB, 300);
        // Seven of 2 MiB are 14 MiB of 12.
        let mut seen = vec![QueueState::default(); 300];
        seen[..7].fill(queue(1, 2_048, None));
        let change = limits.decide(&seen);
        assert_eq!(change.pause, (7..300).collect::<Vec<_>>(), "the others are full by themselves");
        assert!(change.is_tight && change.resume.is_empty());
        seen[3] = queue(0, 2_048, None);
        assert_eq!(
            limits.decide(&seen),
            FetchChange { is_tight: true, ..FetchChange::default() },
            "12 MiB are allowed"
        );
    }

    #[test]
    fn messages_that_nobody_has_seen_are_as_large_as_the_largest() {
        let limits = FetchLimits::new(16 * MIB, 30);
        let mut seen = vec![QueueState { messages: 1, ..QueueState::default() }; 30];
        assert!(limits.decide(&seen).pause.is_empty(), "nothing is known");
        seen[0] = queue(0, 2_048, None);
        assert_eq!(limits.decide(&seen).pause, [0], "29 messages of 2 MiB");
    }

    #[test]
    fn what_nobody_reads_any_more_counts_nothing_and_stays_paused() {
        let limits = FetchLimits::new(16 * MIB, 2);
        let done = QueueState { is_done: true, ..queue(100, 2_048, None) };
        let waits = queue(0, 2_048, Some(1));
        assert_eq!(limits.decide(&[done, waits]), FetchChange { pause: vec![0], resume: vec![1], is_tight: true });
        let change = limits.decide(&[QueueState { paused: Some(2), ..done }, queue(0, 2_048, None)]);
        assert_eq!(change, FetchChange::default());
    }

    #[test]
    fn paused_ones_go_on_in_turn_when_there_is_room() {
        let limits = FetchLimits::new(16 * MIB, 4);
        let seen =
            [queue(2, 2_048, None), queue(0, 2_048, Some(9)), queue(0, 2_048, Some(7)), queue(0, 2_048, Some(8))];
        assert_eq!(limits.decide(&seen).resume, [2], "up to half of 12 MiB");
        let seen = [queue(3, 2_048, None), seen[1], seen[2], seen[3]];
        assert!(limits.decide(&seen).resume.is_empty());
        let seen = [queue(0, 2_048, None), seen[1], seen[2], seen[3]];
        assert_eq!(limits.decide(&seen).resume, [2, 3, 1]);
        // One resumes, however large its messages are.
        let large = [queue(0, 1 << 20, Some(1)), queue(0, 1 << 20, Some(2))];
        assert_eq!(limits.decide(&large).resume, [0]);
    }
}
