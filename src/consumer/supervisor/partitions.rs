//! Where reading has come to in each partition, over all processes that have read it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::messages::{Found, ReadBack};
use super::partition::{Counts, Partition, distance};
use super::policy::Seen;
use crate::consumer::control::{PartitionProgress, StartPartition};
use crate::kafka::offsets::Offsets;
use crate::monitoring::status::PartitionStatus;
use crate::record::TopicPartition;
use crate::report::PartitionReport;

/// All partitions.
#[derive(Clone, Debug, Default)]
pub(super) struct Partitions(BTreeMap<TopicPartition, Partition>);

impl Partitions {
    /// A partition that is going to be read, by somebody.
    pub(super) fn insert(&mut self, found: &Found) {
        let Found { start, end, committed } = found;
        let partition = Partition {
            slot: None,
            first: start.start,
            until: start.until,
            committed_before: *committed,
            next: start.start,
            committed: None,
            end: *end,
            before: Counts::default(),
            now: Counts::default(),
            in_flight: None,
            retrying: false,
            read_up_to: None,
            moved: Instant::now(),
            abandoned: 0,
            stopped: None,
        };
        // What is known of it already stays known.
        self.0.entry(start.partition.clone()).or_insert(partition);
    }

    /// A worker reads these, or will.
    pub(super) fn give(&mut self, slot: usize, names: &[TopicPartition]) {
        for name in names {
            if let Some(partition) = self.0.get_mut(name) {
                partition.slot = Some(slot);
            }
        }
    }

    /// A group has dealt these to a worker, which starts there.
    pub(super) fn dealt(&mut self, slot: usize, starts: &[StartPartition]) {
        for start in starts {
            let Some(partition) = self.0.get_mut(&start.partition) else {
                self.insert(&Found { start: start.clone(), end: start.start, committed: None });
                self.give(slot, std::slice::from_ref(&start.partition));
                continue;
            };
            if partition.before.dealt_with() == 0 && partition.slot.is_none() && partition.next == partition.first {
                partition.first = start.start;
            }
            if partition.slot != Some(slot) {
                // Its last reader has not told yet that it is none any more.
                partition.fold();
            }
            (partition.slot, partition.next, partition.moved) = (Some(slot), start.start, Instant::now());
        }
    }

    /// A worker reads these no more.
    pub(super) fn release(&mut self, slot: usize, names: &[TopicPartition]) {
        for name in names {
            if let Some(partition) = self.0.get_mut(name).filter(|partition| partition.slot == Some(slot)) {
                partition.fold();
                partition.slot = None;
            }
        }
    }

    /// What a worker told: whether messages were dealt with since, and how many.
    pub(super) fn update(&mut self, slot: usize, progress: Vec<PartitionProgress>) -> (bool, u64) {
        let (mut moved, mut dealt_with, now) = (false, 0, Instant::now());
        for progress in progress {
            // Last words about a partition that is somebody else's by now say nothing about it.
            let own = self.0.get_mut(&progress.partition).filter(|partition| partition.slot == Some(slot));
            let Some(partition) = own else { continue };
            moved |= partition.next != progress.next || progress.in_flight.is_some();
            if partition.next != progress.next || partition.waiting() == 0 || progress.waits_for_turn {
                partition.moved = now;
            }
            partition.read_up_to = progress.read_up_to;
            partition.next = progress.next;
            partition.end = partition.end.max(progress.next).max(progress.end.unwrap_or(0));
            partition.committed = progress.committed.or(partition.committed);
            let counts = Counts {
                processed: progress.processed,
                failed: progress.failed,
                dead_lettered: progress.dead_lettered,
                retried: progress.retried,
                read_bytes: progress.read_bytes,
            };
            dealt_with += counts.dealt_with().saturating_sub(partition.now.dealt_with());
            partition.now = counts;
            partition.in_flight = progress.in_flight.map(|in_flight| (in_flight, now));
            partition.retrying = progress.retrying;
        }
        (moved, dealt_with)
    }

