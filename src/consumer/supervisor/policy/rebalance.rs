//! Assigns partitions to workers and revokes them.

use std::collections::BTreeMap;

use super::{Action, Policy};
use crate::consumer::protocol::WorkerCommand;
use crate::record::TopicPartition;

impl Policy {
    pub(super) fn on_assigned(&mut self, number: usize, partitions: Vec<TopicPartition>) {
        if !self.is_group() {
            return;
        }
        for partition in partitions {
            self.take_over(number, partition);
        }
        self.set_isolation(number);
    }

    /// Isolates a worker that receives a partition whose message has killed another worker.
    fn set_isolation(&mut self, number: usize) {
        let is_new = self.suspects.is_any(&self.partitions.owned_by(number))
            && !std::mem::replace(&mut self.slots[number].isolated, true);
        if is_new && self.slots[number].may_be_running() {
            self.act(Action::Send(number, WorkerCommand::SetIsolation(true)));
        }
    }

    pub(super) fn on_revoked(&mut self, number: usize, partitions: &[TopicPartition]) {
        let requested = &mut self.slots[number].requested;
        if requested.as_ref().is_some_and(|(partition, _)| partitions.contains(partition)) {
            // The worker released it unprocessed: a later failure of this worker does not come from that
            // message.
            *requested = None;
        }
        partitions.iter().for_each(|partition| self.partitions.release(partition, number));
        if self.is_group() {
            partitions.iter().for_each(|partition| self.partitions.remove_owner(partition, number));
            return;
        }
        let destination = |partition: &TopicPartition| self.partitions.destination(partition, number);
        let given: Vec<_> = partitions.iter().filter_map(|name| Some((name.clone(), destination(name)?))).collect();
        self.transfer(given);
    }

    /// Assigns partitions that their owner has released to their next owner. If that worker would not consume
    /// them any more, they go to the workers with the fewest partitions.
    pub(super) fn transfer(&mut self, given: Vec<(TopicPartition, usize)>) {
        let mut shares: BTreeMap<usize, Vec<TopicPartition>> = BTreeMap::new();
        for (partition, to) in given {
            let is_there = self.slots[to].keeps_partitions();
            let to = if is_there { to } else { self.least_loaded(None).unwrap_or(to) };
            self.partitions.give(&partition, to);
            shares.entry(to).or_default().push(partition);
        }
        shares.into_iter().for_each(|(to, share)| self.start_transfer(to, share));
    }

    pub(super) fn on_stopped(&mut self, partition: &TopicPartition) {
        if self.is_group() {
            self.watchdog.forget(partition);
        } else {
            self.quarantine(partition);
        }
    }

    /// Quarantines a partition: no worker consumes it any more, and its owner releases it.
    pub(super) fn quarantine(&mut self, partition: &TopicPartition) {
        let owner = self.partitions.owner(partition);
        self.watchdog.forget(partition);
        self.partitions.quarantine(partition);
        if let Some(owner) = owner.filter(|owner| self.slots[*owner].may_be_running()) {
            self.act(Action::Send(owner, WorkerCommand::Revoke(vec![partition.clone()])));
        }
    }

    pub(super) fn on_found(&mut self, partitions: Vec<TopicPartition>) {
        for partition in partitions {
            if self.partitions.is_assigned(&partition) {
                continue;
            }
            let Some(to) = self.least_loaded(None) else { continue };
            self.take_over(to, partition.clone());
            self.start_transfer(to, vec![partition]);
        }
    }

    /// Moves the partitions of a worker that has certainly exited to the others, with the fewest moves; also
    /// those that were about to become its own.
    pub(super) fn redistribute(&mut self, number: usize) {
        let mut shares: BTreeMap<usize, Vec<TopicPartition>> = BTreeMap::new();
        for partition in self.partitions.owned_by(number) {
            let Some(to) = self.least_loaded(Some(number)) else { return };
            self.partitions.give(&partition, to);
            shares.entry(to).or_default().push(partition);
        }
        shares.into_iter().for_each(|(to, share)| self.start_transfer(to, share));
        for partition in self.partitions.coming_to(number) {
            let Some(to) = self.least_loaded(Some(number)) else { return };
            // Its owner has the revocation already; the partition may come back to it afterwards.
            self.partitions.plan_move(&partition, to);
        }
    }

    /// Assigns partitions to this worker. If it runs, it receives an assign command.
    pub(super) fn start_transfer(&mut self, to: usize, partitions: Vec<TopicPartition>) {
        for partition in &partitions {
            self.watchdog.reset_timer(partition, self.now);
        }
        self.set_isolation(to);
        if self.slots[to].may_be_running() {
            self.act(Action::Assign(to, partitions));
        }
    }

    /// Moves partitions from the workers that own them to another one.
    pub(super) fn move_to(&mut self, from: usize, mut partitions: Vec<TopicPartition>, to: usize) {
        if self.slots[from].may_be_running() {
            partitions.retain(|partition| self.partitions.plan_move(partition, to));
            self.send_revoke(from, partitions);
        } else {
            partitions.iter().for_each(|partition| self.partitions.give(partition, to));
            self.start_transfer(to, partitions);
        }
    }

    /// Sends a revocation for partitions that are to move. A worker that is just being started may have no
    /// process that receives it: it gets the revocation when it is ready.
    pub(super) fn send_revoke(&mut self, from: usize, partitions: Vec<TopicPartition>) {
        if self.slots[from].ready && !partitions.is_empty() {
            self.act(Action::Send(from, WorkerCommand::Revoke(partitions)));
        }
    }

    /// The worker with the fewest partitions that keeps what it is assigned.
    pub(super) fn least_loaded(&self, without: Option<usize>) -> Option<usize> {
        let keeps = |number: &usize| Some(*number) != without && self.slots[*number].keeps_partitions();
        (0..self.slots.len()).filter(keeps).min_by_key(|number| self.partitions.count_finally_owned(*number))
    }

    /// Gives a new worker its share of the partitions, from those that have the most.
    pub(super) fn steal_fair_share(&mut self, number: usize) {
        if self.is_group() {
            return;
        }
        let sharers = self.slots.iter().filter(|slot| slot.keeps_partitions()).count().max(1);
        let share =
            (self.partitions.count_owned() / sharers).saturating_sub(self.partitions.count_finally_owned(number));
        let mut moves: BTreeMap<usize, Vec<TopicPartition>> = BTreeMap::new();
        for _ in 0..share {
            let others = (0..self.slots.len()).filter(|other| *other != number);
            let Some(from) = others.max_by_key(|other| self.partitions.count_finally_owned(*other)) else { break };
            let Some(partition) = self.partitions.last_finally_owned(from) else { break };
            let Some(owner) = self.partitions.owner(&partition) else { break };
            // A partition that is moving to another worker has a revocation already.
            if self.partitions.plan_move(&partition, number) {
                moves.entry(owner).or_default().push(partition);
            }
        }
        for (owner, partitions) in moves {
            if self.slots[owner].may_be_running() {
                self.send_revoke(owner, partitions);
            } else {
                self.transfer(partitions.into_iter().map(|partition| (partition, number)).collect());
            }
        }
    }
}
