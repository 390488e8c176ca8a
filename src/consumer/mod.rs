//! The consumer: a supervisor process and its worker processes.
//!
//! - [`supervisor`]: starts, monitors and stops workers; it has no consumer and sees no message.
//! - [`worker`]: consumes its partitions, processes and commits; it knows nothing of other workers.
//! - [`protocol`]: the messages between both. [`start_offset`]: where a partition starts. They share nothing
//!   else.

pub mod failure_reasons;
pub mod protocol;
mod start_offset;
pub mod supervisor;
pub mod worker;
