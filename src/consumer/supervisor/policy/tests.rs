//! What must hold in single histories; [`super::properties`] has all the others.

use super::*;
use crate::consumer::control::InFlight;
use crate::settings::Exceeded;

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
        read_up_to: None,
    }
}

fn crash(committed: i64) -> Death {
    let seen = Seen { partition: partition(0), next: committed + 5, committed, in_flight: None, has_work: true };
    Death { cause: "SIGABRT".to_owned(), seen: vec![seen], ..Death::default() }
}

#[test]
fn pauses_double_up_to_a_limit_and_start_anew_after_a_healthy_life() {
    let rules = rules(|rules| (rules.processes, rules.restart.most) = (1, 0));
    let mut world = world(1, &rules);
    let mut pauses = Vec::new();
    for healthy in [false, false, false, false, false, false, false, false, false, false, true, false] {
        if healthy {
            world.pass(rules.restart.healthy_after, &[(0, at(0, 7))]);
        }
        let died = world.now;
        world.on(Event::Died(0, crash(0)));
        world.log.clear();
        while world.started().is_empty() {
            world.now += Duration::from_millis(1);
            world.on(Event::Tick);
        }
        pauses.push((world.now - died).as_secs_f64());
    }
    let expected = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 0.1, 0.2];
    for (pause, expected) in pauses.iter().zip(expected) {
        assert!((expected..=expected * 1.25 + 0.002).contains(pause), "{pause} is not {expected}: {pauses:?}");
    }
}

#[test]
fn a_worker_that_dies_too_often_is_parked_and_the_others_get_its_partitions() {
    let mut world = world(4, &rules(|rules| rules.restart.most = 2));
    for _ in 0..2 {
        world.on(Event::Died(0, crash(0)));
        world.pass(A_SECOND, &[]);
        assert!(world.started().contains(&0));
        world.log.clear();
    }
    world.on(Event::Died(0, crash(0)));
    assert!(world.has(|action| matches!(action, Action::Assign(1, partitions) if partitions.len() == 2)));
    assert_eq!(world.policy.partitions(1).len(), 4);
    world.pass(100 * A_SECOND, &[(1, at(3, 1))]);
    assert!(!world.started().contains(&0));
    for _ in 0..3 {
        world.on(Event::Died(1, crash(0)));
        world.pass(A_SECOND, &[]);
    }
    assert!(world.has(|action| matches!(action, Action::End(exit) if !exit.is_clean())), "nobody is left");
}

#[test]
fn the_program_ends_when_all_are_parked_while_the_last_one_is_taken_away() {
    let mut world = world(2, &rules(|rules| rules.restart.most = 1));
    world.on(Event::Asked(Wish::Fewer));
    for _ in 0..2 {
        world.on(Event::Died(0, crash(0)));
        world.pass(A_SECOND, &[]);
    }
    assert!(!world.has(|action| matches!(action, Action::End(_))), "the other one is not dead yet");
    world.on(Event::Died(1, Death { clean: true, ..Death::default() }));
    assert!(world.has(|action| matches!(action, Action::End(exit) if !exit.is_clean())), "{:?}", world.log);
}

#[test]
fn too_many_deaths_end_the_program_if_asked() {
    let mut world = world(1, &rules(|rules| (rules.restart.most, rules.restart.exceeded) = (1, Exceeded::End)));
    world.on(Event::Died(0, crash(0)));
    world.pass(A_SECOND, &[]);
    world.on(Event::Died(0, crash(0)));
    assert!(world.has(|action| matches!(action, Action::End(_))));
}

#[test]
fn a_lasting_cause_ends_the_program_and_a_shutdown_restarts_nobody() {
    let mut first = world(2, &rules(|_| ()));
    first.on(Event::Died(0, Death { lasting: Some("no such topic".to_owned()), ..crash(0) }));
    assert!(first.has(|action| matches!(action, Action::End(exit) if exit.reason.contains("no such topic"))));
    let mut second = world(2, &rules(|_| ()));
    second.on(Event::Asked(Wish::Stop));
    second.on(Event::Died(0, crash(0)));
    second.pass(100 * A_SECOND, &[]);
    assert!(second.started().is_empty());
}

