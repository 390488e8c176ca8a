//! What stands still, and what only looks so.

use super::*;

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
        world.on(Event::OutputFull { still: true, log: false });
    }
    assert!(world.log.is_empty(), "{:?}", world.log);
    for second in 300..360 {
        world.pass(A_SECOND, &[(0, in_hand(second)), (1, at(1, 1_000))]);
        assert_eq!(world.retired().len(), usize::from(second == 359), "as long again after it was read: {second}");
    }
}

#[test]
fn a_worker_that_waits_for_its_log_is_silent_without_fault() {
    for log in [true, false] {
        let mut world = world(2, &rules(|_| ()));
        for _ in 0..60 {
            world.pass(A_SECOND, &[(1, at(1, 0))]);
            world.on(Event::OutputFull { still: true, log });
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

#[test]
fn a_partition_that_waits_for_its_turn_behind_slow_messages_is_left_alone() {
    let mut world = world(2, &rules(|rules| rules.processes = 1));
    world.ends(1_000, 2);
    // Ten seconds for each message of the other one, and far more than `stall_timeout` until its own turn.
    for message in 0..30 {
        for second in 0..10 {
            let in_flight = Some(InFlight { offset: message, age_ms: second * 1_000 });
            let waits = PartitionProgress { waits_for_turn: true, ..at(0, 10) };
            world.pass(A_SECOND, &[(0, PartitionProgress { in_flight, ..at(1, message) }), (0, waits)]);
        }
    }
    assert!(world.log.is_empty(), "{:?}", world.log);
}

#[test]
fn a_worker_that_takes_long_to_start_has_its_time_to_read() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    world.ends(100, 1);
    // A new client, and then a new worker, which is not ready for longer than `stall_timeout`.
    world.pass(125 * A_SECOND, &[(0, at(0, 10))]);
    assert_eq!(world.retired(), [0]);
    world.on(Event::Died(0, Death { clean: true, ..crash(10) }));
    world.pass(A_SECOND, &[]);
    assert_eq!(world.started(), [0]);
    world.log.clear();
    world.pass(59 * A_SECOND, &[(0, at(0, 10))]);
    world.on(Event::Ends(None));
    world.pass(59 * A_SECOND, &[(0, at(0, 10))]);
    world.on(Event::Ready(0));
    world.pass(59 * A_SECOND, &[(0, at(0, 10))]);
    assert!(world.log.is_empty(), "{:?}", world.log);
}

#[test]
fn what_a_group_deals_after_its_end_was_told_is_read_to_that_end_only() {
    let group = rules(|rules| (rules.processes, rules.assignment) = (1, Assignment::Group));
    let (policy, _) = Policy::new(&group, Vec::new(), 1);
    let mut world = World { policy, now: Duration::ZERO, log: Vec::new() };
    world.on(Event::Ready(0));
    world.on(Event::Until([(partition(0), 10)].into()));
    world.on(Event::Assigned(0, vec![partition(0)]));
    world.log.clear();
    world.ends(100, 1);
    world.pass(200 * A_SECOND, &[(0, at(0, 10))]);
    assert!(world.log.is_empty(), "{:?}", world.log);
}

#[test]
fn partitions_that_could_not_be_given_yet_do_not_stand_still() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    world.on(Event::Found(vec![partition(1)]));
    world.ends(100, 2);
    world.log.clear();
    for _ in 0..300 {
        world.pass(A_SECOND, &[(0, at(0, 100))]);
        world.on(Event::Delayed(vec![partition(1)]));
    }
    assert!(world.log.is_empty(), "{:?}", world.log);
}
