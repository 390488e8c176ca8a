//! What only the operating system can do for us; nothing else in the crate names nix.
//!
//! - [`child`]: worker processes as the supervisor sees them: started, signalled, reaped.
//! - [`host`]: this machine's name.
//! - [`isolation`]: what a worker does first thing to be on its own.
//! - [`output`]: whether stdout and stderr take anything.
//! - [`process`]: memory, processor time, and the kernel's kills for the lack of memory.
//! - [`signal_mask`]: threads that hear no signals.
//! - [`signal_number`]: of the signals by which workers are supervised.
//! - [`private_folder`]: where sockets and the like are put.

pub mod child;
pub mod host;
pub mod isolation;
pub mod output;
pub mod private_folder;
pub mod process;
pub mod signal_mask;
pub mod signal_number;
