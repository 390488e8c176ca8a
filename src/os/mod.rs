//! What only the operating system can do for us; nothing else in the crate names nix.
//!
//! - [`child`]: worker processes as the supervisor sees them: started, signalled, reaped.
//! - [`isolation`]: what a worker does first thing to be on its own.

pub mod child;
pub mod isolation;