#[test]
fn a_silent_worker_is_asked_to_end_then_killed_then_replaced() {
    let mut world = world(2, &rules(|_| ()));
    world.pass(9 * A_SECOND, &[(1, at(1, 0))]);
    assert!(world.retired().is_empty());
    world.pass(2 * A_SECOND, &[(1, at(1, 0))]);
    assert_eq!(world.retired(), [0]);
    assert!(!world.has(|action| matches!(action, Action::Kill(_))));
    world.pass(5 * A_SECOND, &[(1, at(1, 0))]);
    assert!(world.has(|action| matches!(action, Action::Kill(0))));
    world.on(Event::Died(0, Death { killed: true, ..crash(0) }));
    world.pass(A_SECOND, &[(1, at(1, 0))]);
    assert_eq!(world.started(), [0]);
}

#[test]
fn a_stuck_partition_gets_a_new_client_then_a_new_worker_then_another_one_then_nobody() {
    let minute = 60 * A_SECOND;
    let mut world = world(2, &rules(|_| ()));
    world.ends(100, 2);
    let told = [(0, at(0, 10)), (1, at(1, 100))];
    world.pass(minute + A_SECOND, &told);
    assert!(world.has(|action| matches!(action, Action::Say(0, ToWorker::Rebuild))));
    assert!(world.retired().is_empty(), "the one that is at its end is left alone");
    world.pass(minute + A_SECOND, &told);
    assert_eq!(world.retired(), [0]);
    world.on(Event::Died(0, Death { clean: true, ..crash(10) }));
    world.pass(A_SECOND, &told);
    assert_eq!(world.started(), [0]);
    world.on(Event::Ready(0));
    world.pass(minute + A_SECOND, &told);
    assert!(
        world.has(
            |action| matches!(action, Action::Say(0, ToWorker::Revoke(partitions)) if *partitions == [partition(0)])
        )
    );
    assert_eq!(world.policy.owner(&partition(0)), Some(0), "until it has given it up");
    world.on(Event::Revoked(0, vec![partition(0)]));
    assert_eq!(world.policy.owner(&partition(0)), Some(1));
    assert!(world.has(|action| matches!(action, Action::Assign(1, partitions) if *partitions == [partition(0)])));
    world.pass(3 * minute, &[(0, at(2, 0)), (1, at(0, 10)), (1, at(1, 100))]);
    // A rung each minute for the new owner would rebuild and restart it; it was moved, so nobody gets it.
    assert!(
        world.has(|action| matches!(action, Action::Quarantine(quarantined, _) if *quarantined == partition(0))),
        "{:?}",
        world.log
    );
    assert_eq!(world.policy.owner(&partition(0)), None);
}

#[test]
fn a_partition_that_was_stopped_is_read_by_nobody_any_more() {
    let mut world = world(4, &rules(|_| ()));
    world.on(Event::Stopped(partition(0)));
    assert!(
        world.has(
            |action| matches!(action, Action::Say(0, ToWorker::Revoke(partitions)) if *partitions == [partition(0)])
        )
    );
    assert!(!world.has(|action| matches!(action, Action::Quarantine(..))), "it is told already");
    world.on(Event::Revoked(0, vec![partition(0)]));
    world.on(Event::Found(vec![partition(0)]));
    world.on(Event::Died(0, crash(0)));
    world.pass(A_SECOND, &[(1, at(2, 1))]);
    assert_eq!((world.started(), world.policy.partitions(0)), (vec![0], vec![partition(1)]));
    world.on(Event::Asked(Wish::Fewer));
    world.on(Event::Died(1, Death { clean: true, ..Death::default() }));
    assert_eq!(world.policy.partitions(0), [1, 2, 3].map(partition));
}

#[test]
fn a_partition_that_stopped_on_its_way_to_another_worker_does_not_get_there() {
    let mut world = world_with_moves();
    let going = world.policy.partitions(0).pop().unwrap();
    world.on(Event::Stopped(going.clone()));
    world.on(Event::Revoked(0, vec![going.clone()]));
    assert_eq!((world.policy.owner(&going), shares(&world, 0..3)), (None, vec![2, 3, 0]));
}

#[test]
fn a_partition_that_is_read_no_further_makes_nobody_cautious() {
    let mut world = world(4, &rules(|_| ()));
    world.on(Event::Stopped(partition(0)));
    for _ in 0..3 {
        world.on(Event::Died(0, crash(5)));
        world.pass(A_SECOND, &[(1, at(2, 1))]);
    }
    assert!(!world.policy.is_cautious(0), "all these deaths were elsewhere");
}

