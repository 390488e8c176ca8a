//! Open file descriptors and their close-on-exec flag.

use std::os::fd::{BorrowedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The open descriptors above stderr. One of them may be the directory listing's own, which is closed again.
pub fn above_stderr() -> Vec<RawFd> {
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number| *number > 2).collect()
}

/// Sets the close-on-exec flag.
pub fn close_on_exec(descriptor: BorrowedFd<'_>) {
    // This fails only for a closed descriptor, which no child inherits.
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok();
}
