//! The command line: arguments, settings files, signals, exit codes, terminal output.

mod arguments;
mod connect_timeout;
mod demo;
mod dlq_replay;
mod embedded_demo;
mod full_disks;
mod job_control;
mod library;
mod progress;
mod run_summary;
mod settings_file;
mod shutdown;
mod signals;
mod topics;
mod untrusted_text;
