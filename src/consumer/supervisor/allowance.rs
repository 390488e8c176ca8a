//! `consumer.max_messages`: who may process how many messages. Pure.
//!
//! Workers ask when they have a message in hand, and get a few at a time. What one of them cannot use, because its
//! partitions have run dry, is called back for those that wait.

use std::collections::BTreeSet;

/// The largest grant: few enough to be dealt evenly, many enough not to ask for each message.
const LARGEST: u64 = 256;

/// What is left to be given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    left: u64,
    /// Given to each slot and, as far as is known, not used.
    given: Vec<u64>,
    waiting: BTreeSet<usize>,
    recalled: BTreeSet<usize>,
}

/// What to say to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// So many more.
    Grant(usize, u64),
    /// Give back what is left.
    Recall(usize),
}

impl Allowance {
    /// `messages` for `slots` workers.
    pub(super) fn new(messages: u64, slots: usize) -> Self {
        Self { left: messages, given: vec![0; slots], waiting: BTreeSet::new(), recalled: BTreeSet::new() }
    }

    /// There are so many workers now.
    pub(super) fn grow(&mut self, slots: usize) {
        self.given.resize(slots.max(self.given.len()), 0);
    }

    /// A worker has a message in hand and no grant.
    pub(super) fn asked(&mut self, slot: usize) -> Vec<Say> {
        // It asks because everything that it had is used.
        self.given[slot] = 0;
        self.waiting.insert(slot);
        self.deal()
    }

    /// A worker gave back what it had left.
    pub(super) fn returned(&mut self, slot: usize, messages: u64) -> Vec<Say> {
        self.recalled.remove(&slot);
        self.given[slot] = 0;
        self.left += messages;
        self.deal()
    }

    /// A worker is gone, and `unused` is left of what it was granted.
    pub(super) fn died(&mut self, slot: usize, unused: u64) -> Vec<Say> {
        self.waiting.remove(&slot);
        self.recalled.remove(&slot);
        self.given[slot] = 0;
        self.left += unused;
        self.deal()
    }

    fn deal(&mut self) -> Vec<Say> {
        let mut say = Vec::new();
        while self.left > 0 {
            // One that was asked to give back what it has is served when it has answered.
            let Some(slot) = self.waiting.iter().copied().find(|slot| !self.recalled.contains(slot)) else {
                return say;
            };
            self.waiting.remove(&slot);
            let share = self.left / (2 * self.given.len() as u64);
            let grant = share.clamp(1, LARGEST);
            self.left -= grant;
            self.given[slot] = grant;
            say.push(Say::Grant(slot, grant));
        }
        if !self.waiting.is_empty() {
            for slot in 0..self.given.len() {
                if self.given[slot] > 0 && self.recalled.insert(slot) {
                    say.push(Say::Recall(slot));
                }
            }
        }
        say
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_is_granted_alone() {
        let mut allowance = Allowance::new(1, 2);
        assert_eq!(allowance.asked(0), [Say::Grant(0, 1)]);
        assert_eq!(allowance.asked(1), [Say::Recall(0)]);
        assert_eq!(allowance.returned(0, 0), []);
    }

    #[test]
    fn what_a_dry_worker_has_left_goes_to_one_that_waits() {
        let mut allowance = Allowance::new(40, 2);
        assert_eq!(allowance.asked(0), [Say::Grant(0, 10)]);
        // Worker 1 uses everything that is left, worker 0 nothing more.
        let mut used = 0;
        loop {
            match allowance.asked(1)[..] {
                [Say::Grant(1, grant)] => used += grant,
                [Say::Recall(0)] => break,
                ref other => panic!("{other:?}"),
            }
        }
        assert_eq!(used, 30);
        assert_eq!(allowance.returned(0, 7), [Say::Grant(1, 1)], "and the rest at the next question");
        assert_eq!(allowance.asked(1), [Say::Grant(1, 1)]);
    }

    #[test]
    fn a_worker_that_asks_while_it_is_recalled_waits_for_its_own_answer() {
        let mut allowance = Allowance::new(12, 3);
        assert_eq!(allowance.asked(0), [Say::Grant(0, 2)]);
        assert_eq!(allowance.asked(1), [Say::Grant(1, 1)]);
        while allowance.left > 0 {
            allowance.asked(2);
        }
        assert_eq!(allowance.asked(2), [Say::Recall(0), Say::Recall(1)]);
        assert_eq!(allowance.asked(0), [], "its answer to the recall is on the way");
        assert_eq!(allowance.returned(1, 1), [Say::Grant(2, 1), Say::Recall(2)]);
        assert_eq!(allowance.returned(0, 2), [Say::Grant(0, 1)]);
    }

    #[test]
    fn a_dead_workers_rest_is_dealt_again() {
        let mut allowance = Allowance::new(4, 1);
        assert_eq!(allowance.asked(0), [Say::Grant(0, 2)]);
        assert_eq!(allowance.died(0, 2), []);
        assert_eq!(allowance.asked(0), [Say::Grant(0, 2)]);
    }
}
