//! The rates of the counters of a status.

use std::collections::HashMap;

use crate::monitoring::status::{RateSample, Status};
use crate::util::rate_meter::RateMeter;

/// A counter of a status.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum CounterKey {
    /// Messages that were acknowledged, or sent if nothing is acknowledged; of all threads.
    Delivered,
    /// Bytes that were sent, of all threads.
    SentBytes,
    /// Messages that were processed, of all workers.
    Processed,
    /// Bytes that were read, of all workers.
    ReadBytes,
    /// As [`Self::Delivered`], for one thread.
    Thread(usize),
    /// Messages that the processes of a worker slot handled.
    Worker(usize),
    /// CPU time of a worker slot, in seconds.
    Cpu(usize),
    /// Messages of a partition that were processed.
    Partition(String, i32),
}

/// The rates of a run's counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    paces: HashMap<CounterKey, RateMeter>,
    /// The identity of the run: host, process id, start time.
    run: (String, u32, String),
}

impl Rates {
    /// Adds a status. With the status of another run, the rates start again.
    pub(super) fn note(&mut self, status: &Status) {
        let run = (status.host.clone(), status.pid, status.started_at.clone());
        if self.run != run {
            *self = Self { run, ..Self::default() };
        }
        // Counters that no longer exist are removed.
        let mut before = std::mem::take(&mut self.paces);
        for (counted, count) in counts(status) {
            let mut pace = before.remove(&counted).unwrap_or_default();
            pace.record(status.uptime_seconds, count);
            self.paces.insert(counted, pace);
        }
        if status.produce.is_some() {
            self.paces.insert(CounterKey::Delivered, remembered(status, RateSample::delivered));
        }
        if status.consume.is_some() {
            self.paces.insert(CounterKey::Processed, remembered(status, |sample| sample.processed));
        }
    }

    /// Returns the increase of a counter per second; `None` if it is not known yet.
    pub(super) fn of(&self, counted: &CounterKey) -> Option<f64> {
        self.paces.get(counted)?.per_second()
    }

    /// Returns the seconds until a counter grows by `missing` at its current rate.
    pub(super) fn seconds_for(&self, counted: &CounterKey, missing: u64) -> Option<f64> {
        self.paces.get(counted)?.seconds_for(missing)
    }
}

/// Returns the rate from the history in the status. It is exact, and known with the first status.
fn remembered(status: &Status, count: impl Fn(&RateSample) -> u64) -> RateMeter {
    let mut pace = RateMeter::default();
    status.history.iter().for_each(|sample| pace.record(sample.at, count(sample) as f64));
    pace
}

fn counts(status: &Status) -> Vec<(CounterKey, f64)> {
    let mut counts = Vec::new();
    if let Some(produce) = &status.produce {
        counts.push((CounterKey::SentBytes, produce.sent_bytes as f64));
        counts.extend(
            produce.threads.iter().map(|thread| (CounterKey::Thread(thread.producer), thread.delivered() as f64)),
        );
    }
    if let Some(consume) = &status.consume {
        counts.push((CounterKey::ReadBytes, consume.read_bytes as f64));
        for worker in &consume.workers {
            counts.push((CounterKey::Worker(worker.slot), worker.processed as f64));
            counts.push((CounterKey::Cpu(worker.slot), worker.cpu_seconds));
        }
        counts.extend(consume.partitions.iter().map(|partition| {
            let counted = CounterKey::Partition(partition.topic.clone(), partition.partition);
            (counted, partition.counts.processed as f64)
        }));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::status::{ConsumeStatus, PartitionStatus, WorkerStatus};
    use crate::partition_counts::PartitionCounts;

    fn status(pid: u32, uptime_seconds: f64, processed: u64) -> Status {
        let worker = WorkerStatus { slot: 3, processed, cpu_seconds: uptime_seconds / 4.0, ..WorkerStatus::default() };
        let partition = PartitionStatus {
            topic: "t".to_owned(),
            counts: PartitionCounts { processed, ..PartitionCounts::default() },
            ..PartitionStatus::default()
        };
        let consume =
            ConsumeStatus { processed, workers: vec![worker], partitions: vec![partition], ..ConsumeStatus::default() };
        Status { pid, uptime_seconds, consume: Some(consume), ..Status::default() }
    }

    #[test]
    fn a_rate_is_the_difference_of_two_statuses() {
        let mut rates = Rates::default();
        rates.note(&status(1, 10.0, 100));
        assert_eq!(rates.of(&CounterKey::Worker(3)), None);
        rates.note(&status(1, 12.0, 300));
        assert_eq!(rates.of(&CounterKey::Worker(3)), Some(100.0));
        assert_eq!(rates.of(&CounterKey::Partition("t".to_owned(), 0)), Some(100.0));
        assert_eq!(rates.of(&CounterKey::Cpu(3)), Some(0.25));
        assert_eq!(rates.of(&CounterKey::Delivered), None);
        assert_eq!(rates.seconds_for(&CounterKey::Worker(3), 50), Some(0.5));
    }

    #[test]
    fn another_run_begins_anew_and_what_is_gone_is_forgotten() {
        let mut rates = Rates::default();
        rates.note(&status(1, 10.0, 100));
        rates.note(&status(2, 12.0, 300));
        assert_eq!(rates.of(&CounterKey::Worker(3)), None);
        rates.note(&Status { pid: 2, uptime_seconds: 13.0, ..Status::default() });
        assert!(rates.paces.is_empty());
    }

    #[test]
    fn totals_are_what_the_run_remembers() {
        let mut rates = Rates::default();
        let sample = |second: u32| RateSample {
            at: f64::from(second),
            processed: u64::from(second) * 7,
            ..RateSample::default()
        };
        rates.note(&Status { history: (0..300).map(sample).collect(), ..status(1, 400.0, 2_093) });
        assert_eq!(rates.of(&CounterKey::Processed), Some(7.0));
        assert_eq!(rates.of(&CounterKey::Delivered), None, "it has no producing side");
        rates.note(&status(1, 401.0, 2_100));
        assert_eq!(rates.of(&CounterKey::Processed), None, "it remembers nothing");
    }

    #[test]
    fn a_status_that_is_received_twice_changes_nothing() {
        let mut rates = Rates::default();
        [10, 10, 12, 12].into_iter().for_each(|at| rates.note(&status(1, at as f64, at * 7)));
        assert_eq!(rates.of(&CounterKey::Worker(3)), Some(7.0));
    }
}
