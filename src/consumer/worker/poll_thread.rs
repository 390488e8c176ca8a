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
use crate::kafka::consumer::MembershipOperation;
use crate::record::TopicPartition;

/// How long one poll waits; this also limits the latency of a command.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// The poll timeout while the client may fetch more than its memory limit.
const TIGHT_POLL: Duration = Duration::from_millis(5);

/// The manager's handle of the thread.
pub(super) struct PollThread {
    /// Unbounded: there are a few commands for each frame of the supervisor, and one for each partition whose
    /// offset is out of range.
    commands: mpsc::Sender<PollCommand>,
    closed: oneshot::Receiver<()>,
}

/// A command of the manager.
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
    Close(MembershipOperation),
}

/// The thread before its start: it is started when the manager can receive messages.
pub(super) struct PollThreadBuilder {
    commands: mpsc::Receiver<PollCommand>,
    closed: oneshot::Sender<()>,
}

impl PollThreadBuilder {
    /// Starts the thread; it sends its events to `context.manager`.
    pub(super) fn start(self, context: PollThreadContext) -> std::io::Result<()> {
        let Self { commands, closed } = self;
        std::thread::Builder::new().name("kafka-poll".to_owned()).spawn(move || {
            run(Assignment::new(context), &commands);
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
        let (commands, received) = mpsc::channel();
        (Self { commands, closed }, PollThreadBuilder { commands: received, closed: send_closed })
    }

    /// Sends a command to the thread; ignored if the thread has ended.
    pub(super) fn send(&self, command: PollCommand) {
        // Fails only if the thread has ended.
        self.commands.send(command).ok();
    }

    /// Commits stored offsets, and waits for the result.
    pub(super) async fn commit(&self) {
        let (done, committed) = oneshot::channel();
        // If the thread has ended, there is nothing to commit.
        if self.commands.send(PollCommand::Commit(done)).is_ok() {
            committed.await.ok();
        }
    }

    /// Closes the client and ends the thread. All partition queues have to be dropped before.
    pub(super) async fn close(self, membership: MembershipOperation) {
        // An error means that the thread has ended already.
        if self.commands.send(PollCommand::Close(membership)).is_ok() {
            self.closed.await.ok();
        }
    }
}

fn run(mut assignment: Assignment, commands: &mpsc::Receiver<PollCommand>) {
    assignment.begin();
    let membership = loop {
        // Without a client there is nothing to poll: wait for commands instead.
        let command = match assignment.has_client() {
            true => commands.try_recv(),
            false => commands.recv_timeout(POLL_TIMEOUT).map_err(|error| match error {
                mpsc::RecvTimeoutError::Timeout => mpsc::TryRecvError::Empty,
                mpsc::RecvTimeoutError::Disconnected => mpsc::TryRecvError::Disconnected,
            }),
        };
        // Another command may be queued.
        let wait = match command {
            Ok(_) => Duration::ZERO,
            Err(_) if assignment.is_tight() => TIGHT_POLL,
            Err(_) => POLL_TIMEOUT,
        };
        match command {
            Ok(PollCommand::Assign(assignments)) => assignment.add(&assignments),
            Ok(PollCommand::Revoke(partitions)) => assignment.revoke_requested(partitions),
            Ok(PollCommand::Restart(assignments)) => assignment.restart(assignments),
            Ok(PollCommand::OutOfRange(partition, offset)) => assignment.on_out_of_range(partition, offset),
            Ok(PollCommand::RefreshCommits) => assignment.refresh_commits(),
            Ok(PollCommand::Commit(done)) => {
                assignment.commit();
                // The manager that sent the request may have exited at its deadline.
                done.send(()).ok();
            }
            Ok(PollCommand::Close(membership)) => break membership,
            // The manager is gone, and the process ends with it.
            Err(mpsc::TryRecvError::Disconnected) => break MembershipOperation::RemainInGroup,
            Err(mpsc::TryRecvError::Empty) => {}
        }
        assignment.poll(wait);
    };
    assignment.close(membership);
}