#[test]
fn what_a_group_deals_is_helped_twice_and_then_left_alone() {
    let mut world = world(0, &rules(|rules| (rules.processes, rules.assignment) = (1, Assignment::Group)));
    world.on(Event::Assigned(0, vec![partition(0)]));
    world.ends(101, 1);
    let told = [(0, at(0, 100))];
    for _ in 0..10 {
        world.pass(61 * A_SECOND, &told);
        if let Some(Action::Retire(0)) = world.log.last() {
            world.on(Event::Revoked(0, vec![partition(0)]));
            world.on(Event::Died(0, Death { clean: true, ..crash(100) }));
            world.pass(A_SECOND, &[]);
            world.on(Event::Ready(0));
            world.on(Event::Assigned(0, vec![partition(0)]));
        }
    }
    let rebuilds = world.log.iter().filter(|action| matches!(action, Action::Say(0, ToWorker::Rebuild))).count();
    assert_eq!((rebuilds, world.retired().len()), (1, 1), "{:?}", world.log);
}

#[test]
fn in_a_group_the_distance_at_which_nothing_helped_is_left_alone_after_each_transaction() {
    let mut world = world(0, &rules(|rules| (rules.processes, rules.assignment) = (1, Assignment::Group)));
    world.on(Event::Assigned(0, vec![partition(0)]));
    let idle = |world: &mut World, next, end| {
        world.ends(end, 1);
        for _ in 0..5 {
            world.pass(61 * A_SECOND, &[(0, at(0, next))]);
            if world.policy.why(0).is_some() {
                world.on(Event::Revoked(0, vec![partition(0)]));
                world.on(Event::Died(0, Death { clean: true, ..crash(next) }));
                world.pass(A_SECOND, &[]);
                world.on(Event::Ready(0));
                world.on(Event::Assigned(0, vec![partition(0)]));
            }
        }
        let rebuilds = world.log.iter().filter(|action| matches!(action, Action::Say(0, ToWorker::Rebuild))).count();
        (rebuilds, world.retired().len())
    };
    assert_eq!(idle(&mut world, 100, 101), (1, 1));
    for transaction in 1..5 {
        assert_eq!(idle(&mut world, 100 + 10 * transaction, 101 + 10 * transaction), (1, 1), "its mark is known");
    }
    assert_eq!(idle(&mut world, 150, 155), (2, 2), "these have not come before");
    assert_eq!(idle(&mut world, 150, 300), (2, 2), "nothing has helped, and it has not moved");
}

#[test]
fn last_words_about_a_partition_that_is_somebody_elses_say_nothing_about_it() {
    let mut world = world(0, &rules(|rules| rules.assignment = Assignment::Group));
    world.on(Event::Assigned(0, vec![partition(0)]));
    world.on(Event::Assigned(1, vec![partition(0)]));
    world.ends(100, 1);
    world.on(Event::Heard(1, vec![at(0, 100)]));
    let late = PartitionProgress { in_flight: Some(InFlight { offset: 40, age_ms: 59_000 }), ..at(0, 40) };
    world.on(Event::Heard(0, vec![late]));
    for _ in 0..130 {
        world.pass(A_SECOND, &[(0, at(7, 0)), (1, at(8, 0))]);
    }
    assert!(world.log.iter().all(|action| matches!(action, Action::Inform(_))), "{:?}", world.log);
}

#[test]
fn a_worker_whose_processor_is_never_made_is_found() {
    let start = |stall: Duration| {
        let mut world = world(2, &rules(|rules| rules.watchdog.stall_timeout = stall));
        world.on(Event::Died(0, crash(0)));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
        assert_eq!(world.started(), [0]);
        world
    };
    let alive = [(0, at(7, 0)), (1, at(1, 0))];
    let lives = |world: &mut World, seconds: u32| {
        for _ in 0..seconds {
            world.on(Event::Measured(0, 10));
            world.pass(A_SECOND, &alive);
        }
    };
    // As long as it has no process, it waits for the brokers.
    let mut first = start(20 * A_SECOND);
    first.pass(300 * A_SECOND, &alive);
    lives(&mut first, 30);
    // And while they do not answer, a process may wait for them.
    first.on(Event::Ends(None));
    lives(&mut first, 59);
    assert!(first.retired().is_empty(), "a minute is the least");
    lives(&mut first, 2);
    assert_eq!(first.retired(), [0]);
    assert!(first.policy.why(0).is_some_and(|why| why.to_string().contains("not become ready")));

    let mut longer = start(90 * A_SECOND);
    lives(&mut longer, 88);
    assert!(longer.retired().is_empty());
    longer.on(Event::Ready(0));
    lives(&mut longer, 100);
    assert!(longer.retired().is_empty(), "it is ready");

    let mut never = start(Duration::ZERO);
    lives(&mut never, 500);
    assert!(never.retired().is_empty());
}

