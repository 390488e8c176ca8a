//! What is seen of a run from outside.
//!
//! - [`status`]: the one model that everything shown reads. [`board`]: where both sides of a run put up what they know.
//! - [`health`]: whether it is well. Pure. [`metrics`]: the status in Prometheus's text format. Pure.

pub mod board;
pub mod health;
pub mod metrics;
pub mod status;
