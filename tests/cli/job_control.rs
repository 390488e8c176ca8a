//! Job control: Ctrl+Z, `fg`, `bg`, a closed terminal, `stty tostop`. A shell with job control runs the program in a
//! pseudo-terminal.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::kafka::Topic;
use crate::harness::program::{Running, children};
use crate::harness::terminal::{self, type_keys, wait_for_text};
use crate::harness::wait_for;

const CTRL_Z: &str = "\u{1a}";

/// Runs the program as a job of a shell. `stopped CODE` appears when the shell has the terminal back. The line `go` lets the shell
/// resume the job. The file `code` contains the exit code.
fn job(arguments: &str) -> Running {
    let slow = r#"echo 'while read -r line; do sleep 0.3; echo "$line"; done' > slow"#;
    let job = format!("$PROGRAM --report report.json {arguments}");
    terminal::run(&format!("{slow}; set -m; {job}; echo \"stopped $?\"; read go; fg; echo $? > code"), 30, 120)
}

/// The process and all its descendants.
fn family(pid: i32) -> Vec<i32> {
    let below = children(pid).into_iter().flat_map(family);
    [pid].into_iter().chain(below).collect()
}

/// The state of a process; `None` if it has exited.
fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn are_stopped(family: &[i32]) -> bool {
    family.iter().all(|pid| state(*pid).is_none_or(|state| state == 'T'))
}

/// Suspends the job, and asserts that all its processes are stopped and that the shell has the terminal. Returns its processes, at
/// least `processes` of them.
fn suspend(running: &Running, processes: usize) -> Vec<i32> {
    let program = terminal::program(running);
    wait_for("its processes", || family(program).len() >= processes);
    let family = family(program);
    type_keys(running, CTRL_Z);
    // 128 + SIGSTOP.
    wait_for_text(running, "stopped 147");
    wait_for("all of them to be stopped", || are_stopped(&family));
    family
}

fn resume(running: &Running, family: &[i32]) {
    type_keys(running, "go\n");
    wait_for("all of them to go on", || family.iter().all(|pid| state(*pid) != Some('T')));
}

fn ends(running: &Running) -> serde_json::Value {
    wait_for("its end", || !running.read_file("code").is_empty());
    let report: serde_json::Value = serde_json::from_str(&running.read_file("report.json")).unwrap();
    assert_eq!(report["exit"]["code"].to_string(), running.read_file("code").trim(), "{report}");
    report
}

#[test]
fn ctrl_z_suspends_a_demonstration_and_fg_resumes_it() {
    let running = job("demo --threads 1 --processes 2 --rate 200 --messages-per-thread 1000");
    wait_for_text(&running, "reading, worker: 1");
    let family = suspend(&running, 3);
    resume(&running, &family);
    let report = ends(&running);
    assert_eq!(report["exit"]["code"], 0, "{report}");
    assert_eq!(report["verify"]["lost"], 0, "{report}");
}

/// Meanwhile the sessions of the group members and of the supervisor lock expire, and `verify.timeout` elapses.
#[test]
#[ignore = "needs a real Kafka"]
fn what_was_suspended_for_longer_than_any_timeout_goes_on_as_it_was() {
    let consume = |assignment: &str| {
        let topic = Topic::new(2);
        topic.fill(40);
        let running = job(&format!(
            "consume --brokers {} --topic {} --group {} --assignment {assignment} --processes 2 --command cat \
             --set consumer.watchdog.heartbeat_timeout=6s --set consumer.watchdog.stall_timeout=6s \
             --set consumer.membership.session_timeout=6s --set consumer.membership.revoke_timeout=2s",
            topic.brokers, topic.name, topic.name,
        ));
        wait_for("the commit", || topic.committed_and_lag() == (40, 0));
        let family = suspend(&running, 5);
        (assignment.to_owned(), topic, running, family)
    };
    let runs = ["manual", "group"].map(consume);
    // `verify` is suspended after it has read a part of the produced messages.
    let verify = job(&format!(
        "verify --brokers {} --threads 1 --messages-per-thread 20 --partitions 1 --processes 1 --command 'bash slow' \
         --set verify.timeout=12s",
        runs[0].1.brokers
    ));
    wait_for_text(&verify, "produced:");
    let verifying = suspend(&verify, 3);
    std::thread::sleep(Duration::from_secs(14));
    for (_, topic, running, family) in &runs {
        topic.fill(40);
        resume(running, family);
    }
    resume(&verify, &verifying);
    for (assignment, topic, running, family) in runs {
        wait_for("the rest", || topic.committed_and_lag() == (80, 0));
        kill(Pid::from_raw(family[0]), Signal::SIGTERM).unwrap();
        let report = ends(&running);
        assert_eq!(report["exit"]["code"], 0, "{report}");
        let restarts = report["consume"]["workers"].as_array().unwrap().iter().map(|it| it["restarts"].to_string());
        assert!(restarts.into_iter().all(|restarts| restarts == "[]"), "{assignment}: {report}");
        // A member with an expired session may process a message before it detects the expiry; the next owner of the partition
        // processes it again.
        let processed = report["consume"]["processed"].as_u64().unwrap();
        assert!(processed == 80 || assignment == "group" && processed > 80, "{assignment}: {report}");
    }
    let report = ends(&verify);
    assert_eq!(report["exit"]["code"], 0, "{report}");
}