#[test]
fn a_slow_handler_is_left_alone_and_one_that_hangs_is_found() {
    let mut world = world(2, &rules(|_| ()));
    world.ends(1_000, 2);
    let in_hand = |next, age: Duration| PartitionProgress {
        in_flight: Some(InFlight { offset: next, age_ms: age.as_millis() as u64 }),
        ..at(0, next)
    };
    for message in 0..10 {
        for second in 0..59 {
            world.pass(A_SECOND, &[(0, in_hand(message, second * A_SECOND)), (1, at(1, 1_000))]);
        }
    }
    assert!(world.log.is_empty(), "{:?}", world.log);
    for second in 0..61 {
        world.pass(A_SECOND, &[(0, in_hand(10, second * A_SECOND)), (1, at(1, 1_000))]);
    }
    assert_eq!(world.retired(), [0]);
    assert!(world.policy.why(0).is_some_and(|why| why.to_string().contains("t/0@10")));
}

#[test]
fn a_handler_that_waits_for_the_output_does_not_hang() {
    let mut world = world(2, &rules(|_| ()));
    world.ends(1_000, 2);
    let in_hand = |second: u64| PartitionProgress {
        in_flight: Some(InFlight { offset: 10, age_ms: second * 1_000 }),
        ..at(0, 10)
    };
    for second in 0..300 {
        world.pass(A_SECOND, &[(0, in_hand(second)), (1, at(1, 10))]);
        world.on(Event::OutputFull { log: false });
    }
    assert!(world.log.is_empty(), "{:?}", world.log);
    for second in 300..361 {
        world.pass(A_SECOND, &[(0, in_hand(second)), (1, at(1, 1_000))]);
        assert_eq!(world.retired().len(), usize::from(second == 360), "as long again after it was read: {second}");
    }
}

#[test]
fn a_worker_that_waits_for_its_log_is_silent_without_fault() {
    for log in [true, false] {
        let mut world = world(2, &rules(|_| ()));
        for _ in 0..60 {
            world.pass(A_SECOND, &[(1, at(1, 0))]);
            world.on(Event::OutputFull { log });
        }
        assert_eq!(world.retired().is_empty(), log, "{:?}", world.log);
    }
}

#[test]
fn partitions_that_a_hanging_handler_holds_up_are_not_blamed() {
    let mut world = world(2, &rules(|rules| rules.processes = 1));
    world.ends(1_000, 2);
    for second in 0..62 {
        let in_flight = Some(InFlight { offset: 5, age_ms: second * 1_000 });
        world.pass(A_SECOND, &[(0, PartitionProgress { in_flight, ..at(1, 5) }), (0, at(0, 10))]);
    }
    assert_eq!(world.retired(), [0]);
    assert!(!world.has(|action| matches!(action, Action::Say(_, ToWorker::Rebuild))));
}

#[test]
fn brokers_that_are_away_are_nobodys_fault() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    world.ends(100, 1);
    for _ in 0..300 {
        world.pass(A_SECOND, &[(0, at(0, 10))]);
        world.on(Event::Ends(None));
    }
    assert!(world.log.is_empty(), "{:?}", world.log);
}

#[test]
fn the_mark_of_a_transaction_at_the_end_is_nothing_to_read() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    world.ends(101, 1);
    let told = [(0, PartitionProgress { read_up_to: Some(101), ..at(0, 100) })];
    world.pass(A_SECOND, &told);
    world.ends(101, 1);
    world.pass(200 * A_SECOND, &told);
    assert!(world.log.is_empty(), "{:?}", world.log);
    world.ends(110, 1);
    world.pass(61 * A_SECOND, &told);
    assert!(world.has(|action| matches!(action, Action::Say(0, ToWorker::Rebuild))), "these should have come");
}

