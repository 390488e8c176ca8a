//! One worker: its process's life, its deaths, and the pauses between them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use crate::consumer::control::PartitionProgress;
use crate::monitoring::status::WorkerState;
use crate::record::TopicPartition;

/// A worker, whichever process it is at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) ready: bool,
    /// Since when there has been a process that is not ready, as far as is known; without one it waits for the brokers, which
    /// are asked first where it has to go on.
    pub(super) starting: Option<Duration>,
    /// When it was last heard of, or started.
    pub(super) heard: Duration,
    /// Messages that the process has dealt with.
    pub(super) dealt_with: u64,
    /// It announces each message.
    pub(super) cautious: bool,
    /// The message that it has announced and not dealt with.
    pub(super) announced: Option<(TopicPartition, i64)>,
    by_partition: BTreeMap<TopicPartition, u64>,
    born: Duration,
    old_at: Option<Duration>,
    /// Deaths that were not planned, of the last while.
    deaths: VecDeque<Duration>,
    /// And those since its last healthy life.
    unhealthy: u32,
}

/// Where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is a process, or will be in a moment.
    #[default]
    Running,
    /// Asked to end.
    Leaving { why: Why, kill_at: Duration },
    /// SIGKILL is on its way.
    Killed { why: Why },
    /// Dead, to be started again.
    Pausing { until: Duration },
    /// Dead, started no more: it has died too often.
    Parked,
    /// Dead, taken away.
    Removed,
    /// Dead, and the program ends.
    Ended,
}

/// Why a worker was asked or made to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Why {
    /// Nothing was heard of it.
    Silent(Duration),
    /// It lives, and does not come to reading.
    NotReady(Duration),
    /// A message is in processing for too long.
    Hung {
        /// Where.
        partition: TopicPartition,
        /// Which.
        offset: i64,
        /// For how long.
        age: Duration,
    },
    /// A partition does not move, and a new client did not help.
    Stuck(TopicPartition, String),
    /// It has more memory than it may have.
    Memory {
        /// In MiB.
        rss_mb: u64,
        /// In MiB.
        limit: u64,
    },
    /// It is older than it may be.
    Age,
    /// It has dealt with so many messages.
    Messages(u64),
    /// All are replaced.
    Roll,
    /// There are to be fewer.
    Fewer,
}

impl Why {
    /// Nothing was wrong with it.
    pub(in super::super) fn is_planned(&self) -> bool {
        matches!(self, Self::Memory { .. } | Self::Age | Self::Messages(_) | Self::Roll | Self::Fewer)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(time) => {
                write!(f, "nothing was heard of it for {time:.1?} (consumer.watchdog.silence_timeout)")
            }
            Self::NotReady(time) => write!(
                f,
                "it has not become ready within {time:.1?}: its processor is still being made (consumer.watchdog.stall_timeout)"
            ),
            Self::Hung { partition, offset, age } => {
                write!(f, "{partition}@{offset} is in processing for {age:.1?} (consumer.watchdog.stall_timeout)")
            }
            Self::Stuck(partition, text) => write!(f, "{partition}: {text}, and a new Kafka client did not help"),
            Self::Memory { rss_mb, limit } => {
                write!(f, "it has {rss_mb} MiB of memory (consumer.limits.rss_mb = {limit})")
            }
            Self::Age => f.write_str("it is old (consumer.limits.age)"),
            Self::Messages(messages) => {
                write!(f, "it has dealt with {messages} messages (consumer.limits.messages)")
            }
            Self::Roll => f.write_str("all workers are (SIGHUP)"),
            Self::Fewer => f.write_str("there is to be one less (SIGTTOU)"),
        }
    }
}

/// What a process's life was.
pub(super) struct Life {
    pub(super) why: Option<Why>,
    /// By us.
    pub(super) was_killed: bool,
    pub(super) lived: Duration,
    pub(super) dealt_with: u64,
    pub(super) announced: Option<(TopicPartition, i64)>,
}

