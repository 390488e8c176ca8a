//! Messages that kill or hang their worker.

use super::*;

fn unlimited() -> Consumer {
    rules(|rules| rules.restart.max_restarts = 0)
}

/// Settings with an external program.
fn with_program() -> Consumer {
    rules(|rules| (rules.restart.max_restarts, rules.processor) = (0, "command".to_owned()))
}

/// The exit of a worker whose program has ended.
fn program_ends(committed: i64) -> WorkerExit {
    WorkerExit {
        text: "exit code 1: the program ended".to_owned(),
        fault: Some(Fault::ProcessorWithMessage),
        ..crash(committed)
    }
}

#[test]
fn a_message_is_poison_when_its_worker_has_died_twice_while_it_was_processed_alone() {
    let mut world = world(2, &unlimited());
    world.dies(0, crash(5));
    assert!(!world.policy.is_isolated(0));
    world.dies(0, crash(5));
    assert!(world.policy.is_isolated(0));
    world.announce(5..8);
    assert!(world.has(|action| matches!(action, Action::Send(0, WorkerCommand::AllowProcess(_, 7)))));
    world.dies(0, crash(6));
    assert!(world.poison_messages().is_empty(), "once may be an accident");
    assert!(world.policy.is_isolated(0), "although it has committed meanwhile");
    world.announce(6..8);
    world.log.clear();
    world.dies(0, crash(6));
    assert_eq!(world.poison_messages(), [7]);
    assert!(!world.policy.is_isolated(0), "what did it is known");
    assert!(world.has(|action| matches!(action, Action::Send(1, WorkerCommand::PoisonMessages(_)))));
}

#[test]
fn two_messages_that_were_announced_at_a_death_each_are_not_poison() {
    let mut world = world(2, &unlimited());
    for last in [8, 9, 10, 12] {
        world.announce(5..last);
        world.dies(0, crash(5));
    }
    assert!(world.poison_messages().is_empty(), "{:?}", world.poison_messages());
}

#[test]
fn deaths_that_no_message_can_have_caused_do_not_count() {
    let from_outside = WorkerExit { cause: ExitCause::Killed, ..crash(5) };
    let out_of_memory = WorkerExit { cause: ExitCause::OutOfMemory, ..crash(5) };
    let forced = WorkerExit { cause: ExitCause::Forced, ..crash(5) };
    let librdkafka = WorkerExit { fault: Some(Fault::Worker), ..crash(5) };
    for exit in [from_outside, out_of_memory, forced, librdkafka] {
        let mut world = world(2, &unlimited());
        for _ in 0..5 {
            world.announce(5..8);
            world.dies(0, exit.clone());
        }
        assert!(!world.policy.is_isolated(0) && world.poison_messages().is_empty(), "{exit:?}");
    }
    // A worker has no message before it is ready.
    let mut world = world(2, &unlimited());
    for _ in 0..5 {
        world.on(Event::Exited(0, crash(5)));
        world.pass(60 * A_SECOND, &[(1, at(1, 0))]);
    }
    assert!(!world.policy.is_isolated(0) && world.poison_messages().is_empty());
}

#[test]
fn a_program_that_has_never_answered_blames_no_message_and_ends_the_run() {
    let mut world = world(2, &with_program());
    for _ in 0..5 {
        world.announce(5..6);
        world.dies(0, program_ends(5));
    }
    assert!(world.poison_messages().is_empty());
    let ends =
        |action: &Action| matches!(action, Action::End(exit) if exit.reason.contains("exit code 1: the program ended"));
    assert!(world.has(ends), "{:?}", world.log);
}

#[test]
fn a_program_that_works_after_some_time_is_waited_for() {
    let mut world = world(2, &with_program());
    for _ in 0..5 {
        world.on(Event::Exited(0, program_ends(5)));
        world.pass(A_SECOND, &[]);
        world.on(Event::Ready(0));
    }
    world.on(Event::FirstResult(0));
    for _ in 0..5 {
        world.dies(0, program_ends(6));
    }
    assert!(!world.has(|action| matches!(action, Action::End(_))), "{:?}", world.log);
}