#[test]
fn what_comes_behind_the_mark_of_a_transaction_after_a_quiet_time_has_its_time() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    let told = [(0, PartitionProgress { read_up_to: Some(101), ..at(0, 100) })];
    world.ends(101, 1);
    world.pass(200 * A_SECOND, &told);
    world.ends(105, 1);
    world.pass(58 * A_SECOND, &told);
    assert!(world.log.is_empty(), "only now is there something to read: {:?}", world.log);
    world.pass(4 * A_SECOND, &told);
    assert!(world.has(|action| matches!(action, Action::Say(0, ToWorker::Rebuild))));
}

#[test]
fn what_was_written_right_after_the_end_was_met_is_missed() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    let told = [(0, PartitionProgress { read_up_to: Some(100), ..at(0, 100) })];
    world.pass(A_SECOND, &told);
    // The brokers are asked for the first time after that.
    world.ends(140, 1);
    world.pass(61 * A_SECOND, &told);
    assert!(world.has(|action| matches!(action, Action::Say(0, ToWorker::Rebuild))));
}

#[test]
fn a_message_that_kills_its_worker_is_named_at_the_third_death() {
    let mut world = world(2, &rules(|_| ()));
    world.on(Event::Died(0, crash(5)));
    world.pass(A_SECOND, &[]);
    assert!(!world.policy.is_cautious(0));
    world.on(Event::Died(0, crash(5)));
    assert!(world.policy.is_cautious(0));
    world.pass(A_SECOND, &[]);
    for offset in 5..8 {
        world.on(Event::Announced(0, partition(0), offset));
        assert!(
            world.has(|action| matches!(action, Action::Say(0, ToWorker::Proceed(_, proceed)) if *proceed == offset))
        );
        world.on(Event::Heard(0, vec![at(0, if offset == 7 { 7 } else { offset + 1 })]));
    }
    world.on(Event::Died(0, crash(6)));
    let condemned = world.policy.condemned();
    assert_eq!(condemned.len(), 1);
    assert_eq!((&condemned[0].partition, condemned[0].offset), (&partition(0), 7));
    assert!(!world.policy.is_cautious(0), "what did it is known");
    assert!(world.has(|action| matches!(action, Action::Say(1, ToWorker::Condemned(_)))));
}

#[test]
fn a_message_that_hangs_twice_is_named() {
    let mut world = world(2, &rules(|_| ()));
    for turn in 0..2 {
        world.on(Event::Ready(0));
        let hung = PartitionProgress { in_flight: Some(InFlight { offset: 9, age_ms: 60_000 }), ..at(0, 9) };
        world.on(Event::Heard(0, vec![hung]));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
        assert_eq!(world.retired().len(), turn + 1);
        let mut death = Death { killed: true, ..crash(5) };
        death.seen[0].in_flight = Some(9);
        world.on(Event::Died(0, death));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
    }
    assert_eq!(world.policy.condemned()[0].offset, 9);
}

#[test]
fn of_several_messages_in_hand_none_is_named_before_they_come_one_by_one() {
    let mut world = world(2, &rules(|_| ()));
    for turn in 0..2 {
        world.on(Event::Ready(0));
        let hung = PartitionProgress { in_flight: Some(InFlight { offset: 9, age_ms: 60_000 }), ..at(0, 9) };
        world.on(Event::Heard(0, vec![hung]));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
        let mut death = Death { killed: true, ..crash(5) };
        death.seen[0].in_flight = Some(9);
        death.seen.push(Seen { partition: partition(7), committed: 5 + turn, ..death.seen[0].clone() });
        world.on(Event::Died(0, death));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
    }
    assert!(world.policy.condemned().is_empty());
    assert!(world.policy.is_cautious(0));
}

#[test]
fn a_kill_from_outside_is_no_messages_fault_and_out_of_memory_is() {
    let mut world = world(2, &rules(|rules| rules.restart.most = 0));
    for _ in 0..5 {
        world.on(Event::Died(0, Death { killed: true, ..crash(5) }));
        world.pass(60 * A_SECOND, &[(1, at(1, 0))]);
    }
    assert!(!world.policy.is_cautious(0));
    for _ in 0..2 {
        world.on(Event::Died(0, Death { killed: true, out_of_memory: true, ..crash(5) }));
        world.pass(60 * A_SECOND, &[(1, at(1, 0))]);
    }
    assert!(world.policy.is_cautious(0));
}

