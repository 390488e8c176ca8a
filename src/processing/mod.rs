//! What is done with a message. [`process_message`] is the second of the two places that a user edits.
//!
//! - `log`: hands each message to [`process_message`], the default.
//! - `print`: messages as NDJSON on stdout, for pipes.
//! - `count`: nothing but counting.
//! - `command`: feeds an external program.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use slog::Logger;

use crate::record::{OwnedRecord, Record};
use crate::settings::Settings;
use crate::trace;

mod command;
mod count;
pub(crate) mod json;
mod log;
mod print;

/// Does something with one message: it is logged, with its JSON made readable. Edit this to do something else. The log's
/// lines have the message's `trace_id` and `span_id`, if it has a header `traceparent`.
///
/// # Errors
/// A [`Failure`] is that message's failure: `consumer.on_failure` says what becomes of it.
pub fn process_message(record: &Record<'_>, logger: &Logger) -> Result<(), Failure> {
    log::write(record, logger);
    Ok(())
}

/// Why a message was not processed, and whose matter that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This message could not be processed; `consumer.on_failure` says what becomes of it.
    Message(String),
    /// This worker can process nothing any more, and the message has nothing to do with it (a full disk, say). It ends, is
    /// started again, and the message is processed then.
    Worker(String),
    /// As that, and the message may be what has done it (the external program died of it, say): one that does it again
    /// and again is found, and `consumer.on_failure` says what becomes of it.
    Crash(String),
    /// Whoever reads our stdout is gone (`| head -1`): the program ends, the message stays unprocessed.
    OutputClosed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(text) | Self::Worker(text) | Self::Crash(text) => f.write_str(text),
            Self::OutputClosed => f.write_str("stdout is closed"),
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    /// Any error is the message's failure, with its text.
    fn from(error: E) -> Self {
        Self::Message(error.to_string())
    }
}

/// What [`Processor::process`] answers.
pub enum Processing {
    /// The message is processed, or not.
    Done(Result<(), Failure>),
    /// It goes on; meanwhile messages of other partitions are processed, the next of this partition is not.
    Later(LocalBoxFuture<'static, Result<(), Failure>>),
}

/// Processes messages. A worker has one of its own, made in that worker, and calls it from one thread.
///
/// Messages of a partition come one after the other, in order; messages of a worker's other partitions come while a
/// [`Processing::Later`] of one is still under way. A processor that blocks stops its own worker only.
///
/// Every function `Fn(&Record<'_>) -> Result<(), Failure>` is a processor; [`asynchronous`] makes one of an async
/// function.
pub trait Processor: 'static {
    /// Processes one message.
    fn process(&mut self, record: &Record<'_>) -> Processing;

    /// Called once when the worker stops and no message is under way any more; `Done(Ok)` by default.
    fn finish(&mut self) -> Processing {
        Processing::Done(Ok(()))
    }
}

impl<F> Processor for F
where
    F: FnMut(&Record<'_>) -> Result<(), Failure> + 'static,
{
    fn process(&mut self, record: &Record<'_>) -> Processing {
        Processing::Done(self(record))
    }
}

/// A processor of an async function. It owns its message, so that other partitions' messages can be processed while
/// it waits.
pub fn asynchronous<F, T>(function: F) -> impl Processor
where
    F: FnMut(OwnedRecord) -> T + 'static,
    T: Future<Output = Result<(), Failure>> + 'static,
{
    struct Asynchronous<F>(F);
    impl<F, T> Processor for Asynchronous<F>
    where
        F: FnMut(OwnedRecord) -> T + 'static,
        T: Future<Output = Result<(), Failure>> + 'static,
    {
        fn process(&mut self, record: &Record<'_>) -> Processing {
            Processing::Later(Box::pin((self.0)(record.to_owned())))
        }
    }
    Asynchronous(function)
}

/// What a processor is made from, in its worker.
#[derive(Clone)]
pub struct WorkerContext {
    /// The worker's number, from 0; a worker that is started again keeps it.
    pub slot: usize,
    /// All settings.
    pub settings: Arc<Settings>,
    /// Writes a line before the call returns; nothing that is logged here is ever dropped.
    pub logger: Logger,
    /// A file that only the workers of this run know; a lock on it keeps their lines on stdout apart.
    pub output_lock: Option<std::path::PathBuf>,
}

/// Makes a worker's processor; called once in each worker, on its processing thread.
pub type ProcessorFactory = Arc<dyn Fn(&WorkerContext) -> Result<Box<dyn Processor>, Failure> + Send + Sync>;

/// The name under which a program's own processor stands in `consumer.processor`.
pub const OWN: &str = "own";

/// The names that `consumer.processor` allows in every program.
pub const BUILT_IN: &[&str] = &["log", "print", "count", "command"];

/// The processor that the settings name.
///
/// # Errors
/// A [`Failure::Worker`] that says why it could not be made.
pub fn make(context: &WorkerContext, own: Option<&ProcessorFactory>) -> Result<Box<dyn Processor>, Failure> {
    match context.settings.consumer.processor.as_str() {
        "log" => {
            let logger = context.logger.clone();
            Ok(Box::new(move |record: &Record<'_>| process_message(record, &trace::in_context(&logger, record))))
        }
        "print" => Ok(Box::new(print::Print::new(context)?)),
        "count" => Ok(Box::new(count::Count)),
        "command" => Ok(Box::new(command::Command::start(context)?)),
        OWN => match own {
            Some(factory) => factory(context),
            None => Err(Failure::Worker("this program has no processor of its own".to_owned())),
        },
        other => Err(Failure::Worker(format!("there is no processor {other:?}"))),
    }
}
