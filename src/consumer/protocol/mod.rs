//! The protocol between the supervisor and a worker: one JSON object per line, over a Unix socket.
//!
//! The first frame of each direction carries [`PROTOCOL_VERSION`]. Both processes run the same binary, unless
//! the file was replaced while the supervisor ran (on Linux, `/proc/self/exe` still refers to the old file).

use serde::{Deserialize, Serialize};

use crate::kafka::commit_metadata::ForeignCommit;
use crate::kafka::statistics::ClientReport;
use crate::record::TopicPartition;

mod failure;
mod frames;
mod progress;
mod worker_config;

pub use failure::{FailedPart, FailureKind, WorkerFailure};
pub use frames::{FrameReader, FrameWriter};
pub use progress::{InFlight, LatencySnapshot, PartitionProgress, WorkerHealth};
pub use worker_config::{
    GroupMember, HistoryEndpoint, Lease, MessageLog, OffsetGap, PartitionAssignment, PoisonMessage, WorkerConfig,
};

/// The version of this protocol.
pub const PROTOCOL_VERSION: u32 = 10;

/// A command from the supervisor to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WorkerCommand {
    /// The first frame: the configuration of the worker.
    Start(Box<WorkerConfig>),
    /// These ranges hold no message: a position at the start of one moves to its end. For members of a group
    /// only; other consumers receive the ends of partitions from their client.
    SkipGaps(Vec<OffsetGap>),
    /// Stop each of these partitions at its offset, which is the first one that is not processed. Applies to
    /// partitions that are assigned later, too.
    ReadUntil(Vec<(TopicPartition, i64)>),
    /// Assign further partitions; the reply is [`WorkerEvent::Assigned`]. (Manual assignment.)
    Assign(Vec<PartitionAssignment>),
    /// Revoke partitions: finish the message in flight, commit, reply with [`WorkerEvent::Revoked`]. (Manual
    /// assignment.)
    Revoke(Vec<TopicPartition>),
    /// Commit the position of each partition again, even if it is committed: a committed offset expires some
    /// time after its commit. (Manual assignment: members of a group keep theirs.)
    RefreshCommits,
    /// Restart these partitions at these offsets: their topic was deleted and created again, and the position
    /// refers to the previous one. The reply is [`WorkerEvent::Restarted`]; partitions that the worker does not
    /// have are left out.
    Restart(Vec<PartitionAssignment>),
    /// `true`: process no more messages, but keep the partitions. `false`: resume.
    Pause(bool),
    /// Turn isolation mode on or off. In isolation mode the worker requests permission before it processes each
    /// message, and waits for [`WorkerCommand::AllowProcess`].
    SetIsolation(bool),
    /// Permission to process the requested message.
    AllowProcess(TopicPartition, i64),
    /// Poison messages, which have killed workers: they count as failed, for these reasons, and are not
    /// processed. Always the complete list.
    PoisonMessages(Vec<PoisonMessage>),
    /// Partitions that no worker may consume any further, even when the group assigns them again. Always the
    /// complete list.
    Stopped(Vec<TopicPartition>),
    /// The lease of the worker, while its supervisor holds the lock on the group. (Manual assignment.)
    Lease(Lease),
    /// Finish the messages in flight, commit, exit. A member leaves its group, which assigns its partitions to
    /// other members (with a static id and KIP-848, when its session is over: see
    /// [`crate::kafka::consumer::Consumer::close`]).
    Stop,
    /// As [`WorkerCommand::Stop`], but a member with a static id keeps its membership: a successor is about to
    /// be started, and gets its partitions at once.
    StopForRestart,
}

/// An event from a worker to the supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WorkerEvent {
    /// The worker has its partitions and consumes. Heartbeats may precede it.
    Ready {
        /// [`PROTOCOL_VERSION`].
        version: u32,
    },
    /// The heartbeat: the progress of partitions that have changed. Sent at least once a second, even if it is
    /// empty, from the main arbiter, which no processor can block.
    Progress(Vec<PartitionProgress>),
    /// These partitions are assigned to the worker at these offsets, by the supervisor or by the group.
    Assigned(Vec<PartitionAssignment>),
    /// The worker has released these partitions. [`WorkerEvent::Progress`] came before.
    Revoked {
        /// The released partitions.
        partitions: Vec<TopicPartition>,
        /// Whether all that it processed of them is committed.
        revocation: Revocation,
    },
    /// The worker has restarted these partitions at these offsets on request.
    Restarted(Vec<PartitionAssignment>),
    /// Requests permission to process this message; the worker waits for [`WorkerCommand::AllowProcess`].
    RequestProcess {
        /// The partition of the message.
        partition: TopicPartition,
        /// The offset of the message.
        offset: i64,
    },
    /// A partition has stopped because too many messages failed; the others continue.
    PartitionStopped {
        /// The partition that has stopped.
        partition: TopicPartition,
        /// Its position: the next offset to process.
        offset: i64,
        /// The reason of the stop.
        reason: String,
    },
    /// Another client has committed these offsets of its partitions: the worker does not commit for them any
    /// more. (Manual assignment.)
    ForeignCommits(Vec<ForeignCommit>),
    /// Latencies and failures since the last such frame.
    Times(Box<LatencySnapshot>),
    /// The statistics of its Kafka client, and whether the brokers throttle it; every few seconds.
    ClientStats(ClientReport),
    /// Whether its client reaches the cluster and its commits succeed; about once a second.
    Health(WorkerHealth),
    /// All partitions of the worker have reached their stop offsets. Sent again after each change of its
    /// partitions, and also by a worker without partitions: a partition without an owner has not reached its
    /// stop offset.
    EndReached,
    /// A message could not be processed and `consumer.on_failure` is `stop`: its partition has stopped.
    MessageFailed {
        /// The partition of the message.
        partition: TopicPartition,
        /// The offset of the message.
        offset: i64,
        /// The reason of the failure.
        reason: String,
    },
    /// The reader of the workers' stdout is gone.
    OutputClosed,
    /// A message in flight may have crashed the processor; [`WorkerEvent::Fatal`] follows.
    ProcessorCrashed,
    /// The processor has returned its first result in this process: a success, or a message's failure.
    FirstResult,
    /// A fatal error: the worker exits now. Without [`WorkerEvent::ProcessorCrashed`] before, no message is the
    /// cause.
    Fatal(WorkerFailure),
    /// Everything is committed and closed; the last frame.
    Finished,
}

/// Whether a revocation was in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Revocation {
    /// What the worker processed is committed.
    Committed,
    /// The partitions may have been assigned to other members before the worker noticed, or the last commit has
    /// failed: messages that are not committed are processed again.
    Lost,
}
