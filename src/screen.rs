//! stderr: whole lines, and a terminal's progress at its bottom.
//!
//! Lines are never interleaved, and progress stays below them. Whoever must not wait does not: a terminal that was
//! stopped with Ctrl+S, or a pipe that nobody reads, holds up this file's thread and those that log through it, and
//! neither signals nor the end of the program.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressDrawTarget};

use crate::panics::guarded;

/// Pieces of work that may wait; whoever writes lines waits when there are more, drawings are left out.
const WAITING: usize = 256;
/// How long whoever ends may wait for the last lines, at each place where some may be left.
pub const LAST_LINES: Duration = Duration::from_secs(1);

/// Where lines are written and progress is drawn.
#[derive(Clone)]
pub struct Screen(Way);

#[derive(Clone)]
enum Way {
    /// Straight to stderr.
    Direct,
    /// By a thread of its own.
    Thread { work: SyncSender<Work>, progress: Option<MultiProgress> },
}

enum Work {
    Lines(Vec<u8>),
    Draw(Box<dyn FnOnce() + Send>),
    Done(SyncSender<()>),
}

impl Screen {
    /// Lines are written when [`Screen::write_lines`] returns; there is no progress. For workers.
    pub fn direct() -> Self {
        Self(Way::Direct)
    }

    /// A screen with a thread of its own, which shows progress if that is wanted and stderr is a terminal.
    pub fn start(progress: bool) -> Self {
        let terminal = progress && io::stderr().is_terminal();
        let progress = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        let (work, waiting) = mpsc::sync_channel(WAITING);
        let shown = progress.clone();
        let started = std::thread::Builder::new().name("screen".to_owned()).spawn(move || serve(&waiting, shown));
        match started {
            Ok(_) => Self(Way::Thread { work, progress }),
            Err(_) => Self::direct(),
        }
    }

    /// Where progress is drawn, if it is; to be touched by [`Screen::draw`] only.
    pub fn progress(&self) -> Option<&MultiProgress> {
        match &self.0 {
            Way::Thread { progress, .. } => progress.as_ref(),
            Way::Direct => None,
        }
    }

    /// Writes whole lines. A stderr that is closed is nobody's business: the program's work goes on.
    pub fn write_lines(&self, lines: &[u8]) {
        match &self.0 {
            Way::Direct => write(lines),
            Way::Thread { work, .. } => {
                if work.send(Work::Lines(lines.to_vec())).is_err() {
                    write(lines);
                }
            }
        }
    }

    /// Writes whole lines for somebody who must not wait for long.
    pub fn say(&self, lines: &[u8]) {
        match &self.0 {
            Way::Direct => write(lines),
            Way::Thread { work, .. } => try_for(work, Work::Lines(lines.to_vec()), LAST_LINES),
        }
    }

    /// Changes the progress, on the screen's thread; left out if that is busy.
    pub fn draw(&self, change: impl FnOnce() + Send + 'static) {
        if let Way::Thread { work, .. } = &self.0 {
            try_for(work, Work::Draw(Box::new(change)), Duration::ZERO);
        }
    }

    /// Changes the progress for the last time.
    pub fn draw_last(&self, change: impl FnOnce() + Send + 'static) {
        if let Way::Thread { work, .. } = &self.0 {
            try_for(work, Work::Draw(Box::new(change)), LAST_LINES);
        }
    }

    /// Waits until everything is written; not for long.
    pub fn finish(&self) {
        if let Way::Thread { work, .. } = &self.0 {
            let (done, written) = mpsc::sync_channel(1);
            try_for(work, Work::Done(done), LAST_LINES);
            // Late: nobody reads, and the program ends all the same.
            let _late = written.recv_timeout(LAST_LINES);
        }
    }
}

fn try_for(work: &SyncSender<Work>, mut piece: Work, time: Duration) {
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
    let _nobody_reads = io::stderr().lock().write_all(lines);
}

fn serve(waiting: &Receiver<Work>, mut progress: Option<MultiProgress>) {
    while let Ok(work) = waiting.recv() {
        // A terminal that is gone makes the library of the bars fail, or panic with its lock held: then there are none any
        // more, and nobody touches them.
        let drawn = match (work, &progress) {
            (Work::Lines(lines), Some(bars)) => {
                let written = guarded(|| bars.clear().map(|()| bars.suspend(|| write(&lines))));
                written.and_then(|done| done.map_err(|error| error.to_string())).inspect_err(|_| write(&lines))
            }
            (Work::Lines(lines), None) => {
                write(&lines);
                Ok(())
            }
            (Work::Draw(change), Some(_)) => guarded(change),
            (Work::Draw(_), None) => Ok(()),
            (Work::Done(done), _) => {
                // Whoever asked has waited long enough.
                let _unheard = done.try_send(());
                Ok(())
            }
        };
        if drawn.is_err() {
            progress = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_that_is_stuck_holds_up_nobody() {
        // A thread that never takes anything.
        let (work, _stuck) = mpsc::sync_channel(1);
        let screen = Screen(Way::Thread { work, progress: None });
        let begun = Instant::now();
        screen.say(b"one fits\n");
        (0..1_000).for_each(|_| screen.draw(|| {}));
        screen.say(b"this one waits, and not for ever\n");
        screen.finish();
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
