//! The console: writes whole lines to stderr, with progress bars at the bottom of a terminal.
//!
//! Lines are never interleaved, and the bars stay below them. A terminal stopped with Ctrl+S or a blocked pipe delays
//! only this module's thread and the threads that write through it, not signals or the exit of the program.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{MultiProgress, ProgressDrawTarget};

use crate::os::job_control;
use crate::util::panic::catch_panic;

/// The maximum number of queued operations; writers of lines wait when the queue is full, drawing is skipped.
const QUEUE_CAPACITY: usize = 256;
/// How long an exiting process waits for the last lines, at each place that may hold some.
pub const FINAL_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The prefix of each line of a worker's log, which is removed when the line is shown.
pub const LOG_MARK: u8 = 0x1e;

/// Returns whether the terminal supports no escape sequences (`TERM=dumb`).
pub fn is_dumb_terminal() -> bool {
    std::env::var_os("TERM").is_some_and(|name| name == "dumb")
}

/// The output of lines and progress bars.
#[derive(Clone)]
pub struct Console(Mode);

/// Receives lines.
type LineWriter = Arc<dyn Fn(&[u8]) + Send + Sync>;

#[derive(Clone)]
enum Mode {
    /// Directly to stderr.
    Direct,
    /// Directly to stderr, with the mark.
    Marked,
    /// To a function.
    HandedTo(LineWriter),
    /// Through a separate thread.
    Thread { work: SyncSender<ConsoleOp>, progress: Option<MultiProgress>, rows: Arc<AtomicUsize> },
}

enum ConsoleOp {
    Lines(Vec<u8>),
    Draw(Box<dyn FnOnce() + Send>),
    Done(SyncSender<()>),
}

impl Console {
    /// Creates a console without progress whose [`Console::write_lines`] returns after the lines are written.
    pub fn unbuffered() -> Self {
        Self(Mode::Direct)
    }

    /// Like [`Console::unbuffered`], with [`LOG_MARK`] before each line. For workers: the supervisor distinguishes
    /// the log from other output of the worker and its child processes on stderr.
    pub fn marked() -> Self {
        Self(Mode::Marked)
    }

    /// Creates a console that passes lines to a function.
    pub fn handing_to(function: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self(Mode::HandedTo(Arc::new(function)))
    }

    /// Creates a console with its own thread, which shows progress if wanted and stderr is a terminal.
    pub fn start(progress: bool) -> Self {
        let terminal = progress && io::stderr().is_terminal() && !is_dumb_terminal();
        let progress = terminal.then(|| MultiProgress::with_draw_target(target()));
        let (work, waiting) = mpsc::sync_channel(QUEUE_CAPACITY);
        let (shown, rows) = (progress.clone(), Arc::<AtomicUsize>::default());
        let drawn = Arc::clone(&rows);
        let started =
            std::thread::Builder::new().name("screen".to_owned()).spawn(move || serve(&waiting, shown, &drawn));
        match started {
            Ok(_) => Self(Mode::Thread { work, progress, rows }),
            Err(_) => Self::unbuffered(),
        }
    }

    /// The progress bars, if they are shown; to be used only in [`Console::draw`].
    pub fn progress(&self) -> Option<&MultiProgress> {
        match &self.0 {
            Mode::Thread { progress, .. } => progress.as_ref(),
            Mode::Direct | Mode::Marked | Mode::HandedTo(_) => None,
        }
    }

    /// Records that rows of progress were added (or removed, if negative); to be called only in [`Console::draw`].
    pub fn add_rows(&self, rows: isize) {
        if let Mode::Thread { rows: drawn, .. } = &self.0 {
            drawn.store(drawn.load(Ordering::Relaxed).saturating_add_signed(rows), Ordering::Relaxed);
        }
    }

    /// Writes whole lines. A closed stderr is no error: the program continues.
    pub fn write_lines(&self, lines: &[u8]) {
        match &self.0 {
            Mode::Direct => write(lines),
            Mode::Marked => write(&marked(lines)),
            Mode::HandedTo(function) => function(lines),
            Mode::Thread { work, .. } => {
                if work.send(ConsoleOp::Lines(lines.to_vec())).is_err() {
                    write(lines);
                }
            }
        }
    }

