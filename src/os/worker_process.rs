//! Worker processes as the supervisor handles them.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::process_identity::ProcessIdentity;
use super::{environment, job_control, signal_mask};

/// How long the drop of a killed process waits for its exit.
const KILLED: Duration = Duration::from_secs(1);

/// A worker process: this binary, started again in its own process group.
pub struct WorkerProcess {
    child: Child,
    ended: Option<ProcessExit>,
}

/// A newly started worker process.
pub struct SpawnedWorker {
    /// The process.
    pub process: WorkerProcess,
    /// The supervisor's end of the control channel; the worker's end is its stdin.
    pub control: UnixStream,
    /// The worker's stderr: its log.
    pub stderr: ChildStderr,
}

/// How a process exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessExit {
    /// With this exit code.
    Code(i32),
    /// By a signal.
    Signal {
        /// The signal number.
        number: i32,
        /// Whether a core was dumped.
        core: bool,
    },
}

impl fmt::Display for ProcessExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal { number, core } => {
                match Signal::try_from(number) {
                    Ok(signal) => write!(f, "{signal}")?,
                    Err(_) => write!(f, "signal {number}")?,
                }
                f.write_str(if core { " (core dumped)" } else { "" })
            }
        }
    }
}

impl From<ExitStatus> for ProcessExit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, number) => Self::Signal { number: number.unwrap_or(0), core: status.core_dumped() },
        }
    }
}

/// The argument that identifies workers whose supervisor is gone.
const SUPERVISOR_FLAG: &str = "--supervisor";

/// The running workers on this host that this supervisor has started, even after it has exited. (Linux; elsewhere
/// none.)
pub fn workers_of(supervisor: &ProcessIdentity) -> Vec<u32> {
    let (flag, local) = (SUPERVISOR_FLAG.as_bytes(), supervisor.local());
    let is_worker = |arguments: &[u8]| {
        let arguments: Vec<_> = arguments.split(|byte| *byte == 0).collect();
        arguments.windows(2).any(|pair| pair == [flag, local.as_bytes()])
    };
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let found = processes.filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        // A zombie has no arguments.
        std::fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|arguments| is_worker(arguments)).map(|_| pid)
    });
    found.collect()
}

/// Starts this binary as `worker --slot SLOT`.
///
/// Must be called from the main thread: Linux sends the parent-death signal when the *thread* that started the child
/// ends.
///
/// # Errors
/// The operating system's error: no more processes, memory or descriptors.
pub fn start_worker(slot: usize) -> io::Result<SpawnedWorker> {
    let (ours, theirs) = UnixStream::pair()?;
    // Process lists show the program's own name.
    let name = std::env::args_os().next().unwrap_or_else(|| "kafka-actors".into());
    let mut command = Command::new(current_exe()?);
    command
        .arg0(name)
        .args(["worker", "--slot", &slot.to_string(), SUPERVISOR_FLAG, &ProcessIdentity::current().local()])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        // Ctrl+C in a terminal reaches only the supervisor, which stops the workers.
        .process_group(0);
    environment::remove_private(&mut command);
    // Locked during the start, so that a suspension finds either no worker or its process group.
    let mut groups = job_control::groups();
    let mut child = signal_mask::with_original(|| command.spawn())?;
    groups.insert(child.id());
    drop(groups);
    let stderr = child.stderr.take().ok_or_else(|| io::Error::other("the worker has no stderr"))?;
    Ok(SpawnedWorker { process: WorkerProcess { child, ended: None }, control: ours, stderr })
}

/// The path of the running binary, even if its file was replaced or deleted (Linux).
fn current_exe() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok(PathBuf::from("/proc/self/exe")) } else { std::env::current_exe() }
}

impl WorkerProcess {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns how the process exited, if it has. It is reaped then, and its child processes are killed.
    ///
    /// # Errors
    /// The operating system's error; none is expected.
    pub fn try_reap(&mut self) -> io::Result<Option<ProcessExit>> {
        if self.ended.is_none() && self.has_ended()? {
            // Locked meanwhile, because the number of a reaped process may belong to another group.
            let mut groups = job_control::groups();
            self.ended = self.child.try_wait()?.map(ProcessExit::from);
            if self.ended.is_some() {
                groups.remove(&self.child.id());
            }
        }
        Ok(self.ended)
    }

    /// Until it is reaped, its number cannot belong to another group, so its children can be killed.
    #[cfg(target_os = "linux")]
    fn has_ended(&mut self) -> io::Result<bool> {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let ended = waitid(Id::Pid(self.process_group()), flags)? != WaitStatus::StillAlive;
        if ended {
            self.signal_group(Signal::SIGKILL);
        }
        Ok(ended)
    }

    /// nix has no `waitid` here, so the process is reaped first. Another group can get its number only after all of
    /// its own processes have exited and all other numbers were used.
    #[cfg(not(target_os = "linux"))]
    fn has_ended(&mut self) -> io::Result<bool> {
        let ended = self.child.try_wait()?.is_some();
        if ended {
            self.signal_group(Signal::SIGKILL);
        }
        Ok(ended)
    }

    /// Sends SIGTERM to the worker itself.
    pub fn terminate(&self) {
        if self.ended.is_none() {
            // Fails only if the worker has exited.
            nix::sys::signal::kill(self.process_group(), Signal::SIGTERM).ok();
        }
    }

    /// Sends SIGKILL to the worker and its child processes.
    pub fn kill(&self) {
        if self.ended.is_none() {
            self.signal_group(Signal::SIGKILL);
        }
    }

    fn process_group(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn signal_group(&self, signal: Signal) {
        // Fails only if the group has no process left.
        killpg(self.process_group(), signal).ok();
    }
}

impl Drop for WorkerProcess {
    /// Kills the worker and its children, and waits for the exit.
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
            let begun = Instant::now();
            // An error means that it is already reaped.
            while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < KILLED {
                std::thread::sleep(Duration::from_millis(1));
            }
            job_control::groups().remove(&self.child.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_named() {
        assert_eq!(ProcessExit::Code(3).to_string(), "exit code 3");
        assert_eq!(ProcessExit::Signal { number: 9, core: false }.to_string(), "SIGKILL");
        assert_eq!(ProcessExit::Signal { number: 6, core: true }.to_string(), "SIGABRT (core dumped)");
        assert_eq!(ProcessExit::Signal { number: 99, core: false }.to_string(), "signal 99");
    }
}
