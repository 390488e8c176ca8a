//! Who reads which partition. A partition never has two owners: it changes hands when its owner has given it up, or is
//! dead.

use std::collections::BTreeMap;

use crate::record::TopicPartition;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Ownership(BTreeMap<TopicPartition, Owner>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// This worker.
    Slot(usize),
    /// This worker, until it has given it up; then the other one.
    Moving { from: usize, to: usize },
    /// Nobody, for good.
    Quarantined,
}

impl Ownership {
    /// It is this worker's, and nobody else may read it.
    pub(super) fn give(&mut self, partition: TopicPartition, slot: usize) {
        self.0.insert(partition, Owner::Slot(slot));
    }

    /// It will be the other one's when its owner has given it up.
    pub(super) fn plan_move(&mut self, partition: &TopicPartition, to: usize) {
        if let Some(owner) = self.0.get_mut(partition)
            && let Owner::Slot(from) | Owner::Moving { from, .. } = *owner
        {
            *owner = Owner::Moving { from, to };
        }
    }

    /// Its owner has given it up: the new one, if it was to move.
    pub(super) fn settle(&mut self, partition: &TopicPartition, slot: usize) -> Option<usize> {
        let owner = self.0.get_mut(partition)?;
        match *owner {
            Owner::Moving { from, to } if from == slot => {
                *owner = Owner::Slot(to);
                Some(to)
            }
            _ => None,
        }
    }

    /// A worker is dead: what was to move from it has moved; to whom.
    pub(super) fn died(&mut self, slot: usize) -> Vec<(TopicPartition, usize)> {
        let mut moved = Vec::new();
        for (partition, owner) in &mut self.0 {
            if let Owner::Moving { from, to } = *owner
                && from == slot
            {
                *owner = Owner::Slot(to);
                moved.push((partition.clone(), to));
            }
        }
        moved
    }

    /// The group has taken it away.
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

    /// Who may read it now.
    pub(super) fn owner(&self, partition: &TopicPartition) -> Option<usize> {
        match *self.0.get(partition)? {
            Owner::Slot(slot) | Owner::Moving { from: slot, .. } => Some(slot),
            Owner::Quarantined => None,
        }
    }

    /// Whether it is anybody's, or nobody's on purpose.
    pub(super) fn is_known(&self, partition: &TopicPartition) -> bool {
        self.0.contains_key(partition)
    }

    /// What a worker may read now.
    pub(super) fn of(&self, slot: usize) -> Vec<TopicPartition> {
        let own = self.0.keys().filter(|partition| self.owner(partition) == Some(slot));
        own.cloned().collect()
    }

    /// How many a worker has when all moves are done.
    pub(super) fn promised(&self, slot: usize) -> usize {
        let counts = |owner: &&Owner| matches!(owner, Owner::Slot(to) | Owner::Moving { to, .. } if *to == slot);
        self.0.values().filter(counts).count()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
