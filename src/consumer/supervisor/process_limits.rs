//! Compares the file descriptors and threads that the workers need with the limits of the operating system.

use crate::os::limits;

/// File descriptors for each worker: its channel, its log, and its history if the run is verified.
const WORKER_DESCRIPTORS: usize = 3;
/// File descriptors that a supervisor uses without any worker.
const OWN_DESCRIPTORS: usize = 24;
/// Threads of a worker with one broker, plus the thread here that reads its log: a user's limit covers all
/// processes.
const WORKER_THREADS: usize = 10;

/// Refuses more workers than the operating system's limits allow, before one of them is started.
pub(super) fn check(processes: usize) -> Result<(), String> {
    let user = format!("consumer.processes = {processes}");
    limits::check_descriptors((OWN_DESCRIPTORS + processes * WORKER_DESCRIPTORS) as u64, &user)?;
    limits::check_threads(processes * WORKER_THREADS, &user)
}
