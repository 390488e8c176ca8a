//! Invariants of every history: each partition has exactly one consumer, restarts stay within the restart
//! intensity, and a requested stop completes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::*;
use super::{LastPosition, at, begun, insert};
use crate::consumer::protocol::{InFlight, WorkerHealth};
use crate::kafka::health::ClientHealth;
use crate::kafka::quota_throttle::Throttled;
use crate::partition_counts::PartitionCounts;

/// The next step, in a simulation in which workers follow commands, follow them late, or die.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Ready(usize),
    Heard(usize, i64),
    GiveUp(usize),
    Announce(usize, i64),
    Die { slot: usize, by_message: bool, clean: bool },
    Ends(i64),
    NoEnds,
    Found(i32),
    Stopped(i32),
    Measured(usize, u64),
    Asked(ControlCommand),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slot = 0..5_usize;
    let command = prop_oneof![
        4 => Just(ControlCommand::RollingRestart),
        4 => Just(ControlCommand::ScaleUp),
        4 => Just(ControlCommand::ScaleDown),
        2 => Just(ControlCommand::Pause),
        2 => Just(ControlCommand::Resume),
    ];
    let step = prop_oneof![
        8 => (1..20_000_u64).prop_map(Step::Pass),
        6 => slot.clone().prop_map(Step::Ready),
        6 => (slot.clone(), 0..100_i64).prop_map(|(slot, next)| Step::Heard(slot, next)),
        4 => slot.clone().prop_map(Step::GiveUp),
        2 => (slot.clone(), 0..100_i64).prop_map(|(slot, offset)| Step::Announce(slot, offset)),
        8 => (slot.clone(), any::<bool>(), any::<bool>()).prop_map(|(slot, by_message, clean)| Step::Die { slot, by_message, clean }),
        2 => (0..200_i64).prop_map(Step::Ends),
        1 => Just(Step::NoEnds),
        1 => (0..12_i32).prop_map(Step::Found),
        1 => (0..12_i32).prop_map(Step::Stopped),
        1 => (slot, 0..300_u64).prop_map(|(slot, rss_mb)| Step::Measured(slot, rss_mb)),
        2 => command.prop_map(Step::Asked),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What the processes consume according to the actions; the policy's own state is not used.
#[derive(Default)]
struct World {
    now: Duration,
    alive: BTreeSet<usize>,
    readers: BTreeMap<TopicPartition, usize>,
    /// Partitions with a revocation that is not completed yet.
    giving_up: BTreeMap<usize, Vec<TopicPartition>>,
    starts: Vec<(usize, Duration, bool)>,
    planned: BTreeSet<usize>,
    /// Workers that the policy has killed because they did not stop in time.
    killed: BTreeSet<usize>,
    requested: bool,
    over: bool,
    quarantined: BTreeSet<TopicPartition>,
    /// All partitions that ever had an owner.
    known: BTreeSet<TopicPartition>,
}

impl World {
    fn read(&mut self, slot: usize, partition: TopicPartition) {
        assert!(!self.quarantined.contains(&partition), "{partition} was to be read by nobody");
        let before = self.readers.insert(partition.clone(), slot);
        assert!(before.is_none_or(|before| before == slot), "{partition} is read by {before:?} and by {slot}");
    }

    fn obey(&mut self, policy: &Policy, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start(slot) => {
                    assert!(self.alive.insert(slot), "worker {slot} is started twice");
                    let planned = self.planned.remove(&slot);
                    if std::mem::take(&mut self.requested) {
                        self.starts.retain(|(other, _, _)| *other != slot);
                    }
                    self.starts.push((slot, self.now, planned));
                    policy.partitions(slot).into_iter().for_each(|partition| self.read(slot, partition));
                }
                // A worker without a process gets them with its start.
                Action::Assign(slot, partitions) if self.alive.contains(&slot) => {
                    partitions.into_iter().for_each(|partition| self.read(slot, partition));
                }
                Action::Send(slot, WorkerCommand::Revoke(partitions)) => {
                    self.giving_up.entry(slot).or_default().extend(partitions)
                }
                Action::Kill(slot) => _ = self.killed.insert(slot),
                Action::Quarantine(partition, _) => _ = self.quarantined.insert(partition),
                Action::End(_) => self.over = true,
                _ => {}
            }
        }
    }

    /// All workers follow their commands, and nothing else happens.
    fn settle(&mut self, policy: &mut Policy) {
        // Longer than the longest restart delay and the time until a kill.
        for _ in 0..150 {
            self.now += Duration::from_secs(1);
            let mut events = vec![Event::WatermarksFetched(None), Event::Tick];
            for slot in self.alive.clone() {
                events.extend([Event::Ready(slot), Event::Heartbeat(slot, Vec::new())]);
                events.extend(self.give_up(slot));
            }
            for event in events {
                let actions = policy.handle_event(self.now, event);
                self.obey(policy, actions);
            }
            let leaving: Vec<_> = self.alive.iter().copied().filter(|slot| policy.why(*slot).is_some()).collect();
            for slot in leaving {
                let Some(died) = event(self, policy, &Step::Die { slot, by_message: false, clean: true }) else {
                    continue;
                };
                let actions = policy.handle_event(self.now, died);
                self.obey(policy, actions);
            }
        }
    }

    fn give_up(&mut self, slot: usize) -> Option<Event> {
        let partitions = self.giving_up.remove(&slot).filter(|_| self.alive.contains(&slot))?;
        self.readers.retain(|partition, reader| *reader != slot || !partitions.contains(partition));
        Some(Event::Revoked(slot, partitions))
    }

    fn die(&mut self, slot: usize, by_message: bool, clean: bool) -> Option<Event> {
        if !self.alive.remove(&slot) {
            return None;
        }
        let own = self.readers.iter().filter(|(_, reader)| **reader == slot);
        let cause = match (clean, by_message) {
            (true, _) => ExitCause::Clean,
            (false, true) => ExitCause::Crashed,
            (false, false) => ExitCause::Killed,
        };
        let last_positions = own.map(|(partition, _)| LastPosition {
            partition: partition.clone(),
            position: 20,
            committed: 10,
            in_flight: Some(20),
            has_work: true,
        });
        let exit = WorkerExit { cause, last_positions: last_positions.collect(), ..WorkerExit::default() };
        self.readers.retain(|_, reader| *reader != slot);
        self.giving_up.remove(&slot);
        Some(Event::Exited(slot, exit))
    }
}

