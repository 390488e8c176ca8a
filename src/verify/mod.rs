//! Verification of delivery: compares acknowledged with processed messages.
//!
//! - [`plan`]: the plan of a `verify` command; [`outcome`]: its exit status.
//! - [`run`]: a verified run; [`collector`]: feeds the checker with events of producers and workers.
//! - [`run_file`]: the acknowledged messages, stored for a later check.

pub mod checker;
pub mod collector;
pub mod orchestrator;
pub mod outcome;
pub mod plan;
pub mod run;
pub mod run_file;
pub mod run_topic;
