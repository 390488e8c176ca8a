//! Notifications to systemd, or another service manager with a `NOTIFY_SOCKET`: ready, watchdog, stopping and status.
//!
//! Without a service manager, all of this does nothing. A service manager that does not read its socket cannot delay the run:
//! nothing waits for the socket, and the heartbeat of the main loop sends again what it did not take.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::ErrorKind;
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
    address: Option<OsString>,
    /// Notifications that the full socket has not taken yet.
    queued: VecDeque<String>,
    /// The interval of watchdog notifications; `None` without a watchdog or a service manager.
    every: Option<Duration>,
    reported: Option<Instant>,
    /// Whether `READY=1` was sent, for which systemd waits.
    up: bool,
}

impl Default for SystemdNotifier {
    fn default() -> Self {
        Self {
            address: std::env::var_os("NOTIFY_SOCKET"),
            queued: VecDeque::new(),
            // Half of the watchdog timeout, as systemd recommends.
            every: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            reported: None,
            up: false,
        }
    }
}

impl SystemdNotifier {
    /// Sends queued notifications, and a watchdog notification if one is due. The main loop calls it several times per second.
    pub fn alive(&mut self) {
        self.send_queued();
        let Some(every) = self.every else { return };
        if self.reported.is_none_or(|reported| reported.elapsed() >= every) {
            self.reported = Some(Instant::now());
            self.notify(&[NotifyState::Watchdog]);
        }
    }

    /// Notifies about a change of the phase.
    pub fn phase(&mut self, phase: Phase, text: &str) {
        match phase {
            Phase::Starting => {}
            // A run that starts paused is ready, too.
            Phase::Running | Phase::Paused => self.waits(text),
            Phase::Draining | Phase::Ended => {
                self.notify(&[NotifyState::Stopping, NotifyState::Status(&one_line(text))]);
            }
        }
    }

    /// Notifies that the run is up, with a status text such as what it waits for.
    pub fn waits(&mut self, text: &str) {
        let status = NotifyState::Status(&one_line(text));
        if std::mem::replace(&mut self.up, true) {
            self.notify(&[status]);
        } else {
            self.notify(&[NotifyState::Ready, status]);
        }
    }

    fn notify(&mut self, states: &[NotifyState<'_>]) {
        if self.address.is_some() && self.queued.len() < QUEUE_CAPACITY {
            self.queued.push_back(states.iter().map(|state| format!("{state}\n")).collect());
        }
        self.send_queued();
    }

    fn send_queued(&mut self) {
        let Some(address) = &self.address else { return };
        while let Some(message) = self.queued.front() {
            match notify_socket::send(address, message.as_bytes()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A service manager that is gone needs no notification.
                Ok(()) | Err(_) => self.queued.pop_front(),
            };
        }
    }
}

/// The notification protocol separates assignments by newlines, and a text may contain parts of a message.
fn one_line(text: &str) -> String {
    truncate_chars(&escape::one_line(text), MAX_STATUS_CHARS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// A service manager's socket, and a notifier for it.
    fn service() -> (tempfile::TempDir, UnixDatagram, SystemdNotifier) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let notifier = SystemdNotifier { address: Some(path.into()), every: None, ..SystemdNotifier::default() };
        (folder, socket, notifier)
    }

    fn received(socket: &UnixDatagram) -> Vec<String> {
        let receive = || {
            let mut buffer = [0; 4_096];
            let length = socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        };
        std::iter::from_fn(receive).collect()
    }

    /// Returns the notifications for a sequence of phases.
    fn reported(phases: &[(Phase, &str)]) -> Vec<String> {
        let (_folder, socket, mut notifier) = service();
        phases.iter().for_each(|(phase, text)| notifier.phase(*phase, text));
        received(&socket)
    }

    #[test]
    fn a_run_that_is_paused_before_it_has_run_is_up_once() {
        let phases = [(Phase::Paused, "paused"), (Phase::Running, "consuming"), (Phase::Draining, "SIGTERM")];
        let expected = ["READY=1\nSTATUS=paused\n", "STATUS=consuming\n", "STOPPING=1\nSTATUS=SIGTERM\n"];
        assert_eq!(reported(&phases), expected);
    }

    #[test]
    fn the_status_is_what_the_run_does_now() {
        let phases = [(Phase::Running, "consuming"), (Phase::Paused, "paused"), (Phase::Running, "consuming")];
        let expected = ["READY=1\nSTATUS=consuming\n", "STATUS=paused\n", "STATUS=consuming\n"];
        assert_eq!(reported(&phases), expected);
    }

    #[test]
    fn no_text_is_a_word_of_its_own() {
        let reported = reported(&[(Phase::Draining, "it failed\nEXTEND_TIMEOUT_USEC=1\r\u{9b}x")]);
        assert_eq!(reported, ["STOPPING=1\nSTATUS=it failed EXTEND_TIMEOUT_USEC=1 \\u{9b}x\n"]);
        assert_eq!(one_line(&"é".repeat(5_000)).chars().count(), MAX_STATUS_CHARS);
    }

    #[test]
    fn a_full_socket_gets_its_notifications_later_and_in_order() {
        let (_folder, socket, mut notifier) = service();
        // The queue of a datagram socket holds few messages.
        for number in 0..10_000 {
            notifier.phase(Phase::Running, &number.to_string());
        }
        assert_eq!(notifier.queued.len(), QUEUE_CAPACITY);
        let before = received(&socket).len();
        notifier.alive();
        let later: Vec<_> = (before..before + QUEUE_CAPACITY).map(|number| format!("STATUS={number}\n")).collect();
        assert_eq!(received(&socket), later);
    }
}