#[test]
fn a_clean_end_is_no_messages_fault() {
    let mut world = world(2, &rules(|rules| rules.restart.most = 0));
    let clean = || Death { clean: true, ..crash(5) };
    for _ in 0..5 {
        world.on(Event::Died(0, clean()));
        world.pass(60 * A_SECOND, &[(1, at(1, 0))]);
    }
    assert!(!world.policy.is_cautious(0));
    for _ in 0..2 {
        world.on(Event::Died(0, crash(5)));
        world.pass(60 * A_SECOND, &[(1, at(1, 0))]);
    }
    assert!(world.policy.is_cautious(0));
    // Somebody's SIGTERM; and one that was silent and ends in time.
    for silence in [0, 11] {
        world.on(Event::Ready(0));
        world.on(Event::Announced(0, partition(0), 7));
        world.pass(silence * A_SECOND, &[(1, at(1, 0))]);
        world.on(Event::Died(0, clean()));
        world.pass(60 * A_SECOND, &[(1, at(1, 0))]);
        assert!(world.policy.condemned().is_empty(), "{:?}", world.policy.condemned());
    }
    assert!(world.policy.is_cautious(0), "what killed it has not been found");
}

#[test]
fn a_message_that_hangs_is_named_also_if_its_worker_ends_cleanly() {
    let mut world = world(2, &rules(|_| ()));
    for _ in 0..2 {
        world.on(Event::Ready(0));
        let hung = PartitionProgress { in_flight: Some(InFlight { offset: 9, age_ms: 60_000 }), ..at(0, 9) };
        world.on(Event::Heard(0, vec![hung]));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
        let mut death = Death { clean: true, ..crash(5) };
        death.seen[0].in_flight = Some(9);
        world.on(Event::Died(0, death));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
    }
    assert_eq!(world.policy.condemned()[0].offset, 9);
}

#[test]
fn caution_ends_when_it_has_come_past_the_place() {
    let mut world = world(2, &rules(|_| ()));
    for _ in 0..2 {
        world.on(Event::Died(0, crash(5)));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
    }
    world.on(Event::Heard(0, vec![at(0, 500)]));
    assert!(world.policy.is_cautious(0));
    world.on(Event::Heard(0, vec![at(0, 5_000)]));
    assert!(!world.policy.is_cautious(0));
    assert!(world.has(|action| matches!(action, Action::Say(0, ToWorker::Cautious(false)))));
}

#[test]
fn all_are_replaced_one_after_the_other() {
    let mut world = world(3, &rules(|rules| rules.processes = 3));
    world.on(Event::Asked(Wish::Roll));
    world.on(Event::Tick);
    for slot in 0..3 {
        assert_eq!(world.retired(), (0..=slot).collect::<Vec<_>>());
        world.on(Event::Died(slot, Death { clean: true, ..Death::default() }));
        world.on(Event::Tick);
        assert_eq!(world.started().len(), slot + 1, "at once, without a pause");
        assert_eq!(world.retired().len(), slot + 1, "not before its successor is ready");
        world.on(Event::Ready(slot));
    }
    assert_eq!(world.retired().len(), 3);
}

#[test]
fn a_worker_that_is_well_may_finish_what_it_has_in_hand_before_it_is_replaced() {
    let minute = 60 * A_SECOND;
    let times = |stall, grace| rules(|rules| (rules.watchdog.stall_timeout, rules.watchdog.grace) = (stall, grace));
    for (stall, grace, patience) in
        [(minute, 5 * A_SECOND, 60), (Duration::ZERO, 5 * A_SECOND, 60), (10 * A_SECOND, 20 * A_SECOND, 20)]
    {
        for wish in [Wish::Roll, Wish::Fewer] {
            let mut world = world(2, &times(stall, grace));
            world.on(Event::Asked(wish));
            world.on(Event::Tick);
            let leaving = world.retired()[0];
            let alive = [(0, at(0, 0)), (1, at(1, 0))];
            world.pass((patience - 1) * A_SECOND, &alive);
            assert!(!world.has(|action| matches!(action, Action::Kill(_))), "{stall:?} {grace:?} {wish:?}");
            world.pass(2 * A_SECOND, &alive);
            assert!(
                world.has(|action| matches!(action, Action::Kill(slot) if *slot == leaving)),
                "{stall:?} {grace:?}"
            );
        }
    }
}

