//! `print`: writes messages as NDJSON to stdout, for pipes.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use super::{ProcessError, ProcessResult, Processor, WorkerContext, json};
use crate::record::Record;

/// Writes directly to stdout, not through the supervisor: a message counts as processed when the pipe has accepted
/// it, even if the supervisor crashes then.
pub(super) struct Print {
    /// Locked while a line is written. Each worker opens the file itself, because a file lock belongs to the open
    /// file description.
    lock: File,
    path: PathBuf,
    line: Vec<u8>,
}

impl Print {
    pub(super) fn new(context: &WorkerContext) -> Result<Self, ProcessError> {
        let Some(path) = &context.output_lock else {
            return Err(ProcessError::Worker("the supervisor has passed no lock file for stdout".to_owned()));
        };
        let lock = File::open(path)
            .map_err(|error| ProcessError::Worker(format!("could not open the lock {}: {error}", path.display())))?;
        Ok(Self { lock, path: path.clone(), line: Vec::new() })
    }

    fn print(&mut self, record: &Record<'_>) -> Result<(), ProcessError> {
        self.line.clear();
        json::write_line(&mut self.line, None, record)?;
        // Linux guarantees atomic writes to a pipe only up to 4 KiB.
        self.lock.lock().map_err(|error| {
            ProcessError::Worker(format!("could not take the lock {}: {error}", self.path.display()))
        })?;
        let written = write_all(&self.line);
        // The message is printed, so a failed unlock is no failure of the message; the next line locks again.
        self.lock.unlock().ok();
        written
    }
}

fn write_all(line: &[u8]) -> Result<(), ProcessError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(line).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ProcessError::OutputClosed),
        Err(error) => Err(ProcessError::Worker(format!("could not write to stdout: {error}"))),
    }
}

impl Processor for Print {
    fn process(&mut self, record: &Record<'_>) -> ProcessResult {
        ProcessResult::Done(self.print(record))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    /// `O_PATH` of Linux: a descriptor that refers to a file but cannot be locked.
    const ONLY_NAMED: i32 = 0o10_000_000;

    #[test]
    fn a_lock_that_fails_is_no_failure_of_the_message() {
        let path = PathBuf::from("/tmp");
        let lock = OpenOptions::new().read(true).custom_flags(ONLY_NAMED).open(&path).unwrap();
        let mut print = Print { lock, path, line: Vec::new() };
        let record =
            Record { topic: "t", partition: 0, offset: 7, timestamp_ms: None, key: None, value: None, headers: &() };
        match print.print(&record) {
            Err(ProcessError::Worker(reason)) => {
                assert!(reason.starts_with("could not take the lock /tmp: "), "{reason}")
            }
            other => panic!("{other:?}"),
        }
    }
}
