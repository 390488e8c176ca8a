//! The built program, run in the same way as a user runs it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::{DEADLINE, wait_for};

/// A command line to run in a new, empty folder.
pub struct Program {
    command: Command,
    folder: TempDir,
}

/// A running program; it is killed if its test ends first.
pub struct Running {
    child: Owned,
    folder: TempDir,
    begun: Instant,
    report_asked: bool,
}

/// A child process that does not outlive its test.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Both fail only if the process has exited and was reaped.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// A program that has exited.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    /// The report that `--report` wrote; null without `--report`.
    pub report: Value,
    report_asked: bool,
}

/// `kafka-actors` with these arguments (separated by spaces).
pub fn kafka_actors(arguments: &str) -> Program {
    Program::new(Path::new(env!("CARGO_BIN_EXE_kafka-actors"))).args(arguments)
}

/// A program of `examples/` or `tests/programs`, built by the same cargo run.
pub fn example(name: &str, arguments: &str) -> Program {
    Program::new(&example_path(name)).args(arguments)
}

pub fn example_path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_kafka-actors")).parent().unwrap();
    let path = folder.join("examples").join(name);
    assert!(path.exists(), "{} is not built: `cargo test` does it, `cargo build --examples` too", path.display());
    path
}

/// A shell line in which `$PROGRAM` is the program.
pub fn shell(line: &str) -> Program {
    let mut program = Program::new(Path::new("bash")).args("-c").arg(line);
    program.command.env("PROGRAM", env!("CARGO_BIN_EXE_kafka-actors"));
    program
}

impl Program {
    fn new(path: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(path);
        command.current_dir(&folder).stdin(Stdio::null()).env("NO_COLOR", "1").env_remove("KAFKA_CREATE_TOPICS");
        Self { command, folder }
    }

    pub fn args(mut self, arguments: &str) -> Self {
        self.command.args(arguments.split_whitespace());
        self
    }