    /// Writes whole lines for a caller that must not block for long.
    pub fn print_line(&self, lines: &[u8]) {
        match &self.0 {
            Mode::Direct => write(lines),
            Mode::Marked => write(&marked(lines)),
            Mode::HandedTo(function) => function(lines),
            Mode::Thread { work, .. } => try_for(work, ConsoleOp::Lines(lines.to_vec()), FINAL_FLUSH_TIMEOUT),
        }
    }

    /// Changes the progress on the console's thread; skipped if that is busy.
    pub fn draw(&self, change: impl FnOnce() + Send + 'static) {
        if let Mode::Thread { work, .. } = &self.0 {
            try_for(work, ConsoleOp::Draw(Box::new(change)), Duration::ZERO);
        }
    }

    /// Changes the progress for the last time.
    pub fn draw_final(&self, change: impl FnOnce() + Send + 'static) {
        if let Mode::Thread { work, .. } = &self.0 {
            try_for(work, ConsoleOp::Draw(Box::new(change)), FINAL_FLUSH_TIMEOUT);
        }
    }

    /// Waits a short time until everything is written.
    pub fn finish(&self) {
        if let Mode::Thread { work, .. } = &self.0 {
            let (done, written) = mpsc::sync_channel(1);
            try_for(work, ConsoleOp::Done(done), FINAL_FLUSH_TIMEOUT);
            // The program exits even if the lines cannot be written.
            written.recv_timeout(FINAL_FLUSH_TIMEOUT).ok();
        }
    }
}

fn try_for(work: &SyncSender<ConsoleOp>, mut piece: ConsoleOp, time: Duration) {
    let begun = Instant::now();
    while let Err(TrySendError::Full(back)) = work.try_send(piece) {
        if begun.elapsed() >= time {
            return;
        }
        piece = back;
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn write(lines: &[u8]) {
    io::stderr().lock().write_all(lines).ok();
}

fn marked(lines: &[u8]) -> Vec<u8> {
    let lines = lines.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| std::iter::once(LOG_MARK).chain(line.iter().copied())).collect()
}

/// Decides whether progress is drawn: not while another job has the terminal. Pure.
#[derive(Debug, Default)]
struct Drawing {
    is_paused: bool,
    suspensions: u64,
}

impl Drawing {
    /// The next action.
    fn next(&mut self, is_in_background: bool, suspensions: u64) -> Draw {
        let was_away = std::mem::replace(&mut self.suspensions, suspensions) != suspensions;
        let was_paused = std::mem::replace(&mut self.is_paused, is_in_background);
        match (is_in_background, was_paused || was_away) {
            (true, _) => Draw::Nothing,
            (false, true) => Draw::Anew,
            (false, false) => Draw::Change,
        }
    }
}

/// How progress is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draw {
    /// Not at all: another job has the terminal.
    Nothing,
    /// Below the output of other jobs: the old rows stay where they are.
    Anew,
    /// In place.
    Change,
}

fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::stderr_with_hz(10)
}

