//! The control channel: converts frames to actor messages and back; sends heartbeats with the changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, error, info};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::latency_recorder::SharedLatencies;
use super::messages::{Flush, FromSupervisor, LogStatus, SendEvent, SendFinished, TrackPartitions, UntrackPartitions};
use super::partition_state::PartitionState;
use crate::consumer::protocol::{FrameReader, FrameWriter, PartitionProgress, WorkerCommand, WorkerEvent};

/// How often the supervisor receives the partitions' progress, if it has changed.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// The supervisor receives a heartbeat at least after this number of ticks, and the age of messages in flight as
/// often.
const KEEPALIVE_TICKS: u64 = 10;
/// The capacity of the write queue, in frames. Heartbeats are left out while any frame is queued. There are a
/// few other frames per partition and minute, and a worker may have 10,000 partitions: a full queue means that
/// the supervisor does not read.
const QUEUE_CAPACITY: usize = 65_536;
/// The timeout for writing the last frames.
const FINAL_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// The worker's end of the control channel.
pub(super) struct SupervisorConnection {
    frames: Option<mpsc::Sender<Queued>>,
    writing: Option<JoinHandle<()>>,
    tracked: Vec<TrackedPartition>,
    /// The number of heartbeats so far, and the time of the last one.
    beats: u64,
    beat_at: Instant,
    /// The heartbeat that was last sent.
    sent_beat: u64,
    latencies: SharedLatencies,
    manager: Recipient<FromSupervisor>,
    logger: Logger,
}

/// An entry of the write queue.
enum Queued {
    Event(WorkerEvent),
    /// Reply when all entries before this one are written.
    Flush(oneshot::Sender<()>),
}

/// One of the worker's partitions.
struct TrackedPartition {
    state: Arc<PartitionState>,
    reported: Option<PartitionProgress>,
    /// The message in flight at the last heartbeat, and the number of heartbeats with it. Counting heartbeats
    /// instead of reading a clock excludes the time in which this process was stopped.
    in_flight: Option<((i64, u64), u64)>,
}

impl SupervisorConnection {
    /// Takes over the channel, whose first frame has been read.
    pub(super) fn start(
        reader: FrameReader,
        writer: FrameWriter,
        latencies: SharedLatencies,
        manager: Recipient<FromSupervisor>,
        logger: Logger,
    ) -> Addr<Self> {
        let (frames, waiting) = mpsc::channel(QUEUE_CAPACITY);
        let writing = actix::spawn(write_frames(writer, waiting));
        actix::spawn(read_frames(reader, manager.clone(), logger.clone()));
        let (frames, writing) = (Some(frames), Some(writing));
        Actor::start(Self {
            frames,
            writing,
            tracked: Vec::new(),
            beats: 0,
            beat_at: Instant::now(),
            sent_beat: 0,
            latencies,
            manager,
            logger,
        })
    }

    fn send(&self, event: WorkerEvent) {
        self.enqueue(Queued::Event(event));
    }

    fn enqueue(&self, entry: Queued) {
        let Some(frames) = &self.frames else { return };
        if frames.try_send(entry).is_err() {
            // Closed, or full: in both cases the supervisor does not read any more.
            self.manager.do_send(FromSupervisor::Gone);
        }
    }

    fn heartbeat(&mut self) {
        // After a suspension of this process the timer fires repeatedly for the ticks that it missed.
        let now = Instant::now();
        if now.duration_since(self.beat_at) < PROGRESS_INTERVAL / 2 {
            return;
        }
        self.beat_at = now;
        self.beats += 1;
        self.update_ages();
        let idle = self.frames.as_ref().is_some_and(|frames| frames.capacity() == QUEUE_CAPACITY);
        if !idle {
            return;
        }
        let changed = self.take_changed();
        if !changed.is_empty() || self.beats - self.sent_beat >= KEEPALIVE_TICKS {
            self.sent_beat = self.beats;
            self.send(WorkerEvent::Progress(changed));
        }
        self.send_latencies();
    }

    fn send_latencies(&mut self) {
        let recorded =
            self.latencies.lock().ok().filter(|latencies| !latencies.is_empty()).map(|mut latencies| latencies.take());
        if let Some(recorded) = recorded {
            self.send(WorkerEvent::Times(Box::new(recorded)));
        }
    }

    /// Counts the heartbeats of messages in flight.
    fn update_ages(&mut self) {
        for TrackedPartition { state, in_flight, .. } in &mut self.tracked {
            *in_flight = match (state.attempt(), *in_flight) {
                (Some(attempt), Some((before, beats))) if before == attempt => Some((attempt, beats + 1)),
                (attempt, _) => attempt.map(|attempt| (attempt, 0)),
            };
        }
    }

