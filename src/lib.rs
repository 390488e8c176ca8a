//! Writes JSON messages to Kafka from many producer threads, and reads them with many supervised worker processes.
pub mod background;
pub mod cli;
pub mod consumer;
pub mod demo;
pub mod exit;
pub mod kafka;
pub mod logging;
pub mod message;
pub mod os;
pub mod panics;
pub mod processing;
pub mod producer;
pub mod program;
pub mod progress;
pub mod record;
pub mod report;
pub mod settings;
pub mod shutdown;
pub mod topics;

pub use program::Program;
