//! The parent's side. It holds no consumer and never touches a message.
//!
//! - [`actor`]: the `ConsumerSupervisor`: thin; hears what happens and has it decided. Its parts: `hearing` what workers say;
//!   `asking` brokers and the operating system; `acting` as was decided; `telling` how it goes; `ending`: reaping and stopping.
//! - `policy`: what is to be done with the workers, when which of them stands still, dies, or has to go. `plan`: which worker
//!   reads which partition at first; `start`: from which offset; `allowance`: who may process how many messages;
//!   `truncation`: logs that have become shorter; `awake`: the time without that in which nothing ran; `output`: whether
//!   messages wait for somebody who reads. All pure.
//! - `worker`: a slot and the processes that filled it; `partitions`: where reading has come to, `partition`: in one; `death`: what is written
//!   down of one.
//! - `link`: one per process: its control channel; `log_pipe`: its log lines; `output_lock`: keeps those on stdout
//!   apart.
//! - `watcher`: questions to the cluster, on a thread of its own: they block.
//! - [`messages`]: what travels between them.

mod acting;
pub mod actor;
mod allowance;
mod asking;
mod awake;
mod death;
mod ending;
mod hearing;
mod link;
mod log_pipe;
pub mod messages;
mod output;
mod output_lock;
mod partition;
mod partitions;
mod plan;
mod policy;
mod start;
mod telling;
mod truncation;
mod watcher;
mod worker;
