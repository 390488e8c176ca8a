//! Writes a run file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use super::block::{BlockHeader, Codec, FULL, HEAD, Kind};
use super::{Header, RunFileError, RunFileRecord, Totals};

/// A writer of a run file. Without [`Writer::finish`] the file is incomplete.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    codec: Codec,
    /// The current block.
    body: Vec<u8>,
    totals: Totals,
}

/// A writable file whose content is still unchanged.
#[derive(Debug)]
pub struct OpenFile {
    path: PathBuf,
    file: File,
}

impl OpenFile {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, RunFileError> {
        let path = path.into();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| RunFileError::io(&path, "created", error))?;
        Ok(Self { path, file })
    }

    /// Starts the run file and discards the file's old content.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(self, header: &Header) -> Result<Writer, RunFileError> {
        let Self { path, file } = self;
        with_file(file.set_len(0)).map_err(|error| RunFileError::io(&path, "written", error))?;
        let mut writer = Writer {
            path,
            file: BufWriter::new(file),
            codec: Codec::default(),
            body: Vec::with_capacity(FULL + HEAD),
            totals: Totals::default(),
        };
        let mut line = serde_json::to_vec(header).map_err(|error| writer.error(error.into()))?;
        line.push(b'\n');
        writer.file.write_all(&line).map_err(|error| writer.error(error))?;
        writer.block(Kind::FirstLine, &crc32fast::hash(&line).to_le_bytes())?;
        writer.flush()?;
        Ok(writer)
    }
}

/// A pipe or a device cannot be synced or truncated.
fn with_file(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) })
}

impl Writer {
    /// Records an acknowledgement.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn acknowledged(
        &mut self,
        producer: u16,
        sequence: u64,
        partition: i32,
        offset: i64,
    ) -> Result<(), RunFileError> {
        self.totals.acknowledged += 1;
        self.record(RunFileRecord::Acknowledged { producer, sequence, partition, offset })
    }

    /// Records a failed delivery.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn failed(&mut self, producer: u16, sequence: u64) -> Result<(), RunFileError> {
        self.totals.failed += 1;
        self.record(RunFileRecord::Failed { producer, sequence })
    }

    fn record(&mut self, record: RunFileRecord) -> Result<(), RunFileError> {
        self.codec.write(&mut self.body, &record);
        if self.body.len() >= FULL { self.end_block() } else { Ok(()) }
    }

    /// Writes the buffered records to the operating system, so that they survive a killed process.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> Result<(), RunFileError> {
        if !self.body.is_empty() {
            self.end_block()?;
        }
        self.file.flush().map_err(|error| self.error(error))
    }

    /// Writes the end block and syncs the file to disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<Totals, RunFileError> {
        self.flush()?;
        let Totals { acknowledged, failed, .. } = self.totals;
        self.block(Kind::End, [acknowledged, failed].map(u64::to_le_bytes).as_flattened())?;
        self.file.flush().map_err(|error| self.error(error))?;
        with_file(self.file.get_ref().sync_all()).map_err(|error| self.error(error))?;
        Ok(Totals { complete: true, ..self.totals })
    }

    fn end_block(&mut self) -> Result<(), RunFileError> {
        let body = std::mem::take(&mut self.body);
        let written = self.block(Kind::Records, &body);
        self.body = body;
        self.body.clear();
        self.codec.begin();
        written
    }

    fn block(&mut self, kind: Kind, body: &[u8]) -> Result<(), RunFileError> {
        let head = self.file.write_all(&BlockHeader::of(kind, body));
        head.and_then(|()| self.file.write_all(body)).map_err(|error| self.error(error))
    }

    fn error(&self, error: io::Error) -> RunFileError {
        RunFileError::io(&self.path, "written", error)
    }
}