    /// A slot's process is gone. What it had in hand when it was killed at the deadline is abandoned.
    pub(super) fn process_ended(&mut self, slot: usize, at_deadline: bool) {
        for partition in self.0.values_mut().filter(|partition| partition.slot == Some(slot)) {
            partition.abandoned = u64::from(at_deadline && partition.in_flight.is_some());
            partition.fold();
        }
    }

    /// Where a slot's process was, by its last words.
    pub(super) fn seen(&self, slot: usize) -> Vec<Seen> {
        let own = self.0.iter().filter(|(_, partition)| partition.slot == Some(slot));
        own.map(|(name, partition)| Seen {
            partition: name.clone(),
            next: partition.next,
            committed: partition.committed.unwrap_or(partition.first),
            in_flight: partition.in_flight.map(|(in_flight, _)| in_flight.offset),
            has_work: partition.in_flight.is_some() || partition.waiting() > 0,
        })
        .collect()
    }

    /// Where whoever reads these next starts: where this run has committed, else where it began.
    pub(super) fn starts(&self, names: &[TopicPartition]) -> Vec<StartPartition> {
        let start = |name: &TopicPartition| {
            let partition = self.0.get(name)?;
            let start = partition.committed.unwrap_or(partition.first);
            Some(StartPartition { partition: name.clone(), start, until: partition.until })
        };
        names.iter().filter_map(start).collect()
    }

    /// Whether nobody has read any of these yet.
    pub(super) fn is_untouched(&self, names: &[TopicPartition]) -> bool {
        let untouched = |partition: &Partition| partition.next == partition.first && partition.committed.is_none();
        names.iter().filter_map(|name| self.0.get(name)).all(untouched)
    }

    /// What the brokers say of these partitions' commits, before somebody starts there. A commit that was there before
    /// this run says nothing: the run may have been told to start elsewhere.
    pub(super) fn resume(&mut self, names: &[TopicPartition], committed: &Offsets) {
        for name in names {
            let Some(partition) = self.0.get_mut(name) else { continue };
            let answer = committed.get(name).copied();
            if partition.committed.is_some() || answer != partition.committed_before {
                partition.committed = answer.or(partition.committed);
            }
        }
    }

    /// The ends as they are now.
    pub(super) fn set_ends(&mut self, ends: &Offsets) {
        for (name, end) in ends {
            if let Some(partition) = self.0.get_mut(name) {
                if partition.waiting() == 0 {
                    partition.moved = Instant::now();
                }
                partition.end = partition.end.max(*end);
            }
        }
    }

    /// From now on each partition is read to its end only.
    pub(super) fn read_until(&mut self, ends: &Offsets) {
        self.set_ends(ends);
        for (name, end) in ends {
            if let Some(partition) = self.0.get_mut(name) {
                partition.until = Some(*end);
            }
        }
    }

    /// The ends that are to be read to, where there are any.
    pub(super) fn untils(&self) -> Offsets {
        self.0.iter().filter_map(|(name, partition)| Some((name.clone(), partition.until?))).collect()
    }

    /// Those that are to be read to an end, and are not there: with that end. What is read no further is left out.
    pub(super) fn unread(&self) -> Offsets {
        let unread = |partition: &&Partition| {
            partition.stopped.is_none() && partition.until.is_none_or(|until| partition.read() < until)
        };
        let left = self.0.iter().filter(|(_, partition)| unread(partition));
        left.map(|(name, partition)| (name.clone(), partition.until.unwrap_or(i64::MAX))).collect()
    }

    /// Nobody was to read meanwhile.
    pub(super) fn excuse(&mut self) {
        self.0.values_mut().for_each(|partition| partition.moved = Instant::now());
    }

    /// What the brokers say at the end.
    pub(super) fn read_back(&mut self, answer: &ReadBack) {
        self.set_ends(&answer.ends);
        for (name, partition) in &mut self.0 {
            partition.committed = answer.committed.get(name).copied();
        }
    }

    /// Those of which less is committed than was dealt with here, and how much was.
    pub(super) fn behind(&self) -> Offsets {
        let is_behind = |partition: &&Partition| {
            partition.next != partition.first && partition.committed.is_none_or(|committed| committed < partition.next)
        };
        let behind = self.0.iter().filter(|(_, partition)| is_behind(partition));
        behind.map(|(name, partition)| (name.clone(), partition.next)).collect()
    }