fn event(world: &mut World, policy: &Policy, step: &Step) -> Option<Event> {
    match *step {
        Step::Pass(milliseconds) => {
            world.now += Duration::from_millis(milliseconds);
            Some(Event::Tick)
        }
        Step::Ready(slot) => world.alive.contains(&slot).then_some(Event::Ready(slot)),
        Step::Heard(slot, next) => {
            world.alive.contains(&slot).then(|| Event::Heartbeat(slot, vec![at(slot as i32, next)]))
        }
        Step::GiveUp(slot) => world.give_up(slot),
        Step::Announce(slot, offset) => {
            let partition = TopicPartition::new("t", slot as i32);
            world.alive.contains(&slot).then_some(Event::ProcessRequested(slot, partition, offset))
        }
        Step::Die { slot, by_message, clean } => {
            let killed = world.killed.remove(&slot);
            let planned = policy.why(slot).is_some_and(StopReason::is_planned) && (clean || killed);
            let died = world.die(slot, by_message, clean)?;
            if planned {
                world.planned.insert(slot);
            }
            Some(died)
        }
        Step::Ends(end) => Some(Event::WatermarksFetched(Some(
            (0..12).map(|number| (TopicPartition::new("t", number), end)).collect(),
        ))),
        Step::NoEnds => Some(Event::WatermarksFetched(None)),
        Step::Found(number) => Some(Event::Found(vec![TopicPartition::new("t", number)])),
        // The current consumer of the partition stops it.
        Step::Stopped(number) => {
            let partition = TopicPartition::new("t", number);
            world.readers.remove(&partition)?;
            world.quarantined.insert(partition.clone());
            Some(Event::Stopped(partition))
        }
        Step::Measured(slot, rss_mb) => Some(Event::RssSampled(slot, rss_mb)),
        Step::Asked(command) => Some(Event::Command(command)),
    }
}

