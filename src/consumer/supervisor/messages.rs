//! The messages between the supervisor, its worker connections, its query actor, and the actor that has started
//! it.

use std::collections::BTreeSet;
use std::time::Instant;

use actix::Message;

use crate::consumer::protocol::{PartitionAssignment, WorkerEvent};
use crate::exit::ExitStatus;
use crate::kafka::commit_metadata::ForeignCommit;
use crate::kafka::error::KafkaError;
use crate::kafka::offset_gaps;
use crate::kafka::offsets::Offsets;
use crate::kafka::topic_id::TopicIds;
use crate::record::TopicPartition;
use crate::report::ConsumeReport;

/// To the supervisor: the producer has finished; end when everything is consumed. Only for a supervisor that was
/// started as `finite`.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReadToEnd;

/// The exit reason in the [`ConsumeResult`] of a supervisor that has consumed everything.
pub const END_REACHED: &str = "end reached";

/// To the supervisor: end now, for this reason.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AbortRun(pub &'static str);

/// From the supervisor to its observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum SupervisorEvent {
    /// Every worker is running or in standby.
    Ready,
    /// The number of messages consumed, over all partitions, each counted once.
    Read(u64),
}

/// From the supervisor, once: the result of the run.
#[derive(Debug)]
pub struct ConsumeResult {
    /// The exit status.
    pub exit: ExitStatus,
    /// The report about consuming.
    pub report: ConsumeReport,
    /// Whether a signal has interrupted the run.
    pub interrupted: bool,
}

/// Worker connection to supervisor: a frame of the worker. `process` distinguishes the processes of a slot.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct WorkerFrame {
    pub(super) slot: usize,
    pub(super) process: u32,
    /// `None`: the channel is closed, no more frames follow.
    pub(super) frame: Option<WorkerEvent>,
}

/// To the query actor: connect, and check whether the topics exist.
#[derive(Message)]
#[rtype(result = "Result<(), ExitStatus>")]
pub(super) struct Connect;

/// To the query actor: find the partitions and their start offsets.
#[derive(Message)]
#[rtype(result = "Result<Vec<DiscoveredPartition>, ExitStatus>")]
pub(super) struct DiscoverPartitions;

/// A partition that is going to be consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiscoveredPartition {
    pub(super) start: PartitionAssignment,
    pub(super) end: i64,
    /// The group's committed offset before the run.
    pub(super) committed: Option<i64>,
}

/// To the query actor: find the partitions that are none of these.
#[derive(Message)]
#[rtype(result = "Result<Vec<DiscoveredPartition>, NotFound>")]
pub(super) struct DiscoverNewPartitions(pub(super) Vec<TopicPartition>);

/// Why new partitions could not be determined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotFound {
    /// Some brokers did not reply: to be repeated.
    Unanswered(KafkaError),
    /// A topic was deleted.
    Deleted(ExitStatus),
}

impl From<KafkaError> for NotFound {
    fn from(failure: KafkaError) -> Self {
        // A missing permission does not change with a later query.
        if failure.is_denied() { Self::Deleted(failure.into()) } else { Self::Unanswered(failure) }
    }
}

/// To the query actor: fetch the current high watermarks. Unknown ones are left out, unless the run ends at the
/// high watermarks of its start: it needs all of them.
#[derive(Message)]
#[rtype(result = "Result<TopicEnds, NotFound>")]
pub(super) struct FetchWatermarks(pub(super) Vec<TopicPartition>);

/// The reply to [`FetchWatermarks`].
pub(super) struct TopicEnds {
    pub(super) ends: Offsets,
    /// The topics' ids, as far as they could be read.
    pub(super) topic_ids: TopicIds,
}

/// To the query actor: these topics were created again: return all of their partitions with their start offsets.
#[derive(Message)]
#[rtype(result = "Result<Vec<DiscoveredPartition>, KafkaError>")]
pub(super) struct Reopen(pub(super) Vec<String>);

/// To the query actor: find out what the log holds at these positions. Those without a timely reply are left
/// out.
#[derive(Message)]
#[rtype(result = "Result<Vec<(TopicPartition, offset_gaps::Found)>, KafkaError>")]
pub(super) struct FindGaps(pub(super) Offsets);

/// To the query actor: log in with the current password.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct RefreshCredentials;

/// To the query actor: fetch the group's committed offsets.
#[derive(Message)]
#[rtype(result = "Result<GroupCommits, KafkaError>")]
pub(super) struct FetchCommitted {
    pub(super) partitions: Vec<TopicPartition>,
    /// The time until which the caller waits for the reply.
    pub(super) deadline: Instant,
}

/// To the query actor: fetch the group's committed offsets, and the high watermarks.
#[derive(Message)]
#[rtype(result = "Result<CommittedOffsets, KafkaError>")]
pub(super) struct VerifyCommitted(pub(super) Vec<TopicPartition>);

/// To the query actor: commit these offsets once more, now that all workers have exited and a commit cannot
/// disturb their group; then as [`VerifyCommitted`].
#[derive(Message)]
#[rtype(result = "Result<CommittedOffsets, KafkaError>")]
pub(super) struct Recommit(pub(super) Offsets, pub(super) Vec<TopicPartition>);

/// To the query actor: commit these positions, which no worker commits now, again, unless another client has set
/// them.
#[derive(Message)]
#[rtype(result = "Result<GroupCommits, KafkaError>")]
pub(super) struct RefreshCommits(pub(super) Offsets);

/// The reply to [`FetchCommitted`].
pub(super) struct GroupCommits {
    /// With a group, the offsets of any member; otherwise this run's.
    pub(super) committed: Offsets,
    /// The offsets of other clients; none with a group.
    pub(super) foreign: Vec<ForeignCommit>,
}

/// The reply to [`VerifyCommitted`] and to [`Recommit`].
pub(super) struct CommittedOffsets {
    /// As [`GroupCommits::foreign`].
    pub(super) foreign: Vec<ForeignCommit>,
    /// Includes the offsets of other clients.
    pub(super) committed: Offsets,
    /// Partitions whose committed offset is unknown: the user may have no permission to describe them any more.
    pub(super) unknown: BTreeSet<TopicPartition>,
    /// The high watermarks that were returned in time.
    pub(super) ends: Offsets,
}