/// The run ends also while all workers wait for their restart.
#[test]
fn the_end_of_a_trial_does_not_wait_for_another_start() {
    let late = rules(|rules| {
        (rules.processes, rules.restart.backoff, rules.restart.backoff_max) = (1, 15 * A_SECOND, 3_600 * A_SECOND);
    });
    let mut world = world(1, &late);
    world.on(Event::Exited(0, program_ends(5)));
    world.pass(19 * A_SECOND, &[]);
    world.on(Event::Exited(0, program_ends(5)));
    assert!(!world.has(|action| matches!(action, Action::End(_))));
    world.pass(2 * A_SECOND, &[]);
    assert!(world.has(|action| matches!(action, Action::End(_))), "{:?}", world.log);
}

#[test]
fn a_message_that_kills_each_program_before_anything_else_is_poison_if_programs_have_worked() {
    let mut world = world(2, &with_program());
    world.on(Event::FirstResult(0));
    for deaths in 1..=4 {
        assert!(world.poison_messages().is_empty(), "at death {deaths}");
        if world.policy.is_isolated(0) {
            world.announce(7..8);
        }
        world.dies(0, program_ends(7));
    }
    assert_eq!(world.poison_messages(), [7]);
}

/// A program may take longer to start than the stall timeout, for example; replies of other programs are no
/// evidence about it.
#[test]
fn a_program_that_has_never_answered_in_its_worker_blames_no_message() {
    let mut world = world(2, &with_program());
    world.on(Event::FirstResult(1));
    for _ in 0..6 {
        world.announce(7..8);
        world.dies(0, program_ends(7));
    }
    assert!(world.poison_messages().is_empty());
    assert_eq!(world.policy.suspects(), [(partition(0), 7)], "it comes behind others");
}

#[test]
fn programs_that_die_with_any_message_blame_none() {
    let mut world = world(2, &with_program());
    world.on(Event::FirstResult(0));
    for _ in 0..2 {
        world.dies(0, program_ends(7));
    }
    for offset in [7, 9, 7, 9, 7] {
        world.announce(offset..offset + 1);
        world.dies(0, program_ends(7));
        assert!(world.policy.is_isolated(0));
    }
    assert!(world.poison_messages().is_empty(), "something is wrong with the program");
    // A program replies again: the earlier deaths without a reply do not count any more.
    world.on(Event::FirstResult(0));
    for _ in 0..2 {
        world.announce(11..12);
        world.dies(0, program_ends(7));
    }
    assert_eq!(world.poison_messages(), [11]);
}

#[test]
fn a_message_that_hangs_twice_is_named() {
    let mut world = world(2, &rules(|_| ()));
    for turn in 0..2 {
        world.on(Event::Ready(0));
        let hung = PartitionProgress { in_flight: Some(InFlight { offset: 9, age_ms: 60_000 }), ..at(0, 9) };
        world.on(Event::Heartbeat(0, vec![hung]));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
        assert_eq!(world.retired().len(), turn + 1);
        let mut exit = WorkerExit { cause: ExitCause::Killed, ..crash(5) };
        exit.last_positions[0].in_flight = Some(9);
        world.on(Event::Exited(0, exit));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
    }
    assert_eq!(world.policy.poison_messages()[0].offset, 9);
}

#[test]
fn of_several_messages_in_hand_none_is_named_before_they_come_one_by_one() {
    let mut world = world(2, &rules(|_| ()));
    for turn in 0..2 {
        world.on(Event::Ready(0));
        let hung = PartitionProgress { in_flight: Some(InFlight { offset: 9, age_ms: 60_000 }), ..at(0, 9) };
        world.on(Event::Heartbeat(0, vec![hung]));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
        let mut exit = WorkerExit { cause: ExitCause::Killed, ..crash(5) };
        exit.last_positions[0].in_flight = Some(9);
        exit.last_positions.push(LastPosition {
            partition: partition(7),
            committed: 5 + turn,
            ..exit.last_positions[0].clone()
        });
        world.on(Event::Exited(0, exit));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
    }
    assert!(world.policy.poison_messages().is_empty());
    assert!(world.policy.is_isolated(0));
}

