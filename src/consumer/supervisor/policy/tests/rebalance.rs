//! Partitions that move between workers.

use super::*;

#[test]
fn one_worker_more_gets_its_share_and_one_less_releases_it() {
    let mut world = world(6, &rules(|_| ()));
    world.on(Event::Command(ControlCommand::ScaleUp));
    assert_eq!(world.started(), [2]);
    world.on(Event::Ready(2));
    for slot in 0..2 {
        let given = world.policy.partitions(slot).pop().unwrap();
        assert!(world.has(|action| matches!(action, Action::Send(to, WorkerCommand::Revoke(partitions)) if *to == slot && *partitions == [given.clone()])));
        world.on(Event::Revoked(slot, vec![given]));
    }
    assert_eq!((0..3).map(|slot| world.policy.partitions(slot).len()).collect::<Vec<_>>(), [2, 2, 2]);
    world.on(Event::Command(ControlCommand::ScaleDown));
    assert_eq!(world.retired(), [2]);
    assert_eq!(world.policy.partitions(2).len(), 2, "until it is dead");
    world.on(Event::Exited(2, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
    assert_eq!((0..2).map(|slot| world.policy.partitions(slot).len()).collect::<Vec<_>>(), [3, 3]);
    world.on(Event::Command(ControlCommand::ScaleDown));
    world.on(Event::Exited(1, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
    world.on(Event::Command(ControlCommand::ScaleDown));
    assert_eq!(world.policy.partitions(0).len(), 6, "the last one stays");
}

#[test]
fn with_max_messages_no_worker_is_added() {
    let mut world = world(6, &rules(|rules| (rules.max_messages, rules.processes) = (10, 1)));
    world.on(Event::Command(ControlCommand::ScaleUp));
    assert!(matches!(&world.log[..], [Action::Warn(text)] if text.contains("max_messages")), "{:?}", world.log);
    assert_eq!((world.policy.slots(), world.policy.partitions(0).len()), (1, 6));
}

/// Two workers own three partitions each; a third worker is to receive two of them, which their owners have not
/// released yet.
#[test]
fn what_was_to_move_to_a_worker_that_is_taken_away_stays_with_those_that_are_there() {
    let mut world = world_with_moves();
    world.on(Event::Command(ControlCommand::ScaleDown));
    world.on(Event::Exited(2, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
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
fn what_is_released_for_a_worker_that_is_leaving_goes_to_one_that_stays() {
    let mut world = world_with_moves();
    world.on(Event::Command(ControlCommand::ScaleDown));
    for slot in 0..2 {
        let given = world.policy.partitions(slot).pop().unwrap();
        world.on(Event::Revoked(slot, vec![given]));
    }
    assert_eq!(shares(&world, 0..3), [3, 3, 0]);
    assert!(!world.has(|action| matches!(action, Action::Assign(2, _))));
}

#[test]
fn what_was_to_move_to_a_worker_that_has_failed_is_read_by_another() {
    let mut world = world_with_moves();
    for _ in 0..2 {
        world.on(Event::Exited(2, WorkerExit { last_positions: Vec::new(), ..crash(0) }));
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
    world.on(Event::Command(ControlCommand::ScaleDown));
    world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
    assert_eq!(shares(&world, 0..3), [3, 3, 0], "the third one is leaving");
    world.on(Event::Exited(2, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
    world.on(Event::Exited(1, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
    assert_eq!(shares(&world, 0..3), [3, 3, 0]);
}

#[test]
fn a_worker_that_is_not_there_yet_is_asked_for_its_partitions_when_it_is() {
    let mut world = world(6, &rules(|_| ()));
    world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Clean, ..crash(0) }));
    world.pass(A_SECOND, &[(1, at(3, 1))]);
    world.on(Event::Command(ControlCommand::ScaleUp));
    let asked = |action: &Action| matches!(action, Action::Send(0, WorkerCommand::Revoke(_)));
    assert!(!world.has(asked), "it may have no process that receives it");
    world.on(Event::Ready(0));
    assert!(world.has(asked));
}

#[test]
fn each_new_worker_gets_its_share_also_of_what_is_under_way_to_another() {
    let mut world = world(8, &rules(|rules| rules.processes = 1));
    for slot in [1, 2, 3] {
        world.on(Event::Command(ControlCommand::ScaleUp));
        world.on(Event::Ready(slot));
    }
    let given: Vec<_> = world
        .log
        .iter()
        .filter_map(|action| match action {
            Action::Send(0, WorkerCommand::Revoke(partitions)) => Some(partitions.clone()),
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
