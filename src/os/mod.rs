//! Operating system services; no other module uses nix or rustix.
//!
//! - [`boot_clock`]: a clock that all processes of this host share.
//! - [`worker_process`]: starts, signals and reaps worker processes; [`worker_setup`]: the first steps of a worker
//!   process.
//! - [`descriptors`], [`environment`]: what child processes must not inherit.
//! - [`file_trust`]: whether another user can write a file.
//! - [`hostname`]: the host name; [`process_identity`]: a unique identity of a process.
//! - [`job_control`]: suspends and resumes this process with its workers; terminals.
//! - [`limits`]: limits of descriptors, threads and processes.
//! - [`memory_lock`]: keeps this process's code in memory.
//! - [`notify_socket`]: the service manager's socket.
//! - [`stdio`]: whether stdout and stderr are blocked; [`pipe`]: the unread bytes of a pipe.
//! - [`proc_stats`]: memory, CPU time and OOM kills.
//! - [`reaper`]: reaps inherited orphans.
//! - [`signal_mask`], [`signals`]: signal masks and numbers.
//! - [`temp_dir`]: directories for temporary files.

pub mod boot_clock;
pub mod descriptors;
pub mod environment;
pub mod file_trust;
pub mod hostname;
pub mod job_control;
pub mod limits;
pub mod memory_lock;
pub mod notify_socket;
pub mod pipe;
pub mod proc_stats;
pub mod process_identity;
pub mod reaper;
pub mod signal_mask;
pub mod signals;
pub mod stdio;
pub mod temp_dir;
pub mod worker_process;
pub mod worker_setup;
