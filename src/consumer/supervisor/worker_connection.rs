//! The control channel of one worker process.

use std::io;
use std::os::unix::net::UnixStream;

use actix::prelude::*;
use slog::{Logger, warn};
use tokio::sync::mpsc;

use super::messages::WorkerFrame;
use crate::consumer::protocol::{FrameReader, FrameWriter, WorkerCommand, WorkerEvent};

/// The capacity of the write queue, in frames: there are a few in a worker's life, and in isolation mode one for
/// each message.
const WAITING_FRAMES: usize = 1_024;

/// The supervisor's end of a worker's control channel. When it is dropped, the worker detects that the
/// supervisor is gone.
pub(super) struct WorkerConnection {
    frames: mpsc::Sender<WorkerCommand>,
    slot: usize,
    logger: Logger,
}

/// To the connection: send this command to the worker.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SendCommand(pub(super) WorkerCommand);

impl WorkerConnection {
    /// Takes over the channel; received frames are sent to `supervisor`.
    ///
    /// # Errors
    /// The socket cannot be used; not expected.
    pub(super) fn start(
        control: UnixStream,
        slot: usize,
        process: u32,
        supervisor: Recipient<WorkerFrame>,
        logger: Logger,
    ) -> io::Result<Addr<Self>> {
        control.set_nonblocking(true)?;
        let (reading, writing) = tokio::net::UnixStream::from_std(control)?.into_split();
        let (frames, waiting) = mpsc::channel(WAITING_FRAMES);
        actix::spawn(write_frames(FrameWriter::new(writing), waiting));
        let log = logger.clone();
        actix::spawn(async move {
            let mut reader = FrameReader::new(reading);
            loop {
                let frame = reader.read::<WorkerEvent>().await.unwrap_or_else(|error| {
                    warn!(log, "worker {slot}: the control channel is broken: {error}");
                    None
                });
                let over = frame.is_none();
                supervisor.do_send(WorkerFrame { slot, process, frame });
                if over {
                    return;
                }
            }
        });
        Ok(Actor::start(Self { frames, slot, logger }))
    }
}

async fn write_frames(mut writer: FrameWriter, mut waiting: mpsc::Receiver<WorkerCommand>) {
    while let Some(frame) = waiting.recv().await {
        // The worker is gone: its exit is handled where it is reaped.
        if writer.write(&frame).await.is_err() {
            return;
        }
    }
}

impl Actor for WorkerConnection {
    type Context = Context<Self>;
}

impl Handler<SendCommand> for WorkerConnection {
    type Result = ();

    fn handle(&mut self, SendCommand(frame): SendCommand, _: &mut Self::Context) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.frames.try_send(frame) {
            warn!(self.logger, "worker {} does not listen: {WAITING_FRAMES} frames wait", self.slot);
        }
    }
}
