//! What must hold in single histories; [`super::properties`] has all the others.

use super::*;
use crate::consumer::control::InFlight;
use crate::settings::Exceeded;

mod blaming;
mod replacing;
mod restarting;
mod sharing;
mod watching;

const A_SECOND: Duration = Duration::from_secs(1);

/// A policy in a world that does what it is told.
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

fn world(partitions: i32, rules: &Consumer) -> World {
    let (policy, log) = Policy::new(rules, (0..partitions).map(partition).collect(), 1);
    let mut world = World { policy, now: Duration::ZERO, log };
    (0..rules.processes).for_each(|slot| world.on(Event::Ready(slot)));
    world.log.clear();
    world
}

impl World {
    fn on(&mut self, event: Event) {
        self.log.extend(self.policy.on(self.now, event));
    }

    /// Time passes; the workers tell these positions every tenth of a second.
    fn pass(&mut self, time: Duration, told: &[(usize, PartitionProgress)]) {
        let until = self.now + time;
        while self.now < until {
            self.now += A_SECOND / 10;
            for (slot, progress) in told {
                self.on(Event::Heard(*slot, vec![progress.clone()]));
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
        self.on(Event::Ends(Some((0..partitions).map(|number| (partition(number), end)).collect())));
    }
}

/// What a worker tells of a partition that it has read up to there.
pub(super) fn at(number: i32, next: i64) -> PartitionProgress {
    PartitionProgress {
        partition: partition(number),
        next,
        end: None,
        committed: None,
        processed: next as u64,
        failed: 0,
        dead_lettered: 0,
        retried: 0,
        read_bytes: 0,
        in_flight: None,
        retrying: false,
        waits_for_turn: false,
        read_up_to: None,
    }
}

fn crash(committed: i64) -> Death {
    let seen = Seen { partition: partition(0), next: committed + 5, committed, in_flight: None, has_work: true };
    Death { cause: "SIGABRT".to_owned(), seen: vec![seen], ..Death::default() }
}

fn world_with_moves() -> World {
    let mut world = world(6, &rules(|rules| rules.restart.most = 1));
    world.on(Event::Asked(Wish::More));
    world.on(Event::Ready(2));
    world
}

/// How many partitions each of these has.
fn shares(world: &World, slots: std::ops::Range<usize>) -> Vec<usize> {
    slots.map(|slot| world.policy.partitions(slot).len()).collect()
}
