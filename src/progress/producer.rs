//! The producer's progress.

use std::collections::BTreeMap;

use slog::Logger;

use super::bars::BarRow;
use super::{ProgressStatus, eta, log_lines, percent, rate_text};
use crate::monitoring::status::{ProduceStatus, ThreadStatus};
use crate::settings::Acks;
use crate::util::format::format_count;
use crate::util::rate_meter::RateMeter;

impl ProgressStatus for ProduceStatus {
    const ROW_NAME: &'static str = "producer";
    const COLOUR: &'static str = "green";

    fn done(&self) -> u64 {
        self.delivered()
    }

    fn done_by_row(&self) -> Vec<(usize, u64)> {
        self.threads.iter().map(|thread| (thread.producer, thread.delivered())).collect()
    }

    fn rows(&self, rates: &BTreeMap<usize, RateMeter>) -> Vec<BarRow> {
        self.threads.iter().map(|thread| row(thread, self.delivery(), &rates[&thread.producer])).collect()
    }

    fn log(&self, logger: &Logger, rate: &RateMeter) {
        let missing = self.requested.map(|requested| requested.saturating_sub(self.delivered()));
        let left = missing.filter(|missing| *missing > 0).and_then(|missing| rate.seconds_for(missing));
        let acknowledged = (self.acks != Acks::None.word()).then_some(self.acknowledged);
        log_lines::produced(logger, self.sent, acknowledged, rate.per_second().unwrap_or(0.0), left);
    }
}

fn row(thread: &ThreadStatus, delivery: &str, rate: &RateMeter) -> BarRow {
    let ThreadStatus { failed, requested, .. } = *thread;
    let delivered = thread.delivered();
    let mut texts = Vec::new();
    texts.extend(requested.map(|requested| percent(delivered, requested)));
    texts.push(rate_text(rate));
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
    use super::super::tests::meter;
    use super::*;

    #[test]
    fn a_thread_with_a_limit_has_an_estimated_time() {
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
    fn a_thread_without_a_limit_has_neither_bar_nor_end() {
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
