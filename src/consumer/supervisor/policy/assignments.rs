//! The owner of each partition. A partition never has two owners: it moves to another worker after its owner has
//! released it or has exited.

use std::collections::BTreeMap;

use crate::record::TopicPartition;

/// The owner of each partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Assignments(BTreeMap<TopicPartition, Owner>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The worker in this slot owns the partition.
    Slot(usize),
    /// `from` owns the partition until it releases it; then `to` owns it.
    Moving { from: usize, to: usize },
    /// The partition has no owner for the rest of the run.
    Quarantined,
}

impl Owner {
    /// The owner after all pending moves.
    fn final_owner(&self) -> Option<usize> {
        match *self {
            Self::Slot(slot) | Self::Moving { to: slot, .. } => Some(slot),
            Self::Quarantined => None,
        }
    }
}

impl Assignments {
    /// Makes a worker the only owner of a partition.
    pub(super) fn give(&mut self, partition: TopicPartition, slot: usize) {
        self.0.insert(partition, Owner::Slot(slot));
    }

    /// Plans a move to another worker. Returns whether the current owner has yet to receive the revocation.
    pub(super) fn plan_move(&mut self, partition: &TopicPartition, to: usize) -> bool {
        let Some(owner) = self.0.get_mut(partition) else { return false };
        let (from, is_new) = match *owner {
            Owner::Slot(from) => (from, true),
            Owner::Moving { from, .. } => (from, false),
            Owner::Quarantined => return false,
        };
        *owner = Owner::Moving { from, to };
        is_new
    }

    /// The worker to which a partition moves when `slot` releases it; `None` if it does not move.
    pub(super) fn destination(&self, partition: &TopicPartition, slot: usize) -> Option<usize> {
        match *self.0.get(partition)? {
            Owner::Moving { from, to } if from == slot => Some(to),
            _ => None,
        }
    }

    /// The partitions that a worker has to release, each with its next owner.
    pub(super) fn going_from(&self, slot: usize) -> Vec<(TopicPartition, usize)> {
        let going = self.0.keys().filter_map(|name| Some((name.clone(), self.destination(name, slot)?)));
        going.collect()
    }

    /// The partitions that a worker receives when their current owners have released them.
    pub(super) fn coming_to(&self, slot: usize) -> Vec<TopicPartition> {
        let comes = |owner: &Owner| matches!(*owner, Owner::Moving { to, .. } if to == slot);
        self.0.iter().filter(|(_, owner)| comes(owner)).map(|(name, _)| name.clone()).collect()
    }

    /// Removes the ownership of a partition that the group has revoked.
    pub(super) fn release(&mut self, partition: &TopicPartition, slot: usize) {
        if self.owner(partition) == Some(slot) {
            self.0.remove(partition);
        }
    }

    pub(super) fn quarantine(&mut self, partition: &TopicPartition) {
        if let Some(owner) = self.0.get_mut(partition) {
            *owner = Owner::Quarantined;
        }
    }

    pub(super) fn is_quarantined(&self, partition: &TopicPartition) -> bool {
        self.0.get(partition) == Some(&Owner::Quarantined)
    }

    /// The worker that may consume the partition now.
    pub(super) fn owner(&self, partition: &TopicPartition) -> Option<usize> {
        match *self.0.get(partition)? {
            Owner::Slot(slot) | Owner::Moving { from: slot, .. } => Some(slot),
            Owner::Quarantined => None,
        }
    }

    /// Whether the partition has an owner or is quarantined.
    pub(super) fn is_known(&self, partition: &TopicPartition) -> bool {
        self.0.contains_key(partition)
    }

    /// The partitions that a worker may consume now.
    pub(super) fn of(&self, slot: usize) -> Vec<TopicPartition> {
        let own = self.0.keys().filter(|partition| self.owner(partition) == Some(slot));
        own.cloned().collect()
    }

    /// The number of partitions that a worker owns after all pending moves.
    pub(super) fn pending_moves_to(&self, slot: usize) -> usize {
        self.0.values().filter(|owner| owner.final_owner() == Some(slot)).count()
    }

    /// The last of the partitions that a worker owns after all pending moves.
    pub(super) fn last_promised(&self, slot: usize) -> Option<TopicPartition> {
        let last = self.0.iter().rfind(|(_, owner)| owner.final_owner() == Some(slot));
        last.map(|(name, _)| name.clone())
    }

    /// The number of partitions that have an owner.
    pub(super) fn len(&self) -> usize {
        self.0.values().filter(|owner| **owner != Owner::Quarantined).count()
    }
}