#[test]
fn a_clean_end_is_no_messages_fault() {
    let mut world = world(2, &rules(|rules| rules.restart.max_restarts = 0));
    let clean = || WorkerExit { cause: ExitCause::Clean, ..crash(5) };
    for _ in 0..5 {
        world.on(Event::Exited(0, clean()));
        world.pass(60 * A_SECOND, &[(1, at(1, 0))]);
    }
    assert!(!world.policy.is_isolated(0));
    for _ in 0..2 {
        world.on(Event::Ready(0));
        world.on(Event::Exited(0, crash(5)));
        world.pass(60 * A_SECOND, &[(1, at(1, 0))]);
    }
    assert!(world.policy.is_isolated(0));
    // A SIGTERM from outside; and a worker without heartbeats that exits in time.
    for silence in [0, 11] {
        world.on(Event::Ready(0));
        world.on(Event::ProcessRequested(0, partition(0), 7));
        world.pass(silence * A_SECOND, &[(1, at(1, 0))]);
        world.on(Event::Exited(0, clean()));
        world.pass(60 * A_SECOND, &[(1, at(1, 0))]);
        assert!(world.policy.poison_messages().is_empty(), "{:?}", world.policy.poison_messages());
    }
    assert!(world.policy.is_isolated(0), "what killed it has not been found");
}

#[test]
fn a_message_that_hangs_is_named_also_if_its_worker_ends_cleanly() {
    let mut world = world(2, &rules(|_| ()));
    for _ in 0..2 {
        world.on(Event::Ready(0));
        let hung = PartitionProgress { in_flight: Some(InFlight { offset: 9, age_ms: 60_000 }), ..at(0, 9) };
        world.on(Event::Heartbeat(0, vec![hung]));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
        let mut exit = WorkerExit { cause: ExitCause::Clean, ..crash(5) };
        exit.last_positions[0].in_flight = Some(9);
        world.on(Event::Exited(0, exit));
        world.pass(A_SECOND, &[(1, at(1, 0))]);
    }
    assert_eq!(world.policy.poison_messages()[0].offset, 9);
}

#[test]
fn caution_ends_when_it_has_come_past_the_place() {
    let mut world = world(2, &rules(|_| ()));
    for _ in 0..2 {
        world.dies(0, crash(5));
    }
    world.on(Event::Heartbeat(0, vec![at(0, 500)]));
    assert!(world.policy.is_isolated(0));
    world.on(Event::Heartbeat(0, vec![at(0, 5_000)]));
    assert!(!world.policy.is_isolated(0));
    assert!(world.has(|action| matches!(action, Action::Send(0, WorkerCommand::SetIsolation(false)))));
}

#[test]
fn an_isolated_worker_stays_isolated_until_its_group_has_assigned_something() {
    let group = rules(|rules| (rules.processes, rules.assignment) = (1, Assignment::Group));
    let (policy, _) = begun(&group, [], 1);
    let mut world = World { policy, now: Duration::ZERO, log: Vec::new() };
    world.on(Event::Ready(0));
    for _ in 0..2 {
        world.on(Event::Assigned(0, vec![partition(0)]));
        world.on(Event::Revoked(0, vec![partition(0)]));
        world.on(Event::Exited(0, crash(10)));
        world.pass(5 * A_SECOND, &[]);
        world.on(Event::Ready(0));
    }
    assert!(world.policy.is_isolated(0));
    world.on(Event::Heartbeat(0, Vec::new()));
    assert!(world.policy.is_isolated(0), "it has come past nothing");
}

#[test]
fn a_suspicious_partition_makes_its_next_worker_cautious_whoever_that_is() {
    let mut world = world(2, &rules(|rules| rules.restart.max_restarts = 1));
    world.on(Event::Exited(0, crash(10)));
    world.pass(A_SECOND, &[(1, at(1, 0))]);
    world.on(Event::Ready(0));
    world.on(Event::Exited(0, crash(10)));
    assert!(world.has(|action| matches!(action, Action::Assign(1, _))), "it has failed");
    assert!(world.has(|action| matches!(action, Action::Send(1, WorkerCommand::SetIsolation(true)))));
}

#[test]
fn a_message_that_was_requested_and_released_is_not_blamed_for_what_comes_later() {
    let mut world = world(2, &rules(|rules| rules.processes = 1));
    world.on(Event::ProcessRequested(0, partition(0), 7));
    world.on(Event::Revoked(0, vec![partition(0)]));
    world.on(Event::Exited(0, crash(0)));
    assert!(world.policy.poison_messages().is_empty());
}
