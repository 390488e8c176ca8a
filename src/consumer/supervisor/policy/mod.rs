//! What is to be done with the workers. Pure: events and times in, actions out.
//!
//! - [`Policy`]: the events that it hears, and the actions that follow. `health`: of those that live; `deaths`: of those that
//!   have died; `lives`: who is started and who goes; `sharing`: which partitions change hands.
//! - `slot`: one worker's life, its deaths, and the pauses between them; `ownership`: who reads which partition;
//!   `watchdog`: which partitions stand still, and what is tried next; `suspects`: messages that kill their worker.
//! - `tests`, `properties`: what must hold, also for histories that nobody thought of.
//!
//! Times count from the supervisor's start and leave out the time in which it did not run itself: a machine that was
//! paused has not waited (see [`super::awake`]).

use std::collections::VecDeque;
use std::time::Duration;

use super::plan::plan;
use crate::consumer::control::{Condemned, PartitionProgress, ToWorker};
use crate::exit::Exit;
use crate::kafka::offsets::Offsets;
use crate::monitoring::status::WorkerState;
use crate::record::TopicPartition;
use crate::settings::{Assignment, Consumer};

mod deaths;
mod health;
mod lives;
mod ownership;
#[cfg(test)]
mod properties;
mod sharing;
mod slot;
mod suspects;
#[cfg(test)]
mod tests;
mod watchdog;

use ownership::Ownership;
use slot::Slot;
pub(super) use slot::Why;
use suspects::Suspects;
use watchdog::Watchdog;

/// The most workers; as many as `consumer.processes` allows.
const MOST_WORKERS: usize = 256;

/// What has happened.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Time has passed; comes several times a second.
    Tick,
    /// A worker reads, or stands by.
    Ready(usize),
    /// What a worker tells of its partitions: a sign of life, even if it is empty.
    Heard(usize, Vec<PartitionProgress>),
    /// A worker has these partitions: told to, or dealt by its group.
    Assigned(usize, Vec<TopicPartition>),
    /// A worker could not be given these yet: the brokers do not say where it has to begin.
    Delayed(Vec<TopicPartition>),
    /// A worker has given these up; what it has processed of them is committed, unless they were lost.
    Revoked(usize, Vec<TopicPartition>),
    /// A worker is about to process this message, by itself, and waits.
    Announced(usize, TopicPartition, i64),
    /// A partition is read no further by its worker's own decision: by nobody in this run. (A group may still deal it, to
    /// workers that are told, or to another supervisor, which is not.)
    Stopped(TopicPartition),
    /// The partitions' ends; `None`: the brokers did not say.
    Ends(Option<Offsets>),
    /// These partitions are read to these ends only.
    Until(Offsets),
    /// Partitions that nobody reads yet.
    Found(Vec<TopicPartition>),
    /// A worker's resident memory, in MiB; so there is a process.
    Measured(usize, u64),
    /// A process has ended and is reaped: nobody reads its partitions.
    Died(usize, Death),
    /// The output is full, and what waits for whoever reads it does not hang. `still`: no message moves; `log`: it is stderr,
    /// so that a worker may wait with whatever it does.
    OutputFull { still: bool, log: bool },
    /// Somebody wants something.
    Asked(Wish),
}

impl Event {
    /// The worker that it is about.
    fn worker(&self) -> Option<usize> {
        match self {
            Self::Ready(number)
            | Self::Heard(number, _)
            | Self::Assigned(number, _)
            | Self::Revoked(number, _)
            | Self::Announced(number, _, _)
            | Self::Measured(number, _)
            | Self::Died(number, _) => Some(*number),
            _ => None,
        }
    }
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Replace all workers, one by one.
    Roll,
    /// One worker more.
    More,
    /// One worker less.
    Fewer,
    /// Take no more messages, keep the partitions.
    Quiet,
    /// Go on.
    Resume,
    /// End.
    Stop,
}

/// How a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Death {
    /// By SIGKILL, of which nobody here knows.
    pub(super) killed: bool,
    /// By any signal.
    pub(super) crashed: bool,
    /// By the kernel, since memory ran out.
    pub(super) out_of_memory: bool,
    /// By SIGTERM: one that is so young that it does not hear signals yet.
    pub(super) terminated: bool,
    /// It had committed and closed everything.
    pub(super) clean: bool,
    /// By its own deadline: it was asked to end, and could not finish what it had in hand.
    pub(super) forced: bool,
    /// It said that it could not go on, and that no message is to blame.
    pub(super) blameless: bool,
    /// It said that another start would end the same way, and why.
    pub(super) lasting: Option<String>,
    /// How it ended, for people.
    pub(super) cause: String,
    /// Where its partitions were.
    pub(super) seen: Vec<Seen>,
}

/// Where a worker that died was in one of its partitions, by its last words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) partition: TopicPartition,
    pub(super) next: i64,
    /// Where its successor starts.
    pub(super) committed: i64,
    pub(super) in_flight: Option<i64>,
    /// Whether there was anything to process.
    pub(super) has_work: bool,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Start this worker's next process, with the partitions that are its own.
    Start(usize),
    /// Tell a worker.
    Say(usize, ToWorker),
    /// Have a worker read these, too, from where they are committed.
    Assign(usize, Vec<TopicPartition>),
    /// Ask a worker to end, by message and by signal; it stays a member of its group, unless there is to be one less.
    Retire(usize),
    /// SIGKILL.
    Kill(usize),
    /// Nobody reads it any more.
    Quarantine(TopicPartition, String),
    /// A line for people: something was repaired, or is given up.
    Warn(String),
    /// As [`Self::Warn`], as it should be.
    Inform(String),
    /// End the program.
    End(Exit),
}

