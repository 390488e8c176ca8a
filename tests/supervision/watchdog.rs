//! Workers that hang, use too much memory, are too old, or are replaced on request.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::kafka::Topic;
use crate::harness::program::{Ended, distinct, printed, shell};
use crate::harness::wait_for;

fn deaths(ended: &Ended) -> Vec<Value> {
    let workers = ended.report["consume"]["workers"].as_array().unwrap();
    workers.iter().flat_map(|worker| worker["restarts"].as_array().unwrap().clone()).collect()
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_handler_that_hangs_is_found_in_time_and_its_message_skipped_at_the_fourth_time() {
    let topic = Topic::new(4);
    topic.fill(400);
    let hangs = "time.sleep(1000) if (m['partition'], m['offset']) == (1, 7) else answer(m)";
    let arguments = "--until-end --set consumer.on_failure=skip --set consumer.watchdog.stall_timeout=2s \
        --set consumer.watchdog.kill_grace=300ms";
    let ended = topic.consume_with(arguments, hangs).run().expect(0).expect_committed();
    let deaths = deaths(&ended);
    assert_eq!(deaths.len(), 4, "{deaths:?}");
    assert!(deaths[3]["cause"].as_str().unwrap().contains("1@7"), "{}", deaths[3]);
    for death in &deaths {
        // The watchdog's own measure: it sees the age of a message once a second.
        let cause = death["cause"].as_str().unwrap();
        let (_, age) = cause.split_once(" has been running for ").unwrap_or_else(|| panic!("{death}"));
        let age: f64 = age.split_once("s (").unwrap().0.parse().unwrap();
        assert!((2.0..=3.1).contains(&age), "{death}");
        assert!(death["uptime"].as_f64().unwrap() >= 2.0, "{death}");
        let own = death["partitions"].as_array().unwrap().iter().find(|row| row["partition"] == 1).unwrap();
        assert_eq!(own["in_flight"], 7, "{death}");
    }
    assert!(ended.processed() >= 399);
    assert_eq!(ended.sum("failed"), 1);
    assert_eq!(topic.committed_and_lag(), (400, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_slow_handler_is_left_alone() {
    let topic = Topic::new(1);
    topic.fill(4);
    let arguments = "--until-end --processes 1 --set consumer.watchdog.stall_timeout=2s";
    let ended = topic.consume_with(arguments, "time.sleep(1.5); answer(m)").run().expect(0);
    assert_eq!((ended.processed(), ended.restarts().len()), (4, 0));
}

/// Like a pager that shows its first page.
#[test]
#[ignore = "needs a real Kafka"]
fn a_pipe_that_nobody_reads_is_no_hang() {
    let topic = Topic::new(4);
    topic.fill(4_000);
    let (brokers, name) = (&topic.brokers, &topic.name);
    let consume = format!(
        "consume --brokers {brokers} --topic {name} --group {name} --processor print --until-end \
         --set consumer.watchdog.stall_timeout=2s"
    );
    let reader = "(until [ -e go ]; do sleep 0.02; done; cat)";
    let running = shell(&format!("set -o pipefail; $PROGRAM {consume} --report \"$1\" | {reader}")).start();
    // After ten seconds.
    wait_for("the word about it", || running.stderr().contains("stdout takes nothing"));
    running.make_file("go");
    let ended = running.end().expect(0).expect_committed();
    assert!(ended.took.as_secs() >= 10, "five times as long as stall_timeout");
    assert_eq!(distinct(&printed(&ended.stdout)), 4_000);
    assert!(ended.restarts().is_empty(), "{:?}", ended.restarts());
}

#[test]
#[ignore = "needs a real Kafka"]
fn hang_up_restarts_all_workers_one_after_the_other_and_nothing_is_processed_twice() {
    let topic = Topic::new(4);
    let running = topic.consume("--processor print --processes 3").without_terminal().start();
    let producer = topic.produce("--rate 500 --key round_robin --messages-per-thread 400").start();
    running.wait_for_lines(200);
    let before = running.workers();
    running.signal(Signal::SIGHUP);
    let fewest = std::cell::Cell::new(before.len());
    wait_for("new workers", || {
        let now = running.workers();
        fewest.set(fewest.get().min(now.len()));
        now.len() == 3 && !now.iter().any(|pid| before.contains(pid))
    });
    assert!(fewest.get() >= 2, "never two at once");
    producer.end().expect(0);
    running.wait_for_lines(1_600);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(distinct(&printed(&ended.stdout)), 1_600);
    let causes = ended.restarts();
    assert_eq!(causes.len(), 3, "{causes:?}");
    assert!(causes.iter().all(|cause| cause.contains("SIGHUP")), "{causes:?}");
}

/// The message takes longer than `kill_grace`, and longer than a normal worker takes to stop.
#[test]
#[ignore = "needs a real Kafka"]
fn a_worker_finishes_a_long_message_before_it_is_replaced() {
    let topic = Topic::new(1);
    topic.fill(4);
    let long =
        "time.sleep(13 if m['offset'] == 1 else 0); print('did', m['offset'], file=sys.stderr, flush=True); answer(m)";
    let running = topic.consume_with("--processes 1", long).without_terminal().start();
    wait_for("the message before it", || running.stderr().contains("did 0"));
    running.signal(Signal::SIGHUP);
    wait_for("the last message", || running.stderr().contains("did 3"));
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(ended.stderr.matches("did 1").count(), 1, "{}", ended.stderr);
    assert!(matches!(&ended.restarts()[..], [cause] if cause.contains("SIGHUP")), "{:?}", ended.restarts());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_quiet_program_takes_no_message_and_keeps_what_it_has() {
    let topic = Topic::new(2);
    let running = topic.consume("--processor print").start();
    topic.fill(200);
    running.wait_for_lines(200);
    let workers = running.workers();
    running.signal(Signal::SIGUSR2);
    wait_for("pause", || running.stderr().contains("paused: no messages are processed"));
    // The pause command is on its way to the workers, which may still process the first messages.
    topic.fill(200);
    let paused = running.stdout().lines().count();
    let asked = Instant::now();
    wait_for("some time", || asked.elapsed().as_secs_f64() > 1.5);
    assert_eq!(running.stdout().lines().count(), paused);
    assert!(paused < 400, "it took everything: {paused}");
    assert_eq!(running.workers(), workers);
    running.signal(Signal::SIGCONT);
    running.wait_for_lines(400);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(distinct(&printed(&ended.stdout)), 400);
    assert!(ended.restarts().is_empty());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_worker_that_has_done_enough_is_replaced_and_nothing_is_read_twice() {
    let topic = Topic::new(2);
    topic.fill(2_000);
    let slowly = "time.sleep(0.001); print(json.dumps(m), file=sys.stderr, flush=True); answer(m)";
    let ended = topic.consume_with("--until-end --set consumer.recycle.max_messages=300", slowly).run().expect(0);
    let ended = ended.expect_committed();
    let causes = ended.restarts();
    assert!(
        causes.len() >= 2 && causes.iter().all(|cause| cause.contains("consumer.recycle.max_messages")),
        "{causes:?}"
    );
    let lines: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("{\"id\"")).collect();
    assert_eq!(distinct(&printed(&lines.join("\n"))), 2_000);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_death_is_written_down_with_what_was_known() {
    let topic = Topic::new(2);
    topic.fill(4);
    let running = topic
        .consume_with(
            "--set consumer.commit_interval=1h",
            "print('working on', m['offset'], file=sys.stderr, flush=True); time.sleep(3600)",
        )
        .start();
    wait_for("messages in hand", || running.stderr().matches("working on 0").count() == 2);
    let killed = running.workers()[0];
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    wait_for("its successor", || running.workers().len() == 2 && !running.workers().contains(&killed));
    running.signal(Signal::SIGQUIT);
    let ended = running.end();
    let deaths = deaths(&ended);
    assert_eq!(deaths.len(), 1, "{deaths:?}");
    let death = &deaths[0];
    assert_eq!((death["cause"].as_str(), death["pid"].as_i64()), (Some("SIGKILL"), Some(i64::from(killed))));
    assert_eq!(death["out_of_memory"], false);
    assert!(
        death["log"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("working on 0")),
        "{death}"
    );
    assert_eq!(death["partitions"][0]["in_flight"], 0, "{death}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_worker_that_dies_too_often_ends_the_program_if_asked() {
    let topic = Topic::new(1);
    topic.fill(4);
    let arguments = "--processes 1 --set consumer.restart.max_restarts=2 --set consumer.restart.on_exceeded=exit \
                     --set consumer.restart.backoff=10ms";
    let dies = "print('cannot', file=sys.stderr, flush=True); sys.exit(3)";
    let ended = topic.consume_with(arguments, dies).run().expect(1);
    assert!(ended.reason().contains("has died 3 times"), "{}", ended.reason());
    assert_eq!(ended.restarts().len(), 3);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_that_kills_its_worker_is_named_at_the_fourth_death_and_its_siblings_lose_nothing() {
    let topic = Topic::new(4);
    topic.fill(4_000);
    let kills = "print(json.dumps(m), file=sys.stderr, flush=True); \
        os.kill(os.getppid(), signal.SIGABRT) if (m['partition'], m['offset']) == (2, 77) else None; \
        time.sleep(5 if (m['partition'], m['offset']) == (2, 77) else 0); answer(m)";
    let ended = topic.consume_with("--until-end --set consumer.on_failure=skip", kills).run().expect(0);
    let ended = ended.expect_committed();
    let deaths = deaths(&ended);
    assert_eq!(deaths.len(), 4, "{deaths:?}");
    assert!(deaths.iter().all(|death| death["cause"].as_str().unwrap().contains("SIGABRT")), "{deaths:?}");
    assert_eq!(ended.sum("failed"), 1);
    let ended = ended.reports("2@77 is a poison message");
    let lines: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("{\"id\"")).collect();
    let mut places = printed(&lines.join("\n"));
    assert_eq!(places.iter().filter(|place| **place == (2, 77)).count(), 4, "once in each life");
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 4_000);
    assert_eq!(topic.committed_and_lag(), (4_000, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_message_that_kills_the_external_program_is_skipped_too() {
    let topic = Topic::new(2);
    topic.fill(400);
    let dies = "sys.exit(3) if (m['partition'], m['offset']) == (1, 7) else answer(m)";
    let ended =
        topic.consume_with("--until-end --set consumer.on_failure=skip", dies).run().expect(0).expect_committed();
    assert_eq!(ended.sum("failed"), 1);
    let ended = ended.reports("1@7 is a poison message");
    assert_eq!(ended.restarts().len(), 4, "{:?}", ended.restarts());
    assert_eq!(topic.committed_and_lag(), (400, 0));
}

/// Whether each partition has a worker, by the last lines that workers logged about it.
fn all_read(running: &crate::harness::program::Running, partitions: usize) -> bool {
    let log = running.stderr();
    let reading = log.lines().filter(|line| line.contains("INFO reading"));
    let names: std::collections::BTreeSet<_> = reading
        .flat_map(|line| line.split("partitions: ").nth(1).unwrap_or_default().split(", ").map(str::to_owned))
        .collect();
    names.len() == partitions
}

#[test]
#[ignore = "needs a real Kafka"]
fn one_worker_more_and_one_less_share_the_partitions_and_nothing_is_read_twice() {
    let topic = Topic::new(6);
    let running = topic.consume("--processor print --processes 2").start();
    let producer = topic.produce("--rate 1000 --key round_robin --messages-per-thread 1000").start();
    running.wait_for_lines(300);
    running.signal(Signal::SIGTTIN);
    wait_for("a third worker", || running.workers().len() == 3);
    wait_for("its share", || {
        let log = running.stderr();
        log.lines()
            .any(|line| line.contains("INFO reading") && line.contains("worker: 2") && line.contains("partitions"))
    });
    running.wait_for_lines(running.stdout().lines().count() + 500);
    running.signal(Signal::SIGTTOU);
    wait_for("two workers", || running.workers().len() == 2);
    producer.end().expect(0);
    running.wait_for_lines(4_000);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(distinct(&printed(&ended.stdout)), 4_000);
    let owners: std::collections::BTreeSet<_> =
        ended.partitions().iter().map(|partition| partition["worker"].as_i64().unwrap()).collect();
    assert_eq!(owners, [0, 1].into());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_worker_that_dies_too_often_fails_and_the_others_continue_where_it_has_committed() {
    let topic = Topic::new(4);
    topic.fill(400);
    let running = topic
        .consume_with(
            "--set consumer.restart.max_restarts=1 --set consumer.restart.backoff=10ms",
            "print(json.dumps(m), file=sys.stderr, flush=True); answer(m)",
        )
        .start();
    let reported = || running.stderr().lines().filter(|line| line.starts_with("{\"id\"")).count();
    wait_for("all of it", || reported() == 400);
    wait_for("two workers", || all_read(&running, 4));
    // Waits for the commits, so that no message is processed again.
    wait_for("commits", || topic.committed_and_lag() == (400, 0));
    let before = running.workers();
    kill(Pid::from_raw(before[0]), Signal::SIGKILL).unwrap();
    let successor = || running.workers().into_iter().find(|pid| !before.contains(pid));
    wait_for("its successor to read", || {
        successor().is_some() && running.stderr().matches("INFO reading").count() >= 3
    });
    kill(Pid::from_raw(successor().unwrap()), Signal::SIGKILL).unwrap();
    wait_for("the other one to have all", || running.stderr().contains("the others get its partitions"));
    topic.fill(400);
    wait_for("all of it", || reported() == 800);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    let lines: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("{\"id\"")).collect();
    assert_eq!(distinct(&printed(&lines.join("\n"))), 800);
    let owners: std::collections::BTreeSet<_> =
        ended.partitions().iter().map(|partition| partition["worker"].as_i64().unwrap()).collect();
    assert_eq!(owners.len(), 1, "{owners:?}");
}
