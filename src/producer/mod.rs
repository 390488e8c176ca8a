//! The producer: one process with many threads.
//!
//! - [`coordinator`]: distributes work in batches, decides when the run is finished; `preparation`: the checks before that;
//!   `thread_fleet`: its threads and their totals; `outcome`: its exit status and report.
//! - [`producer_thread`]: an actor with its own thread and Kafka client, which generates and sends messages.
//! - `message_builder`: builds complete messages; `dry_run`: prints some.
//! - `schedule`: when each message is due; `rate_curve`: the same for a rate profile. Both pure.
//! - `topic_watch`: whether the topic still exists; `topic_check`: when the coordinator checks it.
//! - [`messages`]: messages between coordinator and threads; `status`: the status of the run.

pub mod coordinator;
pub(crate) mod dry_run;
pub(crate) mod message_builder;
pub mod messages;
mod outcome;
mod preparation;
#[allow(clippy::module_inception, reason = "each file is named after its actor")]
pub mod producer_thread;
mod rate_curve;
mod schedule;
mod status;
mod thread_fleet;
mod topic_check;
mod topic_watch;
