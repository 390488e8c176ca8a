//! The destination of the report.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::Report;
use crate::exit::{ExitCode, ExitStatus};
use crate::util::escape::escape_json;

/// The destination of the report. It is opened before the run, so that a file that cannot be written is reported early.
pub enum ReportSink {
    /// `--report` was not given.
    Nowhere,
    /// Stdout (`-` or `/dev/stdout`).
    Stdout,
    /// A file; it stays empty until the end of the run.
    File(File),
}

impl ReportSink {
    /// Opens the destination that `--report` names.
    ///
    /// # Errors
    /// An exit status with [`ExitCode::Usage`] if the file cannot be written.
    pub fn open(path: Option<&Path>) -> Result<Self, ExitStatus> {
        match path {
            None => Ok(Self::Nowhere),
            // If it were opened again, it would be written from its beginning and overwrite other output.
            Some(path) if path == Path::new("-") || path == Path::new("/dev/stdout") => Ok(Self::Stdout),
            Some(path) => File::create(path).map(Self::File).map_err(|error| {
                let text =
                    format!("--report {}: the file cannot be written: {error}; name another one", path.display());
                ExitStatus::new(ExitCode::Usage, text)
            }),
        }
    }

    /// Writes the report as one line.
    ///
    /// # Errors
    /// If writing fails, for example because the disk is full or stdout is closed.
    pub fn write(&mut self, report: &Report) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        escape_json(&mut line, 0);
        line.push(b'\n');
        match self {
            Self::Nowhere => Ok(()),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&line)?;
                stdout.flush()
            }
            Self::File(file) => {
                file.write_all(&line)?;
                file.sync_all().or_else(|error| match error.kind() {
                    // A pipe or a device does not support fsync.
                    io::ErrorKind::InvalidInput => Ok(()),
                    _ => Err(error),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unwritable_report_is_found_before_the_run() {
        let exit = ReportSink::open(Some(Path::new("/no/such/folder/report.json"))).err().unwrap();
        assert_eq!(exit.code, ExitCode::Usage);
        assert!(exit.reason.contains("/no/such/folder/report.json"), "{}", exit.reason);
    }
}