    /// The first partition in which what was dealt with is not what is committed; `shared`: others commit, too, and
    /// may have come further.
    pub(super) fn uncommitted(&self, shared: bool) -> Option<String> {
        let wrong = |partition: &&Partition| match partition.committed {
            _ if partition.next == partition.first => false,
            Some(committed) if shared => committed < partition.next,
            committed => committed != Some(partition.next),
        };
        self.0.iter().find(|(_, partition)| wrong(partition)).map(|(name, partition)| match partition.committed {
            Some(committed) => format!("{name}: processed up to {}, committed up to {committed}", partition.next),
            None => format!("{name}: processed up to {}, nothing is committed", partition.next),
        })
    }

    /// It is read no further.
    pub(super) fn stop(&mut self, name: &TopicPartition, reason: String) {
        if let Some(partition) = self.0.get_mut(name) {
            partition.stopped = Some(reason);
        }
    }

    /// Those that are read no further.
    pub(super) fn all_stopped(&self) -> Vec<TopicPartition> {
        let stopped = self.0.iter().filter(|(_, partition)| partition.stopped.is_some());
        stopped.map(|(name, _)| name.clone()).collect()
    }

    /// The first partition that is read no further, and why; and whether all are.
    pub(super) fn stopped(&self) -> Option<(String, bool)> {
        let (name, partition) = self.0.iter().find(|(_, partition)| partition.stopped.is_some())?;
        let reason = partition.stopped.as_deref().unwrap_or_default();
        let all = self.0.values().all(|partition| partition.stopped.is_some());
        Some((format!("{name} is read no further: {reason}"), all))
    }

    /// Names of all.
    pub(super) fn names(&self) -> Vec<TopicPartition> {
        self.0.keys().cloned().collect()
    }

    /// Where reading has come to.
    pub(super) fn positions(&self) -> Offsets {
        self.0.iter().map(|(name, partition)| (name.clone(), partition.next)).collect()
    }

    /// The same of those that a worker here reads.
    pub(super) fn positions_of_readers(&self) -> Offsets {
        let read = self.0.iter().filter(|(_, partition)| partition.slot.is_some());
        read.map(|(name, partition)| (name.clone(), partition.next)).collect()
    }

    /// Whether a worker has a message in hand.
    pub(super) fn in_flight(&self) -> bool {
        self.0.values().any(|partition| partition.in_flight.is_some())
    }

    /// Messages that reading has come past, each counted once.
    pub(super) fn reached(&self) -> u64 {
        self.0.values().map(|partition| distance(partition.first, partition.next)).sum()
    }

    /// What became of messages, over all processes.
    pub(super) fn totals(&self) -> Counts {
        self.0.values().fold(Counts::default(), |sum, partition| sum.add(partition.before).add(partition.now))
    }

    /// For the status; `shared`: what no worker here reads may be read elsewhere.
    pub(super) fn status(&self, shared: bool) -> Vec<PartitionStatus> {
        self.0.iter().map(|(name, partition)| partition.status(name, shared)).collect()
    }

