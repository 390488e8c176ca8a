//! Reaps inherited orphans: as process 1 of a container or as a child subreaper, this process becomes the parent of
//! the orphaned descendants of its workers, which would otherwise accumulate as zombies.
//!
//! The exit status of a child that this process has started belongs to the child's owner, which may read it late.
//! Workers are known; other such children are in this process' own group, where no orphan of a worker is.

use std::collections::BTreeSet;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::job_control;
use super::process_identity::Stat;

/// Finds and reaps orphans. (Linux; elsewhere it finds none.)
#[derive(Debug, Default)]
pub struct Reaper {
    /// The zombies of the last scan with their start times.
    seen: BTreeSet<(u32, u64)>,
}

impl Reaper {
    /// Returns `None` if this process inherits no orphans.
    pub fn new() -> Option<Self> {
        (std::process::id() == 1 || is_subreaper()).then(Self::default)
    }

    /// Reaps each orphan that was already a zombie at the last scan.
    pub fn reap(&mut self) {
        let zombies = zombies();
        for (pid, _) in zombies.intersection(&self.seen) {
            if let Ok(pid) = i32::try_from(*pid) {
                // Another owner may have reaped it.
                waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)).ok();
            }
        }
        self.seen = zombies;
    }
}

#[cfg(target_os = "linux")]
fn is_subreaper() -> bool {
    nix::sys::prctl::get_child_subreaper().unwrap_or(false)
}

#[cfg(not(target_os = "linux"))]
fn is_subreaper() -> bool {
    false
}

/// The zombies among the children that this process has not started.
fn zombies() -> BTreeSet<(u32, u64)> {
    if !has_zombies() {
        return BTreeSet::new();
    }
    let Ok(processes) = std::fs::read_dir("/proc") else { return BTreeSet::new() };
    let workers = job_control::groups().clone();
    let own = Stat::read(std::process::id()).map(|own| (std::process::id(), own.group));
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let zombies = numbers.filter(|pid| !workers.contains(pid)).filter_map(|pid| {
        let stat = Stat::read(pid)?;
        let inherited = own.is_some_and(|(parent, group)| stat.parent == parent && stat.group != group);
        (stat.state == 'Z' && inherited).then_some((pid, stat.started))
    });
    zombies.collect()
}

/// Returns whether any child is a zombie, to avoid an unnecessary scan.
#[cfg(target_os = "linux")]
fn has_zombies() -> bool {
    use nix::sys::wait::{Id, WaitStatus, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, flags).is_ok_and(|status| status != WaitStatus::StillAlive)
}

/// There is no /proc to scan.
#[cfg(not(target_os = "linux"))]
fn has_zombies() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    use nix::unistd::getpgrp;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn an_orphan_is_reaped_at_the_second_look_and_children_are_left_to_their_owners() {
        let start = |group| Command::new("true").process_group(group).spawn().unwrap();
        let is_zombie = |child: &Child| Stat::read(child.id()).is_some_and(|stat| stat.state == 'Z');
        let (own_group, mut own, orphan) = (getpgrp().as_raw(), start(getpgrp().as_raw()), start(0));
        assert!(own_group > 0);
        let begun = Instant::now();
        while !is_zombie(&own) || !is_zombie(&orphan) {
            assert!(begun.elapsed() < Duration::from_secs(10), "they end");
        }
        let found = |child: &Child| zombies().iter().any(|(pid, _)| *pid == child.id());
        job_control::groups().insert(orphan.id());
        assert!(!found(&orphan), "a worker");
        job_control::groups().remove(&orphan.id());
        assert!(!found(&own) && found(&orphan));
        // Other tests have children, too; only this one counts.
        let mut reaper = Reaper { seen: zombies().into_iter().filter(|(pid, _)| *pid == orphan.id()).collect() };
        assert!(is_zombie(&orphan), "the first look leaves it");
        reaper.reap();
        assert!(!is_zombie(&orphan));
        assert!(own.wait().unwrap().success());
    }
}
