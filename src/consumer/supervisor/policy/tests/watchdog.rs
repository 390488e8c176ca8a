//! Stalled partitions, and partitions that only look stalled.

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
    world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Killed, ..crash(0) }));
    world.pass(A_SECOND, &[(1, at(1, 0))]);
    assert_eq!(world.started(), [0]);
}

#[test]
fn a_stuck_partition_gets_a_new_process_then_another_worker_then_nobody() {
    let minute = 60 * A_SECOND;
    let mut world = world(2, &rules(|_| ()));
    world.ends(100, 2);
    let reported = [(0, at(0, 10)), (1, at(1, 100))];
    world.pass(minute - A_SECOND, &reported);
    assert!(world.log.is_empty(), "{:?}", world.log);
    world.pass(2 * A_SECOND, &reported);
    assert_eq!(world.retired(), [0], "the one that is at its end is left alone");
    assert!(matches!(world.policy.why(0), Some(StopReason::Stuck(stuck, _)) if *stuck == partition(0)));
    world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Clean, ..crash(10) }));
    world.pass(A_SECOND, &reported);
    assert_eq!(world.started(), [0]);
    world.on(Event::Ready(0));
    world.pass(minute + A_SECOND, &reported);
    assert!(world.has(
        |action| matches!(action, Action::Send(0, WorkerCommand::Revoke(partitions)) if *partitions == [partition(0)])
    ));
    assert_eq!(world.policy.owner(&partition(0)), Some(0), "until it has given it up");
    world.on(Event::Revoked(0, vec![partition(0)]));
    assert_eq!(world.policy.owner(&partition(0)), Some(1));
    assert!(world.has(|action| matches!(action, Action::Assign(1, partitions) if *partitions == [partition(0)])));
    world.pass(3 * minute, &[(0, at(2, 0)), (1, at(0, 10)), (1, at(1, 100))]);
    // A remedy each minute for the new owner would restart it; the partition was moved already, so it is
    // quarantined.
    assert!(
        world.has(|action| matches!(action, Action::Quarantine(quarantined, _) if *quarantined == partition(0))),
        "{:?}",
        world.log
    );
    assert_eq!(world.policy.owner(&partition(0)), None);
}

#[test]
fn a_partition_whose_client_is_throttled_is_not_stalled_and_one_of_another_broker_is() {
    let minute = 60 * A_SECOND;
    let mut world = world(2, &rules(|rules| rules.processes = 1));
    world.ends(100, 2);
    let reported = [(0, at(0, 10)), (0, at(1, 100))];
    for _ in 0..30 {
        world.on(Event::Throttled(0, vec![partition(0)], 11 * A_SECOND));
        world.pass(10 * A_SECOND, &reported);
    }
    assert!(world.log.is_empty(), "{:?}", world.log);
    // Throttling of another worker's client is no reason for this partition.
    world.on(Event::Throttled(1, vec![partition(0)], 10 * minute));
    world.pass(minute, &reported);
    assert!(world.log.is_empty(), "from when it was throttled last: {:?}", world.log);
    world.pass(2 * A_SECOND, &reported);
    assert_eq!(world.retired(), [0]);
    world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Clean, ..crash(10) }));
    world.pass(A_SECOND, &[]);
    world.on(Event::Ready(0));
    world.log.clear();
    world.ends(200, 2);
    for _ in 0..7 {
        world.on(Event::Throttled(0, vec![partition(0)], 11 * A_SECOND));
        world.pass(10 * A_SECOND, &reported);
    }
    assert_eq!(world.retired(), [0], "the other broker's partition");
}

#[test]
fn a_handler_that_hangs_is_found_while_its_client_is_throttled() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    world.ends(100, 1);
    for seconds in 0..62 {
        world.on(Event::Throttled(0, vec![partition(0)], 11 * A_SECOND));
        let in_flight = Some(InFlight { offset: 10, age_ms: seconds * 1_000 });
        world.pass(A_SECOND, &[(0, PartitionProgress { in_flight, ..at(0, 10) })]);
    }
    assert_eq!(world.retired(), [0]);
}