#[test]
fn a_worker_that_falls_silent_while_it_is_being_replaced_is_killed_as_any_other() {
    let mut world = world(2, &rules(|_| ()));
    world.on(Event::Asked(Wish::Roll));
    world.on(Event::Tick);
    world.pass(14 * A_SECOND, &[(1, at(1, 0))]);
    assert!(!world.has(|action| matches!(action, Action::Kill(_))));
    world.pass(2 * A_SECOND, &[(1, at(1, 0))]);
    assert!(world.has(|action| matches!(action, Action::Kill(0))));
}

#[test]
fn a_worker_that_ends_itself_since_it_could_not_finish_in_time_is_replaced_at_once_and_no_message_blamed() {
    let mut world = world(2, &rules(|_| ()));
    for _ in 0..3 {
        world.on(Event::Asked(Wish::Roll));
        world.on(Event::Tick);
        world.log.clear();
        world.on(Event::Died(0, Death { forced: true, ..crash(5) }));
        assert_eq!(world.started(), [0]);
        world.on(Event::Ready(0));
        world.on(Event::Died(1, Death { clean: true, ..Death::default() }));
        world.on(Event::Ready(1));
    }
    assert!(!world.policy.is_cautious(0));
}

#[test]
fn a_worker_beyond_a_limit_is_replaced() {
    let limits = |rules: &mut Consumer| (rules.limits.rss_mb, rules.limits.messages) = (100, 50);
    let mut world = world(2, &rules(limits));
    world.on(Event::Measured(0, 99));
    world.on(Event::Heard(1, vec![at(1, 49)]));
    world.on(Event::Tick);
    assert!(world.retired().is_empty());
    world.on(Event::Measured(0, 101));
    world.on(Event::Heard(1, vec![at(1, 50)]));
    world.on(Event::Tick);
    assert_eq!(world.retired(), [0], "the other one waits");
    world.on(Event::Died(0, Death { clean: true, ..Death::default() }));
    world.on(Event::Ready(0));
    assert_eq!(world.retired(), [0, 1]);
}

#[test]
fn one_worker_more_gets_its_share_and_one_less_gives_it_back() {
    let mut world = world(6, &rules(|_| ()));
    world.on(Event::Asked(Wish::More));
    assert_eq!(world.started(), [2]);
    world.on(Event::Ready(2));
    for slot in 0..2 {
        let given = world.policy.partitions(slot).pop().unwrap();
        assert!(world.has(|action| matches!(action, Action::Say(to, ToWorker::Revoke(partitions)) if *to == slot && *partitions == [given.clone()])));
        world.on(Event::Revoked(slot, vec![given]));
    }
    assert_eq!((0..3).map(|slot| world.policy.partitions(slot).len()).collect::<Vec<_>>(), [2, 2, 2]);
    world.on(Event::Asked(Wish::Fewer));
    assert_eq!(world.retired(), [2]);
    assert_eq!(world.policy.partitions(2).len(), 2, "until it is dead");
    world.on(Event::Died(2, Death { clean: true, ..Death::default() }));
    assert_eq!((0..2).map(|slot| world.policy.partitions(slot).len()).collect::<Vec<_>>(), [3, 3]);
    world.on(Event::Asked(Wish::Fewer));
    world.on(Event::Died(1, Death { clean: true, ..Death::default() }));
    world.on(Event::Asked(Wish::Fewer));
    assert_eq!(world.policy.partitions(0).len(), 6, "the last one stays");
}

/// Two workers with three partitions each and a third one that is to get two, which their owners still have in hand.
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

#[test]
fn what_was_to_move_to_a_worker_that_is_taken_away_stays_with_those_that_are_there() {
    let mut world = world_with_moves();
    world.on(Event::Asked(Wish::Fewer));
    world.on(Event::Died(2, Death { clean: true, ..Death::default() }));
    world.log.clear();
    for slot in 0..2 {
        let given = world.policy.partitions(slot).pop().unwrap();
        world.on(Event::Revoked(slot, vec![given.clone()]));
        let owner = world.policy.owner(&given).unwrap();
        assert!(owner < 2, "worker {owner} is no more");
        assert!(world.has(
            |action| matches!(action, Action::Assign(to, partitions) if *to == owner && partitions.contains(&given))
        ));
    }
    assert_eq!(shares(&world, 0..3), [3, 3, 0]);
}

