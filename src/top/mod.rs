//! `top`: watches a run from another terminal, by the status that it tells over HTTP.
//!
//! - [`Address`]: where the run is asked. `fetch`: asks it, on a thread of its own. `rates`: what grows how fast.
//! - `state`: what is known and chosen. `keys`: what keys ask for. `layout`, `view`: the screen; with `summary`, `rows` and
//!   `table`, which make text of numbers. `plain`: the same for pipes. All of these are pure.
//! - `live`: the terminal, and how it is left.
//!
//! What a run tells may hold anything, from topics' names to what a dead worker wrote: `fetch` makes letters of it before
//! anybody else sees it.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use crate::exit::Exit;

mod address;
mod fetch;
mod keys;
mod layout;
mod live;
mod plain;
mod rates;
mod rows;
mod state;
mod summary;
mod table;
mod view;

pub use address::Address;
use fetch::Answer;
use state::State;

/// Watches the run until the user has seen enough; without a terminal (or if `out` is not stdout), tells once what is known.
pub fn run<W: Write>(address: &Address, out: Option<&mut W>) -> Exit {
    let terminal = std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    match out {
        None if terminal => live::run(address),
        None => once(address, &mut std::io::stdout()),
        Some(out) => once(address, out),
    }
}

fn once(address: &Address, out: &mut dyn Write) -> Exit {
    let now = Instant::now();
    match fetch::once(address) {
        Ok(told) => {
            let mut state = State::new(address.to_string(), now);
            state.hear(Answer { at: now, told: Ok(told) });
            Exit::shown(out.write_all(plain::text(&state).as_bytes()).and_then(|()| out.flush()))
        }
        Err(why) => Exit::failed(format!("no status from {address}: {why}")),
    }
}
