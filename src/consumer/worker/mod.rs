//! A worker process: one Kafka client, one actor per assigned partition.
//!
//! The path of a record: [`poll_thread`] serves the client → the client fills the partition's queue → [`partition_consumer`] drains it
//! → `partition_consumer/process` calls the processor (on failure `partition_consumer/failure`: retry, skip or dead-letter) →
//! [`history_writer`] records it if the run is verified → its offset is stored → [`assignment`] commits it.
//!
//! - [`mod@run`]: the process from start to exit code. [`supervisor_connection`]: the control socket and heartbeats.
//! - [`partition_manager`]: opens and stops partitions; its `handlers` receive all messages, `shutdown` is the way from a signal to the
//!   exit code. [`processor_host`]: owns the processor.
//! - [`assignment`]: the partitions that the client has; its `client`, `rebalance` (of the group), `offset_commits` and `final_commit`.
//!   [`super::start_offset`]: where a partition starts. [`instance_id_retry`]: a static id that the brokers have not released.
//! - [`commit_timer`], [`commit_tracker`]: when offsets are committed, and with which result.
//! - [`circuit_breaker`], [`isolation_gate`], [`log_limiter`], [`lease`]: limits on processing. [`worker_flags`]: what the supervisor has set.
//! - [`partition_state`]: position and counters of a partition, for heartbeats. [`shared`]: what all partitions share. [`latency_recorder`].
//!   [`messages`]: between the actors. [`record_path`]: one partition without a client, for benches.

mod assignment;
mod circuit_breaker;
mod commit_timer;
mod commit_tracker;
mod history_writer;
mod instance_id_retry;
mod isolation_gate;
mod latency_recorder;
mod lease;
mod log_limiter;
mod messages;
mod partition_consumer;
mod partition_manager;
mod partition_state;
mod poll_thread;
mod processor_host;
pub mod record_path;
mod run;
mod shared;
mod supervisor_connection;
mod worker_flags;

pub use run::run;