#[test]
fn what_is_given_up_for_a_worker_that_is_leaving_goes_to_one_that_stays() {
    let mut world = world_with_moves();
    world.on(Event::Asked(Wish::Fewer));
    for slot in 0..2 {
        let given = world.policy.partitions(slot).pop().unwrap();
        world.on(Event::Revoked(slot, vec![given]));
    }
    assert_eq!(shares(&world, 0..3), [3, 3, 0]);
    assert!(!world.has(|action| matches!(action, Action::Assign(2, _))));
}

#[test]
fn what_was_to_move_to_a_worker_that_is_parked_is_read_by_another() {
    let mut world = world_with_moves();
    for _ in 0..2 {
        world.on(Event::Died(2, Death { seen: Vec::new(), ..crash(0) }));
        world.pass(A_SECOND, &[(0, at(0, 1)), (1, at(3, 1))]);
    }
    for slot in 0..2 {
        let given = world.policy.partitions(slot).pop().unwrap();
        world.on(Event::Revoked(slot, vec![given]));
    }
    assert_eq!(shares(&world, 0..3), [3, 3, 0]);
}

#[test]
fn what_a_dead_worker_was_to_give_to_one_that_is_gone_is_read_by_another() {
    let mut world = world_with_moves();
    world.on(Event::Asked(Wish::Fewer));
    world.on(Event::Died(0, Death { clean: true, ..Death::default() }));
    assert_eq!(shares(&world, 0..3), [3, 3, 0], "the third one is leaving");
    world.on(Event::Died(2, Death { clean: true, ..Death::default() }));
    world.on(Event::Died(1, Death { clean: true, ..Death::default() }));
    assert_eq!(shares(&world, 0..3), [3, 3, 0]);
}

#[test]
fn a_worker_that_is_not_there_yet_is_asked_for_its_partitions_when_it_is() {
    let mut world = world(6, &rules(|_| ()));
    world.on(Event::Died(0, Death { clean: true, ..crash(0) }));
    world.pass(A_SECOND, &[(1, at(3, 1))]);
    world.on(Event::Asked(Wish::More));
    let asked = |action: &Action| matches!(action, Action::Say(0, ToWorker::Revoke(_)));
    assert!(!world.has(asked), "it may have no process that hears it");
    world.on(Event::Ready(0));
    assert!(world.has(asked));
}

#[test]
fn each_new_worker_gets_its_share_also_of_what_is_under_way_to_another() {
    let mut world = world(8, &rules(|rules| rules.processes = 1));
    for slot in [1, 2, 3] {
        world.on(Event::Asked(Wish::More));
        world.on(Event::Ready(slot));
    }
    let given: Vec<_> = world
        .log
        .iter()
        .filter_map(|action| match action {
            Action::Say(0, ToWorker::Revoke(partitions)) => Some(partitions.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    let unique: std::collections::BTreeSet<_> = given.iter().cloned().collect();
    assert_eq!(unique.len(), given.len(), "each is asked for once");
    world.on(Event::Revoked(0, given));
    assert_eq!(shares(&world, 0..4), [2, 2, 2, 2]);
}

#[test]
fn new_partitions_go_to_those_with_the_fewest() {
    let mut world = world(2, &rules(|_| ()));
    world.on(Event::Found((0..6).map(partition).collect()));
    assert_eq!((0..2).map(|slot| world.policy.partitions(slot).len()).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn a_quiet_program_has_no_stuck_partitions() {
    let mut world = world(1, &rules(|_| ()));
    world.ends(100, 1);
    world.on(Event::Asked(Wish::Quiet));
    world.log.clear();
    world.pass(500 * A_SECOND, &[(0, at(0, 10)), (1, at(9, 0))]);
    assert!(world.log.is_empty(), "{:?}", world.log);
    world.on(Event::Asked(Wish::Resume));
    world.pass(61 * A_SECOND, &[(0, at(0, 10)), (1, at(9, 0))]);
    assert!(world.has(|action| matches!(action, Action::Say(0, ToWorker::Rebuild))));
}