/// Numbers at the ends of their ranges, and some realistic ones.
fn extreme() -> impl Strategy<Value = u64> {
    prop_oneof![0..100_u64, Just(i64::MAX as u64), Just(1 << 63), Just(u64::MAX - 1), Just(u64::MAX), any::<u64>()]
}

/// Frames that a worker with corrupted memory may send.
fn broken_frames() -> impl Strategy<Value = Vec<Event>> {
    let slot = || 0..3_usize;
    let partition =
        || prop_oneof![0..4_i32, Just(-1), Just(i32::MAX)].prop_map(|number| TopicPartition::new("t", number));
    let offset = || extreme().prop_map(|offset| offset as i64);
    let progress = (partition(), [extreme(), extreme(), extreme()], [offset(), offset(), offset()], any::<[bool; 3]>())
        .prop_map(
            |(
                partition,
                [processed, failed, age_ms],
                [next, end, committed],
                [in_flight, retrying, waits_for_turn],
            )| {
                let in_flight = in_flight.then_some(InFlight { offset: next, age_ms });
                let (end, committed) = (Some(end), Some(committed));
                let counts = PartitionCounts { processed, failed, dead_lettered: failed, ..PartitionCounts::default() };
                PartitionProgress {
                    partition,
                    end,
                    committed,
                    counts,
                    in_flight,
                    retrying,
                    waits_for_turn,
                    ..at(0, next)
                }
            },
        );
    let seconds = || prop_oneof![Just(0.0), Just(-1.0), Just(f64::MAX), 0.0..1e6_f64];
    let health = (seconds(), seconds(), extreme()).prop_map(
        |(last_response_age_seconds, coordinator_unavailable_seconds, uncommitted_ms)| {
            let client =
                ClientHealth { last_response_age_seconds, coordinator_unavailable_seconds, ..ClientHealth::default() };
            WorkerHealth { client: Some(client), uncommitted_ms, commit_failures: uncommitted_ms }
        },
    );
    let partitions = || proptest::collection::vec(partition(), 0..3);
    let throttled = (slot(), partitions(), extreme()).prop_map(|(slot, partitions, milliseconds)| {
        let remaining = Duration::from_millis(milliseconds);
        let frame = serde_json::to_string(&Throttled { remaining, ..Throttled::default() }).unwrap();
        Event::Throttled(slot, partitions, serde_json::from_str::<Throttled>(&frame).unwrap().remaining)
    });
    let last = (partition(), offset(), offset(), proptest::option::of(offset()));
    let last = last.prop_map(|(partition, position, committed, in_flight)| LastPosition {
        partition,
        position,
        committed,
        in_flight,
        has_work: true,
    });
    let died =
        (slot(), any::<bool>(), proptest::collection::vec(last, 0..3)).prop_map(|(slot, clean, last_positions)| {
            let cause = if clean { ExitCause::Clean } else { ExitCause::Exited };
            Event::Exited(slot, WorkerExit { cause, last_positions, ..WorkerExit::default() })
        });
    let event = prop_oneof![
        6 => Just(Event::Tick),
        4 => slot().prop_map(Event::Ready),
        8 => (slot(), proptest::collection::vec(progress, 0..3)).prop_map(|(slot, reported)| Event::Heartbeat(slot, reported)),
        2 => (slot(), health).prop_map(|(slot, health)| Event::Health(slot, health)),
        2 => (slot(), partition(), offset()).prop_map(|(slot, partition, offset)| Event::ProcessRequested(slot, partition, offset)),
        1 => (slot(), partitions()).prop_map(|(slot, partitions)| Event::Assigned(slot, partitions)),
        1 => (slot(), partitions()).prop_map(|(slot, partitions)| Event::Revoked(slot, partitions)),
        1 => throttled,
        1 => (slot(), extreme()).prop_map(|(slot, rss_mb)| Event::RssSampled(slot, rss_mb)),
        1 => partition().prop_map(Event::Stopped),
        2 => offset().prop_map(|end| Event::WatermarksFetched(Some((0..4).map(|number| (TopicPartition::new("t", number), end)).collect()))),
        1 => died,
    ];
    proptest::collection::vec(event, 1..60)
}

