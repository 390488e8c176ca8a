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
use super::messages::PartitionEvent;
use super::partition_manager::{PartitionManager, StartWorker};
use super::poll_thread::PollThread;
use super::processor_host::{HostParams, ProcessorHost};
use super::shared::SharedLatencies;
use super::supervisor_connection::SupervisorConnection;
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
const FIRST_FRAME: Duration = Duration::from_secs(10);

/// Runs the worker of `slot`; returns when it has ended. Has to be called first in the process.
pub fn run(slot: usize, own: Option<ProcessorFactory>) -> ExitCode {
    let screen = Console::marked();
    let by_hand = |error| with_step("workers are started by `consume`, not by hand", error);
    let result = worker_setup::setup_worker_process(slot).map_err(by_hand).and_then(|control| {
        control.set_nonblocking(true)?;
        limits::check_threads(THREADS, "a worker").map_err(io::Error::other)?;
        let signals =
            SignalHandler::start(Role::Worker).map_err(|error| with_step("signals cannot be received", error))?;
        System::new().block_on(serve(control, slot, own, &screen, signals))
    });
    result.unwrap_or_else(|error| {
        // The supervisor includes this line in the exit record of the process.
        screen.write_lines(format!("worker {slot} could not start: {error}\n").as_bytes());
        ExitCode::Failed
    })
}

fn with_step(step: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{step}: {error}"))
}

async fn serve(
    control: UnixStream,
    slot: usize,
    own: Option<ProcessorFactory>,
    screen: &Console,
    signals: SignalHandler,
) -> io::Result<ExitCode> {
    let (reading, writing) = tokio::net::UnixStream::from_std(control)?.into_split();
    let mut reader = FrameReader::new(reading);
    let start = Arc::new(first_frame(&mut reader, slot).await?);
    let (logger, _written_at_the_end) = logging::asynchronous(start.style, screen);
    let logger = logger.new(o!("worker" => slot));
    if let Some(soft) = start.descriptor_limit {
        limits::set_original_descriptor_limit(soft);
    }

    let (ended, end) = oneshot::channel();
    let open = |place: &HistoryEndpoint| {
        let step = format!("the checker's socket {} cannot be opened (has `verify` ended?)", place.socket.display());
        HistoryWriter::open(place, slot).map_err(|error| with_step(&step, error))
    };
    let history = start.history.as_ref().map(open).transpose()?;
    let outbox = SharedLatencies::default();
    let router = PartitionManager::new(Arc::clone(&start), history.clone(), logger.clone(), ended);
    let (stopping, orders) = (Arc::clone(&router.stopping), Arc::clone(&router.orders));
    let router = router.start();
    signals.forward_all(router.clone().recipient());
    let events: Recipient<PartitionEvent> = router.clone().recipient();
    let link = SupervisorConnection::start(
        reader,
        FrameWriter::new(writing),
        Arc::clone(&outbox),
        router.clone().recipient(),
        logger.clone(),
    );
    let (context, sample) = context(&start, screen);
    let parts = HostParams {
        context,
        sample,
        own,
        max_messages: start.max_messages,
        stopping: Arc::clone(&stopping),
        orders: Arc::clone(&orders),
        history: history.clone(),
        outbox: Arc::clone(&outbox),
        stamps: start.stamps,
        events: events.clone(),
    };
    let work = PollThreadContext {
        start,
        history,
        stopping,
        orders,
        events,
        router: router.clone().recipient(),
        outbox,
        logger,
    };
    let arbiter = Arbiter::new();
    let host = ProcessorHost::start_in_arbiter(&arbiter.handle(), move |_| ProcessorHost::new(parts));
    let (poll, asked) = PollThread::new();
    router.do_send(StartWorker { link, host, poll });
    asked.start(work).map_err(|error| with_step("the thread for Kafka", error))?;
    // The router keeps its end until it has sent through it.
    Ok(end.await.unwrap_or(ExitCode::Failed))
}

async fn first_frame(reader: &mut FrameReader, slot: usize) -> io::Result<WorkerConfig> {
    let frame = tokio::time::timeout(FIRST_FRAME, reader.read::<WorkerCommand>()).await;
    match frame.map_err(|_| io::Error::other("the supervisor sent nothing"))?? {
        Some(WorkerCommand::Start(start)) if start.version == PROTOCOL_VERSION && start.slot == slot => Ok(*start),
        Some(WorkerCommand::Start(start)) => Err(io::Error::other(format!(
            "the supervisor speaks version {} to slot {}, this worker version {PROTOCOL_VERSION} for slot {slot}",
            start.version, start.slot
        ))),
        _ => Err(io::Error::other("the supervisor did not say what to do")),
    }
}

fn context(start: &WorkerConfig, screen: &Console) -> (WorkerContext, Option<SampledLog>) {
    let settings = Arc::new(start.settings.clone());
    // Log lines of the messages: none is dropped, except for those that are not to be shown.
    let sample = (start.message_log == MessageLog::Sample).then(|| SampledLog::new(start.style, screen));
    let logger = match (&sample, start.message_log) {
        (Some(sample), _) => sample.logger(start.style),
        (None, MessageLog::Off) => logging::synchronous(LogStyle { level: LogLevel::Warning, ..start.style }, screen),
        (None, _) => logging::synchronous(start.style, screen),
    };
    let logger: Logger = logger.new(o!("worker" => start.slot));
    (WorkerContext { slot: start.slot, settings, logger, output_lock: start.output_lock.clone() }, sample)
}
