//! The consumer's progress.

use std::collections::BTreeMap;

use slog::Logger;

use super::bars::BarRow;
use super::{ProgressStatus, eta, log_lines, percent, rate_text};
use crate::monitoring::status::{ConsumeStatus, PartitionStatus, WorkerState, WorkerStatus};
use crate::util::format::{format_count, pluralize};
use crate::util::rate_meter::RateMeter;

/// The maximum number of partitions of a worker that are shown separately.
const SHOWN_PARTITIONS: usize = 6;

impl ProgressStatus for ConsumeStatus {
    const ROW_NAME: &'static str = "worker";
    const COLOUR: &'static str = "cyan";

    fn done(&self) -> u64 {
        self.processed
    }

    fn done_by_row(&self) -> Vec<(usize, u64)> {
        self.workers.iter().map(|worker| (worker.slot, worker.processed)).collect()
    }

    fn rows(&self, rates: &BTreeMap<usize, RateMeter>) -> Vec<BarRow> {
        let mut owned: BTreeMap<usize, Vec<&PartitionStatus>> = BTreeMap::new();
        for partition in &self.partitions {
            if let Some(slot) = partition.worker {
                owned.entry(slot).or_default().push(partition);
            }
        }
        let one_topic = self.topics.len() == 1;
        let row = |worker: &WorkerStatus| {
            let own = owned.get(&worker.slot).map_or(&[][..], Vec::as_slice);
            row(worker, own, &rates[&worker.slot], one_topic)
        };
        self.workers.iter().map(row).collect()
    }

    fn log(&self, logger: &Logger, rate: &RateMeter) {
        let left = left(&self.partitions.iter().collect::<Vec<_>>(), rate);
        log_lines::consumed(logger, self.processed, self.lag, rate.per_second().unwrap_or(0.0), left);
    }
}

fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

/// The offsets of a partition consumed since the start, and the total as far as known.
fn done(partition: &PartitionStatus) -> (u64, u64) {
    let to = partition.stop_offset.unwrap_or(partition.high_watermark);
    (distance(partition.start_offset, partition.position), distance(partition.start_offset, to))
}

/// The number of seconds until the stop offsets are reached; without them, until the lag is 0, if that is more than a
/// second.
fn left(partitions: &[&PartitionStatus], rate: &RateMeter) -> Option<f64> {
    let missing = partitions
        .iter()
        .map(|it| it.stop_offset.map(|stop_offset| distance(it.position, stop_offset)))
        .sum::<Option<u64>>();
    match missing {
        Some(0) => None,
        Some(missing) => rate.seconds_for(missing),
        None => rate.seconds_for(partitions.iter().map(|it| it.lag).sum()).filter(|seconds| *seconds > 1.0),
    }
}

/// The state of a worker that is not running.
fn instead(state: WorkerState) -> Option<&'static str> {
    match state {
        WorkerState::Running => None,
        WorkerState::Starting => Some("starting"),
        WorkerState::Standby => Some("standby"),
        WorkerState::Stopping => Some("stopping"),
        WorkerState::Backoff => Some("BACKOFF"),
        WorkerState::Failed => Some("FAILED"),
        WorkerState::ScaledDown => Some("scaled down"),
        WorkerState::Ended => Some("ended"),
    }
}

