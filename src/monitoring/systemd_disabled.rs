//! Replaces `systemd` in builds without the feature `monitoring`: no service manager is notified.

use super::status::Phase;

/// A notifier without effect.
#[derive(Debug, Default)]
pub struct SystemdNotifier;

impl SystemdNotifier {
    /// Does nothing.
    pub fn alive(&mut self) {}

    /// Does nothing.
    pub fn phase(&mut self, _: Phase, _: &str) {}

    /// Does nothing.
    pub fn waits(&mut self, _: &str) {}
}
