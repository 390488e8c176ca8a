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
        self.be_cautious(number);
    }

    /// A partition that has killed another worker comes with its reputation.
    fn be_cautious(&mut self, number: usize) {
        let is_new = self.suspects.is_any(&self.ownership.of(number))
            && !std::mem::replace(&mut self.slots[number].cautious, true);
        if is_new && self.slots[number].may_be_running() {
            self.act(Action::Say(number, ToWorker::Cautious(true)));
        }
    }

    pub(super) fn revoked(&mut self, number: usize, partitions: &[TopicPartition]) {
        let announced = &mut self.slots[number].announced;
        if announced.as_ref().is_some_and(|(partition, _)| partitions.contains(partition)) {
            // It was given back unfinished: whatever happens to this worker later, it has not done that.
            *announced = None;
        }
        if self.is_group() {
            partitions.iter().for_each(|partition| self.ownership.release(partition, number));
            return;
        }
        let destination = |partition: &TopicPartition| self.ownership.destination(partition, number);
        let given: Vec<_> = partitions.iter().filter_map(|name| Some((name.clone(), destination(name)?))).collect();
        self.pass_on(given);
    }

    /// Partitions that their owner has given up go where they were to go; or, if nobody would read them there any more, to
    /// those with the fewest.
    pub(super) fn pass_on(&mut self, given: Vec<(TopicPartition, usize)>) {
        let mut shares: BTreeMap<usize, Vec<TopicPartition>> = BTreeMap::new();
        for (partition, to) in given {
            let is_there = self.slots[to].keeps_partitions();
            let to = if is_there { to } else { self.least_loaded(None).unwrap_or(to) };
            self.ownership.give(partition.clone(), to);
            shares.entry(to).or_default().push(partition);
        }
        shares.into_iter().for_each(|(to, share)| self.hand_over(to, share));
    }

    pub(super) fn stopped(&mut self, partition: &TopicPartition) {
        if self.is_group() {
            self.watchdog.forget(partition);
        } else {
            self.quarantine(partition);
        }
    }

    /// Nobody reads it any more; whoever has it gives it up.
    pub(super) fn quarantine(&mut self, partition: &TopicPartition) {
        let owner = self.ownership.owner(partition);
        self.watchdog.forget(partition);
        self.ownership.quarantine(partition);
        if let Some(owner) = owner.filter(|owner| self.slots[*owner].may_be_running()) {
            self.act(Action::Say(owner, ToWorker::Revoke(vec![partition.clone()])));
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

    /// Partitions of a worker that is dead for certain go to the others, by the least moves; also those that were about to
    /// become its own.
    pub(super) fn redistribute(&mut self, number: usize) {
        let mut shares: BTreeMap<usize, Vec<TopicPartition>> = BTreeMap::new();
        for partition in self.ownership.of(number) {
            let Some(to) = self.least_loaded(Some(number)) else { return };
            self.ownership.give(partition.clone(), to);
            shares.entry(to).or_default().push(partition);
        }
        shares.into_iter().for_each(|(to, share)| self.hand_over(to, share));
        for partition in self.ownership.coming_to(number) {
            let Some(to) = self.least_loaded(Some(number)) else { return };
            // Its owner knows already that it has to give it up; perhaps it gets it back then.
            self.ownership.plan_move(&partition, to);
        }
    }

    /// They are this worker's now; if it runs, it has to be told.
    pub(super) fn hand_over(&mut self, to: usize, partitions: Vec<TopicPartition>) {
        for partition in &partitions {
            self.watchdog.excuse(partition, self.now);
        }
        self.be_cautious(to);
        if self.slots[to].may_be_running() {
            self.act(Action::Assign(to, partitions));
        }
    }

    /// Takes partitions from one that may read them, for another.
    pub(super) fn move_to(&mut self, from: usize, mut partitions: Vec<TopicPartition>, to: usize) {
        if self.slots[from].may_be_running() {
            partitions.retain(|partition| self.ownership.plan_move(partition, to));
            self.ask_for(from, partitions);
        } else {
            partitions.iter().for_each(|partition| self.ownership.give(partition.clone(), to));
            self.hand_over(to, partitions);
        }
    }

    /// Asks a worker for partitions that are to move. One that is just being started may have no process that hears it:
    /// it is asked when it is ready.
    pub(super) fn ask_for(&mut self, from: usize, partitions: Vec<TopicPartition>) {
        if self.slots[from].ready && !partitions.is_empty() {
            self.act(Action::Say(from, ToWorker::Revoke(partitions)));
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
        let share = (self.ownership.len() / sharers).saturating_sub(self.ownership.promised(number));
        let mut moves: BTreeMap<usize, Vec<TopicPartition>> = BTreeMap::new();
        for _ in 0..share {
            let others = (0..self.slots.len()).filter(|other| *other != number);
            let Some(from) = others.max_by_key(|other| self.ownership.promised(*other)) else { break };
            let Some(partition) = self.ownership.last_promised(from) else { break };
            let Some(owner) = self.ownership.owner(&partition) else { break };
            // What is on its way to somebody else has been asked for.
            if self.ownership.plan_move(&partition, number) {
                moves.entry(owner).or_default().push(partition);
            }
        }
        for (owner, partitions) in moves {
            if self.slots[owner].may_be_running() {
                self.ask_for(owner, partitions);
            } else {
                self.pass_on(partitions.into_iter().map(|partition| (partition, number)).collect());
            }
        }
    }
}
