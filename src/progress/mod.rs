//! What one sees of long work: bars on a terminal, a line now and then elsewhere. All of it from the run's status.
//!
//! `bars`: rows on a terminal of any width. `lines`: what is logged where there is none. `produce`, `consume`: what a row and
//! a line say of either side.

use std::time::{Duration, Instant};

use crate::figures::seconds;

mod bars;
mod consume;
mod lines;
mod produce;

pub use consume::ConsumeProgress;
pub use produce::ProduceProgress;

/// How often bars are drawn anew.
const DRAWN: Duration = Duration::from_millis(250);
/// How often a line is logged where there is no terminal.
const LOGGED: Duration = Duration::from_secs(5);

/// When there is something to show.
struct Clock {
    begun: Instant,
    last: Instant,
    every: Duration,
}

impl Clock {
    fn start(every: Duration) -> Self {
        let now = Instant::now();
        Self { begun: now, last: now, every }
    }

    fn is_due(&self) -> bool {
        self.last.elapsed() >= self.every
    }

    /// It is shown now; seconds since the start.
    fn tick(&mut self) -> f64 {
        self.last = Instant::now();
        self.begun.elapsed().as_secs_f64()
    }
}

/// How far something is, in percent; whole only when all is done.
fn percent(done: u64, of: u64) -> String {
    let percent = if of == 0 { 100 } else { u128::from(done.min(of)) * 100 / u128::from(of) };
    format!("{percent:>3}%")
}

/// How long it will take, as it goes now.
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
