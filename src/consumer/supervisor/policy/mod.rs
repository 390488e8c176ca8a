//! The supervision policy: which actions follow from which events. Pure: events and times in, actions out.
//!
//! - [`Policy`]: the events that it receives and the actions that it returns. `health`: running workers;
//!   `restarts`: exited workers; `planned_restarts`: restarts one after the other; `lifecycle`: starts and stops;
//!   `rebalance`: moves of partitions.
//! - `slot_state`: the state of one worker, its exits and restart delays; `worker_exit`: how its process has exited; `watchdog`: stalled partitions and the escalation for them; `reachability`: workers that do not
//!   reach the cluster; `poison_messages`: messages that kill their worker; `processor_trial`: processors that
//!   do not work at all.
//! - `tests`: invariants in single histories; `tests/properties`: the same in generated histories.
//!
//! Times count from the supervisor's start and exclude the time in which the supervisor itself did not run: time
//! during a suspension of the machine does not count towards a timeout (see [`super::active_clock`]).

use std::time::Duration;

use rand::SeedableRng;
use rand_xoshiro::SplitMix64;

use super::partition_table::PartitionTable;
use crate::consumer::protocol::{PartitionProgress, PoisonMessage, WorkerCommand, WorkerHealth};
use crate::exit::ExitStatus;
use crate::kafka::offsets::Offsets;
use crate::monitoring::status::WorkerState;
use crate::record::TopicPartition;
use crate::settings::{Assignment, Consumer};
use assignor::assign_partitions;

mod assignor;
mod health;
mod lifecycle;
mod planned_restarts;
mod poison_messages;
mod processor_trial;
mod reachability;
mod rebalance;
mod restarts;
mod slot_state;
#[cfg(test)]
mod tests;
mod watchdog;
mod worker_exit;

use planned_restarts::PlannedRestarts;
use poison_messages::PoisonDetector;
use processor_trial::ProcessorTrial;
use reachability::Reach;
use slot_state::SlotState;
pub(super) use slot_state::StopReason;
use watchdog::Watchdog;
pub(super) use worker_exit::{ExitCause, Fault, WorkerExit};

/// The maximum number of workers; `consumer.processes` has the same limit.
const MOST_WORKERS: usize = 256;

/// An event that the policy handles.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Time has passed; sent several times a second.
    Tick,
    /// A worker consumes, or is in standby.
    Ready(usize),
    /// A worker's heartbeat with the progress of its partitions, which may be empty.
    Heartbeat(usize, Vec<PartitionProgress>),
    /// A worker's processor has returned its first result in this process.
    FirstResult(usize),
    /// These partitions are assigned to a worker, by the supervisor or by its group.
    Assigned(usize, Vec<TopicPartition>),
    /// An assignment to a worker is delayed: the brokers have not returned the start offsets of these
    /// partitions.
    Delayed(Vec<TopicPartition>),
    /// A worker has released these partitions. What it has processed of them is committed, unless they were
    /// lost.
    Revoked(usize, Vec<TopicPartition>),
    /// An isolated worker requests permission to process this message, as the only one, and waits.
    ProcessRequested(usize, TopicPartition, i64),
    /// A worker has stopped a partition because too much failed: no worker of this run consumes it further. (A
    /// group may still assign it to a worker of this run, which is informed, or to another supervisor, which is
    /// not.)
    Stopped(TopicPartition),
    /// The high watermarks of the partitions; `None` if the brokers did not reply.
    WatermarksFetched(Option<Offsets>),
    /// The brokers throttle a worker's client for this time: it receives nothing of these partitions meanwhile.
    Throttled(usize, Vec<TopicPartition>, Duration),
    /// The offsets at which consumption of these partitions stops.
    StopOffsets(Offsets),
    /// New partitions, which have no owner.
    Found(Vec<TopicPartition>),
    /// Whether a worker's Kafka client reaches the cluster and its commits succeed.
    Health(usize, WorkerHealth),
    /// Whether a new client has reached the cluster and the group coordinator.
    Probed(bool),
    /// A worker's resident set size in MiB. The process exists.
    RssSampled(usize, u64),
    /// A worker's process has exited and is reaped: its partitions have no consumer.
    Exited(usize, WorkerExit),
    /// Writes to stdout or stderr block, and processing that waits for them does not hang. `stalled`: no message
    /// moves; `stderr`: it is stderr, so that a worker may block in any of its work.
    OutputBlocked { stalled: bool, stderr: bool },
    /// A command of the operator.
    Command(ControlCommand),
}

