//! The position of each partition, over all processes that have consumed it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::messages::DiscoveredPartition;
use super::partition::{LastPosition, PartitionEntry, ResumeFrom, distance};
use crate::consumer::protocol::{PartitionAssignment, PartitionProgress};
use crate::kafka::offsets::Offsets;
use crate::kafka::topic_id::{Recreated, TopicIds};
use crate::monitoring::status::PartitionStatus;
use crate::partition_counts::PartitionCounts;
use crate::record::TopicPartition;
use crate::report::PartitionReport;

/// All partitions.
#[derive(Clone, Debug, Default)]
pub(super) struct PartitionTable {
    pub(super) entries: BTreeMap<TopicPartition, PartitionEntry>,
    /// The number of partitions of each topic when the run began.
    pub(super) at_start: BTreeMap<String, i32>,
}

/// What a worker has reported since its last heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Advance {
    /// A position has moved, or a message is in flight.
    pub(super) has_moved: bool,
    /// The number of messages that were handled.
    pub(super) handled: u64,
}

impl PartitionTable {
    /// Adds a partition that exists when the run begins.
    pub(super) fn insert_initial(&mut self, found: &DiscoveredPartition, now: Duration) {
        self.insert(found, now);
        *self.at_start.entry(found.start.partition.topic.clone()).or_default() += 1;
    }

    /// Adds a partition that is going to be consumed.
    pub(super) fn insert(&mut self, found: &DiscoveredPartition, now: Duration) {
        let DiscoveredPartition { start, end, committed } = found;
        let partition = PartitionEntry {
            owner: None,
            start_offset: start.start,
            topic_id: start.topic_id.clone(),
            is_restarting: false,
            stop_offset: start.until,
            committed_before: *committed,
            position: start.start,
            committed: None,
            high_watermark: *end,
            reported_high_watermark: 0,
            high_watermark_at_request: 0,
            is_stable: true,
            before: PartitionCounts::default(),
            now: PartitionCounts::default(),
            in_flight: None,
            retrying: false,
            waits_for_turn: false,
            moved: now,
            abandoned: 0,
            unreported: 0,
            stopped: None,
        };
        // An existing entry is kept.
        self.entries.entry(start.partition.clone()).or_insert(partition);
    }

    /// Records the start offsets of partitions that a group assigns to a worker, before it is their owner.
    pub(super) fn on_assigned(&mut self, slot: usize, starts: &[PartitionAssignment], now: Duration) {
        for start in starts {
            let Some(partition) = self.entries.get_mut(&start.partition) else {
                let found = DiscoveredPartition { start: start.clone(), end: start.start, committed: None };
                self.insert(&found, now);
                continue;
            };
            let before = partition.consumer();
            if partition.before.handled() == 0 && before.is_none() && partition.position == partition.start_offset {
                partition.start_offset = start.start;
            }
            if before != Some(slot) {
                // The revocation of its last owner has not arrived yet.
                partition.merge_progress();
            }
            (partition.position, partition.moved) = (start.start, now);
            (partition.topic_id, partition.is_restarting) = (start.topic_id.clone(), false);
        }
    }

    /// Partitions whose worker consumes, or will consume, an earlier topic of the same name; with the ids of
    /// both topics. With a group (`shared`) partitions without a worker here are left out, since their state is
    /// unknown.
    pub(super) fn recreated(&self, topic_ids: &TopicIds, shared: bool) -> Vec<Recreated> {
        let known = self.entries.iter().filter(|(_, partition)| partition.consumer().is_some() || !shared);
        let changed = known.filter_map(|(name, partition)| {
            let (before, now) = (partition.topic_id.as_ref()?, topic_ids.get(&name.topic)?);
            let changed = || Recreated { topic: name.topic.clone(), before: before.clone(), now: now.clone() };
            (before != now).then(changed)
        });
        let mut changed: Vec<_> = changed.collect();
        changed.dedup_by(|one, other| one.topic == other.topic);
        changed
    }

    /// The first partition of these topics that was not found.
    pub(super) fn missing(&self, topics: &[String], found: &[DiscoveredPartition]) -> Option<TopicPartition> {
        let is_found = |name: &TopicPartition| found.iter().any(|found| found.start.partition == *name);
        self.entries.keys().find(|name| topics.contains(&name.topic) && !is_found(name)).cloned()
    }

