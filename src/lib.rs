//! Writes JSON messages to Kafka from many producer threads, reads them with many supervised worker processes, and
//! accounts for every one of them.
//!
//! It is a program, `kafka-actors`, and a library: a generator and a processor of your own make a program of your own,
//! with the same command line, settings and supervision. Its workers are your binary, started anew.
//!
//! ```no_run
//! use kafka_actors::{Program, message::Source, processing::Failure, record::Record};
//!
//! fn main() -> std::process::ExitCode {
//!     Program::new().generator(order).processor(ship).run()
//! }
//!
//! fn order(source: &Source) -> serde_json::Value {
//!     serde_json::json!({"order": source.sequence, "of": source.producer})
//! }
//!
//! fn ship(record: &Record<'_>) -> Result<(), Failure> {
//!     let order: serde_json::Value = serde_json::from_slice(record.value.unwrap_or_default())?;
//!     Ok(println!("shipped {}", order["order"]))
//! }
//! ```
//!
//! # Processes, threads, actors
//!
//! ```text
//! kafka-actors produce                         one process
//! ├─ main arbiter     ProducerCoordinator      hands out work, holds the schedule, counts, decides when all is done
//! └─ SyncArbiter × threads   Producer          a thread and a Kafka client each: generates and sends
//!
//! kafka-actors consume                         the supervisor process: it never touches a message
//! ├─ main arbiter     ConsumerSupervisor       starts, watches, ends workers; asks pure functions what to do
//! │                   WorkerLink × processes   one per worker process: its control channel
//! ├─ SyncArbiter      TopicWatcher             partitions, offsets: it blocks
//! └─ kafka-actors worker × processes           the same binary, executed anew, in a process group of its own
//!    ├─ main arbiter        SupervisorLink     control channel to actor messages; heartbeats
//!    │                      PartitionRouter    opens and stops partitions as they come and go, ends them in order
//!    ├─ processing arbiter  PartitionHost      owns the processor
//!    │                      PartitionConsumer × assigned partition: reads, has it processed, stores the offset
//!    └─ plain thread        kafka-poll         owns the Kafka client: assignments, what the group wants, commits
//!
//! kafka-actors demo, verify                    everything above at once, directed by the Director
//! └─ plain thread  judge                       told by producers what was acknowledged, by workers (over a socket, before
//!                                              an offset is stored) what was processed
//! ```
//!
//! # The rooms
//!
//! For whoever builds on the crate:
//! - [`Program`]: the whole program, with your parts in it.
//! - [`message`]: what is produced: [`message::generate_message`] and what a generator is.
//! - [`processing`]: what is done with it: [`processing::process_message`] and what a processor is; the built-in ones.
//! - [`payload`]: payloads without code: templates, lines of a file.
//! - [`stamp`]: what marks a message as this program's. [`record`]: a message that was read.
//! - [`settings`]: everything that can be set. [`report`]: what `--report` writes. [`judge`]: what a verdict means.
//!
//! For whoever changes it, from the top down; each uses those below it only:
//! - [`program`]: command line → settings → log → one command → report → exit code. [`cli`], [`topics`].
//!   [`top`]: watches another run by its status.
//! - [`demo`] and [`verify`]: runs that are proven; [`director`]: producers and workers at once.
//! - [`producer`] and [`consumer`], which do not know each other; [`consumer::supervisor`] and [`consumer::worker`],
//!   which share [`consumer::control`] and nothing else.
//! - [`kafka`]: the only room that knows rdkafka, and the only one with unsafe code; no actor in it. [`os`]: the only one that
//!   knows nix.
//! - [`dead_letter`]: the copy of a message that could not be processed; [`dlq`]: shows such copies and sends them back.
//! - [`judge`]: acknowledgements and workers' [`journal`]s in, a verdict out; pure. [`partitioner`]: where a key belongs.
//! - [`shutdown`]: signals become messages. [`logging`], [`progress`], [`screen`]: what one sees. [`panics`]: what a panic does.
//!   [`background`]: work that blocks. [`clock`]: the two clocks. [`latency`]: how long things took. [`exit`]: how it ends.
//!   [`pace`]: how fast a count grows. [`figures`]: numbers as people read them. [`printable`]: strangers' text without teeth.
//!
//! # What holds
//!
//! - **At least once.** An offset is stored after its message was processed, committed on an interval and at the end, and
//!   read back from the brokers before a report says so. After a clean end nothing is processed twice; after a crash at
//!   most what came since the last commit.
//! - **In order** within a partition, one message at a time; partitions of a worker interleave.
//! - **Proven, not assumed.** `verify` and `demo` hold every acknowledgement against what was processed; what a killed worker
//!   had processed is known outside it.
//! - **No jump is silent.** Start offsets are numbers that the supervisor found; a reader never resets itself.
//! - **Everything ends.** One deadline for a shutdown; a worker without a supervisor drains, commits and ends within 5 s;
//!   what a worker has started ends with it.

pub mod background;
pub mod cli;
pub mod clock;
pub mod consumer;
pub mod dead_letter;
pub mod demo;
pub mod director;
pub mod dlq;
pub mod exit;
pub mod figures;
pub mod journal;
pub mod judge;
pub mod kafka;
pub mod latency;
pub mod logging;
pub mod message;
pub mod monitoring;
pub mod os;
pub mod pace;
pub mod panics;
pub mod partitioner;
pub mod payload;
pub mod printable;
pub mod processing;
pub mod producer;
pub mod program;
pub mod progress;
pub mod record;
pub mod report;
pub mod screen;
pub mod settings;
pub mod shutdown;
pub mod stamp;
pub mod top;
pub mod topics;
pub mod trace;
mod varint;
pub mod verify;

pub use program::Program;
