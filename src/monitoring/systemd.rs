//! Notifications to systemd, or another service manager with a `NOTIFY_SOCKET`: ready, watchdog, stopping and status.
//!
//! Without a service manager, all of this does nothing. A dedicated thread sends the notifications, so that a blocked service
//! manager cannot delay the run: notifications that do not fit into the queue are dropped.

use std::ffi::OsString;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::status::Phase;
use crate::os::notify_socket;
use crate::util::escape::{self, truncate_chars};

/// The maximum length of a status text, in characters: `systemctl status` shows it in one line.
const MAX_STATUS_CHARS: usize = 500;
/// The maximum number of queued notifications.
const QUEUE_CAPACITY: usize = 8;

/// Notifies a service manager, if there is one.
#[derive(Debug)]
pub struct SystemdNotifier {
    words: Option<SyncSender<Vec<Notification>>>,
    /// The interval of watchdog notifications; `None` without a watchdog or a service manager.
    every: Option<Duration>,
    reported: Option<Instant>,
    /// Whether `READY=1` was sent, for which systemd waits.
    up: bool,
}

#[derive(Debug, PartialEq)]
enum Notification {
    Ready,
    Alive,
    Stopping,
    Status(String),
}

impl Default for SystemdNotifier {
    fn default() -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET");
        Self {
            words: address.and_then(listener),
            // Half of the watchdog timeout, as systemd recommends.
            every: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            reported: None,
            up: false,
        }
    }
}

impl SystemdNotifier {
    /// Sends a watchdog notification if one is due. The main loop calls it several times per second.
    pub fn alive(&mut self) {
        let Some(every) = self.every else { return };
        if self.reported.is_none_or(|reported| reported.elapsed() >= every) {
            self.reported = Some(Instant::now());
            self.notify(vec![Notification::Alive]);
        }
    }

    /// Notifies about a change of the phase.
    pub fn phase(&mut self, phase: Phase, text: &str) {
        let status = Notification::Status(one_line(text));
        match phase {
            Phase::Starting => {}
            // A run that starts paused is ready, too.
            Phase::Running | Phase::Paused if !self.up => {
                self.up = true;
                self.notify(vec![Notification::Ready, status]);
            }
            Phase::Running | Phase::Paused => self.notify(vec![status]),
            Phase::Draining | Phase::Ended => self.notify(vec![Notification::Stopping, status]),
        }
    }

    /// Notifies that the run is up, with a status text that names what it waits for.
    pub fn waits(&mut self, text: &str) {
        let ready = (!std::mem::replace(&mut self.up, true)).then_some(Notification::Ready);
        self.notify(ready.into_iter().chain([Notification::Status(one_line(text))]).collect());
    }

    fn notify(&self, words: Vec<Notification>) {
        if let Some(listener) = &self.words {
            // The queue is full: the service manager does not read. The notification is dropped.
            listener.try_send(words).ok();
        }
    }
}

/// The notification protocol separates assignments by newlines, and a text may contain parts of a message.
fn one_line(text: &str) -> String {
    truncate_chars(&escape::one_line(text), MAX_STATUS_CHARS)
}

/// Starts the thread that sends notifications. It ends when the sender is dropped, or with the process.
fn listener(address: OsString) -> Option<SyncSender<Vec<Notification>>> {
    let (sender, words) = sync_channel::<Vec<Notification>>(QUEUE_CAPACITY);
    let thread = std::thread::Builder::new().name("service".to_owned()).spawn(move || {
        while let Ok(words) = words.recv() {
            let message: String = words
                .iter()
                .map(|word| match word {
                    Notification::Ready => NotifyState::Ready,
                    Notification::Alive => NotifyState::Watchdog,
                    Notification::Stopping => NotifyState::Stopping,
                    Notification::Status(text) => NotifyState::Status(text),
                })
                .map(|state| format!("{state}\n"))
                .collect();
            // A service manager that is gone needs no notification.
            notify_socket::send(&address, message.as_bytes()).ok();
        }
    });
    thread.ok().map(|_| sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the notifications for a sequence of phases.
    fn reported(phases: &[(Phase, &str)]) -> Vec<Vec<Notification>> {
        let (sender, words) = sync_channel(QUEUE_CAPACITY);
        let mut service = SystemdNotifier { words: Some(sender), every: None, reported: None, up: false };
        phases.iter().for_each(|(phase, text)| service.phase(*phase, text));
        words.try_iter().collect()
    }

    fn status(text: &str) -> Notification {
        Notification::Status(text.to_owned())
    }

    #[test]
    fn a_run_that_is_paused_before_it_has_run_is_up_once() {
        let phases = [(Phase::Paused, "paused"), (Phase::Running, "consuming"), (Phase::Draining, "SIGTERM")];
        let expected = [
            vec![Notification::Ready, status("paused")],
            vec![status("consuming")],
            vec![Notification::Stopping, status("SIGTERM")],
        ];
        assert_eq!(reported(&phases), expected);
    }

    #[test]
    fn the_status_is_what_the_run_does_now() {
        let phases = [(Phase::Running, "consuming"), (Phase::Paused, "paused"), (Phase::Running, "consuming")];
        let expected =
            [vec![Notification::Ready, status("consuming")], vec![status("paused")], vec![status("consuming")]];
        assert_eq!(reported(&phases), expected);
    }

    #[test]
    fn no_text_is_a_word_of_its_own() {
        let reported = reported(&[(Phase::Draining, "it failed\nEXTEND_TIMEOUT_USEC=1\r\u{9b}x")]);
        assert_eq!(reported, [vec![Notification::Stopping, status("it failed EXTEND_TIMEOUT_USEC=1 \\u{9b}x")]]);
        assert_eq!(one_line(&"é".repeat(5_000)).chars().count(), MAX_STATUS_CHARS);
    }
}
