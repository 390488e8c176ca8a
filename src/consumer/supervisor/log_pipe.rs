//! A worker's log lines: whatever it and its processor write to stderr. The last ones are kept, for its death record.

use std::collections::VecDeque;
use std::io::Read;
use std::process::ChildStderr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::screen::{LAST_LINES, Screen};

/// A line that is longer is written in pieces: memory is bounded, lines are for reading.
const LONGEST_LINE: usize = 64 << 10;
/// Lines that are kept, and how long each is at most, in characters.
const KEPT: usize = 20;
const KEPT_LENGTH: usize = 300;

/// The last lines of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct LastLines {
    lines: Arc<Mutex<VecDeque<String>>>,
    complete: Arc<AtomicBool>,
}

impl LastLines {
    fn keep(&self, lines: &[u8]) {
        let Ok(mut kept) = self.lines.lock() else { return };
        let whole = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for line in whole {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            let text = String::from_utf8_lossy(&line[..line.len().min(4 * KEPT_LENGTH)]);
            kept.push_back(text.chars().take(KEPT_LENGTH).collect());
        }
    }

    /// Whether no more come.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// What is there now.
    pub(super) fn list(&self) -> Vec<String> {
        self.lines.lock().map(|kept| kept.iter().cloned().collect()).unwrap_or_default()
    }
}

/// Hands on whole lines, on a thread that ends with the last process that holds the pipe; then `at_end` is called.
///
/// # Errors
/// When no thread can be started.
pub(super) fn forward(
    mut stderr: ChildStderr,
    slot: usize,
    screen: Screen,
    last: LastLines,
    at_end: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("log-{slot}")).spawn(move || {
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
            last.keep(&lines[..whole]);
            screen.write_lines(&lines[..whole]);
            lines.drain(..whole);
        }
        if !lines.is_empty() {
            lines.push(b'\n');
            last.keep(&lines);
        }
        // Before they are written, which may take its time.
        last.complete.store(true, Ordering::Release);
        at_end();
        screen.write_lines(&lines);
    })
}

/// Waits until everything that workers have logged is written; not for long, since whatever has left a worker's group
/// may still hold its stderr.
pub(super) fn finish(pipes: &[JoinHandle<()>]) {
    let begun = Instant::now();
    while pipes.iter().any(|pipe| !pipe.is_finished()) && begun.elapsed() < LAST_LINES {
        std::thread::sleep(Duration::from_millis(1));
    }
}
