//! The state of one worker slot: its current process, its exits, and its restart delays.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use crate::consumer::protocol::PartitionProgress;
use crate::monitoring::status::WorkerState;
use crate::record::TopicPartition;

/// The state of a worker slot, whichever process it has at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct SlotState {
    pub(super) phase: Lifecycle,
    pub(super) ready: bool,
    /// Since when the process has been starting, as far as is known. Without a process the slot waits for the
    /// brokers, which receive a request for the start offsets first.
    pub(super) starting: Option<Duration>,
    /// The time of the last heartbeat or start.
    pub(super) last_heartbeat: Duration,
    /// The processor of the current process has returned a result.
    pub(super) has_result: bool,
    /// The processor of any process of this slot has returned a result.
    pub(super) has_ever_result: bool,
    /// The number of messages that the process has handled.
    pub(super) handled: u64,
    /// What the process's client does not reach, if that has lasted too long.
    pub(super) cut_off: Option<String>,
    /// The worker is in isolation mode: it requests permission for each message.
    pub(super) isolated: bool,
    /// The message for which it has requested permission and that it has not handled yet.
    pub(super) requested: Option<(TopicPartition, i64)>,
    by_partition: BTreeMap<TopicPartition, u64>,
    started_at: Duration,
    max_age_at: Option<Duration>,
    /// Times of the unplanned exits within the restart window.
    exits: VecDeque<Duration>,
    /// The number of unplanned exits since the last healthy process.
    unhealthy: u32,
}

/// The lifecycle state of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Lifecycle {
    /// There is a process, or one starts in a moment.
    #[default]
    Running,
    /// The process was requested to stop.
    Stopping { why: StopReason, kill_at: Duration },
    /// SIGKILL was sent.
    Killing { why: StopReason },
    /// The process has exited and is restarted later.
    Backoff { until: Duration },
    /// The process has exited too often and is not restarted.
    Failed,
    /// The process has exited because the number of workers was decreased.
    ScaledDown,
    /// The process has exited, and the program ends.
    Ended,
}

/// Why a worker was requested to stop or killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum StopReason {
    /// It sent no heartbeat for this time.
    Silent(Duration),
    /// It sends heartbeats, but did not become ready for this time.
    NotReady(Duration),
    /// A handler has been running for too long.
    Hung {
        /// The partition of the message in processing.
        partition: TopicPartition,
        /// The offset of the message in processing.
        offset: i64,
        /// For how long the handler has been running.
        age: Duration,
    },
    /// A partition is stalled.
    Stuck(TopicPartition, String),
    /// Its client does not reach the cluster, and a new client does.
    CutOff(String),
    /// Its memory exceeds the limit.
    Memory {
        /// The resident set size, in MiB.
        rss_mb: u64,
        /// The limit, in MiB.
        limit: u64,
    },
    /// It has reached its maximum age.
    Age,
    /// It has handled its maximum number of messages.
    Messages(u64),
    /// A rolling restart replaces all workers.
    Roll,
    /// The number of workers decreases.
    Fewer,
}

impl StopReason {
    /// Whether the stop was planned, without a failure.
    pub(in super::super) fn is_planned(&self) -> bool {
        matches!(self, Self::Memory { .. } | Self::Age | Self::Messages(_) | Self::Roll | Self::Fewer)
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(time) => {
                write!(f, "no heartbeat for {time:.1?} (consumer.watchdog.heartbeat_timeout)")
            }
            Self::NotReady(time) => write!(
                f,
                "it has not become ready within {time:.1?}: its processor is still being made (consumer.watchdog.stall_timeout)"
            ),
            Self::Hung { partition, offset, age } => {
                write!(
                    f,
                    "handler of {partition}@{offset} has been running for {age:.1?} (consumer.watchdog.stall_timeout)"
                )
            }
            Self::Stuck(partition, text) => write!(f, "{partition}: {text}"),
            Self::CutOff(text) => {
                write!(f, "{text} (consumer.watchdog.stall_timeout), and a new client reaches the cluster")
            }
            Self::Memory { rss_mb, limit } => {
                write!(f, "it has {rss_mb} MiB of memory (consumer.recycle.max_rss_mb = {limit})")
            }
            Self::Age => f.write_str("it is old (consumer.recycle.max_age)"),
            Self::Messages(messages) => {
                write!(f, "it has handled {messages} messages (consumer.recycle.max_messages)")
            }
            Self::Roll => f.write_str("rolling restart (SIGHUP)"),
            Self::Fewer => f.write_str("scale down (SIGTTOU)"),
        }
    }
}

