//! What a service manager (systemd, by its `NOTIFY_SOCKET`) is told: that the run is up, alive, ending.
//!
//! Without a service manager all of this does nothing. One that does not listen holds up a thread of its own, and not the run:
//! what it has not taken by then is left out.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::status::Phase;

/// Words that may wait for the service manager.
const WAITING: usize = 8;

/// Tells a service manager, if there is one.
#[derive(Debug)]
pub struct Service {
    words: Option<SyncSender<Vec<Word>>>,
    /// How often it wants to hear that the run lives; `None`: it does not watch, or is not there.
    every: Option<Duration>,
    told: Option<Instant>,
    phase: Phase,
}

#[derive(Debug)]
enum Word {
    Ready,
    Alive,
    Stopping,
    Status(String),
}

impl Default for Service {
    fn default() -> Self {
        let is_there = std::env::var_os("NOTIFY_SOCKET").is_some();
        Self {
            words: is_there.then(listener).flatten(),
            // Twice as often as it has to be, as systemd recommends.
            every: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            told: None,
            phase: Phase::Starting,
        }
    }
}

impl Service {
    /// The loop that everything hangs on lives: to be called by it, often.
    pub fn alive(&mut self) {
        let Some(every) = self.every else { return };
        if self.told.is_none_or(|told| told.elapsed() >= every) {
            self.told = Some(Instant::now());
            self.tell(vec![Word::Alive]);
        }
    }

    /// Where the run stands.
    pub fn phase(&mut self, phase: Phase, text: &str) {
        if self.phase >= phase {
            return;
        }
        self.phase = phase;
        let status = Word::Status(text.to_owned());
        match phase {
            Phase::Starting | Phase::Quiet => {}
            Phase::Running => self.tell(vec![Word::Ready, status]),
            Phase::Draining | Phase::Ended => self.tell(vec![Word::Stopping, status]),
        }
    }

    fn tell(&self, words: Vec<Word>) {
        if let Some(listener) = &self.words {
            // Full: it does not listen, which is its own trouble.
            let _left_out = listener.try_send(words);
        }
    }
}

/// Hands words on, as fast as they are taken; ends with whoever sends them, or with the process.
fn listener() -> Option<SyncSender<Vec<Word>>> {
    let (sender, words) = sync_channel::<Vec<Word>>(WAITING);
    let thread = std::thread::Builder::new().name("service".to_owned()).spawn(move || {
        while let Ok(words) = words.recv() {
            let states: Vec<_> = words
                .iter()
                .map(|word| match word {
                    Word::Ready => NotifyState::Ready,
                    Word::Alive => NotifyState::Watchdog,
                    Word::Stopping => NotifyState::Stopping,
                    Word::Status(text) => NotifyState::Status(text),
                })
                .collect();
            let _unheard = sd_notify::notify(&states);
        }
    });
    thread.ok().map(|_| sender)
}