fn serve(waiting: &Receiver<ConsoleOp>, mut progress: Option<MultiProgress>, rows: &AtomicUsize) {
    let mut width = None;
    let mut drawing = Drawing { suspensions: job_control::suspensions(), ..Drawing::default() };
    while let Ok(work) = waiting.recv() {
        if let Some(bars) = &progress {
            match drawing.next(job_control::is_in_background(), job_control::suspensions()) {
                Draw::Nothing => {
                    match work {
                        ConsoleOp::Lines(lines) => write(&lines),
                        ConsoleOp::Draw(_) => {}
                        ConsoleOp::Done(done) => _ = done.try_send(()),
                    }
                    continue;
                }
                Draw::Anew => {
                    bars.set_draw_target(target());
                    // The old rows cannot be found any more.
                    width = None;
                }
                Draw::Change => {}
            }
            if !matches!(work, ConsoleOp::Done(_)) {
                follow_width(&mut width, rows.load(Ordering::Relaxed));
            }
        }
        // If the terminal is gone, the progress library fails or panics with its lock held: then the bars are dropped
        // and not used again.
        let drawn = match (work, &progress) {
            (ConsoleOp::Lines(lines), Some(bars)) => {
                let written = catch_panic(|| bars.clear().map(|()| bars.suspend(|| write(&lines))));
                written.and_then(|done| done.map_err(|error| error.to_string())).inspect_err(|_| write(&lines))
            }
            (ConsoleOp::Lines(lines), None) => {
                write(&lines);
                Ok(())
            }
            (ConsoleOp::Draw(change), Some(_)) => catch_panic(change),
            (ConsoleOp::Draw(_), None) => Ok(()),
            (ConsoleOp::Done(done), _) => {
                // The caller has stopped waiting.
                done.try_send(()).ok();
                Ok(())
            }
        };
        if drawn.is_err() {
            progress = None;
        } else if progress.is_some() && rows.load(Ordering::Relaxed) > 0 {
            // The cursor is after the last row, where the terminal's echo of `^C` would start a new row.
            write(b"\r");
        }
    }
}

/// Moves the cursor to where the progress library expects it, after the terminal has reflowed its rows.
fn follow_width(width: &mut Option<usize>, rows: usize) {
    let now = Term::stderr().size_checked().map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0);
    if let (Some(from), Some(to)) = (*width, now)
        && from != to
        && rows > 0
        && reflows()
    {
        match moved_by(rows, from, to) {
            0 => {}
            down @ 1.. => write(format!("\x1b[{down}A\x1b[J").as_bytes()),
            up => write("\n".repeat(up.unsigned_abs()).as_bytes()),
        }
    }
    *width = now;
}

/// Returns whether the terminal reflows long rows when its width changes: all common ones do except these.
fn reflows() -> bool {
    let is_set = |name| std::env::var_os(name).is_some();
    let is_console = std::env::var_os("TERM").is_some_and(|name| name == "linux");
    !is_console && (is_set("TMUX") || !is_set("XTERM_VERSION"))
}

/// The number of rows by which the cursor, at the start of the last of `rows` rows, has moved down after a change of
/// width. Each row is padded with spaces to the terminal's width and has no line end: to the terminal all are one
/// long row.
fn moved_by(rows: usize, from: usize, to: usize) -> isize {
    let before = rows.saturating_sub(1);
    let after = before * from / to;
    isize::try_from(after).unwrap_or(0) - isize::try_from(before).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_found_again_after_the_width_has_changed() {
        assert_eq!([moved_by(6, 80, 80), moved_by(6, 80, 60), moved_by(6, 80, 40)], [0, 1, 5]);
        assert_eq!([moved_by(6, 60, 100), moved_by(1, 80, 10), moved_by(0, 80, 10)], [-2, 0, 0]);
    }

    #[test]
    fn each_line_of_a_worker_is_marked() {
        assert_eq!(marked(b"one\ntwo\n"), b"\x1eone\n\x1etwo\n");
    }

    #[test]
    fn a_screen_that_is_stuck_holds_up_nobody() {
        // A thread that never takes an operation.
        let (work, _stuck) = mpsc::sync_channel(1);
        let screen = Console(Mode::Thread { work, progress: None, rows: Arc::default() });
        let begun = Instant::now();
        screen.print_line(b"one fits\n");
        (0..1_000).for_each(|_| screen.draw(|| {}));
        screen.print_line(b"this one waits, and not for ever\n");
        screen.finish();
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    #[test]
    fn progress_is_not_drawn_in_the_background_and_anew_after_it() {
        let mut drawing = Drawing::default();
        let draws = [(false, 0), (true, 0), (true, 1), (false, 1), (false, 1), (false, 2), (false, 2)];
        let draws = draws.map(|(background, suspensions)| drawing.next(background, suspensions));
        let (nothing, anew, change) = (Draw::Nothing, Draw::Anew, Draw::Change);
        assert_eq!(draws, [change, nothing, nothing, anew, change, anew, change]);
    }
}
