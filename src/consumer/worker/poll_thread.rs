//! `kafka-poll`: the thread that owns the Kafka client. It serves errors, log lines, commits and rebalances;
//! messages come out of the queues of the partitions.
//!
//! Every change of the assignment happens on this thread, one after the other, whether the supervisor, the
//! group, or a partition whose offset is out of range has requested it. A wait for partitions to stop blocks no
//! other work: their actors run on other threads.

use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::assignment::{Assignment, PollThreadContext};
use crate::consumer::protocol::PartitionAssignment;
use crate::record::TopicPartition;

/// How long one poll waits; this also limits the latency of a command.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// The poll timeout while the client may fetch more than its memory limit.
const TIGHT_POLL: Duration = Duration::from_millis(5);

/// The router's handle of the thread.
pub(super) struct PollThread {
    /// Unbounded: there are a few commands for each frame of the supervisor, and one for each partition whose
    /// offset is out of range.
    orders: mpsc::Sender<PollCommand>,
    closed: oneshot::Receiver<()>,
}

/// A command of the router.
pub(super) enum PollCommand {
    /// Open these partitions, too.
    Assign(Vec<PartitionAssignment>),
    /// Revoke these partitions.
    Revoke(Vec<TopicPartition>),
    /// Open these partitions at other offsets: their topic was created again.
    Restart(Vec<PartitionAssignment>),
    /// The position of a partition is not in the log.
    OutOfRange(TopicPartition, i64),
    /// Commit all positions again.
    RefreshCommits,
    /// Commit stored offsets, then reply.
    Commit(oneshot::Sender<()>),
    /// Close the client and end the thread.
    Close {
        /// Leave the group, too.
        leave: bool,
    },
}

/// The thread before its start: it is started when its router can receive messages.
pub(super) struct PollThreadBuilder {
    orders: mpsc::Receiver<PollCommand>,
    closed: oneshot::Sender<()>,
}

impl PollThreadBuilder {
    /// Starts the thread; it sends its events to `work.router`.
    pub(super) fn start(self, work: PollThreadContext) -> std::io::Result<()> {
        let Self { orders, closed } = self;
        std::thread::Builder::new().name("kafka-poll".to_owned()).spawn(move || {
            run(Assignment::new(work), &orders);
            // Fails only if the worker has ended.
            closed.send(()).ok();
        })?;
        Ok(())
    }
}

impl PollThread {
    /// Creates the handle and the thread's end of the channels.
    pub(super) fn new() -> (Self, PollThreadBuilder) {
        let (send_closed, closed) = oneshot::channel();
        let (orders, asked) = mpsc::channel();
        (Self { orders, closed }, PollThreadBuilder { orders: asked, closed: send_closed })
    }

    /// Sends a command to the thread; ignored if the thread has ended.
    pub(super) fn order(&self, order: PollCommand) {
        // Fails only if the thread has ended.
        self.orders.send(order).ok();
    }

    /// Commits stored offsets, and waits for the result.
    pub(super) async fn commit(&self) {
        let (done, committed) = oneshot::channel();
        // If the thread has ended, there is nothing to commit.
        if self.orders.send(PollCommand::Commit(done)).is_ok() {
            committed.await.ok();
        }
    }

    /// Closes the client and ends the thread. All partition queues have to be dropped before.
    pub(super) async fn close(self, leave: bool) {
        // An error means that the thread has ended already.
        if self.orders.send(PollCommand::Close { leave }).is_ok() {
            self.closed.await.ok();
        }
    }
}

fn run(mut holding: Assignment, orders: &mpsc::Receiver<PollCommand>) {
    holding.begin();
    let leave = loop {
        // Without a client there is nothing to poll: wait for commands instead.
        let order = match holding.has_client() {
            true => orders.try_recv(),
            false => orders.recv_timeout(POLL_TIMEOUT).map_err(|error| match error {
                mpsc::RecvTimeoutError::Timeout => mpsc::TryRecvError::Empty,
                mpsc::RecvTimeoutError::Disconnected => mpsc::TryRecvError::Disconnected,
            }),
        };
        // Another command may be queued.
        let wait = match order {
            Ok(_) => Duration::ZERO,
            Err(_) if holding.is_tight() => TIGHT_POLL,
            Err(_) => POLL_TIMEOUT,
        };
        match order {
            Ok(PollCommand::Assign(starts)) => holding.add(&starts),
            Ok(PollCommand::Revoke(partitions)) => holding.revoke_requested(partitions),
            Ok(PollCommand::Restart(starts)) => holding.restart(starts),
            Ok(PollCommand::OutOfRange(partition, offset)) => holding.retry_offsets(partition, offset),
            Ok(PollCommand::RefreshCommits) => holding.refresh_commits(),
            Ok(PollCommand::Commit(done)) => {
                holding.commit();
                // The router that sent the request may have exited at its deadline.
                done.send(()).ok();
            }
            Ok(PollCommand::Close { leave }) => break leave,
            // The router is gone, and the process ends with it.
            Err(mpsc::TryRecvError::Disconnected) => break false,
            Err(mpsc::TryRecvError::Empty) => {}
        }
        holding.poll(wait);
    };
    holding.close(leave);
}