impl Event {
    /// The worker that the event is about.
    fn worker(&self) -> Option<usize> {
        match self {
            Self::Ready(number)
            | Self::FirstResult(number)
            | Self::Heartbeat(number, _)
            | Self::Assigned(number, _)
            | Self::Revoked(number, _)
            | Self::ProcessRequested(number, _, _)
            | Self::Health(number, _)
            | Self::RssSampled(number, _)
            | Self::Throttled(number, _, _)
            | Self::Exited(number, _) => Some(*number),
            _ => None,
        }
    }
}

/// A command of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlCommand {
    /// Restart all workers one after the other.
    RollingRestart,
    /// Add one worker.
    ScaleUp,
    /// Remove one worker.
    ScaleDown,
    /// Process no more messages, but keep the partitions.
    Pause,
    /// Resume processing after a pause.
    Resume,
    /// Stop the run.
    Stop,
}

/// An action that the supervisor carries out.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Start the next process of this worker, with the partitions that it owns.
    Start(usize),
    /// Send a command to a worker.
    Send(usize, WorkerCommand),
    /// Assign further partitions to a worker, from their committed offsets.
    Assign(usize, Vec<TopicPartition>),
    /// Request a worker to stop, by message and by signal. It keeps its group membership, unless the number of
    /// workers decreases.
    Retire(usize),
    /// Kill the worker with SIGKILL.
    Kill(usize),
    /// Check whether a new client reaches the cluster; [`Event::Probed`] has the result.
    Probe,
    /// Quarantine a partition: no worker consumes it any more.
    Quarantine(TopicPartition, String),
    /// Log a warning: something was repaired, or a repair has failed.
    Warn(String),
    /// Log at level info.
    Info(String),
    /// Exit the program.
    End(ExitStatus),
}

/// Decides what to do about the workers: see the [module](self).
pub(super) struct Policy {
    settings: Consumer,
    slots: Vec<SlotState>,
    pub(super) partitions: PartitionTable,
    watchdog: Watchdog,
    suspects: PoisonDetector,
    trial: ProcessorTrial,
    reach: Reach,
    planned: PlannedRestarts,
    paused: bool,
    stopping: bool,
    /// Jitter from a seed: a policy is a pure function of its events.
    rng: SplitMix64,
    now: Duration,
    actions: Vec<Action>,
}

impl Policy {
    /// Creates the policy; `seed` is for the jitter of restart delays.
    pub(super) fn new(rules: &Consumer, seed: u64) -> Self {
        Self {
            settings: rules.clone(),
            slots: Vec::new(),
            partitions: PartitionTable::default(),
            watchdog: Watchdog::new(rules),
            suspects: PoisonDetector::default(),
            trial: ProcessorTrial::default(),
            reach: Reach::default(),
            planned: PlannedRestarts::default(),
            paused: false,
            stopping: false,
            rng: SplitMix64::seed_from_u64(seed),
            now: Duration::ZERO,
            actions: Vec::new(),
        }
    }

    /// Starts all workers. With manual assignment they share the known partitions.
    pub(super) fn begin(&mut self) -> Vec<Action> {
        let names = if self.is_group() { Vec::new() } else { self.partitions.names() };
        let shares = assign_partitions(names, self.settings.processes, self.settings.assignment_strategy);
        for (slot, share) in shares.into_iter().enumerate() {
            self.slots.push(SlotState::default());
            share.into_iter().for_each(|partition| self.take_over(slot, partition));
            self.start(slot);
        }
        std::mem::take(&mut self.actions)
    }

