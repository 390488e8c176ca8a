//! The policy's part that gives partitions to workers, and takes them away.

use std::collections::BTreeMap;

use super::{Action, Policy};
use crate::consumer::control::ToWorker;
use crate::record::TopicPartition;

impl Policy {
    pub(super) fn assigned(&mut self, number: usize, partitions: Vec<TopicPartition>) {
        if !self.is_group() {
            return;
        }
        for partition in partitions {
            self.take_over(number, partition);
        }
        // A partition that has killed another worker comes with its reputation.
        if self.suspects.is_any(&self.ownership.of(number))
            && !std::mem::replace(&mut self.slots[number].cautious, true)
        {
            self.act(Action::Say(number, ToWorker::Cautious(true)));
        }
    }

    pub(super) fn revoked(&mut self, number: usize, partitions: &[TopicPartition]) {
        for partition in partitions {
            if self.is_group() {
                self.ownership.release(partition, number);
            } else if let Some(to) = self.ownership.settle(partition, number) {
                self.hand_over(to, vec![partition.clone()]);
            }
        }
    }

    pub(super) fn found(&mut self, partitions: Vec<TopicPartition>) {
        for partition in partitions {
            if self.ownership.is_known(&partition) {
                continue;
            }
            let Some(to) = self.least_loaded(None) else { continue };
            self.take_over(to, partition.clone());
            self.hand_over(to, vec![partition]);
        }
    }

    /// Partitions of a worker that is dead for certain go to the others, by the least moves.
    pub(super) fn redistribute(&mut self, number: usize) {
        let mut shares: BTreeMap<usize, Vec<TopicPartition>> = BTreeMap::new();
        for partition in self.ownership.of(number) {
            let Some(to) = self.least_loaded(Some(number)) else { return };
            self.ownership.give(partition.clone(), to);
            shares.entry(to).or_default().push(partition);
        }
        shares.into_iter().for_each(|(to, share)| self.hand_over(to, share));
    }

    /// They are this worker's now; if it runs, it has to be told.
    pub(super) fn hand_over(&mut self, to: usize, partitions: Vec<TopicPartition>) {
        for partition in &partitions {
            self.watchdog.excuse(partition, self.now);
        }
        if self.slots[to].may_be_running() {
            self.act(Action::Assign(to, partitions));
        }
    }

    /// Takes partitions from one that may read them, for another.
    pub(super) fn move_to(&mut self, from: usize, partitions: Vec<TopicPartition>, to: usize) {
        if self.slots[from].may_be_running() {
            partitions.iter().for_each(|partition| self.ownership.plan_move(partition, to));
            self.act(Action::Say(from, ToWorker::Revoke(partitions)));
        } else {
            partitions.iter().for_each(|partition| self.ownership.give(partition.clone(), to));
            self.hand_over(to, partitions);
        }
    }

    /// The worker with the fewest partitions that keeps what it gets.
    pub(super) fn least_loaded(&self, without: Option<usize>) -> Option<usize> {
        let keeps = |number: &usize| Some(*number) != without && self.slots[*number].keeps_partitions();
        (0..self.slots.len()).filter(keeps).min_by_key(|number| self.ownership.promised(*number))
    }

    /// A new worker gets its share, from those that have the most.
    pub(super) fn take_share(&mut self, number: usize) {
        if self.is_group() {
            return;
        }
        let sharers = self.slots.iter().filter(|slot| slot.keeps_partitions()).count().max(1);
        let mut moves: BTreeMap<usize, Vec<TopicPartition>> = BTreeMap::new();
        for _ in 0..self.ownership.len() / sharers {
            let left = |other: &usize| self.ownership.promised(*other) - moves.get(other).map_or(0, Vec::len);
            let Some(from) = (0..self.slots.len()).filter(|other| *other != number).max_by_key(left) else { break };
            let taken = moves.entry(from).or_default();
            let mut own = self.ownership.of(from).into_iter().rev();
            let Some(partition) = own.find(|partition| !taken.contains(partition)) else { break };
            taken.push(partition);
        }
        moves.into_iter().for_each(|(from, partitions)| self.move_to(from, partitions, number));
    }
}
