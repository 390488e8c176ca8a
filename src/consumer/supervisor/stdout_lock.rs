//! The lock around the workers' lines on stdout.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use crate::os::temp_dir::TempDir;

/// A file that only this run's workers know.
pub(super) struct StdoutLock {
    pub(super) path: PathBuf,
    /// The file itself. If it was deleted, it exists as long as this is open.
    _held: (File, Option<TempDir>),
}

impl StdoutLock {
    /// Creates the lock file. On Linux workers open it through the supervisor's descriptor: it stays available
    /// after a cleanup of the directory for temporary files.
    pub(super) fn new() -> std::io::Result<Self> {
        let folder = TempDir::new()?;
        let path = folder.path().join("stdout.lock");
        let file = File::create_new(&path)?;
        if cfg!(target_os = "linux") {
            let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
            return Ok(Self { path: path.into(), _held: (file, None) });
        }
        Ok(Self { path, _held: (file, Some(folder)) })
    }
}
