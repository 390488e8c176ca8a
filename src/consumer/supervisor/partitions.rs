//! Where reading has come to in each partition, over all processes that have read it.

use std::collections::BTreeMap;

use super::messages::{Found, ReadBack};
use crate::consumer::control::{PartitionProgress, StartPartition};
use crate::kafka::cluster::Offsets;
use crate::record::TopicPartition;
use crate::report::PartitionReport;

/// One partition.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub(super) slot: usize,
    first: i64,
    until: Option<i64>,
    /// By earlier runs.
    committed_before: Option<i64>,
    next: i64,
    committed: Option<i64>,
    end: i64,
    /// Of processes that are gone.
    processed_before: u64,
    failed_before: u64,
    /// Of the process that reads it now.
    processed: u64,
    failed: u64,
    in_flight: bool,
    abandoned: u64,
}

/// All partitions.
#[derive(Clone, Debug, Default)]
pub(super) struct Partitions(BTreeMap<TopicPartition, Partition>);

impl Partitions {
    /// One worker's share.
    pub(super) fn insert(&mut self, slot: usize, found: &Found) {
        let Found { start, end, committed } = found;
        let partition = Partition {
            slot,
            first: start.start,
            until: start.until,
            committed_before: *committed,
            next: start.start,
            committed: None,
            end: *end,
            processed_before: 0,
            failed_before: 0,
            processed: 0,
            failed: 0,
            in_flight: false,
            abandoned: 0,
        };
        self.0.insert(start.partition.clone(), partition);
    }

    /// What a worker told; whether messages were dealt with since.
    pub(super) fn update(&mut self, progress: Vec<PartitionProgress>) -> bool {
        let mut moved = false;
        for progress in progress {
            let Some(partition) = self.0.get_mut(&progress.partition) else { continue };
            moved |= partition.next != progress.next || progress.in_flight;
            partition.next = progress.next;
            partition.end = partition.end.max(progress.next);
            partition.committed = progress.committed.or(partition.committed);
            (partition.processed, partition.failed) = (progress.processed, progress.failed);
            partition.in_flight = progress.in_flight;
        }
        moved
    }

    /// A slot's process is gone. What it had in hand when it was killed at the deadline is abandoned.
    pub(super) fn process_ended(&mut self, slot: usize, at_deadline: bool) {
        for partition in self.0.values_mut().filter(|partition| partition.slot == slot) {
            partition.processed_before += std::mem::take(&mut partition.processed);
            partition.failed_before += std::mem::take(&mut partition.failed);
            partition.abandoned = u64::from(at_deadline && partition.in_flight);
            partition.in_flight = false;
        }
    }

    /// Where a slot's next process starts: where this run has committed, else where it began.
    pub(super) fn starts(&self, slot: usize) -> Vec<StartPartition> {
        let own = self.0.iter().filter(|(_, partition)| partition.slot == slot);
        own.map(|(name, partition)| StartPartition {
            partition: name.clone(),
            start: partition.committed.unwrap_or(partition.first),
            until: partition.until,
        })
        .collect()
    }

