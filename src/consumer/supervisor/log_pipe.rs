//! A worker's log lines: whatever it and its processor write to stderr.

use std::io::Read;
use std::process::ChildStderr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::screen::{LAST_LINES, Screen};

/// A line that is longer is written in pieces: memory is bounded, lines are for reading.
const LONGEST_LINE: usize = 64 << 10;

/// Hands on whole lines, on a thread that ends with the last process that holds the pipe.
///
/// # Errors
/// When no thread can be started.
pub(super) fn forward(mut stderr: ChildStderr, slot: usize, screen: Screen) -> std::io::Result<JoinHandle<()>> {
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
            screen.write_lines(&lines[..whole]);
            lines.drain(..whole);
        }
        if !lines.is_empty() {
            lines.push(b'\n');
            screen.write_lines(&lines);
        }
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
