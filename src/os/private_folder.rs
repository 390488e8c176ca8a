//! A folder of this process' own.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// In the folder for temporary files; nobody else may look into it, and it is removed with all that is in it.
pub struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Makes it.
    ///
    /// # Errors
    /// When `TMPDIR` cannot be written.
    pub fn new() -> io::Result<Self> {
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let path = std::env::temp_dir().join(format!("kafka-actors-{}-{nanoseconds}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // Somebody has cleaned up the folder for temporary files.
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}
