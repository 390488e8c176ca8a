//! `print`: messages as NDJSON on stdout, made for pipes.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use super::{Failure, Processing, Processor, WorkerContext, json};
use crate::record::Record;

/// Writes straight to stdout and not through the supervisor: a message is processed when the pipe has it, whatever
/// happens to the supervisor then.
pub(super) struct Print {
    /// Held while a line is written. Every worker opens it for itself: locks on a file belong to the opening.
    lock: File,
    path: PathBuf,
    line: Vec<u8>,
}

impl Print {
    pub(super) fn new(context: &WorkerContext) -> Result<Self, Failure> {
        let Some(path) = &context.output_lock else {
            return Err(Failure::Worker("the supervisor gave no lock for stdout".to_owned()));
        };
        let lock = File::open(path)
            .map_err(|error| Failure::Worker(format!("could not open the lock {}: {error}", path.display())))?;
        Ok(Self { lock, path: path.clone(), line: Vec::new() })
    }

    fn print(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        self.line.clear();
        json::write_line(&mut self.line, None, record)?;
        // A pipe takes at most 4 KiB at once without mixing it with other writers' lines.
        self.lock
            .lock()
            .map_err(|error| Failure::Worker(format!("could not take the lock {}: {error}", self.path.display())))?;
        let written = write_all(&self.line);
        // What is printed is processed, whatever becomes of the lock; the next line takes it anew.
        let _still_held = self.lock.unlock();
        written
    }
}

fn write_all(line: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(line).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(error) => Err(Failure::Worker(format!("could not write to stdout: {error}"))),
    }
}

impl Processor for Print {
    fn process(&mut self, record: &Record<'_>) -> Processing {
        Processing::Done(self.print(record))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    /// Linux' `O_PATH`: a file that is only named, and cannot be locked.
    const ONLY_NAMED: i32 = 0o10_000_000;

    #[test]
    fn a_lock_that_fails_is_no_failure_of_the_message() {
        let path = PathBuf::from("/tmp");
        let lock = OpenOptions::new().read(true).custom_flags(ONLY_NAMED).open(&path).unwrap();
        let mut print = Print { lock, path, line: Vec::new() };
        let record =
            Record { topic: "t", partition: 0, offset: 7, timestamp_ms: None, key: None, value: None, headers: &() };
        match print.print(&record) {
            Err(Failure::Worker(reason)) => assert!(reason.starts_with("could not take the lock /tmp: "), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}
