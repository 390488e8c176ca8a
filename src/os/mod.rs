//! What only the operating system can do for us; nothing else in the crate names nix.
//!
//! - [`child`]: worker processes as the supervisor sees them: started, signalled, reaped.
//! - [`isolation`]: what a worker does first thing to be on its own.
//! - [`private_folder`]: where sockets and the like are put.

pub mod child;
pub mod isolation;
pub mod private_folder;
