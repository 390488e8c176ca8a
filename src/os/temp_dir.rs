//! Directories for temporary files of one process.
//!
//! The process holds a lock on its directory until it exits: a directory without a lock is stale, even if the process
//! ids of other containers are not visible. The crate tempfile would leave directories of killed processes for ever, and
//! cannot rename one after it is locked.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

/// The prefix of locked directories.
const PREFIX: &str = "kafka-actors-";
/// The prefix of a directory before it is locked, which takes no time.
const NEW_PREFIX: &str = "new-kafka-actors-";
/// After this time the process has exited before it could lock the directory.
const NEW_TIMEOUT: Duration = Duration::from_secs(60);

/// A private directory in the system's directory for temporary files; removed with its content when dropped.
pub struct TempDir {
    path: PathBuf,
    _lock: File,
}

impl TempDir {
    /// Creates the directory.
    ///
    /// # Errors
    /// `TMPDIR` is not writable.
    pub fn new() -> io::Result<Self> {
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let (folder, name) = (std::env::temp_dir(), format!("{}-{nanoseconds}", std::process::id()));
        let (new, path) = (folder.join(format!("{NEW_PREFIX}{name}")), folder.join(format!("{PREFIX}{name}")));
        DirBuilder::new().mode(0o700).create(&new)?;
        let lock = open(&new)?;
        // Where locks are not supported, no other process gets one either, so the directory does not count as stale.
        lock.try_lock().ok();
        std::fs::rename(&new, &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Another process may have removed it.
        std::fs::remove_dir_all(&self.path).ok();
    }
}

/// Removes the directories of this user's killed processes.
pub fn remove_stale() {
    remove_stale_in(&std::env::temp_dir());
}

fn remove_stale_in(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_new = is_ours(name, NEW_PREFIX);
        if !is_new && !is_ours(name, PREFIX) {
            continue;
        }
        let path = entry.path();
        // Opened once, because the path may be replaced meanwhile.
        let Ok(opened) = open(&path) else { continue };
        let Ok(metadata) = opened.metadata() else { continue };
        let is_due = !is_new || age(&metadata).is_some_and(|age| age > NEW_TIMEOUT);
        if is_due && is_private(&metadata) && opened.try_lock().is_ok() {
            // This follows no symbolic links. Another process may have removed it.
            std::fs::remove_dir_all(&path).ok();
        }
    }
}

/// Returns whether the name is the prefix followed by a process id and a time.
fn is_ours(name: &str, prefix: &str) -> bool {
    let numbers = name.strip_prefix(prefix).and_then(|rest| rest.split_once('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(pid, time)| is_number(pid) && is_number(time))
}

/// Opens a directory, but no symbolic link to one.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits()).open(path)
}

fn is_private(metadata: &Metadata) -> bool {
    metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o077 == 0
}

fn age(metadata: &Metadata) -> Option<Duration> {
    SystemTime::now().duration_since(metadata.modified().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn it_is_private_and_removed_with_its_owner() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().to_owned();
        std::fs::write(path.join("file"), "").unwrap();
        assert!(is_private(&std::fs::metadata(&path).unwrap()));
        remove_stale();
        assert!(path.join("file").exists(), "its process lives");
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn only_own_folders_without_a_process_are_stale() {
        let tests = tempfile::tempdir().unwrap();
        let make = |name: &str, mode| {
            let path = tests.path().join(name);
            DirBuilder::new().mode(mode).create(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            std::fs::write(path.join("file"), "").unwrap();
            path
        };
        let stale = make("kafka-actors-12-34", 0o700);
        let kept = ["kafka-actors-12-x", "kafka-actors-demo", "new-kafka-actors-12-34", "other-12-34"];
        let kept = kept.map(|name| make(name, 0o700));
        let (shared, live) = (make("kafka-actors-12-35", 0o755), make("kafka-actors-12-36", 0o700));
        let lock = open(&live).unwrap();
        lock.try_lock().unwrap();
        let target = make("target", 0o700);
        symlink(&target, tests.path().join("kafka-actors-12-37")).unwrap();
        symlink(&target, stale.join("link")).unwrap();
        remove_stale_in(tests.path());
        assert!(!stale.exists());
        assert!(kept.iter().chain([&shared, &live, &target]).all(|path| path.join("file").exists()));
        drop(lock);
        remove_stale_in(tests.path());
        assert!(!live.exists());
    }
}
