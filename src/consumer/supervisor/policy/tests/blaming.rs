//! Messages that kill or hang.

use super::*;

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
fn a_cautious_worker_stays_so_until_its_group_has_dealt_something() {
    let group = rules(|rules| (rules.processes, rules.assignment) = (1, Assignment::Group));
    let (policy, _) = Policy::new(&group, Vec::new(), 1);
    let mut world = World { policy, now: Duration::ZERO, log: Vec::new() };
    world.on(Event::Ready(0));
    for _ in 0..2 {
        world.on(Event::Assigned(0, vec![partition(0)]));
        world.on(Event::Revoked(0, vec![partition(0)]));
        world.on(Event::Died(0, crash(10)));
        world.pass(5 * A_SECOND, &[]);
        world.on(Event::Ready(0));
    }
    assert!(world.policy.is_cautious(0));
    world.on(Event::Heard(0, Vec::new()));
    assert!(world.policy.is_cautious(0), "it has come past nothing");
}

#[test]
fn a_suspicious_partition_makes_its_next_worker_cautious_whoever_that_is() {
    let mut world = world(2, &rules(|rules| rules.restart.most = 1));
    world.on(Event::Died(0, crash(10)));
    world.pass(A_SECOND, &[(1, at(1, 0))]);
    world.on(Event::Ready(0));
    world.on(Event::Died(0, crash(10)));
    assert!(world.has(|action| matches!(action, Action::Assign(1, _))), "it is parked");
    assert!(world.has(|action| matches!(action, Action::Say(1, ToWorker::Cautious(true)))));
}

#[test]
fn a_message_that_was_announced_and_given_back_is_not_blamed_for_what_comes_later() {
    let mut world = world(2, &rules(|rules| rules.processes = 1));
    world.on(Event::Announced(0, partition(0), 7));
    world.on(Event::Revoked(0, vec![partition(0)]));
    world.on(Event::Died(0, crash(0)));
    assert!(world.policy.condemned().is_empty());
}
