//! What one sees of long work: bars on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use slog::{Logger, info};

use crate::screen::Screen;

/// How often a line is logged where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How many partitions of a worker are shown with their own numbers; more do not fit in a line.
const SHOWN_PARTITIONS: usize = 6;

/// One producer thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadProgress {
    /// Messages sent.
    pub sent: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerProgress {
    /// Its process, or why there is none.
    pub process: String,
    /// Messages processed by the worker of this slot.
    pub processed: u64,
    /// Its partitions: name, messages read from the start of the run, messages to read as far as is known.
    pub partitions: Vec<(String, u64, u64)>,
}

struct Lines {
    logger: Logger,
    last: Instant,
    last_total: u64,
}

impl Lines {
    fn new(logger: &Logger) -> Self {
        Self { logger: logger.clone(), last: Instant::now(), last_total: 0 }
    }

    /// Messages per second since the last line, if it is time for a line.
    fn due(&mut self, total: u64) -> Option<u64> {
        let passed = self.last.elapsed();
        if passed < LINE_EVERY {
            return None;
        }
        let rate = (total.saturating_sub(self.last_total)) as f64 / passed.as_secs_f64();
        (self.last, self.last_total) = (Instant::now(), total);
        Some(rate as u64)
    }
}

fn bars(screen: &Screen, count: usize, name: &str, style: &ProgressStyle) -> Vec<ProgressBar> {
    let Some(multi) = screen.progress() else { return Vec::new() };
    (0..count)
        .map(|number| multi.add(ProgressBar::new(0)).with_style(style.clone()).with_prefix(format!("{name} {number}")))
        .collect()
}

/// A template that does not parse is our own mistake; the default bar shows the same numbers.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

fn clear(screen: &Screen, bars: &mut Vec<ProgressBar>) {
    let bars = std::mem::take(bars);
    screen.draw_last(move || bars.iter().for_each(ProgressBar::finish_and_clear));
}

/// All producer threads.
pub struct ProduceProgress {
    screen: Screen,
    bars: Vec<ProgressBar>,
    lines: Lines,
}

impl ProduceProgress {
    /// Shows nothing yet. `limit`: messages of each thread, 0 if that is not known.
    pub fn new(screen: &Screen, logger: &Logger, threads: usize, limit: u64) -> Self {
        let template =
            if limit == 0 { "{prefix:>12} {msg}" } else { "{prefix:>12} {bar:24.green} {pos:>9}/{len} {msg}" };
        let bars = bars(screen, threads, "producer", &style(template));
        bars.iter().for_each(|bar| bar.set_length(limit));
        Self { screen: screen.clone(), bars, lines: Lines::new(logger) }
    }

    /// Shows where the threads are.
    pub fn show(&mut self, threads: &[ThreadProgress]) {
        if !self.bars.is_empty() {
            let (bars, threads) = (self.bars.clone(), threads.to_vec());
            self.screen.draw(move || {
                for (bar, thread) in bars.iter().zip(threads) {
                    bar.set_position(thread.acknowledged);
                    bar.set_message(match bar.length() {
                        Some(0) => format!("{} sent, {} acknowledged", thread.sent, thread.acknowledged),
                        _ => format!("acknowledged, {} sent", thread.sent),
                    });
                }
            });
        }
        let acknowledged = threads.iter().map(|thread| thread.acknowledged).sum();
        if self.bars.is_empty()
            && let Some(rate) = self.lines.due(acknowledged)
        {
            let sent: u64 = threads.iter().map(|thread| thread.sent).sum();
            info!(self.lines.logger, "progress"; "sent" => sent, "acknowledged" => acknowledged, "per_second" => rate);
        }
    }

    /// Takes the bars away.
    pub fn finish(&mut self) {
        clear(&self.screen, &mut self.bars);
    }
}

/// All workers.
pub struct ConsumeProgress {
    screen: Screen,
    bars: Vec<ProgressBar>,
    lines: Lines,
}

impl ConsumeProgress {
    /// Shows nothing yet.
    pub fn new(screen: &Screen, logger: &Logger, workers: usize) -> Self {
        let bars = bars(screen, workers, "worker", &style("{prefix:>12} {bar:24.cyan} {pos:>9}/{len} {msg}"));
        Self { screen: screen.clone(), bars, lines: Lines::new(logger) }
    }

    /// Whether there is anything to show now: on a terminal always, elsewhere when a line is due.
    pub fn is_due(&self) -> bool {
        !self.bars.is_empty() || self.lines.last.elapsed() >= LINE_EVERY
    }

    /// Shows where the workers are.
    pub fn show(&mut self, workers: &[WorkerProgress]) {
        if !self.bars.is_empty() {
            let (bars, workers) = (self.bars.clone(), workers.to_vec());
            self.screen.draw(move || {
                for (bar, worker) in bars.iter().zip(&workers) {
                    bar.set_length(worker.partitions.iter().map(|(_, _, length)| length).sum());
                    bar.set_position(worker.partitions.iter().map(|(_, position, _)| position).sum());
                    bar.set_message(describe(worker));
                }
            });
        }
        let processed = workers.iter().map(|worker| worker.processed).sum();
        if self.bars.is_empty()
            && let Some(rate) = self.lines.due(processed)
        {
            let lag: u64 =
                workers.iter().flat_map(|worker| &worker.partitions).map(|(_, at, to)| to.saturating_sub(*at)).sum();
            info!(self.lines.logger, "progress"; "processed" => processed, "lag" => lag, "per_second" => rate);
        }
    }

    /// Takes the bars away.
    pub fn finish(&mut self) {
        clear(&self.screen, &mut self.bars);
    }
}

fn describe(worker: &WorkerProgress) -> String {
    let mut text = format!("read, {}", worker.process);
    for (name, position, length) in worker.partitions.iter().take(SHOWN_PARTITIONS) {
        text.push_str(&format!("  {name}: {position}/{length}"));
    }
    if worker.partitions.len() > SHOWN_PARTITIONS {
        text.push_str(&format!("  … {} partitions", worker.partitions.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_with_many_partitions_fits_in_a_line() {
        let partitions = (0..100).map(|number| (number.to_string(), 1, 2)).collect();
        let text = describe(&WorkerProgress { process: "pid 7".to_owned(), processed: 100, partitions });
        assert_eq!(text, "read, pid 7  0: 1/2  1: 1/2  2: 1/2  3: 1/2  4: 1/2  5: 1/2  … 100 partitions");
    }
}
