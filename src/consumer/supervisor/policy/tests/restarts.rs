//! Exits: restart delays, the restart intensity, and the end of the run.

use super::*;

#[test]
fn pauses_double_up_to_a_limit_and_start_anew_after_a_healthy_life() {
    let rules = rules(|rules| (rules.processes, rules.restart.max_restarts) = (1, 0));
    let mut world = world(1, &rules);
    let mut pauses = Vec::new();
    for healthy in [false, false, false, false, false, false, false, false, false, false, true, false] {
        if healthy {
            world.pass(rules.restart.healthy_after, &[(0, at(0, 7))]);
        }
        let died = world.now;
        world.on(Event::Exited(0, crash(0)));
        world.log.clear();
        while world.started().is_empty() {
            world.now += Duration::from_millis(1);
            world.on(Event::Tick);
        }
        pauses.push((world.now - died).as_secs_f64());
    }
    let expected = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 0.1, 0.2];
    for (pause, expected) in pauses.iter().zip(expected) {
        assert!((expected * 0.75..=expected + 0.002).contains(pause), "{pause} is not {expected}: {pauses:?}");
    }
}

#[test]
fn a_worker_that_dies_too_often_has_failed_and_the_others_get_its_partitions() {
    let mut world = world(4, &rules(|rules| rules.restart.max_restarts = 2));
    for _ in 0..2 {
        world.on(Event::Exited(0, crash(0)));
        world.pass(A_SECOND, &[]);
        assert!(world.started().contains(&0));
        world.log.clear();
    }
    world.on(Event::Exited(0, crash(0)));
    assert!(world.has(|action| matches!(action, Action::Assign(1, partitions) if partitions.len() == 2)));
    assert_eq!(world.policy.partitions(1).len(), 4);
    world.pass(100 * A_SECOND, &[(1, at(3, 1))]);
    assert!(!world.started().contains(&0));
    for _ in 0..3 {
        world.on(Event::Exited(1, crash(0)));
        world.pass(A_SECOND, &[]);
    }
    assert!(world.has(|action| matches!(action, Action::End(exit) if !exit.is_clean())), "nobody is left");
}

#[test]
fn the_program_ends_when_all_have_failed_while_the_last_one_is_taken_away() {
    let mut world = world(2, &rules(|rules| rules.restart.max_restarts = 1));
    world.on(Event::Command(ControlCommand::ScaleDown));
    for _ in 0..2 {
        world.on(Event::Exited(0, crash(0)));
        world.pass(A_SECOND, &[]);
    }
    assert!(!world.has(|action| matches!(action, Action::End(_))), "the other one is not dead yet");
    world.on(Event::Exited(1, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
    assert!(world.has(|action| matches!(action, Action::End(exit) if !exit.is_clean())), "{:?}", world.log);
}

#[test]
fn too_many_deaths_end_the_program_if_asked() {
    let mut world =
        world(1, &rules(|rules| (rules.restart.max_restarts, rules.restart.on_exceeded) = (1, OnExceeded::Exit)));
    world.on(Event::Exited(0, crash(0)));
    world.pass(A_SECOND, &[]);
    world.on(Event::Exited(0, crash(0)));
    assert!(world.has(|action| matches!(action, Action::End(_))));
}

#[test]
fn a_lasting_cause_ends_the_program_and_a_shutdown_restarts_nobody() {
    let mut first = world(2, &rules(|_| ()));
    first.on(Event::Exited(0, WorkerExit { permanent: Some("no such topic".to_owned()), ..crash(0) }));
    assert!(first.has(|action| matches!(action, Action::End(exit) if exit.reason.contains("no such topic"))));
    let mut second = world(2, &rules(|_| ()));
    second.on(Event::Command(ControlCommand::Stop));
    second.on(Event::Exited(0, crash(0)));
    second.pass(100 * A_SECOND, &[]);
    assert!(second.started().is_empty());
}
