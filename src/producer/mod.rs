//! The producing side: one process, many threads.
//!
//! - [`coordinator`]: hands out work in bounded slices, counts, decides when all is done; `ending`: how it went.
//! - [`producer`]: one actor on a thread and a Kafka client of its own: generates and sends.
//! - `maker`: makes a message whole: payload, key, headers, size, deliberate faults, stamp. `dry_run`: shows some.
//! - `schedule`: what is due when, pure; `cycle`: the same for a profile of rates.
//! - [`messages`]: what travels between them.

pub mod coordinator;
mod cycle;
pub(crate) mod dry_run;
mod ending;
pub(crate) mod maker;
pub mod messages;
#[allow(clippy::module_inception, reason = "each file is named after its actor")]
pub mod producer;
mod schedule;
mod telling;