    /// Restarts partitions whose topic was created again. Returns the new start offsets of each worker.
    pub(super) fn restart(
        &mut self,
        found: &[DiscoveredPartition],
        shared: bool,
        now: Duration,
    ) -> BTreeMap<usize, Vec<PartitionAssignment>> {
        let mut starts: BTreeMap<usize, Vec<PartitionAssignment>> = BTreeMap::new();
        for found in found {
            let old = self.entries.get_mut(&found.start.partition);
            let old = old.filter(|partition| partition.topic_id != found.start.topic_id);
            let Some(partition) = old.filter(|partition| partition.consumer().is_some() || !shared) else { continue };
            partition.restart(found, now);
            if let Some(slot) = partition.consumer() {
                starts.entry(slot).or_default().push(found.start.clone());
            }
        }
        starts
    }

    /// Records that a worker has restarted these partitions on request.
    pub(super) fn restarted(&mut self, slot: usize, starts: &[PartitionAssignment]) {
        for start in starts {
            let entry = self.consumed(&start.partition, slot);
            if let Some(partition) = entry.filter(|partition| partition.topic_id == start.topic_id) {
                partition.is_restarting = false;
            }
        }
    }

    /// Records that a worker has a new process, which starts at the current start offsets.
    pub(super) fn on_started(&mut self, slot: usize) {
        self.consumed_by(slot).for_each(|partition| partition.is_restarting = false);
    }

    fn consumed_by(&mut self, slot: usize) -> impl Iterator<Item = &mut PartitionEntry> {
        self.entries.values_mut().filter(move |partition| partition.consumer() == Some(slot))
    }

    fn consumed(&mut self, name: &TopicPartition, slot: usize) -> Option<&mut PartitionEntry> {
        self.entries.get_mut(name).filter(|partition| partition.consumer() == Some(slot))
    }

    /// Records a worker's progress.
    pub(super) fn update(&mut self, slot: usize, progress: Vec<PartitionProgress>, now: Duration) -> Advance {
        let mut advance = Advance::default();
        for progress in progress {
            // The last report about a partition that has another owner by now is ignored.
            let entry = self.consumed(&progress.partition, slot);
            let Some(partition) = entry.filter(|partition| !partition.is_restarting) else { continue };
            advance.has_moved |= partition.position != progress.next || progress.in_flight.is_some();
            if partition.position != progress.next || partition.remaining() == 0 || progress.waits_for_turn {
                partition.moved = now;
            }
            partition.waits_for_turn = progress.waits_for_turn;
            partition.position = progress.next;
            partition.see_high_watermark(progress.end);
            partition.committed = progress.committed.or(partition.committed);
            advance.handled += progress.counts.handled().saturating_sub(partition.now.handled());
            partition.now = progress.counts;
            partition.in_flight = progress.in_flight.map(|in_flight| (in_flight, now));
            partition.retrying = progress.retrying;
        }
        advance
    }

    /// These partitions receive nothing until then, since the brokers throttle their worker's client. Returns
    /// whether messages are available in any.
    pub(super) fn throttle(&mut self, slot: usize, names: &[TopicPartition], until: Duration) -> bool {
        let mut is_waiting = false;
        for name in names {
            if let Some(partition) = self.consumed(name, slot) {
                partition.moved = partition.moved.max(until);
                is_waiting |= partition.remaining() > 0;
            }
        }
        is_waiting
    }

    /// Records the exit of a slot's process. If it was killed at the deadline, its messages in flight are
    /// abandoned.
    pub(super) fn on_process_exit(&mut self, slot: usize, at_deadline: bool) {
        for partition in self.consumed_by(slot) {
            partition.abandoned = u64::from(at_deadline && partition.in_flight.is_some());
            partition.merge_progress();
        }
    }

    /// The last reported positions of a slot's process.
    pub(super) fn last_positions(&self, slot: usize, from: ResumeFrom) -> Vec<LastPosition> {
        let consumed = self.entries.iter().filter(|(_, partition)| partition.consumer() == Some(slot));
        consumed
            .map(|(name, partition)| LastPosition {
                partition: name.clone(),
                position: partition.position,
                committed: partition.resume_at(from),
                in_flight: partition.in_flight.map(|(in_flight, _)| in_flight.offset),
                has_work: partition.in_flight.is_some() || partition.remaining() > 0,
            })
            .collect()
    }

    /// Records that a request for the high watermarks is about to be sent.
    pub(super) fn on_watermarks_requested(&mut self) {
        self.entries
            .values_mut()
            .for_each(|partition| partition.high_watermark_at_request = partition.reported_high_watermark);
    }

    /// Records the current high watermarks.
    pub(super) fn set_high_watermarks(&mut self, ends: &Offsets, now: Duration) {
        for (name, end) in ends {
            if let Some(partition) = self.entries.get_mut(name) {
                if partition.remaining() == 0 {
                    partition.moved = now;
                }
                partition.set_end(*end);
            }
        }
    }

