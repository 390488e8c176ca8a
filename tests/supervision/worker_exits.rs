//! Workers and supervisors that are killed.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::kafka::{Topic, tool};
use crate::harness::program::{Running, children, distinct, is_alive, printed, shell};
use crate::harness::{unique, wait_for};

/// Each worker has a slow external program, which prints its messages to stderr, and has started a process that does not exit.
fn slowly(topic: &Topic, arguments: &str) -> Running {
    let program = "import sys, json, time, subprocess\nsubprocess.Popen(['sleep', '1000'])\nfor line in sys.stdin:\n    time.sleep(0.001)\n    m = json.loads(line)\n    \
        print(json.dumps({'id': m['id']}), flush=True)\n    print(json.dumps(m), file=sys.stderr, flush=True)\n";
    topic.consume(arguments).arg("--command").arg("python3 work.py").file("work.py", program).start()
}

/// The messages that the external programs have printed to stderr.
fn reported(log: &str) -> Vec<(i64, i64)> {
    let lines: Vec<_> = log.lines().filter(|line| line.starts_with("{\"id\"")).collect();
    printed(&lines.join("\n"))
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_killed_worker_is_named_and_started_again_and_nothing_is_missed() {
    let topic = Topic::new(4);
    topic.fill(4_000);
    let running = slowly(&topic, "--until-end");
    wait_for("some messages", || reported(&running.stderr()).len() > 200);
    let (killed, other) = (running.workers()[0], running.workers()[1]);
    let mut its_programs = children(killed);
    its_programs.extend(its_programs.clone().into_iter().flat_map(children));
    assert_eq!(its_programs.len(), 2, "the program and its sleep");
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    wait_for("the end of what it had started", || !its_programs.iter().any(|pid| is_alive(*pid)));
    wait_for("another worker", || running.workers().len() == 2);
    assert!(running.workers().contains(&other), "the other one goes on");
    let ended = running.end().expect(0).expect_committed().reports("SIGKILL");
    let mut places = reported(&ended.stderr);
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 4_000, "nothing is missed");
    assert_eq!(ended.restarts(), ["SIGKILL"]);
    assert_eq!(topic.committed_and_lag(), (4_000, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_worker_that_is_asked_to_end_costs_no_repetition() {
    let topic = Topic::new(4);
    topic.fill(4_000);
    // The commit at a worker's end is the only one; the successor continues from it.
    let running = slowly(&topic, "--until-end --set consumer.commit_interval=1h");
    wait_for("some messages", || reported(&running.stderr()).len() > 200);
    kill(Pid::from_raw(running.workers()[0]), Signal::SIGTERM).unwrap();
    // The program has left a process behind that does not exit; the worker does not wait until that process closes its pipe.
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(ended.restarts().len(), 1, "{:?}", ended.restarts());
    assert_eq!(distinct(&reported(&ended.stderr)), 4_000, "nothing twice, nothing missed");
}

#[test]
#[ignore = "needs a real Kafka"]
fn no_worker_outlives_a_killed_supervisor_and_what_they_did_is_committed() {
    let topic = Topic::new(4);
    topic.fill(20_000);
    let running = slowly(&topic, "");
    wait_for("some messages", || reported(&running.stderr()).len() > 200);
    let before = reported(&running.stderr()).len() as i64;
    let (_folder, workers) = running.kill();
    assert_eq!(workers.len(), 2);
    let killed = std::time::Instant::now();
    wait_for("the workers' end", || !workers.iter().any(|pid| is_alive(*pid)));
    assert!(killed.elapsed().as_secs() < 5, "{:?}", killed.elapsed());
    let (committed, lag) = topic.committed_and_lag();
    assert!(committed >= before, "{before} were processed before, {committed} are committed");
    assert_eq!(committed + lag, 20_000);
}

#[test]
#[ignore = "needs a real Kafka"]
#[cfg(target_os = "linux")]
fn a_worker_inherits_nothing() {
    let topic = Topic::new(1);
    let line = format!(
        "exec 7</etc/hostname; exec $PROGRAM consume --processor count --brokers {} --topic {} --group {}",
        topic.brokers, topic.name, topic.name
    );
    let running = shell(&line).start_plain();
    wait_for("two workers that read", || {
        running.stderr().contains("reading") && running.stderr().contains("this worker: standby")
    });
    let workers = running.workers();
    assert_eq!(workers.len(), 2);
    for worker in workers {
        let descriptors = std::fs::read_dir(format!("/proc/{worker}/fd")).unwrap();
        for descriptor in descriptors.flatten() {
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            assert_ne!(target.to_str(), Some("/etc/hostname"), "worker {worker} has {:?}", descriptor.path());
        }
    }
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_group_that_others_subscribe_with_is_refused() {
    let topic = Topic::new(2);
    topic.fill(400);
    let group = unique("shared");
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            // Joins, reads, and leaves automatically after this time.
            let arguments = [
                "--bootstrap-server",
                &topic.brokers,
                "--topic",
                &topic.name,
                "--group",
                &group,
                "--timeout-ms",
                "12000",
            ];
            tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments, "")
        });
        wait_for("the other consumer's group to be stable", || {
            let arguments = ["--bootstrap-server", &topic.brokers, "--describe", "--group", &group, "--state"];
            tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &arguments, "").contains("Stable")
        });
        let ended = topic.consume(&format!("--processor count --from-beginning --group {group}")).run().expect(1);
        let reason = ended.reason();
        assert!(
            reason.contains(&group) && reason.contains("in use") && reason.contains("console-consumer"),
            "{reason}"
        );
        drop(other.join());
    });
}

/// When memory runs out, the kernel kills a worker and not its supervisor.
#[test]
#[ignore = "needs a real Kafka"]
#[cfg(target_os = "linux")]
fn workers_are_killed_for_memory_before_their_supervisor() {
    let topic = Topic::new(2);
    let running = topic.consume("--processor count").start();
    wait_for("workers", || running.workers().len() == 2 && running.stderr().matches("INFO reading").count() == 2);
    let score = |pid: &dyn std::fmt::Display| {
        std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse::<i32>().unwrap()
    };
    let supervisor = score(&running.id());
    for worker in running.workers() {
        assert!(score(&worker) > supervisor, "{} and {supervisor}", score(&worker));
    }
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.end().expect(0);
}