proptest! {
    #[test]
    fn no_frames_of_a_broken_worker_make_it_panic(events in broken_frames(), step in 1..40_u64) {
        let mut rules = crate::settings::defaults().consumer;
        rules.processes = 3;
        rules.recycle.max_rss_mb = 200;
        let (mut policy, _) = begun(&rules, (0..4).map(|number| TopicPartition::new("t", number)), 7);
        let mut now = Duration::ZERO;
        for event in events {
            policy.handle_event(now, event);
            now += Duration::from_secs(step);
        }
    }

    #[test]
    fn a_throttle_time_is_bounded(seconds: u64) {
        let frame = format!(r#"{{"brokers":[1],"remaining":{{"secs":{seconds},"nanos":0}},"partitions":[]}}"#);
        let read: Throttled = serde_json::from_str(&frame).unwrap();
        prop_assert!(std::time::Instant::now().checked_add(read.remaining).is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_history_yields_two_owners_a_restart_storm_or_no_end(steps in steps(), processes in 1..5_usize, partitions in 0..8_i32, most in 1..4_u64) {
        let mut rules = crate::settings::defaults().consumer;
        rules.processes = processes;
        rules.recycle.max_rss_mb = 200;
        rules.restart.max_restarts = most;
        rules.restart.window = Duration::from_secs(60);
        let mut world = World::default();
        let names = |range: std::ops::Range<i32>| range.map(|number| TopicPartition::new("t", number));
        let (mut policy, actions) = begun(&rules, names(0..partitions), 7);
        // The supervisor finds these later.
        names(partitions..12).for_each(|name| insert(&mut policy, &name));
        world.obey(&policy, actions);
        for step in &steps {
            if world.over {
                break;
            }
            let Some(event) = event(&mut world, &policy, step) else { continue };
            // A worker that an operator has added is no restart, and its exits are counted from zero.
            world.requested = matches!(step, Step::Asked(ControlCommand::ScaleUp));
            let actions = policy.handle_event(world.now, event);
            world.obey(&policy, actions);
            // A running worker consumes exactly what the policy assigns.
            world.known.extend((0..12).map(|number| TopicPartition::new("t", number)).filter(|name| policy.owner(name).is_some()));
            // (A quarantined partition is consumed until it is released.)
            for (partition, reader) in world.readers.iter().filter(|(partition, _)| !world.quarantined.contains(partition)) {
                prop_assert_eq!(policy.owner(partition), Some(*reader), "{} is read by {}", partition, reader);
            }
        }
        // Once no move is pending, the running workers consume all partitions.
        world.settle(&mut policy);
        if !world.over {
            prop_assert!(!world.alive.is_empty(), "nobody is left, and nobody says so");
            for partition in world.known.difference(&world.quarantined) {
                let owner = policy.owner(partition);
                prop_assert!(owner.is_some_and(|owner| world.alive.contains(&owner)), "{} is {:?}'s, who is dead", partition, owner);
                prop_assert_eq!(world.readers.get(partition).copied(), owner, "{} is read by nobody", partition);
            }
        }
        // There are no more restarts within the window than allowed; planned restarts and the first start of a
        // slot do not count.
        for slot in 0..policy.slots() {
            let restarts: Vec<_> = world.starts.iter().filter(|(other, _, planned)| *other == slot && !planned).skip(1).map(|(_, at, _)| *at).collect();
            for from in &restarts {
                let storm = restarts.iter().filter(|at| (*from..*from + rules.restart.window).contains(*at)).count();
                prop_assert!(storm as u64 <= most + 1, "worker {} was started {} times", slot, storm);
            }
        }
        // The stop: every worker receives it, and no worker is started any more.
        let actions = policy.handle_event(world.now, Event::Command(ControlCommand::Stop));
        for slot in &world.alive {
            prop_assert!(actions.iter().any(|action| matches!(action, Action::Send(reported, WorkerCommand::Stop) if reported == slot)), "worker {} is not told", slot);
        }
        for slot in world.alive.clone() {
            if let Some(died) = world.die(slot, true, false) {
                let actions = policy.handle_event(world.now, died);
                world.obey(&policy, actions);
            }
        }
        world.now += Duration::from_secs(3_600);
        let actions = policy.handle_event(world.now, Event::Tick);
        world.obey(&policy, actions);
        prop_assert!(world.alive.is_empty(), "{:?} live on", world.alive);
    }
}