    /// For the report.
    pub(super) fn report(&self) -> Vec<PartitionReport> {
        self.0.iter().map(|(name, partition)| partition.report(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One partition, read from `first` on by slot 0; `before` was committed by an earlier run.
    fn read_from(first: i64, before: Option<i64>) -> (Partitions, TopicPartition) {
        let name = TopicPartition::new("t", 0);
        let start = StartPartition { partition: name.clone(), start: first, until: None };
        let mut partitions = Partitions::default();
        partitions.insert(&Found { start, end: 2_000, committed: before });
        partitions.give(0, std::slice::from_ref(&name));
        (partitions, name)
    }

    fn progress(name: &TopicPartition, next: i64) -> PartitionProgress {
        PartitionProgress {
            partition: name.clone(),
            next,
            end: None,
            committed: None,
            processed: 5,
            failed: 0,
            dead_lettered: 0,
            retried: 0,
            read_bytes: 0,
            in_flight: None,
            retrying: false,
            waits_for_turn: false,
            read_up_to: None,
        }
    }

    fn resumed_at(partitions: &mut Partitions, name: &TopicPartition, answer: Option<i64>) -> i64 {
        partitions
            .resume(std::slice::from_ref(name), &answer.map(|offset| (name.clone(), offset)).into_iter().collect());
        partitions.starts(std::slice::from_ref(name))[0].start
    }

    #[test]
    fn a_worker_goes_on_where_this_run_has_committed() {
        let (mut partitions, name) = read_from(10, Some(10));
        assert_eq!(resumed_at(&mut partitions, &name, Some(70)), 70);
        assert_eq!(resumed_at(&mut partitions, &name, None), 70, "what was known stays known");
    }

    #[test]
    fn a_commit_of_an_earlier_run_is_no_place_to_go_on() {
        // Started at the beginning although 1,000 was committed; nothing has been committed since.
        let (mut partitions, name) = read_from(0, Some(1_000));
        assert_eq!(resumed_at(&mut partitions, &name, Some(1_000)), 0);
        assert_eq!(resumed_at(&mut partitions, &name, Some(50)), 50, "this one is ours");
    }

    #[test]
    fn what_is_read_or_is_not_to_be_read_does_not_stand_still() {
        let (mut partitions, name) = read_from(100, None);
        let still = |partitions: &Partitions| partitions.status(false)[0].still_seconds > 0.0;
        let told = |next, read_up_to| PartitionProgress { read_up_to, ..progress(&name, next) };
        partitions.set_ends(&[(name.clone(), 2_000)].into());
        assert!(still(&partitions), "there are messages");
        partitions.update(0, vec![told(1_999, None)]);
        assert!(still(&partitions));
        partitions.update(0, vec![told(1_999, Some(2_000))]);
        assert!(!still(&partitions), "a transaction's mark is no message");
        assert_eq!(partitions.status(false)[0].lag, 1, "as Kafka counts");
        assert!(!partitions.seen(0)[0].has_work);
        assert!(!partitions.unread().is_empty(), "it has no end");
        partitions.read_until(&[(name.clone(), 2_000)].into());
        assert!(partitions.unread().is_empty());
        partitions.set_ends(&[(name, 3_000)].into());
        assert!(!still(&partitions), "what comes later is not to be read");
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
        partitions.dealt(1, &[StartPartition { partition: name.clone(), start: 3, until: None }]);
        partitions.update(1, vec![PartitionProgress { processed: 2, ..progress(&name, 5) }]);
        assert_eq!(partitions.totals().processed, 7);
    }

    #[test]
    fn what_is_read_elsewhere_has_no_lag_here_and_does_not_stand_still() {
        let (mut partitions, name) = read_from(0, None);
        partitions.release(0, std::slice::from_ref(&name));
        partitions.set_ends(&[(name.clone(), 3_000)].into());
        let told = |partitions: &Partitions, shared| {
            let status = &partitions.status(shared)[0];
            (status.lag, status.still_seconds > 0.0)
        };
        assert_eq!(told(&partitions, true), (0, false));
        assert_eq!(told(&partitions, false), (3_000, true), "without a group it is nobody else's");
        partitions.stop(&name, "too much failed".to_owned());
        assert_eq!(told(&partitions, false), (3_000, false), "it is read no further");
    }

    #[test]
    fn what_was_processed_and_is_not_committed_is_named() {
        let (mut partitions, name) = read_from(10, None);
        assert_eq!(partitions.uncommitted(false), None, "nothing was processed");
        partitions.update(0, vec![progress(&name, 15)]);
        let read_back = |offset| ReadBack { committed: [(name.clone(), offset)].into(), ends: Offsets::new() };
        partitions.read_back(&read_back(14));
        assert_eq!(partitions.behind(), [(name.clone(), 15)].into());
        assert!(partitions.uncommitted(false).is_some_and(|text| text.contains("t/0")));
        partitions.read_back(&read_back(15));
        assert_eq!((partitions.uncommitted(false), partitions.behind()), (None, Offsets::new()));
        partitions.read_back(&read_back(20));
        assert!(partitions.uncommitted(false).is_some() && partitions.behind().is_empty(), "somebody else's");
    }
}
