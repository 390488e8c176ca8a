//! One per worker process: its control channel.

use std::io;
use std::os::unix::net::UnixStream;

use actix::prelude::*;
use slog::{Logger, warn};
use tokio::sync::mpsc;

use super::messages::FromLink;
use crate::consumer::control::{FrameReader, FrameWriter, FromWorker, ToWorker};

/// Frames that may wait to be written: they are a few in a worker's life, and one for each grant that it asks for.
const WAITING_FRAMES: usize = 1_024;

/// The supervisor's end of a worker's control channel; dropping it tells the worker that nobody is there.
pub(super) struct WorkerLink {
    frames: mpsc::Sender<ToWorker>,
    slot: usize,
    logger: Logger,
}

/// To the link: say this to the worker.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Say(pub(super) ToWorker);

impl WorkerLink {
    /// Takes over the channel; what comes is sent to `supervisor`.
    ///
    /// # Errors
    /// When the socket cannot be used; none is expected.
    pub(super) fn start(
        control: UnixStream,
        slot: usize,
        process: u32,
        supervisor: Recipient<FromLink>,
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
                let frame = reader.read::<FromWorker>().await.unwrap_or_else(|error| {
                    warn!(log, "worker {slot}: the control channel is broken: {error}");
                    None
                });
                let over = frame.is_none();
                supervisor.do_send(FromLink { slot, process, frame });
                if over {
                    return;
                }
            }
        });
        Ok(Actor::start(Self { frames, slot, logger }))
    }
}

async fn write_frames(mut writer: FrameWriter, mut waiting: mpsc::Receiver<ToWorker>) {
    while let Some(frame) = waiting.recv().await {
        // The worker is gone: its end is seen where it is reaped.
        if writer.write(&frame).await.is_err() {
            return;
        }
    }
}

impl Actor for WorkerLink {
    type Context = Context<Self>;
}

impl Handler<Say> for WorkerLink {
    type Result = ();

    fn handle(&mut self, Say(frame): Say, _: &mut Self::Context) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.frames.try_send(frame) {
            warn!(self.logger, "worker {} does not listen: {WAITING_FRAMES} frames wait", self.slot);
        }
    }
}
