//! Writes a run file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::block::{Codec, FULL, HEAD, Head, Kind};
use super::{Header, Record, RunFileError, Totals};

/// A run file that is being written. Without [`Writer::finish`] it counts as cut off.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    codec: Codec,
    /// The block that is not yet written.
    body: Vec<u8>,
    totals: Totals,
}

impl Writer {
    /// Begins the file; what was in it is gone.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: impl Into<PathBuf>, header: &Header) -> Result<Self, RunFileError> {
        let path = path.into();
        let file = File::create(&path).map_err(|error| RunFileError::io(&path, "created", error))?;
        let mut writer = Self {
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

    /// The brokers say that a message stands there.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn acknowledged(
        &mut self,
        producer: u16,
        sequence: u64,
        partition: i32,
        offset: i64,
    ) -> Result<(), RunFileError> {
        self.totals.acknowledged += 1;
        self.record(Record::Acknowledged { producer, sequence, partition, offset })
    }

    /// The producer was told that a message failed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn failed(&mut self, producer: u16, sequence: u64) -> Result<(), RunFileError> {
        self.totals.failed += 1;
        self.record(Record::Failed { producer, sequence })
    }

    fn record(&mut self, record: Record) -> Result<(), RunFileError> {
        self.codec.write(&mut self.body, &record);
        if self.body.len() >= FULL { self.end_block() } else { Ok(()) }
    }

    /// Hands what is in memory to the system, so that it is there if the program is killed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flush(&mut self) -> Result<(), RunFileError> {
        if !self.body.is_empty() {
            self.end_block()?;
        }
        self.file.flush().map_err(|error| self.error(error))
    }

    /// Ends the file, and waits until the disk has it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self) -> Result<Totals, RunFileError> {
        self.flush()?;
        let Totals { acknowledged, failed, .. } = self.totals;
        self.block(Kind::End, [acknowledged, failed].map(u64::to_le_bytes).as_flattened())?;
        self.file.flush().map_err(|error| self.error(error))?;
        self.file.get_ref().sync_all().or_else(|error| match error.kind() {
            // A pipe or a device has nothing to sync.
            io::ErrorKind::InvalidInput => Ok(()),
            _ => Err(self.error(error)),
        })?;
        Ok(Totals { complete: true, ..self.totals })
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
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
        let head = self.file.write_all(&Head::of(kind, body));
        head.and_then(|()| self.file.write_all(body)).map_err(|error| self.error(error))
    }

    fn error(&self, error: io::Error) -> RunFileError {
        RunFileError::io(&self.path, "written", error)
    }
}
