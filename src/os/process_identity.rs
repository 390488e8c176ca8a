//! A unique identity of a process, across hosts and after its process id was reused.

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::hostname;

/// The identity of a process on a host.
///
/// A process id is not unique: the kernel reuses it, in a container it is nearly always 1, and containers in the
/// host's network share its name. The kernel's boot id, the pid namespace and the start time make it unique. (Linux;
/// elsewhere only host name and process id are known.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// The host name.
    pub host: String,
    /// The process id in its own namespace.
    pub pid: u32,
    /// The first 8 digits of the kernel's boot id; empty if there is none.
    pub boot: String,
    /// The pid namespace; 0 if there is none.
    pub namespace: u64,
    /// The start time in clock ticks since the boot; 0 if unknown.
    pub started: u64,
}

/// Whether a process still runs, as far as this process can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It runs.
    Running,
    /// It has exited.
    Gone,
    /// Its host has this host's name, but its processes are not visible from here: another container, or the host
    /// before its last boot.
    Hidden,
    /// It runs on another host.
    Elsewhere,
}

impl ProcessIdentity {
    /// The identity of this process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self {
            host: hostname::name(),
            pid,
            boot: boot(),
            namespace: namespace(),
            started: state_of(pid).map_or(0, |(_, at)| at),
        }
    }

    /// The part of the identity that is unique on this host.
    pub fn local(&self) -> String {
        format!("{}.{}", self.pid, self.started)
    }

    /// Returns whether the process still runs.
    pub fn liveness(&self) -> Liveness {
        if self.host != hostname::name() {
            return Liveness::Elsewhere;
        }
        if (&self.boot, self.namespace) != (&boot(), namespace()) {
            return Liveness::Hidden;
        }
        let Some(pid) = i32::try_from(self.pid).ok().filter(|pid| *pid > 0) else { return Liveness::Gone };
        if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
            return Liveness::Gone;
        }
        // A process of another user may exist without being visible in /proc.
        match state_of(self.pid) {
            Some(('Z' | 'X', _)) => Liveness::Gone,
            Some((_, started)) if started != self.started => Liveness::Gone,
            _ => Liveness::Running,
        }
    }
}

fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.chars().filter(char::is_ascii_hexdigit).take(8).collect()
}

fn namespace() -> u64 {
    let link = std::fs::read_link("/proc/self/ns/pid").ok();
    let number = link.and_then(|link| link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok());
    number.unwrap_or(0)
}

/// The state and start time of a process; `None` if it has exited or is not visible.
fn state_of(pid: u32) -> Option<(char, u64)> {
    Stat::read(pid).map(|stat| (stat.state, stat.started))
}

/// The parent of a process; `None` if it has exited or is not visible.
pub(super) fn parent_of(pid: u32) -> Option<u32> {
    Stat::read(pid).map(|stat| stat.parent)
}

/// The used fields of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// `Z` is a zombie.
    pub(super) state: char,
    pub(super) parent: u32,
    /// The process group; 0 if it is not visible in this namespace.
    pub(super) group: u32,
    /// In clock ticks since the boot.
    pub(super) started: u64,
}

impl Stat {
    /// `None` if the process has exited or is not visible.
    pub(super) fn read(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The second field is a name in parentheses with arbitrary content, followed by state, parent and group; the
        // start time is field 22.
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { state, parent, group, started: fields.nth(16)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn identity_of(pid: u32) -> ProcessIdentity {
        ProcessIdentity { pid, started: state_of(pid).map_or(0, |(_, at)| at), ..ProcessIdentity::current() }
    }

    #[test]
    fn this_process_runs() {
        assert_eq!(ProcessIdentity::current().liveness(), Liveness::Running);
    }

    #[test]
    fn a_process_that_has_ended_is_gone_also_before_it_is_reaped() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let identity = identity_of(child.id());
        assert_eq!(identity.liveness(), Liveness::Running);
        child.kill().unwrap();
        let begun = std::time::Instant::now();
        while cfg!(target_os = "linux") && identity.liveness() != Liveness::Gone {
            assert!(begun.elapsed().as_secs() < 10, "a zombie is gone");
        }
        child.wait().unwrap();
        assert_eq!(identity.liveness(), Liveness::Gone);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_process_with_its_id_is_not_it() {
        let current = ProcessIdentity::current();
        assert_eq!(ProcessIdentity { started: current.started - 1, ..current }.liveness(), Liveness::Gone);
    }

    #[test]
    fn what_cannot_be_seen_from_here_is_not_called_gone() {
        let current = ProcessIdentity::current();
        let other = |change: fn(&mut ProcessIdentity)| {
            let mut other = current.clone();
            change(&mut other);
            other.liveness()
        };
        assert_eq!(other(|of| of.host.push('x')), Liveness::Elsewhere);
        assert_eq!(other(|of| of.namespace += 1), Liveness::Hidden);
        assert_eq!(other(|of| of.boot.push('0')), Liveness::Hidden);
    }
}