/// Facts about the lifetime of an exited process.
pub(super) struct ProcessLifetime {
    pub(super) why: Option<StopReason>,
    /// The supervisor has killed it.
    pub(super) was_killed: bool,
    pub(super) was_ready: bool,
    pub(super) has_result: bool,
    pub(super) lived: Duration,
    pub(super) handled: u64,
    pub(super) requested: Option<(TopicPartition, i64)>,
}

impl SlotState {
    /// Records the start of a process. It reaches its maximum age after `age` and up to a tenth more: `jitter`
    /// is 0 to 1.
    pub(super) fn begin(&mut self, now: Duration, age: Duration, jitter: f64) {
        self.phase = Lifecycle::Running;
        (self.ready, self.last_heartbeat, self.started_at) = (false, now, now);
        (self.starting, self.cut_off) = (None, None);
        self.has_result = false;
        self.handled = 0;
        self.by_partition.clear();
        self.requested = None;
        self.max_age_at = (!age.is_zero()).then(|| now + age.mul_f64(1.0 + jitter / 10.0));
    }

    /// Records the exit of the process.
    pub(super) fn end(&mut self, now: Duration) -> ProcessLifetime {
        let (why, was_killed) = match std::mem::replace(&mut self.phase, Lifecycle::Backoff { until: now }) {
            Lifecycle::Stopping { why, .. } => (Some(why), false),
            Lifecycle::Killing { why } => (Some(why), true),
            _ => (None, false),
        };
        ProcessLifetime {
            why,
            was_killed,
            was_ready: std::mem::take(&mut self.ready),
            has_result: self.has_result,
            lived: now.saturating_sub(self.started_at),
            handled: self.handled,
            requested: self.requested.take(),
        }
    }

    /// Records that the process is killed because it did not stop in time.
    pub(super) fn kill(&mut self) {
        if let Lifecycle::Stopping { why, .. } = &self.phase {
            self.phase = Lifecycle::Killing { why: why.clone() };
        }
    }

    pub(super) fn why(&self) -> Option<&StopReason> {
        match &self.phase {
            Lifecycle::Stopping { why, .. } | Lifecycle::Killing { why } => Some(why),
            _ => None,
        }
    }

    /// Adds a partition's share to the number of handled messages.
    pub(super) fn record_progress(&mut self, progress: &PartitionProgress) {
        let all = progress.counts.handled();
        let before = self.by_partition.insert(progress.partition.clone(), all).unwrap_or(0);
        self.handled = self.handled.saturating_add(all.saturating_sub(before));
    }

    /// Whether a process may exist.
    pub(super) fn may_be_running(&self) -> bool {
        matches!(self.phase, Lifecycle::Running | Lifecycle::Stopping { .. } | Lifecycle::Killing { .. })
    }

    /// Whether partitions that are assigned to it are consumed, now or after a restart delay.
    pub(super) fn keeps_partitions(&self) -> bool {
        match &self.phase {
            Lifecycle::Running | Lifecycle::Backoff { .. } => true,
            Lifecycle::Stopping { why, .. } | Lifecycle::Killing { why } => *why != StopReason::Fewer,
            Lifecycle::Failed | Lifecycle::ScaledDown | Lifecycle::Ended => false,
        }
    }

    pub(super) fn is_old(&self, now: Duration) -> bool {
        self.max_age_at.is_some_and(|at| at <= now)
    }

    /// Returns the number of unplanned exits `within` that time, including this one.
    pub(super) fn count_exit(&mut self, now: Duration, within: Duration, healthy: bool) -> usize {
        self.exits.push_back(now);
        while self.exits.front().is_some_and(|at| now.saturating_sub(*at) > within) {
            self.exits.pop_front();
        }
        self.unhealthy = if healthy { 1 } else { self.unhealthy.saturating_add(1) };
        self.exits.len()
    }

    /// The number of exits since the last healthy process.
    pub(super) fn unhealthy(&self) -> u64 {
        self.unhealthy.into()
    }

    /// The state for the status and the log. `has_partitions`: it has partitions to consume.
    pub(super) fn state(&self, has_partitions: bool) -> WorkerState {
        match self.phase {
            Lifecycle::Running if !self.ready => WorkerState::Starting,
            Lifecycle::Running if has_partitions => WorkerState::Running,
            Lifecycle::Running => WorkerState::Standby,
            Lifecycle::Stopping { .. } | Lifecycle::Killing { .. } => WorkerState::Stopping,
            Lifecycle::Backoff { .. } => WorkerState::Backoff,
            Lifecycle::Failed => WorkerState::Failed,
            Lifecycle::ScaledDown => WorkerState::ScaledDown,
            Lifecycle::Ended => WorkerState::Ended,
        }
    }
}