/// `fg` sends SIGCONT, and does not end a pause; SIGCONT without a suspension does.
#[test]
#[ignore = "needs a real Kafka"]
fn a_pause_outlasts_a_suspension() {
    let topic = Topic::new(2);
    topic.fill(40);
    let running = job(&format!(
        "consume --brokers {} --topic {} --group {} --processes 1 --processor count",
        topic.brokers, topic.name, topic.name
    ));
    wait_for("the commit", || topic.committed_and_lag() == (40, 0));
    let program = Pid::from_raw(terminal::program(&running));
    kill(program, Signal::SIGUSR2).unwrap();
    wait_for_text(&running, "paused: no messages are processed");
    let family = suspend(&running, 2);
    resume(&running, &family);
    topic.fill(40);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(topic.committed_and_lag(), (40, 40));
    kill(program, Signal::SIGCONT).unwrap();
    wait_for("the rest", || topic.committed_and_lag() == (80, 0));
    kill(program, Signal::SIGTERM).unwrap();
    assert_eq!(ends(&running)["exit"]["code"], 0);
}

/// Includes a suspended job and a background job.
#[test]
fn a_closed_terminal_ends_a_run_gracefully_with_its_report() {
    let demo = "demo --threads 1 --processes 2 --rate 200 --messages-per-thread 0";
    let line = |before: &str, after: &str| format!("{before} $PROGRAM --report report.json {demo} {after}");
    let lines = [
        ("the shell's own", line("exec", "")),
        ("in the foreground", line("", "; sleep 100")),
        ("a job in the foreground", line("set -m;", "; sleep 100")),
        ("in the background", line("set -m;", "& wait $!; sleep 100")),
        ("suspended", line("set -m;", "; echo stopped $?; sleep 100")),
    ];
    for (what, line) in lines {
        let running = terminal::run(&line, 30, 120);
        wait_for_text(&running, "reading, worker: 1");
        // A demonstration that has processed no message has proved nothing, and fails.
        wait_for_text(&running, "message, worker: ");
        let program = terminal::program(&running);
        let family = family(program);
        if what == "suspended" {
            suspend(&running, 3);
        }
        terminal::close(&running);
        if what == "in the background" {
            // The kernel signals only the shell and the foreground job. An interactive shell passes the signal on to its jobs.
            kill(Pid::from_raw(program), Signal::SIGHUP).unwrap();
        }
        wait_for("its end", || family.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()));
        let report: serde_json::Value = serde_json::from_str(&running.read_file("report.json")).unwrap();
        assert_eq!(report["exit"]["code"], 0, "{what}: {report}");
    }
}

/// The kernel stops a background job that writes to such a terminal, unless it blocks the signal; with a handler the job would
/// retry the write forever.
#[test]
fn a_job_in_the_background_of_a_terminal_that_stops_output_runs_and_ends() {
    let line = "set -m; stty tostop; $PROGRAM --report report.json demo --threads 1 --processes 2 --rate 200 \
        --messages-per-thread 0 --set logging.level=debug --set consumer.processor=print & wait $!; echo $? > code; stty -tostop";
    let running = terminal::run(line, 30, 120);
    wait_for_text(&running, "reading, worker: 1");
    let program = terminal::program(&running);
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{program}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').map(str::to_owned).collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(2));
    let (used, family) = (ticks() - before, family(program));
    assert!(used < 120, "{used} hundredths of a second of processor time in 2 s");
    assert_eq!(family.len(), 3, "no worker is taken away");
    assert!(family.iter().all(|pid| state(*pid) != Some('T')));
    kill(Pid::from_raw(program), Signal::SIGTERM).unwrap();
    assert_eq!(ends(&running)["exit"]["code"], 0);
}
