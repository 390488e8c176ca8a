//! The position of each partition, over all processes that have consumed it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::messages::{CommittedOffsets, DiscoveredPartition};
use super::partition::{PartitionEntry, ResumeFrom, distance};
use super::policy::LastPosition;
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
    entries: BTreeMap<TopicPartition, PartitionEntry>,
    /// The number of partitions of each topic when the run began.
    pub(super) at_start: BTreeMap<String, i32>,
}

impl PartitionTable {
    /// Adds a partition that exists when the run begins.
    pub(super) fn insert_initial(&mut self, found: &DiscoveredPartition) {
        self.insert(found);
        *self.at_start.entry(found.start.partition.topic.clone()).or_default() += 1;
    }

    /// Adds a partition that is going to be consumed.
    pub(super) fn insert(&mut self, found: &DiscoveredPartition) {
        let DiscoveredPartition { start, end, committed } = found;
        let partition = PartitionEntry {
            slot: None,
            first: start.start,
            topic_id: start.topic_id.clone(),
            is_restarting: false,
            until: start.until,
            committed_before: *committed,
            next: start.start,
            committed: None,
            end: *end,
            high_watermark: 0,
            high_watermark_asked: 0,
            is_stable: true,
            before: PartitionCounts::default(),
            now: PartitionCounts::default(),
            in_flight: None,
            retrying: false,
            waits_for_turn: false,
            moved: Instant::now(),
            abandoned: 0,
            unreported: 0,
            stopped: None,
        };
        // An existing entry is kept.
        self.entries.entry(start.partition.clone()).or_insert(partition);
    }

    /// Sets the worker that consumes these partitions, or will.
    pub(super) fn set_owner(&mut self, slot: usize, names: &[TopicPartition]) {
        for name in names {
            if let Some(partition) = self.entries.get_mut(name) {
                partition.slot = Some(slot);
            }
        }
    }

    /// Records that a group has assigned these partitions to a worker, which starts at these offsets.
    pub(super) fn on_assigned(&mut self, slot: usize, starts: &[PartitionAssignment]) {
        for start in starts {
            let Some(partition) = self.entries.get_mut(&start.partition) else {
                self.insert(&DiscoveredPartition { start: start.clone(), end: start.start, committed: None });
                self.set_owner(slot, std::slice::from_ref(&start.partition));
                continue;
            };
            if partition.before.handled() == 0 && partition.slot.is_none() && partition.next == partition.first {
                partition.first = start.start;
            }
            if partition.slot != Some(slot) {
                // The revocation of its last owner has not arrived yet.
                partition.merge_progress();
            }
            (partition.slot, partition.next, partition.moved) = (Some(slot), start.start, Instant::now());
            (partition.topic_id, partition.is_restarting) = (start.topic_id.clone(), false);
        }
    }

    /// Partitions whose worker consumes, or will consume, an earlier topic of the same name; with the ids of
    /// both topics. With a group (`shared`) partitions without a worker here are left out, since their state is
    /// unknown.
    pub(super) fn recreated(&self, topic_ids: &TopicIds, shared: bool) -> Vec<Recreated> {
        let known = self.entries.iter().filter(|(_, partition)| partition.slot.is_some() || !shared);
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
    ) -> BTreeMap<usize, Vec<PartitionAssignment>> {
        let mut starts: BTreeMap<usize, Vec<PartitionAssignment>> = BTreeMap::new();
        for found in found {
            let old = self.entries.get_mut(&found.start.partition);
            let old = old.filter(|partition| partition.topic_id != found.start.topic_id);
            let Some(partition) = old.filter(|partition| partition.slot.is_some() || !shared) else { continue };
            partition.restart(found);
            if let Some(slot) = partition.slot {
                starts.entry(slot).or_default().push(found.start.clone());
            }
        }
        starts
    }

    /// Records that a worker has restarted these partitions on request.
    pub(super) fn restarted(&mut self, slot: usize, starts: &[PartitionAssignment]) {
        for start in starts {
            let own = self.entries.get_mut(&start.partition).filter(|partition| partition.slot == Some(slot));
            if let Some(partition) = own.filter(|partition| partition.topic_id == start.topic_id) {
                partition.is_restarting = false;
            }
        }
    }

    /// Records that a worker does not consume these partitions any more.
    pub(super) fn clear_owner(&mut self, slot: usize, names: &[TopicPartition]) {
        for name in names {
            if let Some(partition) = self.entries.get_mut(name).filter(|partition| partition.slot == Some(slot)) {
                partition.merge_progress();
                partition.slot = None;
            }
        }
    }

