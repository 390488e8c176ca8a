//! What a service manager (systemd, by its `NOTIFY_SOCKET`) is told: that the run is up, alive, ending.
//!
//! Without a service manager all of this does nothing. One that does not listen holds up a thread of its own, and not the run:
//! what it has not taken by then is left out.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::status::Phase;
use crate::printable::cut;

/// The longest text of a status, in characters: it is one line of `systemctl status`.
const LONGEST: usize = 500;
/// Words that may wait for the service manager.
const WAITING: usize = 8;

/// Tells a service manager, if there is one.
#[derive(Debug)]
pub struct Service {
    words: Option<SyncSender<Vec<Word>>>,
    /// How often it wants to hear that the run lives; `None`: it does not watch, or is not there.
    every: Option<Duration>,
    told: Option<Instant>,
    /// It has heard that the run is up, which it waits for.
    up: bool,
}

#[derive(Debug, PartialEq)]
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
            up: false,
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

    /// Where the run stands, each time that this changes.
    pub fn phase(&mut self, phase: Phase, text: &str) {
        let status = Word::Status(one_line(text));
        match phase {
            Phase::Starting => {}
            // One that was told to take nothing before it was up is up all the same.
            Phase::Running | Phase::Quiet if !self.up => {
                self.up = true;
                self.tell(vec![Word::Ready, status]);
            }
            Phase::Running | Phase::Quiet => self.tell(vec![status]),
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

/// Each line is a word of its own to the service manager, and a reason may have what a message said.
fn one_line(text: &str) -> String {
    cut(&text.replace(char::is_control, " "), LONGEST)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told in these phases.
    fn told(phases: &[(Phase, &str)]) -> Vec<Vec<Word>> {
        let (sender, words) = sync_channel(WAITING);
        let mut service = Service { words: Some(sender), every: None, told: None, up: false };
        phases.iter().for_each(|(phase, text)| service.phase(*phase, text));
        words.try_iter().collect()
    }

    fn status(text: &str) -> Word {
        Word::Status(text.to_owned())
    }

    #[test]
    fn a_run_that_is_quiet_before_it_has_run_is_up_once() {
        let phases = [(Phase::Quiet, "takes no messages"), (Phase::Running, "consuming"), (Phase::Draining, "SIGTERM")];
        let expected = [
            vec![Word::Ready, status("takes no messages")],
            vec![status("consuming")],
            vec![Word::Stopping, status("SIGTERM")],
        ];
        assert_eq!(told(&phases), expected);
    }

    #[test]
    fn the_status_is_what_the_run_does_now() {
        let phases =
            [(Phase::Running, "consuming"), (Phase::Quiet, "takes no messages"), (Phase::Running, "consuming")];
        let expected =
            [vec![Word::Ready, status("consuming")], vec![status("takes no messages")], vec![status("consuming")]];
        assert_eq!(told(&phases), expected);
    }

    #[test]
    fn no_text_is_a_word_of_its_own() {
        let told = told(&[(Phase::Draining, "it failed\nEXTEND_TIMEOUT_USEC=1\r\u{9b}x")]);
        assert_eq!(told, [vec![Word::Stopping, status("it failed EXTEND_TIMEOUT_USEC=1  x")]]);
        assert_eq!(one_line(&"é".repeat(5_000)).chars().count(), LONGEST);
    }
}
