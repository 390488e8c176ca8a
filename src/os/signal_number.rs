//! The numbers of signals that tokio has no name for; they differ between systems.

use nix::sys::signal::Signal;

/// SIGTTIN.
pub const MORE: i32 = Signal::SIGTTIN as i32;
/// SIGTTOU.
pub const FEWER: i32 = Signal::SIGTTOU as i32;
/// SIGTSTP.
pub const STOP: i32 = Signal::SIGTSTP as i32;
/// SIGCONT.
pub const RESUME: i32 = Signal::SIGCONT as i32;
