//! What travels between the supervisor, its links, its watcher, and whoever started it.

use std::time::Instant;

use actix::Message;

use crate::consumer::control::{FromWorker, StartPartition};
use crate::exit::Exit;
use crate::kafka::error::Failure;
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;
use crate::report::ConsumeReport;

/// To the supervisor: everything that will ever be written has been written; end when it is read. Only a supervisor
/// that was ordered `finite` can.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReadToEnd;

/// Why a supervisor ends that has read everything: the reason of its [`Outcome`]'s exit.
pub const END_REACHED: &str = "end reached";

/// To the supervisor: end now, for this reason.
#[derive(Message)]
#[rtype(result = "()")]
pub struct GiveUp(pub &'static str);

/// From the supervisor to its observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Observation {
    /// Every worker reads, or stands by.
    Ready,
    /// So many messages are read, over all partitions, each counted once.
    Read(u64),
}

/// From the supervisor, once: how it all ended.
#[derive(Debug)]
pub struct Outcome {
    /// The end.
    pub exit: Exit,
    /// What was consumed.
    pub report: ConsumeReport,
    /// Whether a signal ended it before its time.
    pub interrupted: bool,
}

/// Link to supervisor: what the worker said. `process` tells a slot's processes apart.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct FromLink {
    pub(super) slot: usize,
    pub(super) process: u32,
    /// `None`: the channel is closed, nothing more will come.
    pub(super) frame: Option<FromWorker>,
}

/// To the watcher: find the partitions and where to start in each.
#[derive(Message)]
#[rtype(result = "Result<Vec<Found>, Exit>")]
pub(super) struct Prepare;

/// A partition that is going to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: StartPartition,
    pub(super) end: i64,
    /// What the group has committed so far.
    pub(super) committed: Option<i64>,
}

/// To the watcher: the partitions that are none of these; an exit if a topic is gone for good.
#[derive(Message)]
#[rtype(result = "Result<Vec<Found>, Exit>")]
pub(super) struct FindNew(pub(super) Vec<TopicPartition>);

/// To the watcher: the partitions' ends as they are now; those that nobody can tell are left out, unless the run is one that
/// ends where its topics do, which has to know them all.
#[derive(Message)]
#[rtype(result = "Result<Offsets, Failure>")]
pub(super) struct ReadEnds(pub(super) Vec<TopicPartition>);

/// To the watcher: what the group has committed.
#[derive(Message)]
#[rtype(result = "Result<Offsets, Failure>")]
pub(super) struct ReadCommits {
    pub(super) partitions: Vec<TopicPartition>,
    /// When nobody waits for the answer any more.
    pub(super) deadline: Instant,
}

/// To the watcher: what the group has committed, and the partitions' ends.
#[derive(Message)]
#[rtype(result = "Result<ReadBack, Failure>")]
pub(super) struct ReadCommitted(pub(super) Vec<TopicPartition>);

/// To the watcher: these have to be committed once more, now that no worker is left whose group it could disturb; then as
/// [`ReadCommitted`].
#[derive(Message)]
#[rtype(result = "Result<ReadBack, Failure>")]
pub(super) struct CommitAgain(pub(super) Offsets, pub(super) Vec<TopicPartition>);

/// Answer to [`ReadCommitted`] and to [`CommitAgain`].
pub(super) struct ReadBack {
    pub(super) committed: Offsets,
    /// Those that could be told soon.
    pub(super) ends: Offsets,
}