impl Slot {
    /// A process is started. It is old after `age` and up to a tenth more: `jitter` is 0 to 1.
    pub(super) fn begin(&mut self, now: Duration, age: Duration, jitter: f64) {
        self.phase = Phase::Running;
        (self.ready, self.heard, self.born) = (false, now, now);
        self.starting = None;
        self.dealt_with = 0;
        self.by_partition.clear();
        self.announced = None;
        self.old_at = (!age.is_zero()).then(|| now + age.mul_f64(1.0 + jitter / 10.0));
    }

    /// The process has ended.
    pub(super) fn end(&mut self, now: Duration) -> Life {
        let (why, was_killed) = match std::mem::replace(&mut self.phase, Phase::Pausing { until: now }) {
            Phase::Leaving { why, .. } => (Some(why), false),
            Phase::Killed { why } => (Some(why), true),
            _ => (None, false),
        };
        self.ready = false;
        Life {
            why,
            was_killed,
            lived: now.saturating_sub(self.born),
            dealt_with: self.dealt_with,
            announced: self.announced.take(),
        }
    }

    /// It was asked to end, and did not.
    pub(super) fn kill(&mut self) {
        if let Phase::Leaving { why, .. } = &self.phase {
            self.phase = Phase::Killed { why: why.clone() };
        }
    }

    pub(super) fn why(&self) -> Option<&Why> {
        match &self.phase {
            Phase::Leaving { why, .. } | Phase::Killed { why } => Some(why),
            _ => None,
        }
    }

    /// What a partition's share in [`Self::dealt_with`] is.
    pub(super) fn note(&mut self, progress: &PartitionProgress) {
        let all = progress.processed + progress.failed + progress.dead_lettered;
        let before = self.by_partition.insert(progress.partition.clone(), all).unwrap_or(0);
        self.dealt_with += all.saturating_sub(before);
    }

    /// Whether a process may be there.
    pub(super) fn may_be_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Leaving { .. } | Phase::Killed { .. })
    }

    /// Whether partitions that it gets will be read, now or after a pause.
    pub(super) fn keeps_partitions(&self) -> bool {
        match &self.phase {
            Phase::Running | Phase::Pausing { .. } => true,
            Phase::Leaving { why, .. } | Phase::Killed { why } => *why != Why::Fewer,
            Phase::Parked | Phase::Removed | Phase::Ended => false,
        }
    }

    pub(super) fn is_old(&self, now: Duration) -> bool {
        self.old_at.is_some_and(|at| at <= now)
    }

    /// How many deaths there were `within` that time, with this one.
    pub(super) fn count_death(&mut self, now: Duration, within: Duration, healthy: bool) -> usize {
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|at| now.saturating_sub(*at) > within) {
            self.deaths.pop_front();
        }
        self.unhealthy = if healthy { 1 } else { self.unhealthy.saturating_add(1) };
        self.deaths.len()
    }

    /// The pause before the next process: doubled with each death since the last healthy life, and up to a quarter
    /// more.
    pub(super) fn pause(&self, first: Duration, longest: Duration, jitter: f64) -> Duration {
        let doublings = self.unhealthy.saturating_sub(1).min(30);
        let pause = first.saturating_mul(1 << doublings).min(longest);
        pause.mul_f64(1.0 + jitter / 4.0)
    }

    /// What it is for people and programs; `has_partitions`: there is something for it to read.
    pub(super) fn state(&self, has_partitions: bool) -> WorkerState {
        match self.phase {
            Phase::Running if !self.ready => WorkerState::Starting,
            Phase::Running if has_partitions => WorkerState::Reading,
            Phase::Running => WorkerState::StandingBy,
            Phase::Leaving { .. } | Phase::Killed { .. } => WorkerState::Ending,
            Phase::Pausing { .. } => WorkerState::Waiting,
            Phase::Parked => WorkerState::Parked,
            Phase::Removed => WorkerState::Removed,
            Phase::Ended => WorkerState::Ended,
        }
    }
}
