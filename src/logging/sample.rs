//! Logs the first and last lines and counts those between. For lines about single messages in a demo, so that a
//! changed generator or processor is visible.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use slog::{Drain, Level, Logger, OwnedKVList, Record, info, o};

use super::{Lines, LogStyle, drain};
use crate::console::Console;
use crate::util::format::pluralize;

/// The number of first lines.
const FIRST: usize = 2;
/// The number of last lines.
const LAST: usize = 2;
/// The minimum interval of kept lines: formatting every line of a demo with a million messages would slow it down.
const SPACING: Duration = Duration::from_millis(5);

/// A log that shows a sample of its lines; see the [module documentation](self).
#[derive(Clone)]
pub struct SampledLog {
    lines: Arc<Mutex<Sample>>,
    screen: Console,
    all: Logger,
}

/// Selects the lines. Pure.
#[derive(Debug, Default)]
struct Sample {
    shown: usize,
    last: VecDeque<Vec<u8>>,
    last_at: Option<Instant>,
    left_out: u64,
}

impl Sample {
    /// Returns whether a line is needed, before it is formatted.
    fn wants(&mut self, now: Instant) -> bool {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < SPACING;
        if self.shown >= FIRST && self.last.len() >= LAST && self.last_at.is_some_and(is_recent) {
            self.left_out += 1;
            return false;
        }
        self.last_at = Some(now);
        true
    }

    /// Returns whether a line is written now; otherwise it may be one of the last.
    fn shows(&mut self, line: &[u8]) -> bool {
        if self.shown < FIRST {
            self.shown += 1;
            return true;
        }
        self.last.push_back(line.to_vec());
        if self.last.len() > LAST {
            self.last.pop_front();
            self.left_out += 1;
        }
        false
    }

    /// The number of lines not shown, and the last lines.
    fn end(&mut self) -> (u64, Vec<u8>) {
        let last = std::mem::take(&mut self.last).into_iter().flatten().collect();
        (std::mem::take(&mut self.left_out), last)
    }
}

impl SampledLog {
    /// Creates the log for `screen`.
    pub fn new(style: LogStyle, screen: &Console) -> Self {
        let all = Logger::root(Mutex::new(drain(style, screen)).ignore_res(), o!());
        Self { lines: Arc::default(), screen: screen.clone(), all }
    }

    /// The logger; it always shows warnings and errors. Calls return after the line is written.
    pub fn logger(&self, style: LogStyle) -> Logger {
        let (lines, screen) = (Arc::clone(&self.lines), self.screen.clone());
        let sampled = Console::handing_to(move |line| {
            if lines.lock().unwrap_or_else(PoisonError::into_inner).shows(line) {
                screen.write_lines(line);
            }
        });
        let (lines, others) = (Arc::clone(&self.lines), drain(style, &self.screen));
        let split = Split { lines, sampled: drain(style, &sampled), others };
        Logger::root(Mutex::new(split).ignore_res(), o!())
    }

    /// Writes the last lines and the number of those not shown.
    pub fn end(&self, worker: usize) {
        let (left_out, last) = self.lines.lock().unwrap_or_else(PoisonError::into_inner).end();
        if left_out > 0 {
            info!(self.all, "{} of messages not shown: -v shows all; the last ones:", pluralize(left_out, "line"); "worker" => worker);
        }
        if !last.is_empty() {
            self.screen.write_lines(&last);
        }
    }
}

/// Sends warnings and errors to one drain, other lines to another.
struct Split {
    lines: Arc<Mutex<Sample>>,
    sampled: Lines,
    others: Lines,
}

impl Drain for Split {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        if record.level().is_at_least(Level::Warning) {
            return self.others.log(record, values);
        }
        let is_wanted = self.lines.lock().unwrap_or_else(PoisonError::into_inner).wants(Instant::now());
        if is_wanted { self.sampled.log(record, values) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_lines_are_shown() {
        let mut sample = Sample::default();
        let shown: Vec<_> = (0..10_u8).filter(|number| sample.shows(&[*number])).collect();
        assert_eq!(shown, [0, 1]);
        assert_eq!(sample.end(), (6, vec![8, 9]));
        assert_eq!(sample.end(), (0, Vec::new()));
        let (mut fast, now) = (Sample::default(), Instant::now());
        let wanted = (0..1_000).filter(|_| fast.wants(now) && !fast.shows(b"x")).count();
        assert_eq!(wanted, LAST, "the first two are shown, two more are kept");
        assert!(fast.wants(now + SPACING), "what comes later replaces them");
        assert_eq!(fast.end().0, 996);
        let mut few = Sample::default();
        assert_eq!((0..3_u8).filter(|number| few.shows(&[*number])).count(), 2);
        assert_eq!(few.end(), (0, vec![2]), "all are shown");
    }
}