#[test]
fn a_partition_that_was_stopped_is_read_by_nobody_any_more() {
    let mut world = world(4, &rules(|_| ()));
    world.on(Event::Stopped(partition(0)));
    assert!(world.has(
        |action| matches!(action, Action::Send(0, WorkerCommand::Revoke(partitions)) if *partitions == [partition(0)])
    ));
    assert!(!world.has(|action| matches!(action, Action::Quarantine(..))), "it is known already");
    world.on(Event::Revoked(0, vec![partition(0)]));
    world.on(Event::Found(vec![partition(0)]));
    world.on(Event::Exited(0, crash(0)));
    world.pass(A_SECOND, &[(1, at(2, 1))]);
    assert_eq!((world.started(), world.policy.partitions(0)), (vec![0], vec![partition(1)]));
    world.on(Event::Command(ControlCommand::ScaleDown));
    world.on(Event::Exited(1, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
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
        world.on(Event::Exited(0, crash(5)));
        world.pass(A_SECOND, &[(1, at(2, 1))]);
    }
    assert!(!world.policy.is_isolated(0), "all these deaths were elsewhere");
}

#[test]
fn what_a_group_assigns_gets_one_new_process_and_is_then_left_alone() {
    let mut world = world(0, &rules(|rules| (rules.processes, rules.assignment) = (1, Assignment::Group)));
    world.on(Event::Assigned(0, vec![partition(0)]));
    world.ends(101, 1);
    let reported = [(0, at(0, 100))];
    for _ in 0..10 {
        world.pass(61 * A_SECOND, &reported);
        if let Some(Action::Retire(0)) = world.log.last() {
            world.on(Event::Revoked(0, vec![partition(0)]));
            world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Clean, ..crash(100) }));
            world.pass(A_SECOND, &[]);
            world.on(Event::Ready(0));
            world.on(Event::Assigned(0, vec![partition(0)]));
        }
    }
    assert_eq!(world.retired(), [0], "{:?}", world.log);
    assert!(matches!(world.log.last(), Some(Action::Warn(text)) if text.contains("left alone")), "{:?}", world.log);
}

#[test]
fn a_late_report_about_a_partition_with_another_owner_is_ignored() {
    let mut world = world(0, &rules(|rules| rules.assignment = Assignment::Group));
    world.on(Event::Assigned(0, vec![partition(0)]));
    world.on(Event::Assigned(1, vec![partition(0)]));
    world.ends(100, 1);
    world.on(Event::Heartbeat(1, vec![at(0, 100)]));
    let late = PartitionProgress { in_flight: Some(InFlight { offset: 40, age_ms: 59_000 }), ..at(0, 40) };
    world.on(Event::Heartbeat(0, vec![late]));
    for _ in 0..130 {
        world.pass(A_SECOND, &[(0, at(7, 0)), (1, at(8, 0))]);
    }
    assert!(world.log.iter().all(|action| matches!(action, Action::Info(_))), "{:?}", world.log);
}

#[test]
fn a_worker_whose_processor_is_never_made_is_found() {
    let start = |stall: Duration| {
        let mut world = world(2, &rules(|rules| rules.watchdog.stall_timeout = stall));
        world.on(Event::Exited(0, crash(0)));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
        assert_eq!(world.started(), [0]);
        world
    };
    let alive = [(0, at(7, 0)), (1, at(1, 0))];
    let lives = |world: &mut World, seconds: u32| {
        for _ in 0..seconds {
            world.on(Event::RssSampled(0, 10));
            world.pass(A_SECOND, &alive);
        }
    };
    // Without a process the slot waits for the brokers.
    let mut first = start(20 * A_SECOND);
    first.pass(300 * A_SECOND, &alive);
    lives(&mut first, 30);
    // While the brokers do not reply, a process may wait for them.
    first.on(Event::WatermarksFetched(None));
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
    let in_flight = |next, age: Duration| PartitionProgress {
        in_flight: Some(InFlight { offset: next, age_ms: age.as_millis() as u64 }),
        ..at(0, next)
    };
    for message in 0..10 {
        for second in 0..59 {
            world.pass(A_SECOND, &[(0, in_flight(message, second * A_SECOND)), (1, at(1, 1_000))]);
        }
    }
    assert!(world.log.is_empty(), "{:?}", world.log);
    for second in 0..61 {
        world.pass(A_SECOND, &[(0, in_flight(10, second * A_SECOND)), (1, at(1, 1_000))]);
    }
    assert_eq!(world.retired(), [0]);
    assert!(world.policy.why(0).is_some_and(|why| why.to_string().contains("t/0@10")));
}

#[test]
fn a_handler_that_waits_for_the_output_does_not_hang() {
    let mut world = world(2, &rules(|_| ()));
    world.ends(1_000, 2);
    let in_flight = |second: u64| PartitionProgress {
        in_flight: Some(InFlight { offset: 10, age_ms: second * 1_000 }),
        ..at(0, 10)
    };
    for second in 0..300 {
        world.pass(A_SECOND, &[(0, in_flight(second)), (1, at(1, 10))]);
        world.on(Event::OutputBlocked { stalled: true, stderr: false });
    }
    assert!(world.log.is_empty(), "{:?}", world.log);
    for second in 300..360 {
        world.pass(A_SECOND, &[(0, in_flight(second)), (1, at(1, 1_000))]);
        assert_eq!(world.retired().len(), usize::from(second == 359), "as long again after it was read: {second}");
    }
}

