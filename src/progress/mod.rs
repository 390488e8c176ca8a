//! The progress of long commands, from the run's status: bars on a terminal, log lines otherwise.
//!
//! `bars`: rows on a terminal of any width. `log_lines`: the log lines. `producer`, `consumer`: the content for each side.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use slog::Logger;

use crate::console::Console;
use crate::monitoring::status::{ConsumeStatus, ProduceStatus};
use crate::util::format::{format_rate, seconds};
use crate::util::rate_meter::RateMeter;

mod bars;
mod consumer;
mod log_lines;
mod producer;

use bars::{BarRow, ProgressBars};

/// The redraw interval of bars.
const REDRAW_INTERVAL: Duration = Duration::from_millis(250);
/// The interval of log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The progress of all workers.
pub type ConsumeProgress = Progress<ConsumeStatus>;
/// The progress of all producer threads.
pub type ProduceProgress = Progress<ProduceStatus>;

/// A status whose progress is shown: a row per thread or worker.
pub trait ProgressStatus {
    /// The name of the rows.
    const ROW_NAME: &'static str;
    /// The colour of the bars.
    const COLOUR: &'static str;

    /// The number of messages that are done.
    fn done(&self) -> u64;

    /// The number of messages that are done by row.
    fn done_by_row(&self) -> Vec<(usize, u64)>;

    /// The rows, with the rate of each.
    fn rows(&self, rates: &BTreeMap<usize, RateMeter>) -> Vec<BarRow>;

    /// Writes a log line.
    fn log(&self, logger: &Logger, rate: &RateMeter);
}

/// The progress of one side of a run.
pub struct Progress<S> {
    bars: ProgressBars,
    begun: Instant,
    updated: Instant,
    total: RateMeter,
    rates: BTreeMap<usize, RateMeter>,
    logger: Logger,
    status: PhantomData<fn(&S)>,
}

impl<S: ProgressStatus> Progress<S> {
    /// Creates the bars. More rows may be added later.
    pub fn new(screen: &Console, logger: &Logger, rows: usize) -> Self {
        let (now, mut total) = (Instant::now(), RateMeter::default());
        total.record(0.0, 0.0);
        Self {
            bars: ProgressBars::new(screen, S::ROW_NAME, S::COLOUR, rows),
            begun: now,
            updated: now,
            total,
            rates: BTreeMap::new(),
            logger: logger.clone(),
            status: PhantomData,
        }
    }

    /// Returns whether an update is due, because building a status takes time.
    pub fn is_due(&self) -> bool {
        self.updated.elapsed() >= if self.bars.are_shown() { REDRAW_INTERVAL } else { LOG_INTERVAL }
    }

    /// Shows the status.
    pub fn show(&mut self, status: &S) {
        self.updated = Instant::now();
        let now = self.begun.elapsed().as_secs_f64();
        self.total.record(now, status.done() as f64);
        if !self.bars.are_shown() {
            status.log(&self.logger, &self.total);
            return;
        }
        for (row, done) in status.done_by_row() {
            self.rates.entry(row).or_default().record(now, done as f64);
        }
        self.bars.draw(status.rows(&self.rates));
    }

    /// Removes the bars.
    pub fn finish(&mut self) {
        self.bars.clear();
    }
}

/// The rate of a row as text.
fn rate_text(rate: &RateMeter) -> String {
    format!("{:>9}", rate.per_second().map_or_else(|| "-".to_owned(), format_rate))
}

/// The progress in percent; 100 only when all is done.
fn percent(done: u64, of: u64) -> String {
    let percent = if of == 0 { 100 } else { u128::from(done.min(of)) * 100 / u128::from(of) };
    format!("{percent:>3}%")
}

/// The estimated remaining time.
fn eta(left: f64) -> String {
    format!("ETA {}", seconds(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meter of a counter with a constant rate.
    pub(super) fn meter(per_second: f64) -> RateMeter {
        let mut meter = RateMeter::default();
        meter.record(0.0, 0.0);
        meter.record(1.0, per_second);
        meter
    }

    #[test]
    fn all_is_a_hundred_percent_and_nothing_less_is() {
        assert_eq!([percent(0, 3), percent(999, 1_000), percent(3, 3)], ["  0%", " 99%", "100%"]);
        assert_eq!([percent(0, 0), percent(u64::MAX, u64::MAX), percent(7, 3)], ["100%", "100%", "100%"]);
    }
}