    /// Whether the workers were started; before that no event has any effect.
    pub(super) fn has_begun(&self) -> bool {
        !self.slots.is_empty()
    }

    /// The time of the last event.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Returns the actions that follow from an event. `now` never goes back.
    pub(super) fn handle_event(&mut self, now: Duration, event: Event) -> Vec<Action> {
        self.now = now.max(self.now);
        if !self.has_begun() || event.worker().is_some_and(|number| number >= self.slots.len()) {
            return Vec::new();
        }
        match event {
            Event::Tick => self.on_tick(),
            Event::Ready(slot) => self.on_ready(slot),
            Event::FirstResult(slot) => self.on_first_result(slot),
            Event::Heartbeat(slot, progress) => self.on_heartbeat(slot, &progress),
            Event::Assigned(slot, partitions) => self.on_assigned(slot, partitions),
            Event::Delayed(partitions) => {
                partitions.iter().for_each(|partition| self.watchdog.reset_timer(partition, self.now));
            }
            Event::Revoked(slot, partitions) => self.on_revoked(slot, &partitions),
            Event::ProcessRequested(slot, partition, offset) => self.on_process_requested(slot, partition, offset),
            Event::Stopped(partition) => self.on_stopped(&partition),
            Event::WatermarksFetched(ends) => self.on_watermarks(ends.as_ref()),
            Event::Throttled(slot, partitions, time) => self.on_throttled(slot, &partitions, time),
            Event::StopOffsets(ends) => self.watchdog.set_stop_offsets(&ends),
            Event::Found(partitions) => self.on_found(partitions),
            Event::Health(slot, health) => self.on_health(slot, &health),
            Event::Probed(reached) => self.on_probed(reached),
            Event::RssSampled(slot, rss_mb) => self.on_rss_sampled(slot, rss_mb),
            Event::Exited(slot, exit) => self.on_exit(slot, &exit),
            Event::OutputBlocked { stalled, stderr } => self.on_output_blocked(stalled, stderr),
            Event::Command(command) => self.on_command(command),
        }
        std::mem::take(&mut self.actions)
    }

    /// Whether a worker runs in isolation mode and has to request permission for each message.
    pub(super) fn is_isolated(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.isolated)
    }

    /// The messages that the program of an isolated worker should receive after others: see [`poison_messages`].
    pub(super) fn suspects(&self) -> Vec<(TopicPartition, i64)> {
        if self.has_program() { self.suspects.requested() } else { Vec::new() }
    }

    /// The poison messages that are known.
    pub(super) fn poison_messages(&self) -> Vec<PoisonMessage> {
        self.suspects.poison_messages().to_vec()
    }

    /// Whether processing is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// The number of slots, including removed ones.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Why a worker was requested to stop or killed, if it was.
    pub(super) fn why(&self, slot: usize) -> Option<&StopReason> {
        self.slots.get(slot)?.why()
    }

    /// The state of a worker; `has_partitions`: partitions are assigned to it.
    pub(super) fn state(&self, slot: usize, has_partitions: bool) -> WorkerState {
        self.slots.get(slot).map_or(WorkerState::Ended, |slot| slot.state(has_partitions))
    }

    /// The worker that may consume a partition, now or when it is started.
    pub(super) fn owner(&self, partition: &TopicPartition) -> Option<usize> {
        self.partitions.owner(partition)
    }

    /// The partitions of a worker.
    pub(super) fn partitions(&self, slot: usize) -> Vec<TopicPartition> {
        self.partitions.owned_by(slot)
    }

    fn is_group(&self) -> bool {
        self.settings.assignment == Assignment::Group
    }

    fn take_over(&mut self, slot: usize, partition: TopicPartition) {
        // The escalation level of the partition is kept when its owner changes.
        self.watchdog.watch(&partition, self.now);
        self.watchdog.reset_timer(&partition, self.now);
        self.partitions.give(&partition, slot);
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
}
