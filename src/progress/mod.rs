//! The progress of long commands, from the run's status: bars on a terminal, log lines otherwise.
//!
//! `bars`: rows on a terminal of any width. `log_lines`: the log lines. `producer`, `consumer`: the content for each
//! side.

use std::time::{Duration, Instant};

use crate::util::format::seconds;

mod bars;
mod consumer;
mod log_lines;
mod producer;

pub use consumer::ConsumeProgress;
pub use producer::ProduceProgress;

/// The redraw interval of bars.
const REDRAW_INTERVAL: Duration = Duration::from_millis(250);
/// The interval of log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Decides when an update is due.
struct RefreshTimer {
    begun: Instant,
    last: Instant,
    every: Duration,
}

impl RefreshTimer {
    fn start(every: Duration) -> Self {
        let now = Instant::now();
        Self { begun: now, last: now, every }
    }

    fn is_due(&self) -> bool {
        self.last.elapsed() >= self.every
    }

    /// Marks an update; returns the seconds since the start.
    fn tick(&mut self) -> f64 {
        self.last = Instant::now();
        self.begun.elapsed().as_secs_f64()
    }
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

    #[test]
    fn all_is_a_hundred_percent_and_nothing_less_is() {
        assert_eq!([percent(0, 3), percent(999, 1_000), percent(3, 3)], ["  0%", " 99%", "100%"]);
        assert_eq!([percent(0, 0), percent(u64::MAX, u64::MAX), percent(7, 3)], ["100%", "100%", "100%"]);
    }
}
