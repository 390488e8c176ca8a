//! A worker's stderr: its log, and the output of its processor and of programs that the processor has started.
//! The last lines are kept for the exit record. Log lines are passed on unchanged; other lines are limited, and
//! terminal control characters are removed.

use std::collections::VecDeque;
use std::io::Read;
use std::process::ChildStderr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use slog::{Logger, warn};

use super::stderr_limit::{Dropped, StderrLimit};
use crate::console::{Console, FINAL_FLUSH_TIMEOUT, LOG_MARK};
use crate::util::escape::terminal_line;

/// A longer line is written in pieces: memory is bounded, and lines stay readable.
const LONGEST_LINE: usize = 64 << 10;
/// The number of lines that are kept, and the maximum length of each, in characters.
const TAIL_LINES: usize = 20;
const KEPT_LENGTH: usize = 300;

/// The last lines of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct LogTail {
    lines: Arc<Mutex<VecDeque<String>>>,
    complete: Arc<AtomicBool>,
}

impl LogTail {
    fn push(&self, lines: &[u8]) {
        let Ok(mut kept) = self.lines.lock() else { return };
        let whole = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for line in whole {
            if kept.len() == TAIL_LINES {
                kept.pop_front();
            }
            let line = line.strip_prefix(&[LOG_MARK]).unwrap_or(line);
            let text = String::from_utf8_lossy(&line[..line.len().min(4 * KEPT_LENGTH)]);
            kept.push_back(text.chars().take(KEPT_LENGTH).collect());
        }
    }

    /// Whether no more lines follow.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// The lines so far.
    pub(super) fn list(&self) -> Vec<String> {
        self.lines.lock().map(|kept| kept.iter().cloned().collect()).unwrap_or_default()
    }
}

/// The destination of lines.
pub(super) struct LogOutput {
    pub(super) screen: Console,
    pub(super) logger: Logger,
    /// `logging.stderr_lines_per_second`.
    pub(super) stderr_lines_per_second: u64,
}

/// Passes lines on; lines that are not log lines only up to a limit.
struct Filter {
    limit: StderrLimit,
    slot: usize,
    output: LogOutput,
}

impl Filter {
    fn pass_on(&mut self, lines: &[u8]) {
        let now = Instant::now();
        let mut passed = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_prefix(&[LOG_MARK]) {
                Some(line) => passed.extend_from_slice(line),
                None if !self.limit.allows(now, line.len()) => {}
                None => {
                    let line = line.strip_suffix(b"\n").unwrap_or(line);
                    passed.extend_from_slice(terminal_line(line.strip_suffix(b"\r").unwrap_or(line)).as_bytes());
                    passed.push(b'\n');
                }
            }
        }
        if !passed.is_empty() {
            self.output.screen.write_lines(&passed);
        }
        self.limit.take_dropped(now).iter().for_each(|dropped| self.report(*dropped));
    }

    fn report(&self, dropped: Dropped) {
        warn!(self.output.logger, "{}", dropped.text(self.slot, self.output.stderr_lines_per_second));
    }
}

/// Forwards whole lines, on a thread that ends with the last process that holds the pipe; then `at_end` is
/// called.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn forward(
    mut stderr: ChildStderr,
    slot: usize,
    output: LogOutput,
    last: LogTail,
    at_end: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("log-{slot}")).spawn(move || {
        let mut output =
            Filter { limit: StderrLimit::new(output.stderr_lines_per_second, Instant::now()), slot, output };
        let mut lines = Vec::new();
        let mut chunk = [0; 8_192];
        // An error on reading a pipe is its end.
        while let Ok(read @ 1..) = stderr.read(&mut chunk) {
            lines.extend_from_slice(&chunk[..read]);
            let whole = match lines.iter().rposition(|byte| *byte == b'\n') {
                Some(last) => last + 1,
                None if lines.len() >= LONGEST_LINE => {
                    lines.push(b'\n');
                    lines.len()
                }
                None => continue,
            };
            last.push(&lines[..whole]);
            output.pass_on(&lines[..whole]);
            lines.drain(..whole);
        }
        if !lines.is_empty() {
            lines.push(b'\n');
            last.push(&lines);
        }
        // Before the lines are written, which may take a while.
        last.complete.store(true, Ordering::Release);
        at_end();
        output.pass_on(&lines);
        output.limit.take_rest().iter().for_each(|dropped| output.report(*dropped));
    })
}

/// Waits until all log lines of the workers are written. The wait is limited: a process that has left its
/// worker's process group may keep its stderr open.
pub(super) fn finish(pipes: &[JoinHandle<()>]) {
    let begun = Instant::now();
    while pipes.iter().any(|pipe| !pipe.is_finished()) && begun.elapsed() < FINAL_FLUSH_TIMEOUT {
        std::thread::sleep(Duration::from_millis(1));
    }
}