/// See the [module](self).
pub(super) struct Policy {
    rules: Consumer,
    slots: Vec<Slot>,
    ownership: Ownership,
    watchdog: Watchdog,
    suspects: Suspects,
    /// Workers to be replaced although nothing is wrong with them, one after the other.
    planned: VecDeque<(usize, Why)>,
    /// The one that is being replaced.
    replacing: Option<usize>,
    quiet: bool,
    stopping: bool,
    random: u64,
    now: Duration,
    /// When partitions were last looked at.
    looked: Duration,
    actions: Vec<Action>,
}

impl Policy {
    /// For workers that share `partitions` (none with a group), all of which are started. `seed` is for the pauses'
    /// random part.
    pub(super) fn new(rules: &Consumer, partitions: Vec<TopicPartition>, seed: u64) -> (Self, Vec<Action>) {
        let mut policy = Self {
            rules: rules.clone(),
            slots: Vec::new(),
            ownership: Ownership::default(),
            watchdog: Watchdog::new(rules),
            suspects: Suspects::default(),
            planned: VecDeque::new(),
            replacing: None,
            quiet: false,
            stopping: false,
            random: seed,
            now: Duration::ZERO,
            looked: Duration::ZERO,
            actions: Vec::new(),
        };
        for (slot, share) in plan(partitions, rules.processes, rules.strategy).into_iter().enumerate() {
            policy.slots.push(Slot::default());
            share.into_iter().for_each(|partition| policy.take_over(slot, partition));
            policy.start(slot);
        }
        let actions = std::mem::take(&mut policy.actions);
        (policy, actions)
    }

    /// What follows from an event at a time, which never goes back.
    pub(super) fn on(&mut self, now: Duration, event: Event) -> Vec<Action> {
        self.now = now.max(self.now);
        if event.worker().is_some_and(|number| number >= self.slots.len()) {
            return Vec::new();
        }
        match event {
            Event::Tick => self.tick(),
            Event::Ready(slot) => self.ready(slot),
            Event::Heard(slot, progress) => self.heard(slot, &progress),
            Event::Assigned(slot, partitions) => self.assigned(slot, partitions),
            Event::Delayed(partitions) => {
                partitions.iter().for_each(|partition| self.watchdog.excuse(partition, self.now));
            }
            Event::Revoked(slot, partitions) => self.revoked(slot, &partitions),
            Event::Announced(slot, partition, offset) => self.announced(slot, partition, offset),
            Event::Stopped(partition) => self.stopped(&partition),
            Event::Ends(ends) => self.ends(ends.as_ref()),
            Event::Until(ends) => self.watchdog.until(&ends),
            Event::Found(partitions) => self.found(partitions),
            Event::Measured(slot, rss_mb) => self.measured(slot, rss_mb),
            Event::Died(slot, death) => self.died(slot, &death),
            Event::OutputFull { still, log } => self.output_full(still, log),
            Event::Asked(wish) => self.asked(wish),
        }
        std::mem::take(&mut self.actions)
    }

    /// Whether a worker has to announce its messages.
    pub(super) fn is_cautious(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.cautious)
    }

    /// The messages that have killed workers.
    pub(super) fn condemned(&self) -> Vec<Condemned> {
        self.suspects.condemned().to_vec()
    }

    /// Whether workers take no messages.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// How many workers there are or have been.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Why a worker was asked or made to end, if it was.
    pub(super) fn why(&self, slot: usize) -> Option<&Why> {
        self.slots.get(slot)?.why()
    }

    /// What a worker does, that has partitions or none.
    pub(super) fn state(&self, slot: usize, has_partitions: bool) -> WorkerState {
        self.slots.get(slot).map_or(WorkerState::Ended, |slot| slot.state(has_partitions))
    }

    /// Whether a partition stands still since nothing that was tried helps, and nothing more is tried.
    pub(super) fn is_left_alone(&self, partition: &TopicPartition) -> bool {
        self.watchdog.is_left_alone(partition)
    }

    /// Who reads a partition, or will.
    pub(super) fn owner(&self, partition: &TopicPartition) -> Option<usize> {
        self.ownership.owner(partition)
    }

    /// A worker's partitions.
    pub(super) fn partitions(&self, slot: usize) -> Vec<TopicPartition> {
        self.ownership.of(slot)
    }

    fn is_group(&self) -> bool {
        self.rules.assignment == Assignment::Group
    }

    fn take_over(&mut self, slot: usize, partition: TopicPartition) {
        // What was tried for it stays known, whoever reads it.
        self.watchdog.watch(&partition, self.now);
        self.watchdog.excuse(&partition, self.now);
        self.ownership.give(partition, slot);
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
}

/// A number from 0 to 1 (SplitMix64: good enough to keep workers from starting together).
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut number = *state;
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((number ^ (number >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
