//! Produces JSON messages to Kafka from many producer threads, processes them in many supervised worker processes, and verifies that
//! none is lost.
//!
//! The crate is a program, `kafka-actors`, and a library: with your own generator and processor it is your own program, with the same
//! command line, settings and supervision. Its workers are your binary, executed again.
//!
//! ```no_run
//! use kafka_actors::{MessageContext, ProcessError, Program, Record};
//!
//! fn main() -> std::process::ExitCode {
//!     Program::new().generator(order).processor(ship).run()
//! }
//!
//! fn order(context: &MessageContext) -> serde_json::Value {
//!     serde_json::json!({"order": context.sequence, "producer": context.producer})
//! }
//!
//! fn ship(record: &Record<'_>) -> Result<(), ProcessError> {
//!     let order: serde_json::Value = serde_json::from_slice(record.value.unwrap_or_default())?;
//!     Ok(println!("shipped {}", order["order"]))
//! }
//! ```
//!
//! # Processes, threads and actors
//!
//! ```text
//! kafka-actors produce                         one process
//! ├─ main arbiter     ProducerCoordinator      distributes work, keeps the schedule, counts, decides when all is done
//! └─ SyncArbiter × threads   ProducerThread    one OS thread and one Kafka client each: generates and sends
//!
//! kafka-actors consume                         the supervisor process: it has no consumer and sees no message
//! ├─ main arbiter     ConsumerSupervisor       events → pure policy → actions
//! │                   WorkerConnection × processes   the control socket of one worker
//! ├─ SyncArbiter      ClusterQueries           watermarks, partitions, committed offsets (blocking calls)
//! ├─ plain thread     StatusServer             HTTP: dashboard, metrics, probes (for every long-running command)
//! └─ kafka-actors worker × processes           fork and exec of the same binary, each in its own process group
//!    ├─ main arbiter        SupervisorConnection   control socket ⇄ actor messages; heartbeats
//!    │                      PartitionManager       opens and stops partitions, shuts down in order
//!    ├─ processing arbiter  ProcessorHost          owns the processor
//!    │                      PartitionConsumer × assigned partition   drains its queue, processes, stores the offset
//!    └─ plain thread        kafka-poll             owns the consumer: rebalances, statistics, errors, commits
//!
//! kafka-actors demo, verify                    both of the above, run by the Orchestrator
//! └─ plain thread     checker                  compares acknowledgements (from producers) with histories (from workers, which send
//!                                              them over a socket before they store an offset)
//! ```
//!
//! # Guarantees
//!
//! - **At least once.** An offset is stored after its message was processed. Offsets are committed on an interval and at shutdown, and
//!   the report reads them back from the brokers. After a clean shutdown no message is processed twice; after a crash only messages
//!   since the last commit are.
//! - **In order** within a partition, one message at a time; the partitions of a worker interleave.
//! - **Verified.** `verify` and `demo` compare every acknowledgement with what was processed. Messages that a killed worker has
//!   processed are known outside of that worker.
//! - **No silent jump.** The supervisor determines start offsets as numbers; a consumer never resets its position automatically.
//! - **Everything ends.** One timeout bounds a shutdown. A worker without a supervisor drains, commits and exits within 5 s; the
//!   processes that a worker has started end with it.
//!
//! # Features
//!
//! All are enabled by default: `monitoring` (the HTTP server: dashboard, Prometheus metrics, probes; systemd notification), `top` (the
//! terminal dashboard), `verify` (the commands `verify` and `demo`), `templates` (messages from JSON templates).

#![cfg_attr(
    not(all(feature = "monitoring", feature = "templates", feature = "top", feature = "verify")),
    allow(dead_code, reason = "features share helpers; the build with all features has no dead code")
)]

mod app;
mod blocking_command;
mod cli;
mod console;
mod consumer;
mod dead_letter;
mod dlq;
mod exit;
mod generator;
mod history;
mod kafka;
mod latency;
mod logging;
mod monitoring;
mod os;
mod partition_counts;
mod partitioner;
mod processor;
mod producer;
mod progress;
mod record;
mod report;
mod run_summary;
mod settings;
mod signals;
mod stamp;
mod throttle_log;
#[cfg(feature = "top")]
mod top;
mod trace_context;
mod util;
#[cfg(feature = "verify")]
mod verify;

pub use app::Program;
pub use generator::{GenerateError, GeneratedMessage, Generator, MessageBuffer, MessageContext, generate_message};
pub use processor::{ProcessError, ProcessResult, Processor, WorkerContext, from_async, process_message};
pub use record::{Headers, OwnedRecord, Record};
pub use settings::Settings;

/// For the tests and benches of this crate only: no stable interface.
#[doc(hidden)]
pub mod internal {
    pub use crate::consumer::protocol;
    pub use crate::consumer::worker::record_path;
    pub use crate::exit::{ExitCode, ExitStatus};
    #[cfg(feature = "templates")]
    pub use crate::generator::template::Template;
    pub use crate::history::{HistoryEntry, WorkerId};
    pub use crate::kafka::commit_metadata;
    pub use crate::kafka::error::KafkaError;
    pub use crate::kafka::partition_queue::{MessageQueue, PollResult};
    pub use crate::latency::LatencyHistogram;
    pub use crate::latency::scope::Excluded;
    pub use crate::latency::scope::StampScope;
    pub use crate::logging::LogStyle;
    #[cfg(feature = "monitoring")]
    pub use crate::monitoring::metrics;
    pub use crate::monitoring::status;
    pub use crate::partition_counts::PartitionCounts;
    pub use crate::partitioner::murmur2_partition;
    pub use crate::record::TopicPartition;
    pub use crate::settings::Acks;
    pub use crate::settings::{LoadOptions, load};

    pub mod report {
        pub use crate::report::*;
    }

    pub mod stamp {
        pub use crate::stamp::*;
    }
    #[cfg(feature = "verify")]
    pub use crate::verify::checker;
}
