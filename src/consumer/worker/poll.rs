//! `kafka-poll`: the plain thread that owns the Kafka client. It serves errors, log lines and commits; messages come
//! out of the partitions' own queues.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use actix::Recipient;
use slog::{Logger, error, warn};
use tokio::sync::oneshot;

use super::counters::Counters;
use super::journal::{Journal, no_journal};
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
    orders: mpsc::Sender<Order>,
    closed: oneshot::Receiver<()>,
}

enum Order {
    Commit(oneshot::Sender<()>),
    Close,
}

/// What the thread works on.
pub(super) struct Work {
    pub(super) start: Arc<Start>,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) journal: Option<Arc<Journal>>,
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
        let (orders, asked) = mpsc::channel();
        std::thread::Builder::new().name("kafka-poll".to_owned()).spawn(move || {
            match work.open() {
                Ok((reader, streams)) => {
                    // A router that does not listen any more drops the queues, and the client is closed below.
                    let _unheard = send_opened.send(Ok(streams));
                    work.serve(reader, &asked);
                }
                Err(failure) => {
                    let _unheard = send_opened.send(Err(failure));
                }
            }
            let _unheard = send_closed.send(());
        })?;
        Ok((Self { orders, closed }, opened))
    }

    /// Commits what is stored, and waits for it.
    pub(super) async fn commit(&self) {
        let (done, committed) = oneshot::channel();
        // A thread that is gone has nothing to commit.
        if self.orders.send(Order::Commit(done)).is_ok() {
            let _committed = committed.await;
        }
    }

    /// Closes the client and ends the thread; all partitions' queues have to be dropped before.
    pub(super) async fn close(self) {
        // An error would mean that the thread is gone already.
        if self.orders.send(Order::Close).is_ok() {
            let _closed = self.closed.await;
        }
    }
}

impl Work {
    fn open(&self) -> Result<(Reader, Vec<PartitionStream>), Failure> {
        let partitions = &self.start.partitions;
        let committed: HashMap<TopicPartition, Arc<Counters>> =
            self.counters.iter().map(|counters| (counters.partition.clone(), Arc::clone(counters))).collect();
        let (events, logger, group) =
            (self.events.clone(), self.logger.clone(), self.start.settings.consumer.group.clone());
        let journal = self.journal.clone();
        let on_commit = move |commit| {
            if let (Some(journal), Commit::Done(offsets)) = (&journal, &commit) {
                // A journal that is broken is noticed where messages are written to it.
                let _noticed =
                    offsets.iter().try_for_each(|(partition, offset)| journal.committed(partition.partition, *offset));
            }
            committed_or_told(commit, &committed, &events, &logger, &group);
        };
        let reader = Reader::new(&self.start.settings, partitions.len(), self.start.finite, &self.logger, on_commit)?;
        // Every queue is split off before anything is assigned.
        let streams = partitions.iter().map(|start| reader.split(&start.partition)).collect::<Result<Vec<_>, _>>()?;
        let starts: Vec<_> = partitions.iter().map(|start| (start.partition.clone(), start.start)).collect();
        if let Some(journal) = &self.journal {
            journal
                .assigned(partitions)
                .map_err(|error| Failure::Request { what: "the journal".to_owned(), reason: no_journal(&error) })?;
        }
        reader.assign(&starts)?;
        Ok((reader, streams))
    }

    fn serve(&self, reader: Reader, orders: &mpsc::Receiver<Order>) {
        let mut broken = false;
        loop {
            match orders.try_recv() {
                Ok(Order::Commit(done)) => {
                    self.commit(&reader);
                    // Asked by a router that has run into its deadline meanwhile.
                    let _unheard = done.send(());
                }
                Ok(Order::Close) | Err(mpsc::TryRecvError::Disconnected) => break,
                Err(mpsc::TryRecvError::Empty) => {}
            }
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
        self.commit(&reader);
        reader.close();
    }

    /// All partitions have stopped: what is processed is stored.
    fn commit(&self, reader: &Reader) {
        match reader.commit() {
            Commit::Done(_) => {}
            Commit::Failed(reason) => error!(self.logger, "the last commit failed: {reason}"),
            Commit::Refused(reason) => error!(self.logger, "the last commit was refused: {reason}"),
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
