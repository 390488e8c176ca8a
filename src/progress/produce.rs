//! The producing side's progress.

use std::collections::BTreeMap;

use slog::Logger;

use super::bars::{Bars, Row};
use super::{Clock, DRAWN, LOGGED, eta, lines, percent};
use crate::figures::{count, per_second};
use crate::monitoring::status::{ProduceStatus, ThreadStatus};
use crate::pace::Pace;
use crate::screen::Screen;

/// All producer threads.
pub struct ProduceProgress {
    bars: Bars,
    clock: Clock,
    all: Pace,
    threads: BTreeMap<usize, Pace>,
    logger: Logger,
}

impl ProduceProgress {
    /// Shows nothing yet.
    pub fn new(screen: &Screen, logger: &Logger, threads: usize) -> Self {
        let bars = Bars::new(screen, "producer", "green", threads);
        let clock = Clock::start(if bars.are_shown() { DRAWN } else { LOGGED });
        let mut all = Pace::default();
        all.note(0.0, 0.0);
        Self { bars, clock, all, threads: BTreeMap::new(), logger: logger.clone() }
    }

    /// Whether there is anything to show now: a status costs something.
    pub fn is_due(&self) -> bool {
        self.clock.is_due()
    }

    /// Shows where the threads are.
    pub fn show(&mut self, status: &ProduceStatus) {
        let now = self.clock.tick();
        self.all.note(now, status.acknowledged as f64);
        if !self.bars.are_shown() {
            let missing = status.requested.map(|requested| requested.saturating_sub(status.acknowledged));
            let left = missing.filter(|missing| *missing > 0).and_then(|missing| self.all.seconds_for(missing));
            let rate = self.all.per_second().unwrap_or(0.0);
            lines::produced(&self.logger, status.sent, status.acknowledged, rate, left);
            return;
        }
        let rows = status.threads.iter().map(|thread| {
            let pace = self.threads.entry(thread.producer).or_default();
            pace.note(now, thread.acknowledged as f64);
            row(thread, pace)
        });
        self.bars.draw(rows.collect());
    }

    /// Takes the bars away.
    pub fn finish(&mut self) {
        self.bars.clear();
    }
}

fn row(thread: &ThreadStatus, pace: &Pace) -> Row {
    let ThreadStatus { acknowledged, failed, requested, .. } = *thread;
    let mut said = Vec::new();
    said.extend(requested.map(|requested| percent(acknowledged, requested)));
    said.push(format!("{:>9}", pace.per_second().map_or_else(|| "-".to_owned(), per_second)));
    if failed > 0 {
        said.push(format!("{} FAILED", count(failed)));
    }
    let missing = requested.map_or(0, |requested| requested.saturating_sub(acknowledged));
    if missing > 0 {
        said.extend(pace.seconds_for(missing).map(eta));
    }
    let of = requested.map(|requested| format!(" of {}", count(requested))).unwrap_or_default();
    said.push(format!("{}{of} acknowledged", count(acknowledged)));
    said.push(format!("{} sent", count(thread.sent)));
    Row { number: thread.producer, done: requested.map(|requested| (acknowledged, requested)), said }
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

    #[test]
    fn a_thread_with_a_length_says_how_long_it_will_take() {
        let thread = ThreadStatus {
            producer: 3,
            requested: Some(10_000),
            acknowledged: 4_000,
            sent: 4_100,
            ..ThreadStatus::default()
        };
        let row = row(&thread, &pace(2_000.0));
        assert_eq!((row.number, row.done), (3, Some((4_000, 10_000))));
        assert_eq!(row.said, [" 40%", "  2,000/s", "ETA 3.0 s", "4,000 of 10,000 acknowledged", "4,100 sent"]);
    }

    #[test]
    fn a_thread_without_a_length_has_neither_bar_nor_end() {
        let thread = ThreadStatus { acknowledged: 4_000, failed: 2, ..ThreadStatus::default() };
        let row = row(&thread, &Pace::default());
        assert_eq!(row.done, None);
        assert_eq!(row.said, ["        -", "2 FAILED", "4,000 acknowledged", "0 sent"]);
    }

    #[test]
    fn what_is_done_or_stands_still_has_no_time_left() {
        let thread = ThreadStatus { requested: Some(10), acknowledged: 10, ..ThreadStatus::default() };
        assert!(!row(&thread, &pace(10.0)).said.iter().any(|said| said.contains("ETA")));
        let thread = ThreadStatus { requested: Some(10), acknowledged: 0, ..ThreadStatus::default() };
        assert!(!row(&thread, &pace(0.0)).said.iter().any(|said| said.contains("ETA")));
    }
}