    /// Positions at which workers wait for messages that should be available: in a group that may be a gap in
    /// the log.
    pub(super) fn starved(&self) -> Offsets {
        let starved = self.entries.iter().filter(|(_, partition)| partition.is_starved());
        starved.map(|(name, partition)| (name.clone(), partition.position)).collect()
    }

    /// The worker that consumes a partition.
    pub(super) fn consumer(&self, name: &TopicPartition) -> Option<usize> {
        self.entries.get(name)?.consumer()
    }

    /// Sets the stop offset of each partition to its high watermark.
    pub(super) fn read_until(&mut self, ends: &Offsets, now: Duration) {
        self.set_high_watermarks(ends, now);
        for (name, end) in ends {
            if let Some(partition) = self.entries.get_mut(name) {
                partition.stop_offset = Some(*end);
            }
        }
    }

    /// The stop offsets of partitions that have one.
    pub(super) fn stop_offsets(&self) -> Offsets {
        self.entries.iter().filter_map(|(name, partition)| Some((name.clone(), partition.stop_offset?))).collect()
    }

    /// The partitions that have not reached their stop offset, with that offset. Stopped partitions are left
    /// out.
    pub(super) fn unread(&self) -> Offsets {
        let unread = |partition: &&PartitionEntry| {
            partition.stopped.is_none() && partition.stop_offset.is_none_or(|until| partition.position < until)
        };
        let unread = self.entries.iter().filter(|(_, partition)| unread(partition));
        unread.map(|(name, partition)| (name.clone(), partition.stop_offset.unwrap_or(i64::MAX))).collect()
    }

    /// Resets the stall timers: consuming was paused meanwhile.
    pub(super) fn reset_stall_timers(&mut self, now: Duration) {
        self.entries.values_mut().for_each(|partition| partition.moved = now);
    }

    /// Records that a partition is not consumed any further.
    pub(super) fn stop(&mut self, name: &TopicPartition, reason: String) {
        if let Some(partition) = self.entries.get_mut(name) {
            partition.stopped = Some(reason);
        }
    }

    /// The partitions that are not consumed any further.
    pub(super) fn all_stopped(&self) -> Vec<TopicPartition> {
        let stopped = self.entries.iter().filter(|(_, partition)| partition.stopped.is_some());
        stopped.map(|(name, _)| name.clone()).collect()
    }

    /// A description of the first partition that is not consumed any further.
    pub(super) fn stopped(&self) -> Option<String> {
        let stopped = |(name, partition): (&TopicPartition, &PartitionEntry)| {
            Some(format!("{name} is read no further: {}", partition.stopped.as_ref()?))
        };
        self.entries.iter().find_map(stopped)
    }

    /// Whether no partition is consumed any further.
    pub(super) fn are_all_stopped(&self) -> bool {
        self.entries.values().all(|partition| partition.stopped.is_some())
    }

    /// The names of all partitions.
    pub(super) fn names(&self) -> Vec<TopicPartition> {
        self.entries.keys().cloned().collect()
    }

    /// The position of each partition.
    pub(super) fn positions(&self) -> Offsets {
        self.entries.iter().map(|(name, partition)| (name.clone(), partition.position)).collect()
    }

    /// The positions of partitions that a worker here consumes.
    pub(super) fn consumed_positions(&self) -> Offsets {
        let read = self.entries.iter().filter(|(_, partition)| partition.consumer().is_some());
        read.map(|(name, partition)| (name.clone(), partition.position)).collect()
    }

    /// Whether a worker has a message in flight.
    pub(super) fn in_flight(&self) -> bool {
        self.entries.values().any(|partition| partition.in_flight.is_some())
    }

    /// The number of messages that consuming has passed, each counted once.
    pub(super) fn reached(&self) -> u64 {
        self.entries.values().map(|partition| distance(partition.start_offset, partition.position)).sum()
    }

    /// The results of messages, over all processes.
    pub(super) fn totals(&self) -> PartitionCounts {
        self.entries.values().fold(PartitionCounts::default(), |sum, partition| sum + partition.counts())
    }

    /// The status of each partition. With `shared`, partitions without a worker here may be consumed elsewhere.
    pub(super) fn status(&self, shared: bool, now: Duration) -> Vec<PartitionStatus> {
        self.entries.iter().map(|(name, partition)| partition.status(name, shared, now)).collect()
    }

    /// The report of each partition.
    pub(super) fn report(&self, read_only: bool) -> Vec<PartitionReport> {
        self.entries.iter().map(|(name, partition)| partition.report(name, read_only)).collect()
    }
}

#[cfg(test)]
mod tests;
