//! What is seen of a run from outside.
//!
//! - [`status`]: the one model that everything shown reads. [`board`]: where both sides of a run put up what they know.
//! - `histogram`: times with fixed bounds. [`health`]: whether it is well. [`metrics`]: Prometheus's text format. Both pure.
//! - [`server`]: HTTP, with its limits; `routes`: what can be asked for.
//! - [`service`]: what a service manager is told.

pub mod board;
pub mod health;
mod histogram;
pub mod metrics;
mod routes;
pub mod server;
pub mod service;
pub mod status;