    /// Records a worker's progress. Returns whether a position has moved, and the number of messages handled
    /// since.
    pub(super) fn update(&mut self, slot: usize, progress: Vec<PartitionProgress>) -> (bool, u64) {
        let (mut moved, mut handled, now) = (false, 0, Instant::now());
        for progress in progress {
            // The last report about a partition that has another owner by now is ignored.
            let own = self.entries.get_mut(&progress.partition).filter(|partition| partition.slot == Some(slot));
            let Some(partition) = own.filter(|partition| !partition.is_restarting) else { continue };
            moved |= partition.next != progress.next || progress.in_flight.is_some();
            if partition.next != progress.next || partition.remaining() == 0 || progress.waits_for_turn {
                partition.moved = now;
            }
            partition.waits_for_turn = progress.waits_for_turn;
            partition.next = progress.next;
            partition.see_high_watermark(progress.end);
            partition.committed = progress.committed.or(partition.committed);
            handled += progress.counts.handled().saturating_sub(partition.now.handled());
            partition.now = progress.counts;
            partition.in_flight = progress.in_flight.map(|in_flight| (in_flight, now));
            partition.retrying = progress.retrying;
        }
        (moved, handled)
    }

    /// These partitions receive nothing until then, since the brokers throttle their worker's client. Returns
    /// whether messages are available in any.
    pub(super) fn throttle(&mut self, slot: usize, names: &[TopicPartition], until: Instant) -> bool {
        let mut is_waiting = false;
        for name in names {
            if let Some(partition) = self.entries.get_mut(name).filter(|partition| partition.slot == Some(slot)) {
                partition.moved = partition.moved.max(until);
                is_waiting |= partition.remaining() > 0;
            }
        }
        is_waiting
    }

    /// Records the exit of a slot's process. If it was killed at the deadline, its messages in flight are
    /// abandoned.
    pub(super) fn process_ended(&mut self, slot: usize, at_deadline: bool) {
        for partition in self.entries.values_mut().filter(|partition| partition.slot == Some(slot)) {
            partition.abandoned = u64::from(at_deadline && partition.in_flight.is_some());
            partition.merge_progress();
        }
    }

    /// The last reported positions of a slot's process.
    pub(super) fn seen(&self, slot: usize, from: ResumeFrom) -> Vec<LastPosition> {
        let own = self.entries.iter().filter(|(_, partition)| partition.slot == Some(slot));
        own.map(|(name, partition)| LastPosition {
            partition: name.clone(),
            next: partition.next,
            committed: partition.resume_at(from),
            in_flight: partition.in_flight.map(|(in_flight, _)| in_flight.offset),
            has_work: partition.in_flight.is_some() || partition.remaining() > 0,
        })
        .collect()
    }

    /// The start offsets of the next worker of these partitions.
    pub(super) fn starts(&self, names: &[TopicPartition], from: ResumeFrom) -> Vec<PartitionAssignment> {
        let start = |name: &TopicPartition| {
            let partition = self.entries.get(name)?;
            let (start, topic_id) = (partition.resume_at(from), partition.topic_id.clone());
            Some(PartitionAssignment { partition: name.clone(), start, until: partition.until, topic_id })
        };
        names.iter().filter_map(start).collect()
    }

    /// Whether none of these partitions has been consumed yet.
    pub(super) fn is_untouched(&self, names: &[TopicPartition]) -> bool {
        let untouched = |partition: &PartitionEntry| partition.next == partition.first && partition.committed.is_none();
        names.iter().filter_map(|name| self.entries.get(name)).all(untouched)
    }

    /// Records the committed offsets of these partitions before a worker starts there. A commit from before this
    /// run is ignored: the run may have started at another offset.
    pub(super) fn resume(&mut self, names: &[TopicPartition], committed: &Offsets) {
        for name in names {
            let Some(partition) = self.entries.get_mut(name) else { continue };
            let reply = committed.get(name).copied();
            if partition.committed.is_some() || reply != partition.committed_before {
                partition.committed = reply.or(partition.committed);
            }
        }
    }

    /// Counts messages as handled that an exited worker has committed, although its last report did not arrive.
    pub(super) fn count_unreported(&mut self, names: &[TopicPartition]) {
        for name in names {
            let Some(partition) = self.entries.get_mut(name) else { continue };
            let committed = partition.committed.unwrap_or(0);
            partition.unreported += distance(partition.next, committed);
            partition.next = partition.next.max(committed);
        }
    }