    pub fn arg(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it in a new session: without a controlling terminal, even if the tests have one.
    pub fn without_terminal(mut self) -> Self {
        let mut command = Command::new("setsid");
        command.arg(self.command.get_program()).args(self.command.get_args()).current_dir(&self.folder);
        command.stdin(Stdio::null());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// Writes a file into the program's folder.
    pub fn file(self, name: &str, content: &str) -> Self {
        std::fs::write(self.folder.path().join(name), content).unwrap();
        self
    }

    /// Starts it, with `--report` if `report` is true.
    fn launch(mut self, report: bool) -> Running {
        if report {
            self.command.arg("--report").arg(self.folder.path().join("report.json"));
        }
        let output = |name| File::create(self.folder.path().join(name)).unwrap();
        let child = self.command.stdout(output("stdout")).stderr(output("stderr")).spawn().unwrap();
        Running { child: Owned(child), folder: self.folder, begun: Instant::now(), report_asked: report }
    }

    pub fn start(self) -> Running {
        self.launch(true)
    }

    /// Starts it without `--report`.
    pub fn start_plain(self) -> Running {
        self.launch(false)
    }

    /// Runs it until it exits.
    pub fn run(self) -> Ended {
        self.start().end()
    }

    /// Runs it until it exits, without `--report`.
    pub fn run_plain(self) -> Ended {
        self.launch(false).end()
    }
}

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.0.id() as i32), signal).unwrap();
    }

    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Its stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("stdout")).unwrap()).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("stderr")).unwrap()).into_owned()
    }

    /// Whether this file exists in its folder.
    pub fn has_file(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }

    /// The content of this file in its folder; empty if the file does not exist.
    pub fn read_file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Creates an empty file in its folder.
    pub fn make_file(&self, name: &str) {
        File::create(self.folder.path().join(name)).unwrap();
    }

    /// Writes to a file in its folder, which may be a fifo.
    pub fn write_file(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    /// Requests its status with SIGUSR1, and waits for it.
    pub fn status(&self) -> String {
        let lines =
            || self.stderr().lines().filter(|line| line.contains("INFO status")).map(str::to_owned).collect::<Vec<_>>();
        // Before its handler is installed, the signal kills the process; the first line is logged after that.
        wait_for("the first line", || self.stderr().contains("INFO"));
        let before = lines().len();
        self.signal(Signal::SIGUSR1);
        wait_for("the status", || lines().len() > before);
        lines().pop().unwrap()
    }

    /// A number in the status line of a side ("produce", "consume"), requested by a signal: the first number with that name.
    pub fn in_status(&self, side: &str, field: &str) -> u64 {
        let reported = format!("INFO status, {side}: ");
        let lines =
            || self.stderr().lines().filter_map(|line| Some(line.split_once(&reported)?.1.to_owned())).collect();
        let before: Vec<String> = lines();
        self.signal(Signal::SIGUSR1);
        wait_for("the status", || lines().len() > before.len());
        let status: Value = serde_json::from_str(lines().last().unwrap()).unwrap();
        status[field].as_u64().unwrap_or_else(|| panic!("no {field} in {status}"))
    }

    /// Waits until brokers have acknowledged messages of this producer.
    pub fn wait_for_acknowledgements(&self) {
        // Before this line, the status has no producers.
        wait_for("producing", || self.stderr().contains("INFO producing"));
        wait_for("acknowledgements", || self.in_status("produce", "acknowledged") > 0);
    }

    /// Process ids of its workers.
    pub fn workers(&self) -> Vec<i32> {
        children(self.child.0.id() as i32)
    }

    pub fn wait_for_lines(&self, lines: usize) {
        wait_for(&format!("{lines} lines on stdout"), || self.stdout().lines().count() >= lines);
    }

    /// Waits until it exits; kills it after the default timeout.
    pub fn end(self) -> Ended {
        self.end_within(DEADLINE)
    }

    /// Waits until it exits; kills it after `deadline`, measured from its start.
    pub fn end_within(mut self, deadline: Duration) -> Ended {
        let status = loop {
            if let Some(status) = self.child.0.try_wait().unwrap() {
                break status;
            }
            if self.begun.elapsed() > deadline {
                self.signal(Signal::SIGKILL);
                self.child.0.wait().unwrap();
                panic!("it did not end within {deadline:?}; its log:\n{}", self.stderr());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let report = std::fs::read(self.folder.path().join("report.json")).unwrap_or_default();
        Ended {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
            took: self.begun.elapsed(),
            report: serde_json::from_slice(&report).unwrap_or(Value::Null),
            report_asked: self.report_asked,
        }
    }

    /// Sends SIGKILL to the program only. Returns its folder and the pids of its workers.
    pub fn kill(mut self) -> (TempDir, Vec<i32>) {
        let workers = self.workers();
        self.signal(Signal::SIGKILL);
        self.child.0.wait().unwrap();
        (self.folder, workers)
    }
}

impl Ended {
    /// Asserts the exit code of process and report; a failure prints the log.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "exit: {}; report: {}\n{}", self.status, self.report, self.stderr);
        if self.report_asked {
            assert_eq!(self.report["exit"]["code"], code, "{}", self.report);
            assert_eq!(self.report["version"], 2);
        }
        self
    }

    /// Asserts that stderr contains this text.
    pub fn reports(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in:\n{}", self.stderr);
        self
    }

    pub fn reason(&self) -> &str {
        self.report["exit"]["reason"].as_str().unwrap_or_default()
    }

    pub fn acknowledged(&self) -> u64 {
        self.report["produce"]["acknowledged"].as_u64().unwrap()
    }

    pub fn processed(&self) -> u64 {
        self.report["consume"]["processed"].as_u64().unwrap()
    }

    pub fn partitions(&self) -> &[Value] {
        self.report["consume"]["partitions"].as_array().unwrap()
    }

    /// The sum of a number over all partitions.
    pub fn sum(&self, field: &str) -> i64 {
        self.partitions().iter().map(|partition| partition[field].as_i64().unwrap_or(0)).sum()
    }

    pub fn restarts(&self) -> Vec<String> {
        let workers = self.report["consume"]["workers"].as_array().unwrap();
        let restarts = workers.iter().flat_map(|worker| worker["restarts"].as_array().unwrap());
        restarts.map(|restart| restart["cause"].as_str().unwrap().to_owned()).collect()
    }

    /// Asserts that every processed message is committed, in every partition.
    pub fn expect_committed(self) -> Self {
        for partition in self.partitions() {
            if partition["position"] != partition["start_offset"] {
                assert_eq!(partition["committed"], partition["position"], "{partition}");
            }
        }
        self
    }
}

/// The output of the `print` processor: partitions and offsets, in order.
pub fn printed(stdout: &str) -> Vec<(i64, i64)> {
    let place = |line: &str| {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        (message["partition"].as_i64().unwrap(), message["offset"].as_i64().unwrap())
    };
    stdout.lines().map(place).collect()
}

/// Asserts that there are no duplicates; returns the number of elements.
pub fn distinct(places: &[(i64, i64)]) -> usize {
    let distinct: BTreeSet<_> = places.iter().collect();
    assert_eq!(distinct.len(), places.len(), "something was processed twice");
    places.len()
}

/// The pids of live child processes, without zombies.
pub fn children(parent: i32) -> Vec<i32> {
    processes().into_iter().filter(|(_, its_parent)| *its_parent == parent).map(|(pid, _)| pid).collect()
}

pub fn is_alive(pid: i32) -> bool {
    processes().into_iter().any(|(live, _)| live == pid)
}

/// The pids of all live processes and of their parents.
fn processes() -> Vec<(i32, i32)> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = |line: &str| {
        let mut fields = line.split_whitespace();
        let (pid, parent) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (!fields.next()?.starts_with('Z')).then_some((pid, parent))
    };
    text.lines().filter_map(row).collect()
}
