//! A worker process: one Kafka client, one actor per assigned partition.
//!
//! The path of a record: [`poll_thread`] serves the client → the client fills the partition's queue → [`partition_consumer`] drains it
//! → `partition_consumer/process` calls the processor (on failure `partition_consumer/failure`: retry, skip or dead-letter) →
//! [`history_writer`] records it if the run is verified → its offset is stored → [`offset_commits`] commits it.
//!
//! - [`mod@run`]: the process from start to exit code. [`supervisor_connection`]: the control socket and heartbeats.
//! - [`partition_manager`]: opens and stops partitions, shuts down in order; `poll_events`: its handlers. [`processor_host`]: owns the processor.
//! - [`assignment`]: the partitions that the client has; [`rebalance`]: callbacks of the group; [`super::start_offset`]: where a partition starts.
//! - [`commit_timer`], [`commit_tracker`], [`final_commit`]: when offsets are committed, with which result, and for the last time.
//! - [`circuit_breaker`], [`isolation_gate`], [`log_limiter`], [`lease`]: limits on processing.
//! - [`partition_state`]: position and counters of a partition, for heartbeats. [`shared`]: what all partitions share. [`messages`]: between
//!   the actors. [`record_path`]: one partition without a client, for benches.

mod assignment;
mod circuit_breaker;
mod commit_timer;
mod commit_tracker;
mod final_commit;
mod history_writer;
mod isolation_gate;
mod lease;
mod log_limiter;
mod messages;
mod offset_commits;
mod partition_consumer;
mod partition_manager;
mod partition_state;
mod poll_events;
mod poll_thread;
mod processor_host;
mod rebalance;
pub mod record_path;
mod run;
mod shared;
mod supervisor_connection;

pub use run::run;
