//! The supervisor process. It has no consumer and sees no message.
//!
//! The actor and its parts:
//! - [`actor`]: `ConsumerSupervisor`, which turns messages and timers into events for the policy.
//! - `worker_events`: handlers of the frames that workers send; `client_reports`: the statistics of their Kafka
//!   clients.
//! - `probes`: periodic queries of the brokers and the operating system; `topic_recreation`: topics that were
//!   deleted and created again; `group_commits`: committed offsets that expire, or that other clients change;
//!   `lock_events`: the lock on the group; `credentials`: a password that changes.
//! - `actions`: executes the policy's actions. `status`: the status and events. `worker_exits`: reaping, and the
//!   steps of a shutdown.
//!
//! What they own:
//! - `policy`: decides what happens with the workers and partitions. Pure.
//! - `worker_fleet`: the workers, `worker_slot`: one of them with its processes, `worker_connection`: its
//!   control socket, `worker_stderr`: its stderr, `stderr_limit`: how much of that is logged, `exit_record`: how
//!   it exited.
//! - `partition_table`: the position of each partition, `partition`: one row of it, `assignments`: the owners,
//!   `partition_commits`: the committed offsets.
//! - `cluster_probes`: the queries in flight. `run_totals`: totals of the run. `shutdown`: the phases of the
//!   shutdown.
//! - `progress_clock` and `active_clock`: time since the last progress; `stdio_guard` and `stdout_lock`: the
//!   shared outputs.
//! - `commit_watch`, `gap_search`, `log_truncation`, `memory_limits`: the known state of commits, gaps, logs,
//!   memory. Pure. `process_limits`: the limits of the operating system.
//!
//! Blocking calls, each on a dedicated thread:
//! - `cluster_queries`: watermarks, partitions, committed offsets; `start_offsets`: where a partition starts.
//! - `lock_thread`: acquires, monitors and releases the lock on a group; `supervisor_lock`: which supervisor may
//!   have it. Pure.
//! - [`group_check`]: whether a run may use its group.

mod actions;
mod active_clock;
pub mod actor;
mod assignments;
mod client_reports;
mod cluster_probes;
mod cluster_queries;
mod commit_watch;
mod credentials;
mod exit_record;
mod gap_search;
pub mod group_check;
mod group_commits;
mod lock_events;
mod lock_thread;
mod log_truncation;
mod memory_limits;
pub mod messages;
mod partition;
mod partition_commits;
mod partition_table;
mod policy;
mod probes;
mod process_limits;
mod progress_clock;
mod run_totals;
mod shutdown;
mod start_offsets;
mod status;
mod stderr_limit;
mod stdio_guard;
mod stdout_lock;
mod supervisor_lock;
mod topic_recreation;
mod worker_connection;
mod worker_events;
mod worker_exits;
mod worker_fleet;
mod worker_slot;
mod worker_stderr;
