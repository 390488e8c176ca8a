//! The child's side: one process, one Kafka client, one actor for each assigned partition.
//!
//! - [`mod@run`]: the process from its start to its exit code.
//! - [`link`]: the control channel; heartbeats.
//! - [`router`]: opens partitions, stops them; knows when all is done. [`told`]: its part that listens.
//! - [`poll`]: the plain thread that owns the Kafka client; [`holding`]: what it holds, [`dealt`]: what the
//!   group deals, [`mod@start`]: where that begins; [`commits`]: what becomes of those.
//! - [`host`]: lives on the processing arbiter, owns the processor.
//! - [`partition`]: reads one partition and has each message processed.
//!   `partition/attempt`: one message; `partition/failing`: what becomes of it when it fails: [`backoff`], [`breaker`], [`throttle`].
//! - [`gate`]: one message at a time, in cautious mode.
//! - [`journal`]: what was processed, told to a verifying process.
//! - [`shared`]: what the partitions share; [`counters`]: where they are, for heartbeats; [`messages`]: what travels between the actors.

mod backoff;
mod breaker;
mod commits;
mod counters;
mod dealt;
mod gate;
mod holding;
mod host;
mod journal;
mod link;
mod messages;
mod partition;
mod poll;
mod router;
mod run;
mod shared;
mod start;
mod throttle;
mod told;

pub use run::run;