    /// The progress that has changed since the last report. The age of messages in flight is reported
    /// periodically.
    fn take_changed(&mut self) -> Vec<PartitionProgress> {
        let mut changed = Vec::new();
        for TrackedPartition { state, reported, in_flight } in &mut self.tracked {
            let mut now = state.snapshot();
            let beats = in_flight.map_or(0, |(_, beats)| beats);
            // Long processing and waiting partitions are reported periodically: they are not stalled.
            let is_due = (beats > 0 && beats % KEEPALIVE_TICKS == 0)
                || (now.waits_for_turn && self.beats.is_multiple_of(KEEPALIVE_TICKS));
            if reported.as_ref() == Some(&now) && !is_due {
                continue;
            }
            *reported = Some(now.clone());
            if let (Some(reported), Some(((offset, _), beats))) = (&mut now.in_flight, &*in_flight)
                && reported.offset == *offset
            {
                reported.age_ms = beats * PROGRESS_INTERVAL.as_millis() as u64;
            }
            changed.push(now);
        }
        changed
    }
}

async fn write_frames(mut writer: FrameWriter, mut waiting: mpsc::Receiver<Queued>) {
    while let Some(entry) = waiting.recv().await {
        match entry {
            // The supervisor is gone: the reading half detects that, too, and handles it.
            Queued::Event(event) if writer.write(&event).await.is_err() => return,
            Queued::Event(_) => {}
            // The sender may have stopped waiting.
            Queued::Flush(flushed) => _ = flushed.send(()),
        }
    }
}

async fn read_frames(mut reader: FrameReader, manager: Recipient<FromSupervisor>, logger: Logger) {
    loop {
        match reader.read::<WorkerCommand>().await {
            Ok(Some(frame)) => manager.do_send(FromSupervisor::Frame(frame)),
            Ok(None) => break,
            Err(error) => {
                error!(logger, "the control channel is broken: {error}");
                break;
            }
        }
    }
    manager.do_send(FromSupervisor::Gone);
}

impl Actor for SupervisorConnection {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(PROGRESS_INTERVAL, |connection, _| connection.heartbeat());
    }
}

impl Handler<SendEvent> for SupervisorConnection {
    type Result = ();

    fn handle(&mut self, SendEvent(frame): SendEvent, _: &mut Self::Context) {
        self.send(frame);
    }
}

impl Handler<Flush> for SupervisorConnection {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        let (flushed, waiting) = oneshot::channel();
        self.enqueue(Queued::Flush(flushed));
        // Without an entry in the queue, or without a writing task, the sender is dropped unsent.
        Box::pin(async move { waiting.await.is_ok() })
    }
}

impl Handler<TrackPartitions> for SupervisorConnection {
    type Result = ();

    fn handle(&mut self, TrackPartitions(states): TrackPartitions, _: &mut Self::Context) {
        let tracked = states.into_iter().map(|state| TrackedPartition { state, reported: None, in_flight: None });
        self.tracked.extend(tracked);
    }
}

impl Handler<UntrackPartitions> for SupervisorConnection {
    type Result = ();

    fn handle(&mut self, message: UntrackPartitions, _: &mut Self::Context) {
        // The last position is sent before the next owner needs it.
        let last = self.take_changed();
        self.send(WorkerEvent::Progress(last));
        let UntrackPartitions { partitions, revocation } = message;
        self.tracked.retain(|tracked| !partitions.contains(&tracked.state.partition));
        self.send(WorkerEvent::Revoked { partitions, revocation });
    }
}

impl Handler<LogStatus> for SupervisorConnection {
    type Result = ();

    fn handle(&mut self, _: LogStatus, _: &mut Self::Context) {
        let progress: Vec<_> = self.tracked.iter().map(|tracked| tracked.state.snapshot()).collect();
        match serde_json::to_string(&progress) {
            Ok(status) => info!(self.logger, "status"; "consume" => status),
            Err(error) => error!(self.logger, "no status: {error}"),
        }
    }
}

impl Handler<SendFinished> for SupervisorConnection {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: SendFinished, _: &mut Self::Context) -> Self::Result {
        let last = self.take_changed();
        self.send(WorkerEvent::Progress(last));
        self.send_latencies();
        self.send(WorkerEvent::Finished);
        // Without a sender the writing task ends when all frames are written.
        self.frames = None;
        let writing = self.writing.take();
        Box::pin(async move {
            if let Some(writing) = writing {
                // Late or failed: the supervisor does not read, and the exit code is sufficient.
                tokio::time::timeout(FINAL_WRITE_TIMEOUT, writing).await.ok();
            }
        })
    }
}
