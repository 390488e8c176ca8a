//! `top`: monitors a run from another terminal, through its status over HTTP.
//!
//! - [`StatusUrl`]: the URL of the run. `fetcher`: requests its status on a dedicated thread. `rates`: the rates of its counters.
//! - `app`: the state of the screen. `keymap`: the key bindings. `layout`, `ui`: the screen, which shows a `summary` and `tables`;
//!   `table` aligns their columns. `plain`: plain text for pipes. All of these are pure.
//! - `tui`: sets up and restores the terminal.
//!
//! A status is untrusted input, from topic names to the stderr of a worker: `fetcher` escapes control characters before any
//! other module uses it.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use crate::blocking_command;
use crate::console::is_dumb_terminal;
use crate::exit::ExitStatus;
use crate::signals::SignalHandler;

mod app;
mod fetcher;
mod keymap;
mod layout;
mod plain;
mod rates;
mod summary;
mod table;
mod tables;
mod tui;
mod ui;
mod url;

use app::App;
use fetcher::FetchResult;
pub use url::StatusUrl;

/// Shows the run until the user quits. Without a terminal, or if `out` is not stdout, prints the current status once.
pub fn run(address: &StatusUrl, out: Option<Box<dyn Write + Send>>, signals: SignalHandler) -> ExitStatus {
    let terminal = std::io::stdout().is_terminal() && !is_dumb_terminal();
    let mut out = match out {
        None if terminal => return tui::run(address, signals),
        None => Box::new(std::io::stdout()),
        Some(out) => out,
    };
    let address = address.clone();
    blocking_command::until_signal(signals, move || once(&address, &mut out))
}

fn once(address: &StatusUrl, out: &mut dyn Write) -> ExitStatus {
    let now = Instant::now();
    match fetcher::once(address) {
        Ok(reported) => {
            let mut state = App::new(address.to_string(), now);
            state.update(FetchResult { at: now, reported: Ok(reported) });
            ExitStatus::from_stdout_result(out.write_all(plain::text(&state).as_bytes()).and_then(|()| out.flush()))
        }
        Err(why) => ExitStatus::failed(format!("no status from {address}: {why}")),
    }
}
