//! Planned restarts.

use super::*;

#[test]
fn all_are_replaced_one_after_the_other() {
    let mut world = world(3, &rules(|rules| rules.processes = 3));
    world.on(Event::Command(ControlCommand::RollingRestart));
    world.on(Event::Tick);
    for slot in 0..3 {
        assert_eq!(world.retired(), (0..=slot).collect::<Vec<_>>());
        world.on(Event::Exited(slot, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
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
    let times = |stall, kill_grace| {
        rules(|rules| (rules.watchdog.stall_timeout, rules.watchdog.kill_grace) = (stall, kill_grace))
    };
    for (stall, kill_grace, timeout) in
        [(minute, 5 * A_SECOND, 60), (Duration::ZERO, 5 * A_SECOND, 60), (10 * A_SECOND, 20 * A_SECOND, 20)]
    {
        for command in [ControlCommand::RollingRestart, ControlCommand::ScaleDown] {
            let mut world = world(2, &times(stall, kill_grace));
            world.on(Event::Command(command));
            world.on(Event::Tick);
            let leaving = world.retired()[0];
            let alive = [(0, at(0, 0)), (1, at(1, 0))];
            world.pass((timeout - 1) * A_SECOND, &alive);
            assert!(!world.has(|action| matches!(action, Action::Kill(_))), "{stall:?} {kill_grace:?} {command:?}");
            world.pass(2 * A_SECOND, &alive);
            assert!(
                world.has(|action| matches!(action, Action::Kill(slot) if *slot == leaving)),
                "{stall:?} {kill_grace:?}"
            );
        }
    }
}

#[test]
fn a_worker_that_falls_silent_while_it_is_being_replaced_is_killed_as_any_other() {
    let mut world = world(2, &rules(|_| ()));
    world.on(Event::Command(ControlCommand::RollingRestart));
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
        world.on(Event::Command(ControlCommand::RollingRestart));
        world.on(Event::Tick);
        world.log.clear();
        world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Forced, ..crash(5) }));
        assert_eq!(world.started(), [0]);
        world.on(Event::Ready(0));
        world.on(Event::Exited(1, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
        world.on(Event::Ready(1));
    }
    assert!(!world.policy.is_isolated(0));
}

#[test]
fn a_worker_beyond_a_limit_is_replaced() {
    let limits = |rules: &mut Consumer| (rules.recycle.max_rss_mb, rules.recycle.max_messages) = (100, 50);
    let mut world = world(2, &rules(limits));
    world.on(Event::RssSampled(0, 99));
    world.on(Event::Heartbeat(1, vec![at(1, 49)]));
    world.on(Event::Tick);
    assert!(world.retired().is_empty());
    world.on(Event::Heartbeat(0, vec![at(0, 1)]));
    world.on(Event::RssSampled(0, 101));
    world.on(Event::Heartbeat(1, vec![at(1, 50)]));
    world.on(Event::Tick);
    assert_eq!(world.retired(), [0], "the other one waits");
    world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
    world.on(Event::Ready(0));
    assert_eq!(world.retired(), [0, 1]);
}

#[test]
fn what_was_planned_for_a_process_is_not_done_to_the_next_one() {
    let mut world = world(2, &rules(|rules| rules.recycle.max_rss_mb = 100));
    world.on(Event::Command(ControlCommand::RollingRestart));
    world.on(Event::Tick);
    assert_eq!(world.retired(), [0]);
    // The other worker, which would be restarted next.
    world.on(Event::Exited(1, crash(0)));
    world.pass(A_SECOND, &[(0, at(0, 0))]);
    world.on(Event::Ready(1));
    world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
    world.on(Event::Ready(0));
    world.pass(A_SECOND, &[(0, at(0, 0)), (1, at(1, 0))]);
    assert_eq!(world.retired(), [0]);
}

#[test]
fn a_limit_below_what_a_worker_needs_at_once_counts_as_its_death() {
    let mut world = world(1, &rules(|rules| (rules.processes, rules.recycle.max_rss_mb) = (1, 32)));
    for _ in 0..rules(|_| ()).restart.max_restarts + 1 {
        assert!(!world.has(|action| matches!(action, Action::End(_))), "{:?}", world.log);
        world.on(Event::RssSampled(0, 40));
        world.on(Event::Tick);
        world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }));
        let starts = world.started().len();
        for _ in 0..400 {
            if world.started().len() == starts {
                world.pass(A_SECOND / 10, &[]);
            }
        }
    }
    assert!(world.has(|action| matches!(action, Action::Warn(text) if text.contains("consumer.recycle.max_rss_mb"))));
    assert!(world.has(|action| matches!(action, Action::End(_))), "{:?}", world.log);
}

#[test]
fn a_worker_that_is_terminated_before_its_signal_handlers_are_installed_has_not_crashed() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    world.on(Event::Command(ControlCommand::RollingRestart));
    world.on(Event::Tick);
    world.on(Event::Exited(0, WorkerExit { cause: ExitCause::Terminated, ..crash(0) }));
    assert_eq!(world.started(), [0], "at once");
}
