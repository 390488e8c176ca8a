//! The environment of the program's processes: what they inherit and leave behind.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::kafka::Topic;
use crate::harness::program::{Running, children, kafka_actors, shell};
use crate::harness::wait_for;

/// A program that prints what it inherits: its variables, its descriptors, its signals.
const LOOKS: &str = "import sys, json, os
def describe(fd):
    try: return [(int(fd), os.readlink('/proc/self/fd/' + fd))]
    except OSError: return []
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
found = {
    'environment': sorted(os.environ),
    'descriptors': [found for fd in os.listdir('/proc/self/fd') for found in describe(fd)],
    'blocked': int(status['SigBlk'], 16), 'ignored': int(status['SigIgn'], 16),
}
open('found.new', 'w').write(json.dumps(found))
os.rename('found.new', 'found')
for line in sys.stdin: print(json.dumps({'id': json.loads(line)['id']}), flush=True)
";

fn found(running: &Running) -> Value {
    wait_for("the program", || running.has_file("found"));
    serde_json::from_str(&running.read_file("found")).unwrap()
}

/// The settings may contain secrets; a service manager's variables are for its main process.
#[test]
#[ignore = "needs a real Kafka"]
fn an_external_program_inherits_no_settings_no_descriptors_and_no_signal_mask() {
    let topic = Topic::new(2);
    topic.fill(40);
    let running = topic
        .consume("--processes 1")
        .file("looks.py", LOOKS)
        .arg("--command")
        .arg("python3 looks.py")
        .env("KAFKA_ACTORS__PRODUCER__THREADS", "2")
        .env("KAFKA_ACTORS__CONSUMER__COMMIT_INTERVAL", "1s")
        .env("NOTIFY_SOCKET", "/nowhere/notify")
        .env("WATCHDOG_USEC", "30000000")
        .env("LISTEN_FDS", "1")
        .env("OF_THE_USER", "kept")
        .start();
    wait_for("the commit", || topic.committed_and_lag() == (40, 0));
    let found = found(&running);
    let names: Vec<_> = found["environment"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let private = ["KAFKA_ACTORS__", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_"];
    let inherited: Vec<_> = names.iter().filter(|name| private.iter().any(|it| name.starts_with(it))).collect();
    assert!(inherited.is_empty(), "{inherited:?}");
    assert!(["OF_THE_USER", "KAFKA_WORKER_SLOT", "PATH"].iter().all(|name| names.contains(name)), "{names:?}");
    let descriptors = found["descriptors"].as_array().unwrap();
    assert!(descriptors.iter().all(|it| it[0].as_u64().unwrap() <= 2), "{descriptors:?}");
    assert_eq!((&found["blocked"], found["ignored"].as_u64().unwrap() & 0x4003), (&Value::from(0), 0), "{found}");
    // The worker inherits none of them either, and neither would a process that it starts.
    let environment = std::fs::read(format!("/proc/{}/environ", running.workers()[0])).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(!private.iter().any(|it| environment.contains(it)), "{environment}");
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
}

#[test]
fn workers_have_names() {
    let running = kafka_actors("demo --processes 2 --rate 100 --messages-per-thread 0").start();
    wait_for("two workers", || running.workers().len() == 2);
    let names = || {
        let name = |pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
        let mut names: Vec<_> = running.workers().into_iter().map(name).collect();
        names.sort();
        names
    };
    wait_for("their names", || names() == ["kafka-worker-0", "kafka-worker-1"]);
    // A demo that is stopped before a message was delivered has shown nothing, and fails.
    wait_for("a message", || running.in_status("consume", "processed") > 0);
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
}

/// Programs that leave child processes behind, under a process that adopts them: init of a container, if this machine allows that.
#[test]
#[ignore = "needs a real Kafka"]
fn as_init_it_reaps_what_external_programs_leave_behind() {
    let topic = Topic::new(2);
    topic.fill(40);
    let allowed = shell("unshare --pid --fork --mount-proc true").run_plain().status.success();
    if !allowed {
        return;
    }
    // Each has a separate session, which is not killed with the worker.
    let program = "while read line; do id=${line#*:}; (setsid sleep 0.1 &); echo \"{\\\"id\\\":${id%%,*}}\"; done";
    let line = format!(
        "exec unshare --pid --fork --mount-proc $PROGRAM --report report.json consume --brokers {} --topic {} --group {} \
         --processes 2 --command 'bash program'",
        topic.brokers, topic.name, topic.name
    );
    let running = shell(&line).file("program", program).start_plain();
    wait_for("the commit", || topic.committed_and_lag() == (40, 0));
    let init = children(running.id() as i32)[0];
    let zombies = || {
        let is_zombie =
            |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
        let all = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
        all.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_zombie).count()
    };
    // Some of them exit when the last message is processed.
    std::thread::sleep(Duration::from_millis(300));
    wait_for("no zombie", || zombies() == 0);
    // The supervisor reaps its workers, and so knows their exit status.
    let worker = children(init)[0];
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    wait_for("its death", || running.stderr().contains("SIGKILL"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), Signal::SIGTERM).unwrap();
    let ended = running.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

/// A run that was killed cannot remove its folder; the next run removes it.
#[test]
#[ignore = "needs a real Kafka"]
fn temporary_folders_of_killed_runs_are_removed_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let left = || std::fs::read_dir(folder.path()).unwrap().count();
    let run = |messages: u64| {
        kafka_actors(&format!(
            "verify --brokers {} --rate 200 --processes 1 --messages-per-thread {messages}",
            crate::harness::kafka::brokers()
        ))
        .env("TMPDIR", path)
        .start()
    };
    let killed = run(0);
    wait_for("its folder", || left() == 1);
    let (_folder, workers) = killed.kill();
    wait_for("the end of its workers", || !workers.iter().any(|pid| crate::harness::program::is_alive(*pid)));
    assert_eq!(left(), 1);
    let (first, second) = (run(100), run(100));
    wait_for("their folders, and not the stale one", || left() == 2);
    first.end().expect(0);
    second.end().expect(0);
    assert_eq!(left(), 0);
}
