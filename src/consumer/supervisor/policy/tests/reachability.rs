//! Workers that do not reach the cluster.

use super::*;
use crate::kafka::health::ClientHealth;

fn lost(seconds: f64) -> WorkerHealth {
    let client = ClientHealth { coordinator_unavailable_seconds: seconds, ..ClientHealth::default() };
    WorkerHealth { client: Some(client), ..WorkerHealth::default() }
}

fn probes(world: &World) -> usize {
    world.log.iter().filter(|action| matches!(action, Action::Probe)).count()
}

#[test]
fn a_worker_that_is_cut_off_is_replaced_once_new_clients_have_reached_the_cluster_for_a_while() {
    let mut world = world(2, &rules(|_| ()));
    let reported = [(0, at(0, 0)), (1, at(1, 0))];
    world.on(Event::Health(0, lost(59.0)));
    world.pass(2 * A_SECOND, &reported);
    assert_eq!(probes(&world), 0, "that is not long");
    world.on(Event::Health(0, lost(60.0)));
    world.pass(2 * A_SECOND, &reported);
    assert_eq!(probes(&world), 1, "one at a time");
    world.on(Event::Probed(false));
    world.pass(20 * A_SECOND, &reported);
    assert_eq!((probes(&world), world.retired()), (2, vec![]), "nobody reaches it");
    for _ in 0..9 {
        world.on(Event::Probed(true));
        world.pass(A_SECOND, &reported);
    }
    assert!(world.retired().is_empty(), "it may only have to notice");
    world.on(Event::Probed(false));
    for _ in 0..13 {
        world.pass(A_SECOND, &reported);
        world.on(Event::Probed(true));
    }
    assert_eq!(world.retired(), [0], "and the other one is well");
    assert!(matches!(world.policy.why(0), Some(StopReason::CutOff(text)) if text.contains("group's coordinator")));
}

#[test]
fn a_worker_that_reaches_the_cluster_again_is_not_replaced() {
    let mut world = world(1, &rules(|rules| rules.processes = 1));
    world.on(Event::Health(0, lost(70.0)));
    world.pass(A_SECOND, &[(0, at(0, 0))]);
    world.on(Event::Probed(true));
    world.on(Event::Health(0, lost(0.0)));
    world.pass(60 * A_SECOND, &[(0, at(0, 0))]);
    assert_eq!((probes(&world), world.retired()), (1, vec![]));
}

#[test]
fn commits_that_are_not_taken_and_brokers_that_do_not_answer_cut_a_worker_off() {
    let silent = ClientHealth { last_response_age_seconds: 61.0, ..ClientHealth::default() };
    let cut_off = [
        WorkerHealth { client: Some(silent), ..WorkerHealth::default() },
        WorkerHealth { uncommitted_ms: 61_000, ..WorkerHealth::default() },
    ];
    for (health, expected) in cut_off.into_iter().zip([1, 1]) {
        let mut world = world(1, &rules(|_| ()));
        world.on(Event::Health(0, health.clone()));
        world.pass(A_SECOND, &[(0, at(0, 0))]);
        assert_eq!(probes(&world), expected, "{health:?}");
    }
    // An hour between commits is no stall, and with a stall timeout of zero nothing is.
    let rare = rules(|rules| rules.commit_interval = 3_600 * A_SECOND);
    let never = rules(|rules| rules.watchdog.stall_timeout = Duration::ZERO);
    for rules in [rare, never] {
        let mut world = world(1, &rules);
        world.on(Event::Health(0, WorkerHealth { uncommitted_ms: 61_000, ..WorkerHealth::default() }));
        world.pass(A_SECOND, &[(0, at(0, 0))]);
        assert_eq!(probes(&world), 0);
    }
}
