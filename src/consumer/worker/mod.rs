//! The child's side: one process, one Kafka client, one actor for each assigned partition.
//!
//! - [`mod@run`]: the process from its start to its exit code.
//! - [`link`]: the control channel; heartbeats.
//! - [`router`]: opens partitions, ends them; knows when all is done.
//! - [`poll`]: the plain thread that owns the Kafka client.
//! - [`host`]: lives on the processing arbiter, owns the processor.
//! - [`partition`]: reads one partition and has each message processed.
//! - [`journal`]: what was processed, told to a verifying process.
//! - [`shared`]: what the partitions share; [`counters`]: where they are, for heartbeats; [`messages`]: what travels between the actors.

mod counters;
mod host;
mod journal;
mod link;
mod messages;
mod partition;
mod poll;
mod router;
mod run;
mod shared;

pub use run::run;
