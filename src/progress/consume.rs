//! The consuming side's progress.

use std::collections::BTreeMap;

use slog::Logger;

use super::bars::{Bars, Row};
use super::{Clock, DRAWN, LOGGED, eta, lines, percent};
use crate::figures::{count, per_second, several};
use crate::monitoring::status::{ConsumeStatus, PartitionStatus, WorkerState, WorkerStatus};
use crate::pace::Pace;
use crate::screen::Screen;

/// How many partitions of a worker are shown with their own numbers; more do not fit in a line.
const SHOWN_PARTITIONS: usize = 6;

/// All workers.
pub struct ConsumeProgress {
    bars: Bars,
    clock: Clock,
    all: Pace,
    workers: BTreeMap<usize, Pace>,
    logger: Logger,
}

impl ConsumeProgress {
    /// Shows nothing yet. There may be more workers than these later.
    pub fn new(screen: &Screen, logger: &Logger, workers: usize) -> Self {
        let bars = Bars::new(screen, "worker", "cyan", workers);
        let clock = Clock::start(if bars.are_shown() { DRAWN } else { LOGGED });
        let mut all = Pace::default();
        all.note(0.0, 0.0);
        Self { bars, clock, all, workers: BTreeMap::new(), logger: logger.clone() }
    }

    /// Whether there is anything to show now: a status costs something.
    pub fn is_due(&self) -> bool {
        self.clock.is_due()
    }

    /// Shows where the workers are.
    pub fn show(&mut self, status: &ConsumeStatus) {
        let now = self.clock.tick();
        self.all.note(now, status.processed as f64);
        if !self.bars.are_shown() {
            let left = left(&status.partitions.iter().collect::<Vec<_>>(), &self.all);
            let rate = self.all.per_second().unwrap_or(0.0);
            lines::consumed(&self.logger, status.processed, status.lag, rate, left);
            return;
        }
        let mut owned: BTreeMap<usize, Vec<&PartitionStatus>> = BTreeMap::new();
        for partition in &status.partitions {
            if let Some(slot) = partition.worker {
                owned.entry(slot).or_default().push(partition);
            }
        }
        let one_topic = status.topics.len() == 1;
        let rows = status.workers.iter().map(|worker| {
            let pace = self.workers.entry(worker.slot).or_default();
            pace.note(now, worker.processed as f64);
            let own = owned.get(&worker.slot).map_or(&[][..], Vec::as_slice);
            row(worker, own, pace, one_topic)
        });
        self.bars.draw(rows.collect());
    }

    /// Takes the bars away.
    pub fn finish(&mut self) {
        self.bars.clear();
    }
}

fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

/// How much of a partition is read since the start, of how much as far as is known.
fn done(partition: &PartitionStatus) -> (u64, u64) {
    let to = partition.until.unwrap_or(partition.end);
    (distance(partition.first, partition.next), distance(partition.first, to))
}

/// In how many seconds all is read that is to be read, if reading ends.
fn left(partitions: &[&PartitionStatus], pace: &Pace) -> Option<f64> {
    let missing: u64 =
        partitions.iter().map(|it| it.until.map(|until| distance(it.next, until))).sum::<Option<u64>>()?;
    if missing == 0 { None } else { pace.seconds_for(missing) }
}

/// What a worker that is not reading does instead.
fn instead(state: WorkerState) -> Option<&'static str> {
    match state {
        WorkerState::Reading => None,
        WorkerState::Starting => Some("starting"),
        WorkerState::StandingBy => Some("standing by"),
        WorkerState::Ending => Some("ending"),
        WorkerState::Waiting => Some("RESTARTING"),
        WorkerState::Parked => Some("PARKED"),
        WorkerState::Removed => Some("removed"),
        WorkerState::Ended => Some("ended"),
    }
}

