//! Kafka, through rdkafka: nothing else in the crate names that library, and nothing here knows an actor.
//!
//! - [`cluster`]: questions that block: is it there, which partitions, which [`offsets`]; `coordinator`: the group's broker,
//!   waited for.
//! - [`topics`]: topics made, described, deleted.
//! - [`sender`]: a producer client, [`deliveries`]: what became of its messages, `birth`: when they were sent;
//!   [`reader`]: a consumer client, `reader_events`: what it says, [`stream`]: its partitions' queues.
//! - [`dead_letters`]: a producer client for copies of single messages.
//! - [`embedded`]: a broker in this process, for the demonstration.
//! - `native`: librdkafka's own calls where rdkafka has none or a slow one: the only unsafe code.
//! - [`error`]: what can go wrong, in words; `config`: the clients' properties; `events`: what clients say unasked;
//!   [`statistics`]: what they count.

mod birth;
pub mod cluster;
mod config;
mod coordinator;
pub mod dead_letters;
pub mod deliveries;
pub mod embedded;
pub mod error;
mod events;
#[allow(unsafe_code, reason = "the one place of the crate: see its text")]
mod native;
pub mod offsets;
pub mod reader;
mod reader_events;
pub mod sender;
pub mod statistics;
pub mod stream;
pub mod topics;

pub use config::check;
