//! A worker process from its start to its exit code.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, o};
use tokio::sync::oneshot;

use super::assignment::PollThreadContext;
use super::history_writer::HistoryWriter;
use super::latency_recorder::SharedLatencies;
use super::partition_manager::{ManagerParams, PartitionManager};
use super::poll_thread::PollThread;
use super::processor_host::{HostParams, ProcessorHost};
use super::supervisor_connection::SupervisorConnection;
use super::worker_flags::WorkerFlags;
use crate::console::Console;
use crate::consumer::protocol::{
    FrameReader, FrameWriter, HistoryEndpoint, MessageLog, PROTOCOL_VERSION, WorkerCommand, WorkerConfig,
};
use crate::exit::ExitCode;
use crate::logging::{self, LogStyle, SampledLog};
use crate::os::{limits, worker_setup};
use crate::processor::{ProcessorFactory, WorkerContext};
use crate::settings::LogLevel;
use crate::signals::{Role, SignalHandler};

/// Threads of a worker, including those of its Kafka client for one broker.
const THREADS: usize = 9;

/// The timeout for the supervisor's first frame.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the worker of `slot`; returns when it has ended. Has to be called first in the process.
pub fn run(slot: usize, processor: Option<ProcessorFactory>) -> ExitCode {
    let console = Console::marked();
    let by_hand = |error| with_step("workers are started by `consume`, not by hand", error);
    let result = worker_setup::setup_worker_process(slot).map_err(by_hand).and_then(|control| {
        control.set_nonblocking(true)?;
        limits::check_threads(THREADS, "a worker").map_err(io::Error::other)?;
        let signals =
            SignalHandler::start(Role::Worker).map_err(|error| with_step("signals cannot be received", error))?;
        System::new().block_on(serve(control, slot, processor, &console, signals))
    });
    result.unwrap_or_else(|error| {
        // The supervisor includes this line in the exit record of the process.
        console.write_lines(format!("worker {slot} could not start: {error}\n").as_bytes());
        ExitCode::Failed
    })
}

fn with_step(step: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{step}: {error}"))
}

async fn serve(
    control: UnixStream,
    slot: usize,
    processor: Option<ProcessorFactory>,
    console: &Console,
    signals: SignalHandler,
) -> io::Result<ExitCode> {
    let (reading, writing) = tokio::net::UnixStream::from_std(control)?.into_split();
    let (mut reader, writer) = (FrameReader::new(reading), FrameWriter::new(writing));
    let config = Arc::new(first_frame(&mut reader, slot).await?);
    let (logger, _written_at_the_end) = logging::asynchronous(config.style, console);
    let logger = logger.new(o!("worker" => slot));
    if let Some(soft) = config.descriptor_limit {
        limits::set_original_descriptor_limit(soft);
    }
    let history = config.history.as_ref().map(|endpoint| open_history(endpoint, slot)).transpose()?;
    let (flags, latencies) = (WorkerFlags::new(&config), SharedLatencies::default());
    let (poll_thread, poll_thread_builder) = PollThread::new();
    let (exit, exit_code) = oneshot::channel();
    let arbiter = Arbiter::new();

    let manager = PartitionManager::create(|context| {
        let manager = context.address();
        let commands = manager.clone().recipient();
        let connection = SupervisorConnection::start(reader, writer, Arc::clone(&latencies), commands, logger.clone());
        let (context, sample) = processor_context(&config, console);
        let params = HostParams {
            context,
            sample,
            factory: processor,
            max_messages: config.max_messages,
            flags: Arc::clone(&flags),
            history: history.clone(),
            latencies: Arc::clone(&latencies),
            stamps: config.stamps,
            events: manager.recipient(),
        };
        let host = ProcessorHost::start_in_arbiter(&arbiter.handle(), move |_| ProcessorHost::new(params));
        PartitionManager::new(ManagerParams {
            config: Arc::clone(&config),
            flags: Arc::clone(&flags),
            logger: logger.clone(),
            connection,
            host,
            poll_thread,
            history: history.clone(),
            exit,
        })
    });
    signals.forward_all(manager.clone().recipient());
    let (events, manager) = (manager.clone().recipient(), manager.recipient());
    poll_thread_builder
        .start(PollThreadContext { config, history, flags, events, manager, latencies, logger })
        .map_err(|error| with_step("the thread for Kafka", error))?;
    // The manager has the sender until it has sent the code.
    Ok(exit_code.await.unwrap_or(ExitCode::Failed))
}

async fn first_frame(reader: &mut FrameReader, slot: usize) -> io::Result<WorkerConfig> {
    let frame = tokio::time::timeout(FIRST_FRAME_TIMEOUT, reader.read::<WorkerCommand>()).await;
    match frame.map_err(|_| io::Error::other("the supervisor sent nothing"))?? {
        Some(WorkerCommand::Start(config)) if config.version == PROTOCOL_VERSION && config.slot == slot => Ok(*config),
        Some(WorkerCommand::Start(config)) => Err(io::Error::other(format!(
            "the supervisor speaks version {} to slot {}, this worker version {PROTOCOL_VERSION} for slot {slot}",
            config.version, config.slot
        ))),
        _ => Err(io::Error::other("the supervisor did not say what to do")),
    }
}

fn open_history(endpoint: &HistoryEndpoint, slot: usize) -> io::Result<Arc<HistoryWriter>> {
    let socket = endpoint.socket.display();
    HistoryWriter::open(endpoint, slot).map_err(|error| {
        with_step(&format!("the checker's socket {socket} cannot be opened (has `verify` ended?)"), error)
    })
}

/// The context of the processor, and the sampled log of messages, if only some lines are shown.
fn processor_context(config: &WorkerConfig, console: &Console) -> (WorkerContext, Option<SampledLog>) {
    let settings = Arc::new(config.settings.clone());
    // Log lines of the messages: none is dropped, except for those that are not to be shown.
    let sample = (config.message_log == MessageLog::Sample).then(|| SampledLog::new(config.style, console));
    let logger = match (&sample, config.message_log) {
        (Some(sample), _) => sample.logger(config.style),
        (None, MessageLog::Off) => logging::synchronous(LogStyle { level: LogLevel::Warning, ..config.style }, console),
        (None, _) => logging::synchronous(config.style, console),
    };
    let logger: Logger = logger.new(o!("worker" => config.slot));
    (WorkerContext { slot: config.slot, settings, logger, output_lock: config.output_lock.clone() }, sample)
}
