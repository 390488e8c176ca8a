//! The first steps of a worker process, before it has threads, a log or a Kafka client.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, close, dup2_stdin, getpgrp, getppid};

use super::{descriptors, proc_stats};

/// How long an orphaned worker may drain and commit before it is killed.
const ORPHAN_DEADLINE: Duration = Duration::from_millis(4_000);
/// How often a worker checks that its supervisor still exists.
const ORPHAN_CHECK: Duration = Duration::from_millis(250);

/// Takes the control channel from stdin and closes everything else that was inherited.
///
/// # Errors
/// stdin is no socket: `worker` was called by hand.
pub fn setup_worker_process(slot: usize) -> io::Result<UnixStream> {
    close_inherited();
    name_process(slot);
    let control = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    control.local_addr().map_err(|_| io::Error::other("stdin is not a supervisor's control channel"))?;
    // Child processes of user code must neither keep the channel open nor read from it.
    dup2_stdin(File::open("/dev/null")?)?;
    watch_parent()?;
    // Without the supervisor no worker is useful, but a worker can be restarted.
    proc_stats::raise_oom_score();
    Ok(control)
}

/// Sets the name in process lists, which would otherwise be `exe`, from the executed path in /proc. Linux only.
fn name_process(slot: usize) {
    // The kernel keeps 15 bytes.
    let long = format!("kafka-worker-{slot}");
    let name = if long.len() <= 15 { long } else { format!("worker-{slot}") };
    #[cfg(target_os = "linux")]
    if let Ok(name) = std::ffi::CString::new(name) {
        nix::sys::prctl::set_name(&name).ok();
    }
    #[cfg(not(target_os = "linux"))]
    drop(name);
}

/// librdkafka's pipes and the embedded broker's sockets are not close-on-exec: if the worker kept them open, their
/// other ends would never see the end of file.
fn close_inherited() {
    for fd in descriptors::above_stderr() {
        // One of them was the listing's own and is already closed.
        close(fd).ok();
    }
}

/// The end of file on the control channel tells a worker that its supervisor is gone. This is for a worker that is
/// too busy to notice it.
fn watch_parent() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    let supervisor = getppid();
    std::thread::Builder::new().name("orphan-watch".to_owned()).spawn(move || {
        while getppid() == supervisor {
            std::thread::sleep(ORPHAN_CHECK);
        }
        std::thread::sleep(ORPHAN_DEADLINE);
        kill_own_group();
    })?;
    Ok(())
}

/// Kills this process and its child processes at once.
fn kill_own_group() {
    let group: Pid = getpgrp();
    killpg(group, Signal::SIGKILL).ok();
}
