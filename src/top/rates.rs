//! How fast the counts of a status grow.

use std::collections::HashMap;

use crate::monitoring::status::{Sample, Status};
use crate::pace::Pace;

/// A count of a status.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    /// Messages acknowledged, all threads.
    Acknowledged,
    /// Bytes sent, all threads.
    SentBytes,
    /// Messages processed, all workers.
    Processed,
    /// Bytes read, all workers.
    ReadBytes,
    /// Messages acknowledged of a thread.
    Thread(usize),
    /// Messages that a slot's processes have dealt with.
    Worker(usize),
    /// Seconds of processor time of a slot.
    Cpu(usize),
    /// Messages processed of a partition.
    Partition(String, i32),
}

/// The rates of a run's counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    paces: HashMap<Counted, Pace>,
    /// Of the run that they belong to.
    run: (String, u32, String),
}

impl Rates {
    /// Another status; of another run, they begin anew.
    pub(super) fn note(&mut self, status: &Status) {
        let run = (status.host.clone(), status.pid, status.started_at.clone());
        if self.run != run {
            *self = Self { run, ..Self::default() };
        }
        // What is not there any more is forgotten.
        let mut before = std::mem::take(&mut self.paces);
        for (counted, count) in counts(status) {
            let mut pace = before.remove(&counted).unwrap_or_default();
            pace.note(status.uptime_seconds, count);
            self.paces.insert(counted, pace);
        }
        if status.produce.is_some() {
            self.paces.insert(Counted::Acknowledged, remembered(status, |sample| sample.acknowledged));
        }
        if status.consume.is_some() {
            self.paces.insert(Counted::Processed, remembered(status, |sample| sample.processed));
        }
    }

    /// By how much it grows a second; `None`: that is not known yet.
    pub(super) fn of(&self, counted: &Counted) -> Option<f64> {
        self.paces.get(counted)?.per_second()
    }

    /// In how many seconds it will have grown by `missing`, as it grows now.
    pub(super) fn seconds_for(&self, counted: &Counted, missing: u64) -> Option<f64> {
        self.paces.get(counted)?.seconds_for(missing)
    }
}

/// What the run itself remembers of its totals: exact, and known at the first look.
fn remembered(status: &Status, count: impl Fn(&Sample) -> u64) -> Pace {
    let mut pace = Pace::default();
    status.history.iter().for_each(|sample| pace.note(sample.at, count(sample) as f64));
    pace
}

fn counts(status: &Status) -> Vec<(Counted, f64)> {
    let mut counts = Vec::new();
    if let Some(produce) = &status.produce {
        counts.push((Counted::SentBytes, produce.sent_bytes as f64));
        counts.extend(
            produce.threads.iter().map(|thread| (Counted::Thread(thread.producer), thread.acknowledged as f64)),
        );
    }
    if let Some(consume) = &status.consume {
        counts.push((Counted::ReadBytes, consume.read_bytes as f64));
        for worker in &consume.workers {
            counts.push((Counted::Worker(worker.slot), worker.processed as f64));
            counts.push((Counted::Cpu(worker.slot), worker.cpu_seconds));
        }
        counts.extend(consume.partitions.iter().map(|partition| {
            let counted = Counted::Partition(partition.topic.clone(), partition.partition);
            (counted, partition.processed as f64)
        }));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::status::{ConsumeStatus, PartitionStatus, WorkerStatus};

    fn status(pid: u32, uptime_seconds: f64, processed: u64) -> Status {
        let worker = WorkerStatus { slot: 3, processed, cpu_seconds: uptime_seconds / 4.0, ..WorkerStatus::default() };
        let partition = PartitionStatus { topic: "t".to_owned(), processed, ..PartitionStatus::default() };
        let consume =
            ConsumeStatus { processed, workers: vec![worker], partitions: vec![partition], ..ConsumeStatus::default() };
        Status { pid, uptime_seconds, consume: Some(consume), ..Status::default() }
    }

    #[test]
    fn a_rate_is_the_difference_of_two_statuses() {
        let mut rates = Rates::default();
        rates.note(&status(1, 10.0, 100));
        assert_eq!(rates.of(&Counted::Worker(3)), None);
        rates.note(&status(1, 12.0, 300));
        assert_eq!(rates.of(&Counted::Worker(3)), Some(100.0));
        assert_eq!(rates.of(&Counted::Partition("t".to_owned(), 0)), Some(100.0));
        assert_eq!(rates.of(&Counted::Cpu(3)), Some(0.25));
        assert_eq!(rates.of(&Counted::Acknowledged), None);
        assert_eq!(rates.seconds_for(&Counted::Worker(3), 50), Some(0.5));
    }

    #[test]
    fn another_run_begins_anew_and_what_is_gone_is_forgotten() {
        let mut rates = Rates::default();
        rates.note(&status(1, 10.0, 100));
        rates.note(&status(2, 12.0, 300));
        assert_eq!(rates.of(&Counted::Worker(3)), None);
        rates.note(&Status { pid: 2, uptime_seconds: 13.0, ..Status::default() });
        assert!(rates.paces.is_empty());
    }

    #[test]
    fn totals_are_what_the_run_remembers() {
        let mut rates = Rates::default();
        let sample =
            |second: u32| Sample { at: f64::from(second), processed: u64::from(second) * 7, ..Sample::default() };
        rates.note(&Status { history: (0..300).map(sample).collect(), ..status(1, 400.0, 2_093) });
        assert_eq!(rates.of(&Counted::Processed), Some(7.0));
        assert_eq!(rates.of(&Counted::Acknowledged), None, "it has no producing side");
        rates.note(&status(1, 401.0, 2_100));
        assert_eq!(rates.of(&Counted::Processed), None, "it remembers nothing");
    }

    #[test]
    fn a_status_that_is_told_twice_changes_nothing() {
        let mut rates = Rates::default();
        [10, 10, 12, 12].into_iter().for_each(|at| rates.note(&status(1, at as f64, at * 7)));
        assert_eq!(rates.of(&Counted::Worker(3)), Some(7.0));
    }
}
