//! Message processing. [`process_message`] is the second of the two functions that users of the program edit.
//!
//! - `log`: passes each message to [`process_message`]; the default.
//! - `print`: writes messages as NDJSON to stdout, for pipes.
//! - `count`: only counts messages.
//! - `command`: sends messages to an external program.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use slog::Logger;

use crate::record::{OwnedRecord, Record};
use crate::settings::Settings;
use crate::trace_context;
use crate::util::escape::truncate_chars;

mod command;
mod count;
pub(crate) mod json;
mod log;
mod print;

/// Processes one message: logs it, with readable JSON. Edit this function to do something else. The log lines have
/// the message's `trace_id` and `span_id` if it has a `traceparent` header.
///
/// # Errors
/// A [`ProcessError`] means that this message failed; `consumer.on_failure` configures what happens to it.
pub fn process_message(record: &Record<'_>, logger: &Logger) -> Result<(), ProcessError> {
    log::write(record, logger);
    Ok(())
}

/// Why a message was not processed, and whether the message or the worker is the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessError {
    /// The message could not be processed; `consumer.on_failure` configures what happens to it.
    Message(String),
    /// The worker cannot process anything, for a reason unrelated to the message, such as a full disk. The worker
    /// process exits and is restarted, and the message is processed then.
    Worker(String),
    /// Like `Worker`, but the message may be the cause, such as when the external program crashed. A message that
    /// causes this repeatedly is detected as a poison message, and `consumer.on_failure` applies.
    Crash(String),
    /// The reader of stdout is gone (`| head -1`): the program stops, and the message stays unprocessed.
    OutputClosed,
}

/// The maximum number of characters of an error text, which goes into log lines, headers and reports.
const MAX_TEXT: usize = 2_000;

impl ProcessError {
    /// Shortens the text: a program may report a stack trace of a megabyte.
    pub(crate) fn shortened(self) -> Self {
        match self {
            Self::Message(text) => Self::Message(truncate_chars(&text, MAX_TEXT)),
            Self::Worker(text) => Self::Worker(truncate_chars(&text, MAX_TEXT)),
            Self::Crash(text) => Self::Crash(truncate_chars(&text, MAX_TEXT)),
            Self::OutputClosed => Self::OutputClosed,
        }
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(text) | Self::Worker(text) | Self::Crash(text) => f.write_str(text),
            Self::OutputClosed => f.write_str("stdout is closed"),
        }
    }
}

impl<E: std::error::Error> From<E> for ProcessError {
    /// Any error is a failure of the message, with its text.
    fn from(error: E) -> Self {
        Self::Message(error.to_string())
    }
}

/// The result of [`Processor::process`].
pub enum ProcessResult {
    /// The message is processed, or has failed.
    Done(Result<(), ProcessError>),
    /// Processing continues asynchronously. Meanwhile the worker processes messages of other partitions, but not the
    /// next one of this partition.
    Later(LocalBoxFuture<'static, Result<(), ProcessError>>),
}

/// Processes messages. Each worker creates its own processor and calls it from one thread.
///
/// Messages of a partition are processed one by one, in order; messages of other partitions may start while a
/// [`ProcessResult::Later`] is pending. A processor that blocks stops only its own worker.
///
/// Every function `Fn(&Record<'_>) -> Result<(), ProcessError>` is a processor; [`from_async`] creates one from an
/// async function.
pub trait Processor: 'static {
    /// Processes one message.
    fn process(&mut self, record: &Record<'_>) -> ProcessResult;

    /// Called once after creation. The future completes with a reason when the processor can process nothing any
    /// more, even while it has no message; the worker then exits and is restarted. `None` (the default): only the
    /// results of messages report failures.
    fn failure(&mut self) -> Option<LocalBoxFuture<'static, String>> {
        None
    }

    /// Called once when the worker stops and no message is in flight.
    fn finish(&mut self) -> ProcessResult {
        ProcessResult::Done(Ok(()))
    }
}

impl<F> Processor for F
where
    F: FnMut(&Record<'_>) -> Result<(), ProcessError> + 'static,
{
    fn process(&mut self, record: &Record<'_>) -> ProcessResult {
        ProcessResult::Done(self(record))
    }
}

/// Creates a processor from an async function. The function owns its message, so that messages of other partitions
/// can be processed while it waits.
pub fn from_async<F, T>(function: F) -> impl Processor
where
    F: FnMut(OwnedRecord) -> T + 'static,
    T: Future<Output = Result<(), ProcessError>> + 'static,
{
    struct AsyncProcessor<F>(F);
    impl<F, T> Processor for AsyncProcessor<F>
    where
        F: FnMut(OwnedRecord) -> T + 'static,
        T: Future<Output = Result<(), ProcessError>> + 'static,
    {
        fn process(&mut self, record: &Record<'_>) -> ProcessResult {
            ProcessResult::Later(Box::pin((self.0)(record.to_owned())))
        }
    }
    AsyncProcessor(function)
}

/// The parameters of a processor.
#[derive(Clone)]
pub struct WorkerContext {
    /// The worker's number, from 0; a restarted worker keeps it.
    pub slot: usize,
    /// All settings.
    pub settings: Arc<Settings>,
    /// Writes each line before the call returns; no line is dropped.
    pub logger: Logger,
    /// The path of a file that only the workers of this run use; a lock on it serializes their lines on stdout.
    pub output_lock: Option<std::path::PathBuf>,
}

/// Creates a worker's processor; called once per worker, on its processing thread.
pub type ProcessorFactory = Arc<dyn Fn(&WorkerContext) -> Result<Box<dyn Processor>, ProcessError> + Send + Sync>;

/// The value of `consumer.processor` for a program's own processor.
pub const CUSTOM_PROCESSOR: &str = "own";

/// The values of `consumer.processor` in every program.
pub const BUILT_IN: &[&str] = &["log", "print", "count", "command"];

/// Creates the processor that the settings select.
///
/// # Errors
/// [`ProcessError::Worker`] with the reason.
pub fn build(context: &WorkerContext, own: Option<&ProcessorFactory>) -> Result<Box<dyn Processor>, ProcessError> {
    match context.settings.consumer.processor.as_str() {
        "log" => {
            let logger = context.logger.clone();
            Ok(Box::new(move |record: &Record<'_>| {
                process_message(record, &trace_context::within_trace(&logger, record))
            }))
        }
        "print" => Ok(Box::new(print::Print::new(context)?)),
        "count" => Ok(Box::new(count::Count)),
        "command" => Ok(Box::new(command::CommandProcessor::start(context)?)),
        CUSTOM_PROCESSOR => match own {
            Some(factory) => factory(context),
            None => Err(ProcessError::Worker("this program has no processor of its own".to_owned())),
        },
        other => Err(ProcessError::Worker(format!("unknown processor {other:?}"))),
    }
}
