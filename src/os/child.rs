//! Worker processes as the supervisor sees them.

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

/// How long a process that was killed is waited for when its owner goes.
const KILLED: Duration = Duration::from_secs(1);

/// A worker process: this binary, executed anew, in a process group of its own.
pub struct WorkerProcess {
    child: Child,
    ended: Option<Ended>,
}

/// What is held of a worker that was just started.
pub struct Started {
    /// The process.
    pub process: WorkerProcess,
    /// Our end of the control channel; the worker has the other one as its stdin.
    pub control: UnixStream,
    /// What it writes to stderr: its log.
    pub stderr: ChildStderr,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal {
        /// Its number.
        number: i32,
        /// Whether a core was written.
        core: bool,
    },
}

impl fmt::Display for Ended {
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

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, number) => Self::Signal { number: number.unwrap_or(0), core: status.core_dumped() },
        }
    }
}

/// Starts this binary as `worker --slot SLOT`.
///
/// To be called from the main thread only: Linux sends the parent-death signal when the *thread* that started the
/// child ends.
///
/// # Errors
/// As the operating system says: no more processes, memory or descriptors.
pub fn start_worker(slot: usize) -> io::Result<Started> {
    let (ours, theirs) = UnixStream::pair()?;
    // Lists of processes show the program's own name.
    let name = std::env::args_os().next().unwrap_or_else(|| "kafka-actors".into());
    let mut child = Command::new(this_binary()?)
        .arg0(name)
        .args(["worker", "--slot", &slot.to_string()])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        // Ctrl+C in a terminal reaches the supervisor alone, which tells the workers.
        .process_group(0)
        .spawn()?;
    let stderr = child.stderr.take().ok_or_else(|| io::Error::other("the worker has no stderr"))?;
    Ok(Started { process: WorkerProcess { child, ended: None }, control: ours, stderr })
}

/// The binary that runs, even when its file has been replaced or deleted meanwhile (Linux).
fn this_binary() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok(PathBuf::from("/proc/self/exe")) } else { std::env::current_exe() }
}

impl WorkerProcess {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how; it is reaped then, and everything that it had started is killed.
    ///
    /// # Errors
    /// As the operating system says; none is expected.
    pub fn try_reap(&mut self) -> io::Result<Option<Ended>> {
        if self.ended.is_none() && self.has_ended()? {
            self.ended = self.child.try_wait()?.map(Ended::from);
        }
        Ok(self.ended)
    }

    /// While it is not reaped its number cannot belong to another group: what it started goes with it.
    #[cfg(target_os = "linux")]
    fn has_ended(&mut self) -> io::Result<bool> {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let ended = waitid(Id::Pid(self.group()), flags)? != WaitStatus::StillAlive;
        if ended {
            self.signal_group(Signal::SIGKILL);
        }
        Ok(ended)
    }

    /// nix has no `waitid` here, so it is reaped first. Its number can be taken by another group only when nothing of
    /// its own is left, and not before all numbers have had their turn.
    #[cfg(not(target_os = "linux"))]
    fn has_ended(&mut self) -> io::Result<bool> {
        let ended = self.child.try_wait()?.is_some();
        if ended {
            self.signal_group(Signal::SIGKILL);
        }
        Ok(ended)
    }

    /// SIGTERM to the worker itself.
    pub fn terminate(&self) {
        if self.ended.is_none() {
            // Fails only if it has ended, and then it has nothing to be told.
            let _ended = nix::sys::signal::kill(self.group(), Signal::SIGTERM);
        }
    }

    /// SIGKILL to the worker and to everything that it has started.
    pub fn kill(&self) {
        if self.ended.is_none() {
            self.signal_group(Signal::SIGKILL);
        }
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn signal_group(&self, signal: Signal) {
        // Fails only when no process of the group is left, and then there is nothing to signal.
        let _nobody_left = killpg(self.group(), signal);
    }
}

impl Drop for WorkerProcess {
    /// Nothing outlives its owner, unless the kernel holds it.
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
            let begun = Instant::now();
            // An error means that it is reaped.
            while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < KILLED {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_named() {
        assert_eq!(Ended::Code(3).to_string(), "exit code 3");
        assert_eq!(Ended::Signal { number: 9, core: false }.to_string(), "SIGKILL");
        assert_eq!(Ended::Signal { number: 6, core: true }.to_string(), "SIGABRT (core dumped)");
        assert_eq!(Ended::Signal { number: 99, core: false }.to_string(), "signal 99");
    }
}
