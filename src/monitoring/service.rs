//! What a service manager (systemd, by its `NOTIFY_SOCKET`) is told: that the run is up, alive, ending.
//!
//! Without a service manager all of this does nothing.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::status::Phase;

/// Tells a service manager, if there is one.
#[derive(Debug)]
pub struct Service {
    /// How often it wants to hear that the run lives; `None`: it does not watch, or is not there.
    every: Option<Duration>,
    told: Option<Instant>,
    phase: Phase,
}

impl Default for Service {
    fn default() -> Self {
        // Twice as often as it has to be, as systemd recommends.
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / 2), told: None, phase: Phase::Starting }
    }
}

impl Service {
    /// The loop that everything hangs on lives: to be called by it, often.
    pub fn alive(&mut self) {
        let Some(every) = self.every else { return };
        if self.told.is_none_or(|told| told.elapsed() >= every) {
            self.told = Some(Instant::now());
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// Where the run stands.
    pub fn phase(&mut self, phase: Phase, text: &str) {
        if self.phase >= phase {
            return;
        }
        self.phase = phase;
        match phase {
            Phase::Starting | Phase::Quiet => {}
            Phase::Running => tell(&[NotifyState::Ready, NotifyState::Status(text)]),
            Phase::Draining | Phase::Ended => tell(&[NotifyState::Stopping, NotifyState::Status(text)]),
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // A service manager that does not listen is its own trouble.
    let _unheard = sd_notify::notify(states);
}
