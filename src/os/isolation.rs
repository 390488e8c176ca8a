//! What a worker does first thing, before it has a thread, a log or a Kafka client.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, close, dup2_stdin, getpgrp, getppid};

/// How long an orphaned worker may drain and commit before it is ended by force.
const ORPHAN_DEADLINE: Duration = Duration::from_millis(4_000);
/// How often a worker looks whether its supervisor is still there.
const ORPHAN_CHECK: Duration = Duration::from_millis(250);

/// Takes the control channel from stdin and lets go of everything else that was inherited.
///
/// # Errors
/// When stdin is no socket: then somebody has called `worker` by hand.
pub fn enter_worker() -> io::Result<UnixStream> {
    close_inherited();
    let control = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    control.local_addr().map_err(|_| io::Error::other("stdin is not a supervisor's control channel"))?;
    // Whatever the user's code starts must neither hold the channel open nor read from it.
    dup2_stdin(File::open("/dev/null")?)?;
    end_with_supervisor()?;
    Ok(control)
}

/// librdkafka's pipes and the embedded broker's sockets are not close-on-exec: kept open here, their other ends
/// would never see an end.
fn close_inherited() {
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let inherited: Vec<RawFd> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in inherited {
        // One of them was the listing's own and is closed already.
        let _closed_already = close(fd);
    }
}

/// The end of the control channel is what tells a worker that its supervisor is gone. These are for a worker that
/// cannot look there any more.
fn end_with_supervisor() -> io::Result<()> {
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

/// Ends this process and everything that it has started, at once.
fn kill_own_group() {
    let group: Pid = getpgrp();
    let _not_reached = killpg(group, Signal::SIGKILL);
}