    /// The number of committed offsets without a report; gaps in the log count, too.
    pub(super) fn unreported(&self) -> u64 {
        self.entries.values().map(|partition| partition.unreported).sum()
    }

    /// Records that a request for the high watermarks is about to be sent.
    pub(super) fn ask_ends(&mut self) {
        self.entries.values_mut().for_each(|partition| partition.high_watermark_asked = partition.high_watermark);
    }

    /// Records the current high watermarks.
    pub(super) fn set_ends(&mut self, ends: &Offsets) {
        for (name, end) in ends {
            if let Some(partition) = self.entries.get_mut(name) {
                if partition.remaining() == 0 {
                    partition.moved = Instant::now();
                }
                partition.set_end(*end);
            }
        }
    }

    /// Positions at which workers wait for messages that should be available: in a group that may be a gap in
    /// the log.
    pub(super) fn starved(&self) -> Offsets {
        let starved = self.entries.iter().filter(|(_, partition)| partition.is_starved());
        starved.map(|(name, partition)| (name.clone(), partition.next)).collect()
    }

    /// The worker that consumes a partition.
    pub(super) fn reader(&self, name: &TopicPartition) -> Option<usize> {
        self.entries.get(name)?.slot
    }

    /// The last known commit of this run; with manual assignment it commits each partition's start offset.
    pub(super) fn last_commit(&self, name: &TopicPartition) -> i64 {
        self.entries.get(name).map_or(0, |partition| partition.committed.unwrap_or(partition.first))
    }

    /// The last commit of each partition, its worker, and whether it is not consumed any further.
    pub(super) fn committed_positions(&self) -> BTreeMap<TopicPartition, (Option<usize>, bool, i64)> {
        let position = |(name, partition): (&TopicPartition, &PartitionEntry)| {
            (name.clone(), (partition.slot, partition.stopped.is_some(), self.last_commit(name)))
        };
        self.entries.iter().map(position).collect()
    }

    /// Sets the stop offset of each partition to its high watermark.
    pub(super) fn read_until(&mut self, ends: &Offsets) {
        self.set_ends(ends);
        for (name, end) in ends {
            if let Some(partition) = self.entries.get_mut(name) {
                partition.until = Some(*end);
            }
        }
    }

    /// The stop offsets of partitions that have one.
    pub(super) fn stop_offsets(&self) -> Offsets {
        self.entries.iter().filter_map(|(name, partition)| Some((name.clone(), partition.until?))).collect()
    }

    /// The partitions that have not reached their stop offset, with that offset. Stopped partitions are left
    /// out.
    pub(super) fn unread(&self) -> Offsets {
        let unread = |partition: &&PartitionEntry| {
            partition.stopped.is_none() && partition.until.is_none_or(|until| partition.next < until)
        };
        let left = self.entries.iter().filter(|(_, partition)| unread(partition));
        left.map(|(name, partition)| (name.clone(), partition.until.unwrap_or(i64::MAX))).collect()
    }

    /// Resets the stall timers: consuming was paused meanwhile.
    pub(super) fn reset_stall_timer(&mut self) {
        self.entries.values_mut().for_each(|partition| partition.moved = Instant::now());
    }

    /// Records the committed offsets and high watermarks that were read back at the end.
    pub(super) fn read_back(&mut self, reply: &CommittedOffsets) {
        // No worker has sent a report since.
        self.ask_ends();
        self.set_ends(&reply.ends);
        for (name, partition) in self.entries.iter_mut().filter(|(name, _)| !reply.unknown.contains(name)) {
            partition.committed = reply.committed.get(name).copied();
        }
    }

    /// Partitions whose committed offset is below their position, with that position.
    pub(super) fn commit_lag(&self) -> Offsets {
        let is_behind = |partition: &&PartitionEntry| {
            partition.next != partition.first && partition.committed.is_none_or(|committed| committed < partition.next)
        };
        let behind = self.entries.iter().filter(|(_, partition)| is_behind(partition));
        behind.map(|(name, partition)| (name.clone(), partition.next)).collect()
    }

