//! The producer's progress.

use std::collections::BTreeMap;

use slog::Logger;

use super::bars::{BarRow, ProgressBars};
use super::{LOG_INTERVAL, REDRAW_INTERVAL, RefreshTimer, eta, log_lines, percent};
use crate::console::Console;
use crate::monitoring::status::{ProduceStatus, ThreadStatus};
use crate::settings::Acks;
use crate::util::format::{format_count, format_rate};
use crate::util::rate_meter::RateMeter;

/// The progress of all producer threads.
pub struct ProduceProgress {
    bars: ProgressBars,
    clock: RefreshTimer,
    all: RateMeter,
    threads: BTreeMap<usize, RateMeter>,
    logger: Logger,
}

impl ProduceProgress {
    /// Creates the bars.
    pub fn new(screen: &Console, logger: &Logger, threads: usize) -> Self {
        let bars = ProgressBars::new(screen, "producer", "green", threads);
        let clock = RefreshTimer::start(if bars.are_shown() { REDRAW_INTERVAL } else { LOG_INTERVAL });
        let mut all = RateMeter::default();
        all.record(0.0, 0.0);
        Self { bars, clock, all, threads: BTreeMap::new(), logger: logger.clone() }
    }

    /// Returns whether an update is due, because building a status takes time.
    pub fn is_due(&self) -> bool {
        self.clock.is_due()
    }

    /// Shows the status of the threads.
    pub fn show(&mut self, status: &ProduceStatus) {
        let now = self.clock.tick();
        self.all.record(now, status.delivered() as f64);
        if !self.bars.are_shown() {
            let missing = status.requested.map(|requested| requested.saturating_sub(status.delivered()));
            let left = missing.filter(|missing| *missing > 0).and_then(|missing| self.all.seconds_for(missing));
            let rate = self.all.per_second().unwrap_or(0.0);
            let acknowledged = (status.acks != Acks::None.word()).then_some(status.acknowledged);
            log_lines::produced(&self.logger, status.sent, acknowledged, rate, left);
            return;
        }
        let rows = status.threads.iter().map(|thread| {
            let rate = self.threads.entry(thread.producer).or_default();
            rate.record(now, thread.delivered() as f64);
            row(thread, status.delivery(), rate)
        });
        self.bars.draw(rows.collect());
    }

    /// Removes the bars.
    pub fn finish(&mut self) {
        self.bars.clear();
    }
}

fn row(thread: &ThreadStatus, delivery: &str, rate: &RateMeter) -> BarRow {
    let ThreadStatus { failed, requested, .. } = *thread;
    let delivered = thread.delivered();
    let mut texts = Vec::new();
    texts.extend(requested.map(|requested| percent(delivered, requested)));
    texts.push(format!("{:>9}", rate.per_second().map_or_else(|| "-".to_owned(), format_rate)));
    if failed > 0 {
        texts.push(format!("{} FAILED", format_count(failed)));
    }
    let missing = requested.map_or(0, |requested| requested.saturating_sub(delivered));
    if missing > 0 {
        texts.extend(rate.seconds_for(missing).map(eta));
    }
    let of = requested.map(|requested| format!(" of {}", format_count(requested))).unwrap_or_default();
    texts.push(format!("{}{of} {delivery}", format_count(delivered)));
    texts.push(format!("{} sent", format_count(thread.sent)));
    BarRow { number: thread.producer, done: requested.map(|requested| (delivered, requested)), texts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(per_second: f64) -> RateMeter {
        let mut meter = RateMeter::default();
        meter.record(0.0, 0.0);
        meter.record(1.0, per_second);
        meter
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
        let row = row(&thread, "acknowledged", &meter(2_000.0));
        assert_eq!((row.number, row.done), (3, Some((4_000, 10_000))));
        assert_eq!(row.texts, [" 40%", "  2,000/s", "ETA 3.0 s", "4,000 of 10,000 acknowledged", "4,100 sent"]);
    }

    #[test]
    fn a_thread_without_a_length_has_neither_bar_nor_end() {
        let thread = ThreadStatus { acknowledged: 4_000, failed: 2, ..ThreadStatus::default() };
        let row = row(&thread, "acknowledged", &RateMeter::default());
        assert_eq!(row.done, None);
        assert_eq!(row.texts, ["        -", "2 FAILED", "4,000 acknowledged", "0 sent"]);
    }

    #[test]
    fn what_is_done_or_stands_still_has_no_time_left() {
        let thread = ThreadStatus { requested: Some(10), acknowledged: 10, ..ThreadStatus::default() };
        assert!(!row(&thread, "acknowledged", &meter(10.0)).texts.iter().any(|texts| texts.contains("ETA")));
        let thread = ThreadStatus { requested: Some(10), acknowledged: 0, ..ThreadStatus::default() };
        assert!(!row(&thread, "acknowledged", &meter(0.0)).texts.iter().any(|texts| texts.contains("ETA")));
    }
}
