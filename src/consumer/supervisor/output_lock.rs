//! The lock around the workers' lines on stdout.

use std::fs::File;
use std::path::PathBuf;

/// A file that only this run's workers know, removed at the end.
pub(super) struct OutputLock {
    pub(super) path: PathBuf,
}

impl OutputLock {
    pub(super) fn new() -> std::io::Result<Self> {
        let nanoseconds =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let path = std::env::temp_dir().join(format!("kafka-actors-{}-{nanoseconds}.lock", std::process::id()));
        File::create_new(&path)?;
        Ok(Self { path })
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // Somebody has cleaned up the folder for temporary files.
        let _gone_already = std::fs::remove_file(&self.path);
    }
}
