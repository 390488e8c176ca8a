//! Invariants in single histories; [`super::properties`] checks generated ones.

use super::*;
use crate::consumer::protocol::{InFlight, PartitionAssignment};
use crate::consumer::supervisor::messages::DiscoveredPartition;
use crate::consumer::supervisor::partition::LastPosition;
use crate::partition_counts::PartitionCounts;
use crate::settings::OnExceeded;

mod poison_messages;
mod properties;
mod reachability;
mod rebalance;
mod restarts;
mod rolling_restart;
mod watchdog;

const A_SECOND: Duration = Duration::from_secs(1);

/// A policy with simulated workers that follow every command.
struct World {
    policy: Policy,
    now: Duration,
    log: Vec<Action>,
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

fn rules(change: impl FnOnce(&mut Consumer)) -> Consumer {
    let mut rules = crate::settings::defaults().consumer;
    change(&mut rules);
    rules
}

/// A policy that has begun with these partitions.
fn begun(rules: &Consumer, names: impl IntoIterator<Item = TopicPartition>, seed: u64) -> (Policy, Vec<Action>) {
    let mut policy = Policy::new(rules, seed);
    names.into_iter().for_each(|name| insert(&mut policy, &name));
    let actions = policy.begin();
    (policy, actions)
}

/// The supervisor has found a partition.
fn insert(policy: &mut Policy, name: &TopicPartition) {
    let start = PartitionAssignment { partition: name.clone(), start: 0, until: None, topic_id: None };
    policy.partitions.insert(&DiscoveredPartition { start, end: 0, committed: None }, policy.now());
}

fn world(partitions: i32, rules: &Consumer) -> World {
    let (policy, log) = begun(rules, (0..partitions).map(partition), 1);
    let mut world = World { policy, now: Duration::ZERO, log };
    (0..rules.processes).for_each(|slot| world.on(Event::Ready(slot)));
    world.log.clear();
    world
}

impl World {
    fn on(&mut self, event: Event) {
        if let Event::Found(names) | Event::Assigned(_, names) = &event {
            names.iter().for_each(|name| insert(&mut self.policy, name));
        }
        self.log.extend(self.policy.handle_event(self.now, event));
    }

    /// Lets time pass; the workers report these positions every tenth of a second.
    fn pass(&mut self, time: Duration, reported: &[(usize, PartitionProgress)]) {
        let until = self.now + time;
        while self.now < until {
            self.now += A_SECOND / 10;
            for (slot, progress) in reported {
                self.on(Event::Heartbeat(*slot, vec![progress.clone()]));
            }
            self.on(Event::Tick);
        }
    }

    fn started(&self) -> Vec<usize> {
        self.log.iter().filter_map(|action| if let Action::Start(slot) = action { Some(*slot) } else { None }).collect()
    }

    fn retired(&self) -> Vec<usize> {
        self.log
            .iter()
            .filter_map(|action| if let Action::Retire(slot) = action { Some(*slot) } else { None })
            .collect()
    }

    fn has(&self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.log.iter().any(wanted)
    }

    fn ends(&mut self, end: i64, partitions: i32) {
        self.on(Event::WatermarksFetched(Some((0..partitions).map(|number| (partition(number), end)).collect())));
    }
}

/// The progress of a worker that has read a partition up to `next`.
pub(super) fn at(number: i32, next: i64) -> PartitionProgress {
    PartitionProgress {
        partition: partition(number),
        next,
        end: None,
        committed: None,
        counts: PartitionCounts { processed: next as u64, ..PartitionCounts::default() },
        in_flight: None,
        retrying: false,
        waits_for_turn: false,
    }
}

impl World {
    /// A ready worker dies in this way; its successor becomes ready, too.
    fn dies(&mut self, slot: usize, exit: WorkerExit) {
        self.on(Event::Exited(slot, exit));
        self.pass(60 * A_SECOND, &[(1 - slot.min(1), at(1, 0))]);
        self.on(Event::Ready(slot));
    }

    /// Worker 0 requests permission for the messages of this range and processes all but the last one.
    fn announce(&mut self, offsets: std::ops::Range<i64>) {
        let last = offsets.end - 1;
        for offset in offsets {
            self.on(Event::ProcessRequested(0, partition(0), offset));
            self.on(Event::Heartbeat(0, vec![at(0, if offset == last { last } else { offset + 1 })]));
        }
    }

    fn poison_messages(&self) -> Vec<i64> {
        self.policy.poison_messages().into_iter().map(|poison_messages| poison_messages.offset).collect()
    }
}

fn crash(committed: i64) -> WorkerExit {
    let last =
        LastPosition { partition: partition(0), position: committed + 5, committed, in_flight: None, has_work: true };
    WorkerExit { text: "SIGABRT".to_owned(), last_positions: vec![last], ..WorkerExit::default() }
}

fn world_with_moves() -> World {
    let mut world = world(6, &rules(|rules| rules.restart.max_restarts = 1));
    world.on(Event::Command(ControlCommand::ScaleUp));
    world.on(Event::Ready(2));
    world
}

/// The number of partitions of each of these workers.
fn shares(world: &World, slots: std::ops::Range<usize>) -> Vec<usize> {
    slots.map(|slot| world.policy.partitions(slot).len()).collect()
}
