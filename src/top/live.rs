//! The terminal: taken, drawn on, and given back, whatever happens.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal::disable_raw_mode;
use ratatui::layout::{Position, Rect};
use ratatui::{DefaultTerminal, Frame};

use super::address::Address;
use super::fetch::Fetcher;
use super::keys;
use super::state::State;
use super::{layout, view};
use crate::background;
use crate::exit::{Exit, ExitCode};
use crate::shutdown;

/// How long a key, an answer or the end may go unseen.
const LOOK: Duration = Duration::from_millis(100);
/// How often the age is drawn anew when nothing else changes.
const REDRAW: Duration = Duration::from_millis(500);
/// How long a terminal may take to be given back.
const GIVEN_BACK: Duration = Duration::from_secs(2);

/// Until the user quits or a signal asks for the end. The terminal has a thread of its own: one that takes nothing any more
/// holds up that thread, and not the end.
pub(super) fn run(address: &Address) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Exit::failed(format!("no runtime for signals: {error}")),
    };
    let (address, stop) = (address.clone(), Arc::new(AtomicBool::new(false)));
    runtime.block_on(async {
        let ends = match shutdown::asked_to_end() {
            Ok(ends) => ends,
            Err(error) => return Exit::failed(format!("signals cannot be received: {error}")),
        };
        let stopped = Arc::clone(&stop);
        let mut shown = pin!(background::run("top", move || on_terminal(address, &stopped)));
        tokio::select! {
            ended = &mut shown => return exit(ended),
            () = ends => stop.store(true, Ordering::Relaxed),
        }
        match tokio::time::timeout(GIVEN_BACK, shown).await {
            Ok(ended) => exit(ended),
            Err(_) => {
                // What can be done without writing to it.
                let _too_late = disable_raw_mode();
                Exit::new(ExitCode::Forced, "the terminal takes nothing that is written to it")
            }
        }
    })
}

fn exit(ended: Result<io::Result<()>, String>) -> Exit {
    match ended {
        Ok(Ok(())) => Exit::clean("seen enough"),
        Ok(Err(error)) => Exit::failed(format!("the terminal: {error}")),
        Err(error) => Exit::failed(error),
    }
}

fn on_terminal(address: Address, stop: &AtomicBool) -> io::Result<()> {
    let fetcher = Fetcher::start(address.clone())?;
    // It gives the terminal back before a panic's line, too.
    let shown = ratatui::try_init().and_then(|terminal| watch(terminal, &fetcher, address.to_string(), stop));
    let given_back = ratatui::try_restore();
    shown.and(given_back)
}

fn watch(mut terminal: DefaultTerminal, fetcher: &Fetcher, address: String, stop: &AtomicBool) -> io::Result<()> {
    let mut state = State::new(address, Instant::now());
    state.colours = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let mut changed = true;
    while !stop.load(Ordering::Relaxed) {
        if let Ok(answer) = fetcher.answers.try_recv() {
            state.hear(answer);
            changed = true;
        }
        if changed || state.now.elapsed() >= REDRAW {
            state.now = Instant::now();
            terminal.draw(|frame: &mut Frame<'_>| view::draw(frame, &state))?;
        }
        changed = event::poll(LOOK)?;
        if changed && let Event::Key(key) = event::read()? {
            let area = Rect::from((Position::ORIGIN, terminal.size()?));
            let page = layout::divide(area, &state).page(&state);
            if keys::action(&key).is_some_and(|action| !state.act(action, page)) {
                break;
            }
        }
    }
    Ok(())
}
