//! Worker processes and their supervisor.

mod memory;
mod os_limits;
mod processes;
mod supervisor_lock;
mod watchdog;
mod worker_exits;
