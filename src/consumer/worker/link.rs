//! The control channel: frames to actor messages and back; heartbeats with what has changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, error};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::counters::Counters;
use super::messages::{Close, Forget, FromSupervisor, Tell, Watch};
use super::shared::Outbox;
use crate::consumer::control::{FrameReader, FrameWriter, FromWorker, PartitionProgress, ToWorker};

/// How often the supervisor hears where the partitions are, if they have moved.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// It hears of this worker at least every so many heartbeats, and of messages in hand as often.
const SIGN_OF_LIFE: u64 = 10;
/// Frames that may wait to be written. Heartbeats are left out while any waits; other frames are a few per partition
/// and minute, and a worker may have 10,000 partitions: a full queue is a supervisor that does not read.
const WAITING_FRAMES: usize = 65_536;
/// How long the last frames may take.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// The worker's end of the control channel.
pub(super) struct SupervisorLink {
    frames: Option<mpsc::Sender<FromWorker>>,
    writing: Option<JoinHandle<()>>,
    watched: Vec<Watched>,
    beats: u64,
    beat_at: Instant,
    told_at: u64,
    outbox: Outbox,
    router: Recipient<FromSupervisor>,
}

/// One of the worker's partitions.
struct Watched {
    counters: Arc<Counters>,
    told: Option<PartitionProgress>,
    /// The message in hand at the last heartbeat, and the heartbeats that it was seen in. Counting them instead of
    /// looking at a clock leaves out the time in which this process was stopped.
    in_hand: Option<((i64, u64), u64)>,
}

impl SupervisorLink {
    /// Takes over the channel, whose first frame has been read.
    pub(super) fn start(
        reader: FrameReader,
        writer: FrameWriter,
        outbox: Outbox,
        router: Recipient<FromSupervisor>,
        logger: Logger,
    ) -> Addr<Self> {
        let (frames, waiting) = mpsc::channel(WAITING_FRAMES);
        let writing = actix::spawn(write_frames(writer, waiting));
        actix::spawn(read_frames(reader, router.clone(), logger));
        let (frames, writing) = (Some(frames), Some(writing));
        Actor::start(Self {
            frames,
            writing,
            watched: Vec::new(),
            beats: 0,
            beat_at: Instant::now(),
            told_at: 0,
            outbox,
            router,
        })
    }

    fn tell(&self, frame: FromWorker) {
        let Some(frames) = &self.frames else { return };
        if frames.try_send(frame).is_err() {
            // Closed, or full: in both cases nobody listens any more.
            self.router.do_send(FromSupervisor::Gone);
        }
    }

    fn heartbeat(&mut self) {
        // After a time in which this process did not run, the timer makes up for what it has missed.
        let now = Instant::now();
        if now.duration_since(self.beat_at) < HEARTBEAT / 2 {
            return;
        }
        self.beat_at = now;
        self.beats += 1;
        self.age();
        let idle = self.frames.as_ref().is_some_and(|frames| frames.capacity() == WAITING_FRAMES);
        if !idle {
            return;
        }
        let changed = self.changed();
        if !changed.is_empty() || self.beats - self.told_at >= SIGN_OF_LIFE {
            self.told_at = self.beats;
            self.tell(FromWorker::Progress(changed));
        }
        self.tell_times();
    }

    fn tell_times(&mut self) {
        let counted = self.outbox.lock().ok().filter(|outbox| !outbox.is_empty()).map(|mut outbox| outbox.take());
        if let Some(counted) = counted {
            self.tell(FromWorker::Times(Box::new(counted)));
        }
    }

    fn age(&mut self) {
        for Watched { counters, in_hand, .. } in &mut self.watched {
            *in_hand = match (counters.attempt(), *in_hand) {
                (Some(attempt), Some((before, beats))) if before == attempt => Some((attempt, beats + 1)),
                (attempt, _) => attempt.map(|attempt| (attempt, 0)),
            };
        }
    }

    /// What the supervisor does not know yet; of messages that stay in hand, it hears their age now and then.
    fn changed(&mut self) -> Vec<PartitionProgress> {
        let mut changed = Vec::new();
        for Watched { counters, told, in_hand } in &mut self.watched {
            let mut now = counters.snapshot();
            let beats = in_hand.map_or(0, |(_, beats)| beats);
            if told.as_ref() == Some(&now) && (beats == 0 || beats % SIGN_OF_LIFE != 0) {
                continue;
            }
            *told = Some(now.clone());
            if let (Some(in_flight), Some(((offset, _), beats))) = (&mut now.in_flight, &*in_hand)
                && in_flight.offset == *offset
            {
                in_flight.age_ms = beats * HEARTBEAT.as_millis() as u64;
            }
            changed.push(now);
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

impl Handler<Watch> for SupervisorLink {
    type Result = ();

    fn handle(&mut self, Watch(counters): Watch, _: &mut Self::Context) {
        let watched = counters.into_iter().map(|counters| Watched { counters, told: None, in_hand: None });
        self.watched.extend(watched);
    }
}

impl Handler<Forget> for SupervisorLink {
    type Result = ();

    fn handle(&mut self, Forget { partitions, lost }: Forget, _: &mut Self::Context) {
        // Where it has come to, before whoever is next has to know it.
        let last = self.changed();
        self.tell(FromWorker::Progress(last));
        self.watched.retain(|watched| !partitions.contains(&watched.counters.partition));
        self.tell(FromWorker::Revoked { partitions, lost });
    }
}

impl Handler<Close> for SupervisorLink {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Close, _: &mut Self::Context) -> Self::Result {
        let last = self.changed();
        self.tell(FromWorker::Progress(last));
        self.tell_times();
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