#[test]
fn a_worker_that_waits_for_its_log_is_silent_without_fault() {
    for log in [true, false] {
        let mut world = world(2, &rules(|_| ()));
        for _ in 0..60 {
            world.pass(A_SECOND, &[(1, at(1, 0))]);
            world.on(Event::OutputBlocked { stalled: true, stderr: log });
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
    assert!(matches!(world.policy.why(0), Some(StopReason::Hung { partition: hung, .. }) if *hung == partition(1)));
}

#[test]
fn brokers_that_are_away_are_nobodys_fault() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    world.ends(100, 1);
    for _ in 0..300 {
        world.pass(A_SECOND, &[(0, at(0, 10))]);
        world.on(Event::WatermarksFetched(None));
    }
    assert!(world.log.is_empty(), "{:?}", world.log);
}

#[test]
fn what_has_reached_the_end_is_left_alone_until_more_is_written() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    world.ends(101, 1);
    let reported = [(0, at(0, 101))];
    world.pass(A_SECOND, &reported);
    world.ends(101, 1);
    world.pass(200 * A_SECOND, &reported);
    assert!(world.log.is_empty(), "{:?}", world.log);
    world.ends(110, 1);
    world.pass(61 * A_SECOND, &reported);
    assert_eq!(world.retired(), [0], "these should have come");
}

#[test]
fn what_is_written_after_a_quiet_time_has_its_time() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    let reported = [(0, at(0, 101))];
    world.ends(101, 1);
    world.pass(200 * A_SECOND, &reported);
    world.ends(105, 1);
    world.pass(58 * A_SECOND, &reported);
    assert!(world.log.is_empty(), "only now is there something to read: {:?}", world.log);
    world.pass(4 * A_SECOND, &reported);
    assert_eq!(world.retired(), [0]);
}

#[test]
fn what_was_written_right_after_the_end_was_met_is_missed() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    let reported = [(0, at(0, 100))];
    world.pass(A_SECOND, &reported);
    // The brokers are queried for the first time after that.
    world.ends(140, 1);
    world.pass(61 * A_SECOND, &reported);
    assert_eq!(world.retired(), [0]);
}

#[test]
fn a_quiet_program_has_no_stuck_partitions() {
    let mut world = world(1, &rules(|_| ()));
    world.ends(100, 1);
    world.on(Event::Command(ControlCommand::Pause));
    world.log.clear();
    world.pass(500 * A_SECOND, &[(0, at(0, 10)), (1, at(9, 0))]);
    assert!(world.log.is_empty(), "{:?}", world.log);
    world.on(Event::Command(ControlCommand::Resume));
    world.pass(61 * A_SECOND, &[(0, at(0, 10)), (1, at(9, 0))]);
    assert_eq!(world.retired(), [0]);
}

#[test]
fn a_partition_that_waits_for_its_turn_behind_slow_messages_is_left_alone() {
    let mut world = world(2, &rules(|rules| rules.processes = 1));
    world.ends(1_000, 2);
    // The other partition needs ten seconds for each message; this one waits far longer than `stall_timeout`.
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
    // A new process, which does not become ready for longer than `stall_timeout`.
    world.pass(62 * A_SECOND, &[(0, at(0, 10))]);
    assert_eq!(world.retired(), [0]);
    world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Clean, ..crash(10) }));
    world.pass(A_SECOND, &[]);
    assert_eq!(world.started(), [0]);
    world.log.clear();
    world.pass(59 * A_SECOND, &[(0, at(0, 10))]);
    world.on(Event::WatermarksFetched(None));
    world.pass(59 * A_SECOND, &[(0, at(0, 10))]);
    world.on(Event::Ready(0));
    world.pass(59 * A_SECOND, &[(0, at(0, 10))]);
    assert!(world.log.is_empty(), "{:?}", world.log);
}

#[test]
fn what_a_group_assigns_after_its_stop_offset_was_set_is_read_to_that_offset_only() {
    let group = rules(|rules| (rules.processes, rules.assignment) = (1, Assignment::Group));
    let (policy, _) = begun(&group, [], 1);
    let mut world = World { policy, now: Duration::ZERO, log: Vec::new() };
    world.on(Event::Ready(0));
    world.on(Event::StopOffsets([(partition(0), 10)].into()));
    world.on(Event::Assigned(0, vec![partition(0)]));
    world.log.clear();
    world.ends(100, 1);
    world.pass(200 * A_SECOND, &[(0, at(0, 10))]);
    assert!(world.log.is_empty(), "{:?}", world.log);
}

#[test]
fn partitions_that_could_not_be_assigned_yet_are_not_stalled() {
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
