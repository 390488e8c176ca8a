//! Job control: a terminal's stop (SIGTSTP) suspends this process together with its workers, and SIGCONT resumes
//! them.
//!
//! Workers have their own process groups, which neither the terminal nor the shell signals.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg, raise};
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, tcgetpgrp};

use super::boot_clock;
use super::process_identity::parent_of;

/// The process groups of the workers that are not yet reaped.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// The time for which this process was suspended.
static SUSPENDED: Mutex<Suspended> = Mutex::new(Suspended { milliseconds: 0, since: None });
/// The number of suspensions.
static SUSPENSIONS: AtomicU64 = AtomicU64::new(0);

/// See [`suspended_ms`].
struct Suspended {
    /// The total of finished suspensions.
    milliseconds: u64,
    /// The start of the current suspension: after SIGCONT, other threads may run before the suspending one.
    since: Option<u64>,
}

impl Suspended {
    fn at(&self, now: u64) -> u64 {
        self.milliseconds + self.since.map_or(0, |since| now.saturating_sub(since))
    }
}

fn suspended() -> MutexGuard<'static, Suspended> {
    SUSPENDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process groups to suspend together with this process. Nothing is suspended while they are locked.
pub(super) fn groups() -> MutexGuard<'static, BTreeSet<u32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Suspends all workers with their child processes, and then this process. Returns after SIGCONT, when all of them
/// run again. Like the kernel's default action, it does not suspend an orphaned process group, which no shell would
/// resume.
///
/// Returns whether it was suspended.
pub fn suspend() -> bool {
    if is_orphaned() {
        return false;
    }
    let groups = groups();
    let signal = |signal| {
        for group in groups.iter().filter_map(|group| i32::try_from(*group).ok()) {
            // Fails only if the group has no process left.
            killpg(Pid::from_raw(group), signal).ok();
        }
    };
    suspended().since = Some(boot_clock::now_ms());
    SUSPENSIONS.fetch_add(1, Ordering::Relaxed);
    signal(Signal::SIGSTOP);
    // This thread continues after SIGCONT. Process 1 of a container cannot be stopped and continues at once.
    raise(Signal::SIGSTOP).ok();
    let mut suspended = suspended();
    *suspended = Suspended { milliseconds: suspended.at(boot_clock::now_ms()), since: None };
    drop(suspended);
    signal(Signal::SIGCONT);
    true
}

/// The total time for which this process was suspended, in milliseconds.
pub fn suspended_ms() -> u64 {
    suspended().at(boot_clock::now_ms())
}

/// The number of suspensions of this process.
pub fn suspensions() -> u64 {
    SUSPENSIONS.load(Ordering::Relaxed)
}

/// Returns whether no shell of this session controls this process as a job: the first ancestor outside its process
/// group belongs to another session, or there is none.
fn is_orphaned() -> bool {
    let (group, session) = (getpgrp(), getsid(None));
    let mut ancestor = getppid();
    while ancestor.as_raw() > 0 {
        if getpgid(Some(ancestor)) != Ok(group) {
            return getsid(Some(ancestor)) != session;
        }
        let parent = u32::try_from(ancestor.as_raw()).ok().and_then(parent_of);
        ancestor = Pid::from_raw(parent.and_then(|parent| i32::try_from(parent).ok()).unwrap_or(0));
    }
    true
}

/// Returns whether this process has a controlling terminal, whose end SIGHUP reports.
pub fn has_controlling_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Returns whether SIGHUP is ignored, as with `nohup`. (Linux; elsewhere unknown and `false`.)
pub fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored >> (Signal::SIGHUP as u32 - 1) & 1 == 1)
}

/// Returns whether stderr is a terminal whose foreground job is another one.
pub fn is_in_background() -> bool {
    let stderr = std::io::stderr();
    // A terminal of another session has no foreground job for this one.
    stderr.is_terminal() && tcgetpgrp(stderr.as_fd()).is_ok_and(|foreground| foreground != getpgrp())
}
