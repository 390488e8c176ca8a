//! The terminal: set up, drawn on, and restored in every case.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal::disable_raw_mode;
use ratatui::layout::{Position, Rect};
use ratatui::{DefaultTerminal, Frame};

use super::app::App;
use super::fetcher::Fetcher;
use super::keymap;
use super::url::StatusUrl;
use super::{layout, ui};
use crate::exit::{ExitCode, ExitStatus};
use crate::signals::{ControlSignal, SignalHandler};
use crate::util::blocking;

/// The maximum delay until a key, a response or a stop request is noticed.
const INPUT_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The interval at which the age of the status is redrawn if nothing else changes.
const REDRAW: Duration = Duration::from_millis(500);
/// The timeout for restoring the terminal.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs until the user quits or a signal requests the end. A dedicated thread writes to the terminal: if the terminal blocks,
/// only that thread is delayed, and the program can still exit.
pub(super) fn run(address: &StatusUrl, mut signals: SignalHandler) -> ExitStatus {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ExitStatus::failed(format!("no runtime for signals: {error}")),
    };
    let (address, stop) = (address.clone(), Arc::new(AtomicBool::new(false)));
    runtime.block_on(async {
        let stopped = Arc::clone(&stop);
        let mut shown = pin!(blocking::spawn_blocking("top", move || on_terminal(address, &stopped)));
        if let Some(ended) = signals.cancellable(&mut shown, ControlSignal::is_end).await {
            return exit(ended);
        }
        stop.store(true, Ordering::Relaxed);
        match tokio::time::timeout(RESTORE_TIMEOUT, shown).await {
            Ok(ended) => exit(ended),
            Err(_) => {
                // Restores what does not need a write to the terminal.
                disable_raw_mode().ok();
                ExitStatus::new(ExitCode::Forced, "the terminal takes nothing that is written to it")
            }
        }
    })
}

fn exit(ended: Result<io::Result<()>, String>) -> ExitStatus {
    match ended {
        Ok(Ok(())) => ExitStatus::clean("seen enough"),
        Ok(Err(error)) => ExitStatus::failed(format!("the terminal: {error}")),
        Err(error) => ExitStatus::failed(error),
    }
}

fn on_terminal(address: StatusUrl, stop: &AtomicBool) -> io::Result<()> {
    let fetcher = Fetcher::start(address.clone())?;
    // The panic hook of `ratatui` also restores the terminal before a panic message is printed.
    let shown = ratatui::try_init().and_then(|terminal| watch(terminal, &fetcher, address.to_string(), stop));
    let given_back = ratatui::try_restore();
    shown.and(given_back)
}

fn watch(mut terminal: DefaultTerminal, fetcher: &Fetcher, address: String, stop: &AtomicBool) -> io::Result<()> {
    let mut state = App::new(address, Instant::now());
    state.colours = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let mut changed = true;
    while !stop.load(Ordering::Relaxed) {
        if let Ok(reply) = fetcher.replies.try_recv() {
            state.update(reply);
            changed = true;
        }
        if changed || state.now.elapsed() >= REDRAW {
            state.now = Instant::now();
            terminal.draw(|frame: &mut Frame<'_>| ui::draw(frame, &state))?;
        }
        changed = event::poll(INPUT_POLL_INTERVAL)?;
        if changed && let Event::Key(key) = event::read()? {
            let area = Rect::from((Position::ORIGIN, terminal.size()?));
            let page = layout::divide(area, &state).page(&state);
            if keymap::action(&key).is_some_and(|action| !state.act(action, page)) {
                break;
            }
        }
    }
    Ok(())
}