fn row(worker: &WorkerStatus, own: &[&PartitionStatus], rate: &RateMeter, one_topic: bool) -> BarRow {
    let (position, length) = own.iter().map(|it| done(it)).fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let lag: u64 = own.iter().map(|partition| partition.lag).sum();
    let mut texts: Vec<String> = instead(worker.state).map(str::to_owned).into_iter().collect();
    if !own.is_empty() {
        texts.push(percent(position, length));
        texts.push(rate_text(rate));
        texts.extend(left(own, rate).map(eta));
        texts.push(format!("lag {}", format_count(lag)));
        texts.push(format!("{} of {}", format_count(position), format_count(length)));
    }
    if worker.restarts > 0 {
        let last = worker.last_exit.as_ref().map(|exit| format!(", last exit: {exit}")).unwrap_or_default();
        texts.push(pluralize(worker.restarts, "restart") + &last);
    }
    texts.extend(worker.pid.map(|pid| format!("pid {pid}")));
    texts.extend(own.iter().take(SHOWN_PARTITIONS).map(|partition| {
        let (position, length) = done(partition);
        let topic = if one_topic { String::new() } else { format!("{}/", partition.topic) };
        format!("{topic}{}: {}/{}", partition.partition, format_count(position), format_count(length))
    }));
    if own.len() > SHOWN_PARTITIONS {
        texts.push(format!("… {} partitions", own.len()));
    }
    BarRow { number: worker.slot, done: (!own.is_empty()).then_some((position, length)), texts }
}

#[cfg(test)]
mod tests {
    use super::super::tests::meter;
    use super::*;

    fn partition(partition: i32, position: i64, stop_offset: Option<i64>) -> PartitionStatus {
        let (topic, high_watermark) = ("t".to_owned(), 1_000);
        let lag = distance(position, high_watermark);
        PartitionStatus {
            topic,
            partition,
            start_offset: 0,
            position,
            high_watermark,
            stop_offset,
            lag,
            ..PartitionStatus::default()
        }
    }

    fn texts(worker: &WorkerStatus, partitions: &[PartitionStatus], rate: &RateMeter) -> String {
        row(worker, &partitions.iter().collect::<Vec<_>>(), rate, true).texts.join("|")
    }

    #[test]
    fn a_worker_with_a_stop_offset_has_an_estimated_time() {
        let worker = WorkerStatus { state: WorkerState::Running, pid: Some(7), ..WorkerStatus::default() };
        let both = [partition(0, 500, Some(1_000)), partition(1, 100, Some(600))];
        let expected = " 37%|    100/s|ETA 10 s|lag 1,400|600 of 1,600|pid 7|0: 500/1,000|1: 100/600";
        assert_eq!(texts(&worker, &both, &meter(100.0)), expected);
        // One of them has no stop offset: until the lag is 0.
        let both = [partition(0, 500, Some(1_000)), partition(1, 100, None)];
        assert!(texts(&worker, &both, &meter(100.0)).contains("ETA 14 s"));
        assert!(!texts(&worker, &both, &meter(5_000.0)).contains("ETA"), "it keeps up");
    }

    #[test]
    fn the_state_of_a_worker_that_does_not_consume_comes_first() {
        let worker = |state| WorkerStatus {
            state,
            restarts: 2,
            last_exit: Some("SIGKILL".to_owned()),
            ..WorkerStatus::default()
        };
        let own = [partition(0, 500, None)];
        assert!(texts(&worker(WorkerState::Backoff), &own, &meter(0.0)).starts_with("BACKOFF| 50%|"));
        assert_eq!(texts(&worker(WorkerState::Failed), &[], &meter(0.0)), "FAILED|2 restarts, last exit: SIGKILL");
        assert_eq!(
            texts(&WorkerStatus { state: WorkerState::Standby, pid: Some(7), ..Default::default() }, &[], &meter(0.0)),
            "standby|pid 7"
        );
    }

    #[test]
    fn a_worker_with_many_partitions_names_some() {
        let own: Vec<_> = (0..100).map(|number| partition(number, 1, None)).collect();
        let texts = texts(&WorkerStatus::default(), &own, &meter(0.0));
        assert!(texts.ends_with("|5: 1/1,000|… 100 partitions"), "{texts}");
    }

    #[test]
    fn offsets_that_make_no_sense_are_no_panic() {
        let mut odd = partition(0, i64::MIN, Some(i64::MIN));
        odd.start_offset = i64::MAX;
        assert_eq!(done(&odd), (0, 0));
    }
}
