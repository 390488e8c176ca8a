//! The consuming side: a supervisor process and its worker processes.
//!
//! - [`supervisor`]: the parent's side: plans, starts, watches, ends workers; never touches a message.
//! - [`worker`]: the child's side: reads its partitions, processes, commits; knows nothing of its siblings.
//! - [`control`]: all that the two sides share.

pub mod control;
pub mod supervisor;
pub mod worker;