    /// What the brokers say of a slot's commits, before it is started again. A commit that was there before this run
    /// says nothing: the run may have been told to start elsewhere.
    pub(super) fn resume(&mut self, slot: usize, committed: &Offsets) {
        for (name, partition) in self.0.iter_mut().filter(|(_, partition)| partition.slot == slot) {
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

    /// What the brokers say at the end.
    pub(super) fn read_back(&mut self, answer: &ReadBack) {
        self.set_ends(&answer.ends);
        for (name, partition) in &mut self.0 {
            partition.committed = answer.committed.get(name).copied();
        }
    }

    /// The first partition in which what was dealt with is not what is committed.
    pub(super) fn uncommitted(&self) -> Option<String> {
        let wrong =
            |partition: &&Partition| partition.next != partition.first && partition.committed != Some(partition.next);
        self.0.iter().find(|(_, partition)| wrong(partition)).map(|(name, partition)| match partition.committed {
            Some(committed) => format!("{name}: processed up to {}, committed up to {committed}", partition.next),
            None => format!("{name}: processed up to {}, nothing is committed", partition.next),
        })
    }

    /// Names of all.
    pub(super) fn names(&self) -> Vec<TopicPartition> {
        self.0.keys().cloned().collect()
    }

    /// Whether a worker has a message in hand.
    pub(super) fn in_flight(&self) -> bool {
        self.0.values().any(|partition| partition.in_flight)
    }

    /// Messages that reading has come past, each counted once.
    pub(super) fn reached(&self) -> u64 {
        self.0.values().map(|partition| distance(partition.first, partition.next)).sum()
    }

    /// Messages processed, and messages that failed, over all processes.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.0.values().fold((0, 0), |(processed, failed), partition| {
            (
                processed + partition.processed_before + partition.processed,
                failed + partition.failed_before + partition.failed,
            )
        })
    }

    /// Messages that the current process of a slot has dealt with.
    pub(super) fn dealt_with_by(&self, slot: usize) -> u64 {
        let own = self.0.values().filter(|partition| partition.slot == slot);
        own.map(|partition| partition.processed + partition.failed).sum()
    }

    /// For the progress of a slot: name, how far, of how many.
    pub(super) fn shown(&self, slot: usize) -> Vec<(String, u64, u64)> {
        let topics = self.0.keys().map(|name| &name.topic).collect::<std::collections::BTreeSet<_>>().len();
        let own = self.0.iter().filter(|(_, partition)| partition.slot == slot);
        own.map(|(name, partition)| {
            let shown = if topics == 1 { name.partition.to_string() } else { name.to_string() };
            let to = partition.until.unwrap_or(partition.end);
            (shown, distance(partition.first, partition.next), distance(partition.first, to))
        })
        .collect()
    }

    /// For the report.
    pub(super) fn report(&self) -> Vec<PartitionReport> {
        let row = |(name, partition): (&TopicPartition, &Partition)| PartitionReport {
            topic: name.topic.clone(),
            partition: name.partition,
            worker: Some(partition.slot),
            first: partition.first,
            next: partition.next,
            committed: partition.committed,
            end: partition.end,
            lag: partition.end - partition.next,
            processed: partition.processed_before + partition.processed,
            failed: partition.failed_before + partition.failed,
            abandoned: partition.abandoned,
        };
        self.0.iter().map(row).collect()
    }
}

fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One partition, read from `first` on by slot 0; `before` was committed by an earlier run.
    fn read_from(first: i64, before: Option<i64>) -> (Partitions, TopicPartition) {
        let name = TopicPartition::new("t", 0);
        let start = StartPartition { partition: name.clone(), start: first, until: None };
        let mut partitions = Partitions::default();
        partitions.insert(0, &Found { start, end: 2_000, committed: before });
        (partitions, name)
    }

    fn resumed_at(partitions: &mut Partitions, name: &TopicPartition, answer: Option<i64>) -> i64 {
        partitions.resume(0, &answer.map(|offset| (name.clone(), offset)).into_iter().collect());
        partitions.starts(0)[0].start
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
    fn what_was_processed_and_is_not_committed_is_named() {
        let (mut partitions, name) = read_from(10, None);
        assert_eq!(partitions.uncommitted(), None, "nothing was processed");
        let progress = |next| PartitionProgress {
            partition: name.clone(),
            next,
            committed: None,
            processed: 5,
            failed: 0,
            in_flight: false,
        };
        partitions.update(vec![progress(15)]);
        let read_back = |offset| ReadBack { committed: [(name.clone(), offset)].into(), ends: Offsets::new() };
        partitions.read_back(&read_back(14));
        assert!(partitions.uncommitted().is_some_and(|text| text.contains("t/0")));
        partitions.read_back(&read_back(15));
        assert_eq!(partitions.uncommitted(), None);
    }
}
