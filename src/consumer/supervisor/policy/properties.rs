//! What must hold in every history: no partition has two readers or none, restarts stay within their intensity, and an end that was
//! asked for comes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::at;
use super::*;

/// What happens next, in a world in which workers do as they are told, late, or die.
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
    Asked(Wish),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slot = 0..5_usize;
    let wish = prop_oneof![
        4 => Just(Wish::Roll),
        4 => Just(Wish::More),
        4 => Just(Wish::Fewer),
        2 => Just(Wish::Quiet),
        2 => Just(Wish::Resume),
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
        2 => wish.prop_map(Step::Asked),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What the processes read, as the actions have told them; the policy's own books are not looked at.
#[derive(Default)]
struct World {
    now: Duration,
    alive: BTreeSet<usize>,
    readers: BTreeMap<TopicPartition, usize>,
    /// Told to give up, and have not yet.
    giving_up: BTreeMap<usize, Vec<TopicPartition>>,
    starts: Vec<(usize, Duration, bool)>,
    planned: BTreeSet<usize>,
    /// By the policy, because they did not end when they were asked to.
    killed: BTreeSet<usize>,
    wished: bool,
    over: bool,
    quarantined: BTreeSet<TopicPartition>,
    /// All that was ever anybody's.
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
                    if std::mem::take(&mut self.wished) {
                        self.starts.retain(|(other, _, _)| *other != slot);
                    }
                    self.starts.push((slot, self.now, planned));
                    policy.partitions(slot).into_iter().for_each(|partition| self.read(slot, partition));
                }
                // Whoever is dead gets them with its start.
                Action::Assign(slot, partitions) if self.alive.contains(&slot) => {
                    partitions.into_iter().for_each(|partition| self.read(slot, partition));
                }
                Action::Say(slot, ToWorker::Revoke(partitions)) => {
                    self.giving_up.entry(slot).or_default().extend(partitions)
                }
                Action::Kill(slot) => _ = self.killed.insert(slot),
                Action::Quarantine(partition, _) => _ = self.quarantined.insert(partition),
                Action::End(_) => self.over = true,
                _ => {}
            }
        }
    }

    /// All do as they are told, and nothing else happens.
    fn settle(&mut self, policy: &mut Policy) {
        // Longer than the longest pause and the time until a kill.
        for _ in 0..150 {
            self.now += Duration::from_secs(1);
            let mut events = vec![Event::Ends(None), Event::Tick];
            for slot in self.alive.clone() {
                events.extend([Event::Ready(slot), Event::Heard(slot, Vec::new())]);
                events.extend(self.give_up(slot));
            }
            for event in events {
                let actions = policy.on(self.now, event);
                self.obey(policy, actions);
            }
            let leaving: Vec<_> = self.alive.iter().copied().filter(|slot| policy.why(*slot).is_some()).collect();
            for slot in leaving {
                let Some(died) = event(self, policy, &Step::Die { slot, by_message: false, clean: true }) else {
                    continue;
                };
                let actions = policy.on(self.now, died);
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
        let seen = own.map(|(partition, _)| Seen {
            partition: partition.clone(),
            next: 20,
            committed: 10,
            in_flight: Some(20),
            has_work: true,
        });
        let death = Death { killed: !by_message, clean, seen: seen.collect(), ..Death::default() };
        self.readers.retain(|_, reader| *reader != slot);
        self.giving_up.remove(&slot);
        Some(Event::Died(slot, death))
    }
}

fn event(world: &mut World, policy: &Policy, step: &Step) -> Option<Event> {
    match *step {
        Step::Pass(milliseconds) => {
            world.now += Duration::from_millis(milliseconds);
            Some(Event::Tick)
        }
        Step::Ready(slot) => world.alive.contains(&slot).then_some(Event::Ready(slot)),
        Step::Heard(slot, next) => world.alive.contains(&slot).then(|| Event::Heard(slot, vec![at(slot as i32, next)])),
        Step::GiveUp(slot) => world.give_up(slot),
        Step::Announce(slot, offset) => {
            let partition = TopicPartition::new("t", slot as i32);
            world.alive.contains(&slot).then_some(Event::Announced(slot, partition, offset))
        }
        Step::Die { slot, by_message, clean } => {
            let killed = world.killed.remove(&slot);
            let planned = policy.why(slot).is_some_and(Why::is_planned) && (clean || killed);
            let died = world.die(slot, by_message, clean)?;
            if planned {
                world.planned.insert(slot);
            }
            Some(died)
        }
        Step::Ends(end) => {
            Some(Event::Ends(Some((0..12).map(|number| (TopicPartition::new("t", number), end)).collect())))
        }
        Step::NoEnds => Some(Event::Ends(None)),
        Step::Found(number) => Some(Event::Found(vec![TopicPartition::new("t", number)])),
        // By whoever reads it.
        Step::Stopped(number) => {
            let partition = TopicPartition::new("t", number);
            world.readers.remove(&partition)?;
            world.quarantined.insert(partition.clone());
            Some(Event::Stopped(partition))
        }
        Step::Measured(slot, rss_mb) => Some(Event::Measured(slot, rss_mb)),
        Step::Asked(wish) => Some(Event::Asked(wish)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_history_yields_two_readers_a_storm_or_no_end(steps in steps(), processes in 1..5_usize, partitions in 0..8_i32, most in 1..4_u64) {
        let mut rules = crate::settings::defaults().consumer;
        rules.processes = processes;
        rules.limits.rss_mb = 200;
        rules.restart.most = most;
        rules.restart.within = Duration::from_secs(60);
        let mut world = World::default();
        let names = (0..partitions).map(|number| TopicPartition::new("t", number)).collect();
        let (mut policy, actions) = Policy::new(&rules, names, 7);
        world.obey(&policy, actions);
        for step in &steps {
            if world.over {
                break;
            }
            let Some(event) = event(&mut world, &policy, step) else { continue };
            // A worker that somebody asks for is no restart, and its deaths are counted anew.
            world.wished = matches!(step, Step::Asked(Wish::More));
            let actions = policy.on(world.now, event);
            world.obey(&policy, actions);
            // Whatever lives reads what the books say, no more.
            world.known.extend((0..12).map(|number| TopicPartition::new("t", number)).filter(|name| policy.owner(name).is_some()));
            // (Until it is given up, a quarantined one is read on.)
            for (partition, reader) in world.readers.iter().filter(|(partition, _)| !world.quarantined.contains(partition)) {
                prop_assert_eq!(policy.owner(partition), Some(*reader), "{} is read by {}", partition, reader);
            }
        }
        // Once things have settled, whoever lives reads everything.
        world.settle(&mut policy);
        if !world.over {
            prop_assert!(!world.alive.is_empty(), "nobody is left, and nobody says so");
            for partition in world.known.difference(&world.quarantined) {
                let owner = policy.owner(partition);
                prop_assert!(owner.is_some_and(|owner| world.alive.contains(&owner)), "{} is {:?}'s, who is dead", partition, owner);
                prop_assert_eq!(world.readers.get(partition).copied(), owner, "{} is read by nobody", partition);
            }
        }
        // No more starts within the time than were allowed; planned ones and a slot's first are no restarts.
        for slot in 0..policy.slots() {
            let restarts: Vec<_> = world.starts.iter().filter(|(other, _, planned)| *other == slot && !planned).skip(1).map(|(_, at, _)| *at).collect();
            for from in &restarts {
                let storm = restarts.iter().filter(|at| (*from..*from + rules.restart.within).contains(*at)).count();
                prop_assert!(storm as u64 <= most + 1, "worker {} was started {} times", slot, storm);
            }
        }
        // The end: everybody is told, and nobody is started any more.
        let actions = policy.on(world.now, Event::Asked(Wish::Stop));
        for slot in &world.alive {
            prop_assert!(actions.iter().any(|action| matches!(action, Action::Say(told, ToWorker::Stop) if told == slot)), "worker {} is not told", slot);
        }
        for slot in world.alive.clone() {
            if let Some(died) = world.die(slot, true, false) {
                let actions = policy.on(world.now, died);
                world.obey(&policy, actions);
            }
        }
        world.now += Duration::from_secs(3_600);
        let actions = policy.on(world.now, Event::Tick);
        world.obey(&policy, actions);
        prop_assert!(world.alive.is_empty(), "{:?} live on", world.alive);
    }
}