fn row(worker: &WorkerStatus, own: &[&PartitionStatus], pace: &Pace, one_topic: bool) -> Row {
    let (position, length) = own.iter().map(|it| done(it)).fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let lag: u64 = own.iter().map(|partition| partition.lag).sum();
    let mut said: Vec<String> = instead(worker.state).map(str::to_owned).into_iter().collect();
    if !own.is_empty() {
        said.push(percent(position, length));
        said.push(format!("{:>9}", pace.per_second().map_or_else(|| "-".to_owned(), per_second)));
        said.extend(left(own, pace).map(eta));
        said.push(format!("lag {}", count(lag)));
        said.push(format!("{} of {}", count(position), count(length)));
    }
    if worker.restarts > 0 {
        let last = worker.last_death.as_ref().map(|death| format!(", last {death}")).unwrap_or_default();
        said.push(several(worker.restarts, "restart") + &last);
    }
    said.extend(worker.pid.map(|pid| format!("pid {pid}")));
    said.extend(own.iter().take(SHOWN_PARTITIONS).map(|partition| {
        let (position, length) = done(partition);
        let topic = if one_topic { String::new() } else { format!("{}/", partition.topic) };
        format!("{topic}{}: {position}/{length}", partition.partition)
    }));
    if own.len() > SHOWN_PARTITIONS {
        said.push(format!("… {} partitions", own.len()));
    }
    Row { number: worker.slot, done: (!own.is_empty()).then_some((position, length)), said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: f64) -> Pace {
        let mut pace = Pace::default();
        pace.note(0.0, 0.0);
        pace.note(1.0, rate);
        pace
    }

    fn partition(partition: i32, next: i64, until: Option<i64>) -> PartitionStatus {
        let (topic, end) = ("t".to_owned(), 1_000);
        let lag = distance(next, end);
        PartitionStatus { topic, partition, first: 0, next, end, until, lag, ..PartitionStatus::default() }
    }

    fn said(worker: &WorkerStatus, partitions: &[PartitionStatus], pace: &Pace) -> String {
        row(worker, &partitions.iter().collect::<Vec<_>>(), pace, true).said.join("|")
    }

    #[test]
    fn a_worker_that_reads_to_an_end_says_how_long_it_will_take() {
        let worker = WorkerStatus { state: WorkerState::Reading, pid: Some(7), ..WorkerStatus::default() };
        let both = [partition(0, 500, Some(1_000)), partition(1, 100, Some(600))];
        let expected = " 37%|    100/s|ETA 10 s|lag 1,400|600 of 1,600|pid 7|0: 500/1000|1: 100/600";
        assert_eq!(said(&worker, &both, &pace(100.0)), expected);
        // One of them has no end.
        let both = [partition(0, 500, Some(1_000)), partition(1, 100, None)];
        assert!(!said(&worker, &both, &pace(100.0)).contains("ETA"));
    }

    #[test]
    fn a_worker_that_does_not_read_says_so_first() {
        let worker = |state| WorkerStatus {
            state,
            restarts: 2,
            last_death: Some("SIGKILL".to_owned()),
            ..WorkerStatus::default()
        };
        let own = [partition(0, 500, None)];
        assert!(said(&worker(WorkerState::Waiting), &own, &pace(0.0)).starts_with("RESTARTING| 50%|"));
        assert_eq!(said(&worker(WorkerState::Parked), &[], &pace(0.0)), "PARKED|2 restarts, last SIGKILL");
        assert_eq!(
            said(&WorkerStatus { state: WorkerState::StandingBy, pid: Some(7), ..Default::default() }, &[], &pace(0.0)),
            "standing by|pid 7"
        );
    }

    #[test]
    fn a_worker_with_many_partitions_names_some() {
        let own: Vec<_> = (0..100).map(|number| partition(number, 1, None)).collect();
        let said = said(&WorkerStatus::default(), &own, &pace(0.0));
        assert!(said.ends_with("|5: 1/1000|… 100 partitions"), "{said}");
    }

    #[test]
    fn offsets_that_make_no_sense_are_no_panic() {
        let mut odd = partition(0, i64::MIN, Some(i64::MIN));
        odd.first = i64::MAX;
        assert_eq!(done(&odd), (0, 0));
    }
}
