//! The parent's side. It holds no consumer and never touches a message.
//!
//! - [`actor`]: the `ConsumerSupervisor`: thin; does what the pure modules decide. `ending`: its part that reaps and
//!   stops.
//! - `plan`: which worker reads which partition; `start`: from which offset; `policy`: what a death means; `allowance`:
//!   who may process how many messages. All pure.
//! - `worker`: a slot and the processes that filled it; `partitions`: where reading has come to.
//! - `link`: one per process: its control channel; `log_pipe`: its log lines; `output_lock`: keeps those on stdout
//!   apart.
//! - `watcher`: questions to the cluster, on a thread of its own: they block.
//! - [`messages`]: what travels between them.

pub mod actor;
mod allowance;
mod ending;
mod link;
mod log_pipe;
pub mod messages;
mod output_lock;
mod partitions;
mod plan;
mod policy;
mod start;
mod watcher;
mod worker;
