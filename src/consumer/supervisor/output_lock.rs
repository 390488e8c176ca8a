//! The lock around the workers' lines on stdout.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use crate::os::private_folder::PrivateFolder;

/// A file that only this run's workers know.
pub(super) struct OutputLock {
    pub(super) path: PathBuf,
    /// Where it has no name any more, it is there as long as this is.
    _held: (File, Option<PrivateFolder>),
}

impl OutputLock {
    /// On Linux workers open it by the supervisor's descriptor: whoever cleans up the folder for temporary files takes nothing
    /// from them.
    pub(super) fn new() -> std::io::Result<Self> {
        let folder = PrivateFolder::new()?;
        let path = folder.path().join("stdout.lock");
        let file = File::create_new(&path)?;
        if cfg!(target_os = "linux") {
            let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
            return Ok(Self { path: path.into(), _held: (file, None) });
        }
        Ok(Self { path, _held: (file, Some(folder)) })
    }
}
