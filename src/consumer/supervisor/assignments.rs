//! The owners of the partitions, and their moves from one worker to another.

use super::partition::{Owner, PartitionEntry};
use super::partition_table::PartitionTable;
use crate::record::TopicPartition;

impl PartitionTable {
    /// Makes a worker the only owner of a partition.
    pub(super) fn give(&mut self, partition: &TopicPartition, slot: usize) {
        if let Some(entry) = self.entries.get_mut(partition) {
            entry.owner = Some(Owner::Slot(slot));
        }
    }

    /// Plans a move to another worker. Returns whether the current owner has yet to receive the revocation.
    pub(super) fn plan_move(&mut self, partition: &TopicPartition, to: usize) -> bool {
        let Some(owner) = self.entries.get_mut(partition).and_then(|entry| entry.owner.as_mut()) else { return false };
        let (from, is_new) = match *owner {
            Owner::Slot(from) => (from, true),
            Owner::Moving { from, .. } => (from, false),
            Owner::Quarantined { .. } => return false,
        };
        *owner = Owner::Moving { from, to };
        is_new
    }

    /// The worker to which a partition moves when `slot` releases it; `None` if it does not move.
    pub(super) fn destination(&self, partition: &TopicPartition, slot: usize) -> Option<usize> {
        match self.entries.get(partition)?.owner? {
            Owner::Moving { from, to } if from == slot => Some(to),
            _ => None,
        }
    }

    /// The partitions that a worker has to release, each with its next owner.
    pub(super) fn going_from(&self, slot: usize) -> Vec<(TopicPartition, usize)> {
        let going = self.entries.keys().filter_map(|name| Some((name.clone(), self.destination(name, slot)?)));
        going.collect()
    }

    /// The partitions that a worker receives when their current owners have released them.
    pub(super) fn coming_to(&self, slot: usize) -> Vec<TopicPartition> {
        self.names_of(|entry| matches!(entry.owner, Some(Owner::Moving { to, .. }) if to == slot))
    }

    /// Records that a worker has released a partition: it consumes nothing of it any more.
    pub(super) fn release(&mut self, partition: &TopicPartition, slot: usize) {
        let Some(entry) = self.entries.get_mut(partition).filter(|entry| entry.consumer() == Some(slot)) else {
            return;
        };
        entry.merge_progress();
        if let Some(Owner::Quarantined { from }) = &mut entry.owner {
            *from = None;
        }
    }

    /// Removes the owner of a partition that the group has revoked.
    pub(super) fn remove_owner(&mut self, partition: &TopicPartition, slot: usize) {
        if let Some(entry) = self.entries.get_mut(partition).filter(|entry| entry.consumer() == Some(slot)) {
            entry.owner = None;
        }
    }

    pub(super) fn quarantine(&mut self, partition: &TopicPartition) {
        if let Some(entry) = self.entries.get_mut(partition).filter(|entry| entry.owner.is_some()) {
            entry.owner = Some(Owner::Quarantined { from: entry.consumer() });
        }
    }

    pub(super) fn is_quarantined(&self, partition: &TopicPartition) -> bool {
        let owner = self.entries.get(partition).and_then(|entry| entry.owner);
        matches!(owner, Some(Owner::Quarantined { .. }))
    }

    /// The worker that may consume the partition now.
    pub(super) fn owner(&self, partition: &TopicPartition) -> Option<usize> {
        self.entries.get(partition)?.owner?.current()
    }

    /// Whether the partition has an owner or is quarantined.
    pub(super) fn is_assigned(&self, partition: &TopicPartition) -> bool {
        self.entries.get(partition).is_some_and(|entry| entry.owner.is_some())
    }

    /// The partitions that a worker may consume now.
    pub(super) fn owned_by(&self, slot: usize) -> Vec<TopicPartition> {
        self.names_of(|entry| entry.owner.and_then(Owner::current) == Some(slot))
    }

    /// The number of partitions that a worker owns after all pending moves.
    pub(super) fn count_finally_owned(&self, slot: usize) -> usize {
        self.entries.values().filter(|entry| entry.owner.and_then(Owner::final_owner) == Some(slot)).count()
    }

    /// The last of the partitions that a worker owns after all pending moves.
    pub(super) fn last_finally_owned(&self, slot: usize) -> Option<TopicPartition> {
        let last = self.entries.iter().rfind(|(_, entry)| entry.owner.and_then(Owner::final_owner) == Some(slot));
        last.map(|(name, _)| name.clone())
    }

    /// The number of partitions that have an owner.
    pub(super) fn count_owned(&self) -> usize {
        self.entries.values().filter(|entry| entry.owner.and_then(Owner::current).is_some()).count()
    }

    fn names_of(&self, is_wanted: impl Fn(&PartitionEntry) -> bool) -> Vec<TopicPartition> {
        self.entries.iter().filter(|(_, entry)| is_wanted(entry)).map(|(name, _)| name.clone()).collect()
    }
}
