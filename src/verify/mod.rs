//! Proof of delivery: what was acknowledged, held against what was processed.
//!
//! - [`command`]: what `verify` is asked for, and how it is told; [`ending`]: how a proven run ends.
//! - [`run`]: a run that is proven; [`collector`]: brings to the judge what producers and workers tell.
//! - [`run_file`]: what was acknowledged, kept for another day or another machine.

pub mod collector;
pub mod command;
pub mod ending;
pub mod run;
pub mod run_file;
