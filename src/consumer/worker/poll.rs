//! `kafka-poll`: the plain thread that owns the Kafka client. It serves errors, log lines and commits; messages come
//! out of the partitions' own queues.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::Recipient;
use slog::{Logger, error, warn};
use tokio::sync::oneshot;

use super::counters::Counters;
use super::messages::Event;
use crate::consumer::control::Start;
use crate::kafka::error::Failure;
use crate::kafka::reader::{Commit, PartitionStream, Reader};
use crate::record::TopicPartition;

/// How long one poll waits; a stop is felt within it.
const POLL: Duration = Duration::from_millis(50);
/// How long streams may take to be dropped before the client is closed: they are when their actors have stopped.
const STREAMS_GO: Duration = Duration::from_secs(1);

/// The thread, seen from the router.
pub(super) struct PollThread {
    stop: Arc<AtomicBool>,
    closed: oneshot::Receiver<()>,
}

/// What the thread works on.
pub(super) struct Work {
    pub(super) start: Arc<Start>,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) events: Recipient<Event>,
    pub(super) logger: Logger,
}

/// The partitions' queues, once they are assigned.
pub(super) type Opened = oneshot::Receiver<Result<Vec<PartitionStream>, Failure>>;

impl PollThread {
    /// Starts it; the partitions' queues come through the second value.
    pub(super) fn start(work: Work) -> std::io::Result<(Self, Opened)> {
        let (send_opened, opened) = oneshot::channel();
        let (send_closed, closed) = oneshot::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stop_asked = Arc::clone(&stop);
        std::thread::Builder::new().name("kafka-poll".to_owned()).spawn(move || {
            match work.open() {
                Ok((reader, streams)) => {
                    // A router that does not listen any more drops the queues, and the client is closed below.
                    let _unheard = send_opened.send(Ok(streams));
                    work.serve(reader, &stop_asked);
                }
                Err(failure) => {
                    let _unheard = send_opened.send(Err(failure));
                }
            }
            let _unheard = send_closed.send(());
        })?;
        Ok((Self { stop, closed }, opened))
    }

    /// Commits, closes the client and ends the thread; all partitions' queues have to be dropped before.
    pub(super) async fn close(self) {
        self.stop.store(true, Ordering::Release);
        // An error would mean that the thread is gone already.
        let _closed = self.closed.await;
    }
}

impl Work {
    fn open(&self) -> Result<(Reader, Vec<PartitionStream>), Failure> {
        let partitions = &self.start.partitions;
        let committed: HashMap<TopicPartition, Arc<Counters>> =
            self.counters.iter().map(|counters| (counters.partition.clone(), Arc::clone(counters))).collect();
        let (events, logger, group) =
            (self.events.clone(), self.logger.clone(), self.start.settings.consumer.group.clone());
        let on_commit = move |commit| committed_or_told(commit, &committed, &events, &logger, &group);
        let reader = Reader::new(&self.start.settings, partitions.len(), self.start.finite, &self.logger, on_commit)?;
        // Every queue is split off before anything is assigned.
        let streams = partitions.iter().map(|start| reader.split(&start.partition)).collect::<Result<Vec<_>, _>>()?;
        let starts: Vec<_> = partitions.iter().map(|start| (start.partition.clone(), start.start)).collect();
        reader.assign(&starts)?;
        Ok((reader, streams))
    }

    fn serve(&self, reader: Reader, stop: &AtomicBool) {
        let mut broken = false;
        while !stop.load(Ordering::Acquire) {
            match reader.poll(POLL) {
                Err(failure) if !broken => {
                    broken = true;
                    self.events.do_send(Event::Broken { reason: failure.to_string(), lasting: false });
                }
                _ => {}
            }
        }
        let begun = Instant::now();
        while reader.in_use() && begun.elapsed() < STREAMS_GO {
            std::thread::sleep(Duration::from_millis(1));
        }
        if reader.in_use() {
            error!(self.logger, "a partition's queue is still in use: the client ends with the process");
        }
        match reader.close() {
            None | Some(Commit::Done(_)) => {}
            Some(Commit::Failed(reason)) => error!(self.logger, "the last commit failed: {reason}"),
            Some(Commit::Refused(reason)) => error!(self.logger, "the last commit was refused: {reason}"),
        }
    }
}

fn committed_or_told(
    commit: Commit,
    committed: &HashMap<TopicPartition, Arc<Counters>>,
    events: &Recipient<Event>,
    logger: &Logger,
    group: &str,
) {
    match commit {
        Commit::Done(offsets) => {
            for (partition, offset) in offsets {
                if let Some(counters) = committed.get(&partition) {
                    counters.committed(offset);
                }
            }
        }
        Commit::Failed(reason) => warn!(logger, "a commit failed, the next one tries again: {reason}"),
        Commit::Refused(reason) => {
            let reason = format!(
                "the group {group:?} (consumer.group) is in use by other consumers, which subscribe with it: Kafka takes \
                 no commits from here ({reason}); choose another group, or stop them"
            );
            events.do_send(Event::Broken { reason, lasting: true });
        }
    }
}
