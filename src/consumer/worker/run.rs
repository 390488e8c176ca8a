//! A worker process from its start to its exit code.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, o};
use tokio::sync::oneshot;

use super::holding::Work;
use super::host::{HostParts, PartitionHost};
use super::journal::Journal;
use super::link::SupervisorLink;
use super::messages::Event;
use super::poll::PollThread;
use super::router::{Begin, PartitionRouter};
use super::shared::Outbox;
use crate::consumer::control::{FrameReader, FrameWriter, JournalPlace, Start, ToWorker, VERSION};
use crate::exit::ExitCode;
use crate::logging::{self, Style};
use crate::os::isolation;
use crate::processing::{ProcessorFactory, WorkerContext};
use crate::screen::Screen;
use crate::settings::LogLevel;
use crate::shutdown::{self, Second};

/// How long the supervisor may take for its first frame.
const FIRST_FRAME: Duration = Duration::from_secs(10);

/// Runs the worker of `slot`; returns when it has ended. To be called first thing in the process.
pub fn run(slot: usize, own: Option<ProcessorFactory>) -> ExitCode {
    let screen = Screen::direct();
    let by_hand = |error| in_step("workers are started by `consume`, not by hand", error);
    let result = isolation::enter_worker().map_err(by_hand).and_then(|control| {
        control.set_nonblocking(true)?;
        System::new().block_on(serve(control, slot, own, &screen))
    });
    result.unwrap_or_else(|error| {
        // The supervisor has it in the record of this process's death.
        screen.write_lines(format!("worker {slot} could not start: {error}\n").as_bytes());
        ExitCode::Failed
    })
}

fn in_step(step: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{step}: {error}"))
}

async fn serve(
    control: UnixStream,
    slot: usize,
    own: Option<ProcessorFactory>,
    screen: &Screen,
) -> io::Result<ExitCode> {
    let (reading, writing) = tokio::net::UnixStream::from_std(control)?.into_split();
    let mut reader = FrameReader::new(reading);
    let start = Arc::new(first_frame(&mut reader, slot).await?);
    let (logger, _written_at_the_end) = logging::asynchronous(start.style, screen);
    let logger = logger.new(o!("worker" => slot));

    let (ended, end) = oneshot::channel();
    let open = |place: &JournalPlace| {
        let step = format!("nobody takes what is processed at {} (has `verify` ended?)", place.socket.display());
        Journal::open(place, slot).map_err(|error| in_step(&step, error))
    };
    let journal = start.journal.as_ref().map(open).transpose()?;
    let outbox = Outbox::default();
    let router = PartitionRouter::new(Arc::clone(&start), journal.clone(), logger.clone(), ended);
    let (budget, stopping, orders) =
        (Arc::clone(&router.budget), Arc::clone(&router.stopping), Arc::clone(&router.orders));
    let router = router.start();
    shutdown::forward_signals(router.clone().recipient(), Second::Ignored)?;
    let events: Recipient<Event> = router.clone().recipient();
    let link = SupervisorLink::start(
        reader,
        FrameWriter::new(writing),
        Arc::clone(&outbox),
        router.clone().recipient(),
        logger.clone(),
    );
    let parts = HostParts {
        context: context(&start, screen),
        own,
        budget,
        stopping: Arc::clone(&stopping),
        orders,
        journal: journal.clone(),
        outbox: Arc::clone(&outbox),
        events: events.clone(),
    };
    let work = Work { start, journal, stopping, events, router: router.clone().recipient(), outbox, logger };
    let arbiter = Arbiter::new();
    let host = PartitionHost::start_in_arbiter(&arbiter.handle(), move |_| PartitionHost::new(parts));
    let (poll, asked) = PollThread::new();
    router.do_send(Begin { link, host, poll });
    asked.start(work).map_err(|error| in_step("the thread for Kafka", error))?;
    // The router holds its end until it has sent through it.
    Ok(end.await.unwrap_or(ExitCode::Failed))
}

async fn first_frame(reader: &mut FrameReader, slot: usize) -> io::Result<Start> {
    let frame = tokio::time::timeout(FIRST_FRAME, reader.read::<ToWorker>()).await;
    match frame.map_err(|_| io::Error::other("the supervisor sent nothing"))?? {
        Some(ToWorker::Start(start)) if start.version == VERSION && start.slot == slot => Ok(*start),
        Some(ToWorker::Start(start)) => Err(io::Error::other(format!(
            "the supervisor speaks version {} to slot {}, this worker version {VERSION} for slot {slot}",
            start.version, start.slot
        ))),
        _ => Err(io::Error::other("the supervisor did not say what to do")),
    }
}

fn context(start: &Start, screen: &Screen) -> WorkerContext {
    let settings = Arc::new(start.settings.clone());
    // The messages' own lines: none is ever dropped, and in the demonstration they are left out.
    let level = if start.log_messages { start.style.level } else { LogLevel::Warning };
    let style = Style { level, ..start.style };
    let logger: Logger = logging::synchronous(style, screen).new(o!("worker" => start.slot));
    WorkerContext { slot: start.slot, settings, logger, output_lock: start.output_lock.clone() }
}
