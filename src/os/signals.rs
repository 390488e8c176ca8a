//! Signal numbers for which tokio has no name; they differ between systems.

use nix::sys::signal::Signal;

/// SIGTTIN.
pub const SIGTTIN: i32 = Signal::SIGTTIN as i32;
/// SIGTTOU.
pub const SIGTTOU: i32 = Signal::SIGTTOU as i32;
/// SIGTSTP.
pub const SUSPEND: i32 = Signal::SIGTSTP as i32;
/// SIGCONT.
pub const CONTINUE: i32 = Signal::SIGCONT as i32;
