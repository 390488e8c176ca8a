//! The control channel: frames to actor messages and back; heartbeats with what has changed.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, error};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::counters::Counters;
use super::messages::{Close, FromSupervisor, Tell};
use super::shared::Outbox;
use crate::consumer::control::{FrameReader, FrameWriter, FromWorker, PartitionProgress, ToWorker};

/// How often the supervisor hears where the partitions are, if they have moved.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Frames that may wait to be written. Heartbeats are left out while any waits; other frames are a few per partition
/// and minute, so a full queue is a supervisor that does not read.
const WAITING_FRAMES: usize = 1_024;
/// How long the last frames may take.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// The worker's end of the control channel.
pub(super) struct SupervisorLink {
    frames: Option<mpsc::Sender<FromWorker>>,
    writing: Option<JoinHandle<()>>,
    counters: Vec<Arc<Counters>>,
    told: Vec<Option<PartitionProgress>>,
    outbox: Outbox,
    router: Recipient<FromSupervisor>,
}

impl SupervisorLink {
    /// Takes over the channel, whose first frame has been read.
    pub(super) fn start(
        reader: FrameReader,
        writer: FrameWriter,
        counters: Vec<Arc<Counters>>,
        outbox: Outbox,
        router: Recipient<FromSupervisor>,
        logger: Logger,
    ) -> Addr<Self> {
        let (frames, waiting) = mpsc::channel(WAITING_FRAMES);
        let writing = actix::spawn(write_frames(writer, waiting));
        actix::spawn(read_frames(reader, router.clone(), logger));
        let told = vec![None; counters.len()];
        Actor::start(Self { frames: Some(frames), writing: Some(writing), counters, told, outbox, router })
    }

    fn tell(&self, frame: FromWorker) {
        let Some(frames) = &self.frames else { return };
        if frames.try_send(frame).is_err() {
            // Closed, or full: in both cases nobody listens any more.
            self.router.do_send(FromSupervisor::Gone);
        }
    }

    fn heartbeat(&mut self) {
        let idle = self.frames.as_ref().is_some_and(|frames| frames.capacity() == WAITING_FRAMES);
        if !idle {
            return;
        }
        let changed = self.changed();
        if !changed.is_empty() {
            self.tell(FromWorker::Progress(changed));
        }
        self.tell_latency();
    }

    fn tell_latency(&mut self) {
        let counted = self.outbox.lock().ok().filter(|outbox| !outbox.is_empty()).map(|mut outbox| outbox.take());
        if let Some(counted) = counted {
            self.tell(FromWorker::Latency(counted.to_text()));
        }
    }

    fn changed(&mut self) -> Vec<PartitionProgress> {
        let mut changed = Vec::new();
        for (counters, told) in self.counters.iter().zip(&mut self.told) {
            let now = counters.snapshot();
            if told.as_ref() != Some(&now) {
                *told = Some(now.clone());
                changed.push(now);
            }
        }
        changed
    }
}

async fn write_frames(mut writer: FrameWriter, mut waiting: mpsc::Receiver<FromWorker>) {
    while let Some(frame) = waiting.recv().await {
        // The other side is gone: the reading half sees it, too, and does what has to be done.
        if writer.write(&frame).await.is_err() {
            return;
        }
    }
}

async fn read_frames(mut reader: FrameReader, router: Recipient<FromSupervisor>, logger: Logger) {
    loop {
        match reader.read::<ToWorker>().await {
            Ok(Some(frame)) => router.do_send(FromSupervisor::Frame(frame)),
            Ok(None) => break,
            Err(error) => {
                error!(logger, "the control channel is broken: {error}");
                break;
            }
        }
    }
    router.do_send(FromSupervisor::Gone);
}

impl Actor for SupervisorLink {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(HEARTBEAT, |link, _| link.heartbeat());
    }
}

impl Handler<Tell> for SupervisorLink {
    type Result = ();

    fn handle(&mut self, Tell(frame): Tell, _: &mut Self::Context) {
        self.tell(frame);
    }
}

impl Handler<Close> for SupervisorLink {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Close, _: &mut Self::Context) -> Self::Result {
        let last = self.changed();
        self.tell(FromWorker::Progress(last));
        self.tell_latency();
        self.tell(FromWorker::Finished);
        // Without a sender the writing task ends when all is written.
        self.frames = None;
        let writing = self.writing.take();
        Box::pin(async move {
            if let Some(writing) = writing {
                // Late or failed: nobody listens, and the exit code says the rest.
                let _late = tokio::time::timeout(LAST_FRAMES, writing).await;
            }
        })
    }
}
