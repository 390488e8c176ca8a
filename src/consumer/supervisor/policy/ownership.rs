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

impl Owner {
    /// Whose it is when all moves are done.
    fn in_the_end(&self) -> Option<usize> {
        match *self {
            Self::Slot(slot) | Self::Moving { to: slot, .. } => Some(slot),
            Self::Quarantined => None,
        }
    }
}

impl Ownership {
    /// It is this worker's, and nobody else may read it.
    pub(super) fn give(&mut self, partition: TopicPartition, slot: usize) {
        self.0.insert(partition, Owner::Slot(slot));
    }

    /// It will be the other one's when its owner has given it up; whether its owner does not know yet that it has to.
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

    /// To whom it goes when this owner gives it up, if it is to move.
    pub(super) fn destination(&self, partition: &TopicPartition, slot: usize) -> Option<usize> {
        match *self.0.get(partition)? {
            Owner::Moving { from, to } if from == slot => Some(to),
            _ => None,
        }
    }

    /// What a worker has to give up, and to whom it goes.
    pub(super) fn going_from(&self, slot: usize) -> Vec<(TopicPartition, usize)> {
        let going = self.0.keys().filter_map(|name| Some((name.clone(), self.destination(name, slot)?)));
        going.collect()
    }

    /// What a worker gets when others have given it up.
    pub(super) fn coming_to(&self, slot: usize) -> Vec<TopicPartition> {
        let comes = |owner: &Owner| matches!(*owner, Owner::Moving { to, .. } if to == slot);
        self.0.iter().filter(|(_, owner)| comes(owner)).map(|(name, _)| name.clone()).collect()
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

    pub(super) fn is_quarantined(&self, partition: &TopicPartition) -> bool {
        self.0.get(partition) == Some(&Owner::Quarantined)
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
        self.0.values().filter(|owner| owner.in_the_end() == Some(slot)).count()
    }

    /// The last of these.
    pub(super) fn last_promised(&self, slot: usize) -> Option<TopicPartition> {
        let last = self.0.iter().rfind(|(_, owner)| owner.in_the_end() == Some(slot));
        last.map(|(name, _)| name.clone())
    }

    /// How many are anybody's.
    pub(super) fn len(&self) -> usize {
        self.0.values().filter(|owner| **owner != Owner::Quarantined).count()
    }
}