    /// A description of the first partition whose committed offset differs from its position. With `shared`
    /// other members commit, too, and the committed offset may be higher.
    pub(super) fn uncommitted(&self, shared: bool) -> Option<String> {
        let wrong = |partition: &&PartitionEntry| match partition.committed {
            _ if partition.next == partition.first => false,
            Some(committed) if shared => committed < partition.next,
            committed => committed != Some(partition.next),
        };
        self.entries.iter().find(|(_, partition)| wrong(partition)).map(|(name, partition)| match partition.committed {
            Some(committed) => format!("{name}: processed up to {}, committed up to {committed}", partition.next),
            None => format!("{name}: processed up to {}, nothing is committed", partition.next),
        })
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

    /// The first partition that is not consumed any further with its reason; and whether all partitions have
    /// stopped.
    pub(super) fn stopped(&self) -> Option<(String, bool)> {
        let (name, partition) = self.entries.iter().find(|(_, partition)| partition.stopped.is_some())?;
        let reason = partition.stopped.as_deref().unwrap_or_default();
        let all = self.entries.values().all(|partition| partition.stopped.is_some());
        Some((format!("{name} is read no further: {reason}"), all))
    }

    /// The names of all partitions.
    pub(super) fn names(&self) -> Vec<TopicPartition> {
        self.entries.keys().cloned().collect()
    }

    /// The position of each partition.
    pub(super) fn positions(&self) -> Offsets {
        self.entries.iter().map(|(name, partition)| (name.clone(), partition.next)).collect()
    }

    /// The positions of partitions that a worker here consumes.
    pub(super) fn positions_of_readers(&self) -> Offsets {
        let read = self.entries.iter().filter(|(_, partition)| partition.slot.is_some());
        read.map(|(name, partition)| (name.clone(), partition.next)).collect()
    }

    /// Whether a worker has a message in flight.
    pub(super) fn in_flight(&self) -> bool {
        self.entries.values().any(|partition| partition.in_flight.is_some())
    }

    /// The number of messages that consuming has passed, each counted once.
    pub(super) fn reached(&self) -> u64 {
        self.entries.values().map(|partition| distance(partition.first, partition.next)).sum()
    }

    /// The results of messages, over all processes.
    pub(super) fn totals(&self) -> PartitionCounts {
        self.entries.values().fold(PartitionCounts::default(), |sum, partition| sum.add(partition.counts()))
    }

    /// The status of each partition. With `shared`, partitions without a worker here may be consumed elsewhere.
    pub(super) fn status(&self, shared: bool) -> Vec<PartitionStatus> {
        self.entries.iter().map(|(name, partition)| partition.status(name, shared)).collect()
    }

    /// The report of each partition.
    pub(super) fn report(&self, read_only: bool) -> Vec<PartitionReport> {
        self.entries.iter().map(|(name, partition)| partition.report(name, read_only)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kafka::topic_id::TopicId;

    /// One partition, consumed from `first` by slot 0; `before` was committed by an earlier run.
    fn read_from(first: i64, before: Option<i64>) -> (PartitionTable, TopicPartition) {
        let name = TopicPartition::new("t", 0);
        let start = PartitionAssignment { partition: name.clone(), start: first, until: None, topic_id: None };
        let mut partitions = PartitionTable::default();
        partitions.insert(&DiscoveredPartition { start, end: 2_000, committed: before });
        partitions.set_owner(0, std::slice::from_ref(&name));
        (partitions, name)
    }

    fn progress(name: &TopicPartition, next: i64) -> PartitionProgress {
        PartitionProgress {
            partition: name.clone(),
            next,
            end: None,
            committed: None,
            counts: PartitionCounts { processed: 5, ..PartitionCounts::default() },
            in_flight: None,
            retrying: false,
            waits_for_turn: false,
        }
    }

    fn resumed_at(partitions: &mut PartitionTable, name: &TopicPartition, reply: Option<i64>) -> i64 {
        partitions
            .resume(std::slice::from_ref(name), &reply.map(|offset| (name.clone(), offset)).into_iter().collect());
        partitions.starts(std::slice::from_ref(name), ResumeFrom::Committed)[0].start
    }

    #[test]
    fn a_worker_goes_on_where_this_run_has_committed() {
        let (mut partitions, name) = read_from(10, Some(10));
        assert_eq!(resumed_at(&mut partitions, &name, Some(70)), 70);
        assert_eq!(resumed_at(&mut partitions, &name, None), 70, "what was known stays known");
    }

    #[test]
    fn a_commit_that_a_dead_worker_has_not_reported_counts_as_handled_once() {
        let (mut partitions, name) = read_from(10, Some(10));
        partitions.update(0, vec![progress(&name, 15)]);
        for committed in [12, 15, 18, 18] {
            assert_eq!(resumed_at(&mut partitions, &name, Some(committed)), committed);
            partitions.count_unreported(std::slice::from_ref(&name));
        }
        assert_eq!((partitions.totals().handled(), partitions.unreported()), (5, 3));
        assert_eq!(partitions.uncommitted(false), None);
    }

    #[test]
    fn a_commit_of_an_earlier_run_is_no_place_to_go_on() {
        // Started at the low watermark although 1,000 was committed; nothing has been committed since.
        let (mut partitions, name) = read_from(0, Some(1_000));
        assert_eq!(resumed_at(&mut partitions, &name, Some(1_000)), 0);
        assert_eq!(resumed_at(&mut partitions, &name, Some(50)), 50, "this one is ours");
    }

    #[test]
    fn without_commits_a_worker_goes_on_where_the_other_one_was() {
        let (mut partitions, name) = read_from(10, None);
        partitions.update(0, vec![progress(&name, 15)]);
        let start = |from| partitions.starts(std::slice::from_ref(&name), from)[0].start;
        assert_eq!((start(ResumeFrom::Position), start(ResumeFrom::Committed)), (15, 10));
        assert_eq!(partitions.report(true)[0].lag, None, "there is no group that could be behind");
        assert_eq!(partitions.report(false)[0].lag, Some(1_985));
    }

    #[test]
    fn what_is_read_or_is_not_to_be_read_does_not_stand_still() {
        let (mut partitions, name) = read_from(100, None);
        let still = |partitions: &PartitionTable| partitions.status(false)[0].stalled_seconds > 0.0;
        partitions.set_ends(&[(name.clone(), 2_000)].into());
        assert!(still(&partitions), "there are messages");
        partitions.update(0, vec![progress(&name, 1_999)]);
        assert!(still(&partitions));
        partitions.update(0, vec![progress(&name, 2_000)]);
        assert!(!still(&partitions));
        assert!(!partitions.seen(0, ResumeFrom::Committed)[0].has_work);
        assert!(!partitions.unread().is_empty(), "it has no end");
        partitions.read_until(&[(name.clone(), 2_000)].into());
        assert!(partitions.unread().is_empty());
        partitions.set_ends(&[(name, 3_000)].into());
        assert!(!still(&partitions), "what comes later is not to be read");
    }

    #[test]
    fn the_end_is_the_last_stable_offset_while_a_transaction_is_open() {
        let (mut partitions, name) = read_from(100, None);
        let status = |partitions: &PartitionTable| {
            let status = &partitions.status(false)[0];
            (status.high_watermark, status.lag, status.stalled_seconds > 0.0)
        };
        let report = |partitions: &mut PartitionTable, high_watermark| {
            partitions.update(0, vec![PartitionProgress { end: Some(high_watermark), ..progress(&name, 2_000) }]);
        };
        report(&mut partitions, 2_000);
        partitions.ask_ends();
        // Written and received while the request was in flight.
        report(&mut partitions, 2_300);
        partitions.set_ends(&[(name.clone(), 2_100)].into());
        assert_eq!(status(&partitions).0, 2_300, "without transactions the worker's own knowledge is younger");
        partitions.ask_ends();
        partitions.set_ends(&[(name.clone(), 2_000)].into());
        assert_eq!(status(&partitions), (2_000, 0, false), "what is behind the last stable offset cannot be read yet");
        report(&mut partitions, 2_400);
        assert_eq!((status(&partitions), partitions.starved()), ((2_000, 0, false), Offsets::new()));
        partitions.ask_ends();
        partitions.set_ends(&[(name.clone(), 2_401)].into());
        assert_eq!((status(&partitions).1, partitions.starved()), (401, [(name, 2_000)].into()));
    }

    #[test]
    fn a_topic_that_was_created_again_begins_anew() {
        let ids = ["before", "now"].map(TopicId::new);
        let name = TopicPartition::new("t", 0);
        let found = |id: &TopicId, start, end| {
            let start = PartitionAssignment { partition: name.clone(), start, until: None, topic_id: Some(id.clone()) };
            DiscoveredPartition { start, end, committed: None }
        };
        let mut partitions = PartitionTable::default();
        partitions.insert(&found(&ids[0], 0, 100));
        partitions.set_owner(0, std::slice::from_ref(&name));
        partitions.update(0, vec![PartitionProgress { committed: Some(100), ..progress(&name, 100) }]);
        let now: TopicIds = [("t".to_owned(), ids[1].clone())].into();
        assert_eq!(partitions.recreated(&[("t".to_owned(), ids[0].clone())].into(), false), []);
        assert_eq!(partitions.recreated(&now, false).len(), 1);
        let new = found(&ids[1], 0, 500);
        assert_eq!(partitions.missing(&["t".to_owned()], &[]), Some(name.clone()), "fewer partitions");
        assert_eq!(partitions.restart(std::slice::from_ref(&new), false), [(0, vec![new.start.clone()])].into());
        partitions.update(0, vec![PartitionProgress { committed: Some(300), ..progress(&name, 300) }]);
        let start = |partitions: &PartitionTable| {
            partitions.starts(std::slice::from_ref(&name), ResumeFrom::Committed)[0].start
        };
        assert_eq!(start(&partitions), 0, "what its worker says before it has restarted is of the topic before");
        partitions.restarted(0, std::slice::from_ref(&new.start));
        partitions.update(0, vec![PartitionProgress { committed: Some(40), ..progress(&name, 40) }]);
        assert_eq!((start(&partitions), partitions.recreated(&now, false)), (40, Vec::new()));
        partitions.clear_owner(0, std::slice::from_ref(&name));
        let other: TopicIds = [("t".to_owned(), ids[0].clone())].into();
        assert_eq!(partitions.recreated(&other, true), [], "in a group, its next reader knows");
    }

    #[test]
    fn a_partition_that_is_unread_is_left_until_it_is_read_no_further() {
        let (mut partitions, name) = read_from(0, None);
        partitions.read_until(&[(name.clone(), 10)].into());
        partitions.update(0, vec![progress(&name, 9)]);
        assert_eq!(partitions.unread().get(&name), Some(&10));
        partitions.stop(&name, "too much failed".to_owned());
        assert!(partitions.unread().is_empty());
    }

    #[test]
    fn what_a_reader_has_counted_that_a_group_has_replaced_stays_counted() {
        let (mut partitions, name) = read_from(0, None);
        partitions.update(0, vec![progress(&name, 5)]);
        partitions
            .on_assigned(1, &[PartitionAssignment { partition: name.clone(), start: 3, until: None, topic_id: None }]);
        partitions.update(
            1,
            vec![PartitionProgress {
                counts: PartitionCounts { processed: 2, ..PartitionCounts::default() },
                ..progress(&name, 5)
            }],
        );
        assert_eq!(partitions.totals().processed, 7);
    }

    #[test]
    fn what_is_read_elsewhere_has_no_lag_here_and_does_not_stand_still() {
        let (mut partitions, name) = read_from(0, None);
        partitions.clear_owner(0, std::slice::from_ref(&name));
        partitions.set_ends(&[(name.clone(), 3_000)].into());
        let reported = |partitions: &PartitionTable, shared| {
            let status = &partitions.status(shared)[0];
            (status.lag, status.stalled_seconds > 0.0)
        };
        assert_eq!(reported(&partitions, true), (0, false));
        assert_eq!(reported(&partitions, false), (3_000, true), "without a group it is nobody else's");
        partitions.stop(&name, "too much failed".to_owned());
        assert_eq!(reported(&partitions, false), (3_000, false), "it is read no further");
    }

    #[test]
    fn what_was_processed_and_is_not_committed_is_named() {
        let (mut partitions, name) = read_from(10, None);
        assert_eq!(partitions.uncommitted(false), None, "nothing was processed");
        partitions.update(0, vec![progress(&name, 15)]);
        let read_back = |offset| {
            let committed = [(name.clone(), offset)].into();
            CommittedOffsets { foreign: Vec::new(), committed, unknown: BTreeSet::new(), ends: Offsets::new() }
        };
        partitions.read_back(&read_back(14));
        assert_eq!(partitions.commit_lag(), [(name.clone(), 15)].into());
        assert!(partitions.uncommitted(false).is_some_and(|text| text.contains("t/0")));
        partitions.read_back(&read_back(15));
        assert_eq!((partitions.uncommitted(false), partitions.commit_lag()), (None, Offsets::new()));
        partitions.read_back(&read_back(20));
        assert!(partitions.uncommitted(false).is_some() && partitions.commit_lag().is_empty(), "somebody else's");
    }
}
