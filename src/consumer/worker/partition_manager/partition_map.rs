//! The partitions of a worker, as its manager knows them. Pure.

use std::collections::BTreeMap;

use crate::record::TopicPartition;

/// All partitions that the worker has or had, or that the supervisor has named; `A` is the address of an actor.
#[derive(Debug)]
pub(super) struct PartitionMap<A>(BTreeMap<TopicPartition, PartitionHandle<A>>);

#[derive(Debug)]
struct PartitionHandle<A> {
    consumption: Consumption,
    actor: PartitionActor<A>,
    /// The first offset that is not processed. May be received before the assignment, and stays after a revocation.
    stop_offset: Option<i64>,
    /// No worker may consume it any further, even when the group assigns it again.
    is_stopped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consumption {
    Unassigned,
    /// Assigned, and not at its stop offset: also without an actor, until it is opened again or revoked.
    Active,
    /// Assigned. It has reached its stop offset, or has stopped.
    Finished,
}

#[derive(Debug)]
enum PartitionActor<A> {
    None,
    Running(A),
    Stopping(A),
}

impl<A> Default for PartitionHandle<A> {
    fn default() -> Self {
        Self { consumption: Consumption::Unassigned, actor: PartitionActor::None, stop_offset: None, is_stopped: false }
    }
}

impl<A> PartitionHandle<A> {
    fn actor(&self) -> Option<&A> {
        match &self.actor {
            PartitionActor::None => None,
            PartitionActor::Running(actor) | PartitionActor::Stopping(actor) => Some(actor),
        }
    }
}

impl<A: Clone> PartitionMap<A> {
    /// A map in which these partitions must not be consumed.
    pub(super) fn new(stopped: &[TopicPartition]) -> Self {
        let mut map = Self(BTreeMap::new());
        map.set_stopped(stopped.to_vec());
        map
    }

    fn entry(&mut self, name: &TopicPartition) -> &mut PartitionHandle<A> {
        self.0.entry(name.clone()).or_default()
    }

    /// Records that no worker may consume these partitions any further.
    pub(super) fn set_stopped(&mut self, names: Vec<TopicPartition>) {
        names.into_iter().for_each(|name| self.0.entry(name).or_default().is_stopped = true);
    }

    /// Whether the partition must not be consumed.
    pub(super) fn is_stopped(&self, name: &TopicPartition) -> bool {
        self.0.get(name).is_some_and(|handle| handle.is_stopped)
    }

    /// Replaces the stop offsets of all partitions.
    pub(super) fn set_stop_offsets(&mut self, offsets: &[(TopicPartition, i64)]) {
        self.0.values_mut().for_each(|handle| handle.stop_offset = None);
        offsets.iter().for_each(|(name, offset)| self.entry(name).stop_offset = Some(*offset));
    }

    /// Removes the stop offset of a partition whose topic was created again.
    pub(super) fn clear_stop_offset(&mut self, name: &TopicPartition) {
        self.entry(name).stop_offset = None;
    }

    /// Records that a partition is assigned; its actor follows. Returns its stop offset: the given one, or the one
    /// that is known.
    pub(super) fn assign(&mut self, name: &TopicPartition, stop_offset: Option<i64>) -> Option<i64> {
        let handle = self.entry(name);
        handle.consumption = Consumption::Active;
        handle.stop_offset = stop_offset.or(handle.stop_offset);
        handle.stop_offset
    }

    /// Records the actor of an assigned partition. Returns its stop offset, which may have changed meanwhile.
    pub(super) fn set_actor(&mut self, name: &TopicPartition, actor: A) -> Option<i64> {
        let handle = self.entry(name);
        handle.actor = PartitionActor::Running(actor);
        handle.stop_offset
    }

    /// The actor of a partition, until it has stopped.
    pub(super) fn actor(&self, name: &TopicPartition) -> Option<&A> {
        self.0.get(name)?.actor()
    }

    /// All actors that have not stopped.
    pub(super) fn actors(&self) -> impl Iterator<Item = &A> {
        self.0.values().filter_map(PartitionHandle::actor)
    }

    /// Records that a partition has reached its stop offset, or has stopped.
    pub(super) fn finish(&mut self, name: &TopicPartition) {
        let handle = self.entry(name);
        if handle.consumption == Consumption::Active {
            handle.consumption = Consumption::Finished;
        }
    }

    /// Whether all assigned partitions have reached their stop offsets, or have stopped.
    pub(super) fn are_finished(&self) -> bool {
        self.0.values().all(|handle| handle.consumption != Consumption::Active)
    }

    /// Records that the running actors of these partitions have to stop, and returns them.
    pub(super) fn begin_stop(&mut self, is_meant: impl Fn(&TopicPartition) -> bool) -> Vec<(TopicPartition, A)> {
        let mut stopping = Vec::new();
        for (name, handle) in self.0.iter_mut().filter(|(name, _)| is_meant(name)) {
            if let PartitionActor::Running(actor) = &handle.actor {
                let actor = actor.clone();
                stopping.push((name.clone(), actor.clone()));
                handle.actor = PartitionActor::Stopping(actor);
            }
        }
        stopping
    }

    /// Records that the actor of a partition has stopped.
    pub(super) fn remove_actor(&mut self, name: &TopicPartition) {
        self.entry(name).actor = PartitionActor::None;
    }

    /// Records that a partition is revoked. Its actor may still be stopping if it is lost.
    pub(super) fn revoke(&mut self, name: &TopicPartition) {
        self.entry(name).consumption = Consumption::Unassigned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    #[test]
    fn a_stop_offset_may_precede_the_assignment_and_outlives_a_revocation() {
        let mut map = PartitionMap::<u8>::new(&[]);
        map.set_stop_offsets(&[(name(0), 5)]);
        assert_eq!(map.assign(&name(0), None), Some(5));
        map.revoke(&name(0));
        assert_eq!((map.assign(&name(0), None), map.assign(&name(0), Some(7))), (Some(5), Some(7)));
        map.set_stop_offsets(&[(name(1), 1)]);
        assert_eq!(map.set_actor(&name(0), 1), None, "the list is complete");
    }

    #[test]
    fn the_end_is_reached_when_no_assigned_partition_is_before_it() {
        let mut map = PartitionMap::<u8>::new(&[]);
        assert!(map.are_finished(), "without partitions");
        map.assign(&name(0), Some(5));
        map.assign(&name(1), None);
        map.finish(&name(0));
        assert!(!map.are_finished());
        map.revoke(&name(1));
        map.finish(&name(1));
        assert!(map.are_finished());
        map.assign(&name(0), None);
        assert!(!map.are_finished(), "it is opened again");
    }

    #[test]
    fn an_actor_is_stopped_once_and_is_there_until_it_has_stopped() {
        let mut map = PartitionMap::new(&[name(2)]);
        map.assign(&name(0), None);
        assert!(map.begin_stop(|_| true).is_empty(), "it has no actor yet");
        map.set_actor(&name(0), 'a');
        assert!(map.begin_stop(|other| *other == name(1)).is_empty());
        assert_eq!(map.begin_stop(|_| true), [(name(0), 'a')]);
        map.revoke(&name(0));
        assert_eq!((map.begin_stop(|_| true), map.actors().count()), (vec![], 1));
        map.remove_actor(&name(0));
        assert!(map.actor(&name(0)).is_none() && map.is_stopped(&name(2)) && !map.is_stopped(&name(0)));
    }
}
