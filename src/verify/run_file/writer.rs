//! Writes a run file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

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

/// A file that can be written, and in which nothing is changed yet.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    file: File,
}

impl Opened {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// If that cannot be.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, RunFileError> {
        let path = path.into();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| RunFileError::io(&path, "created", error))?;
        Ok(Self { path, file })
    }

    /// Begins the run file; what was in the file is gone.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn begin(self, header: &Header) -> Result<Writer, RunFileError> {
        let Self { path, file } = self;
        unless_no_file(file.set_len(0)).map_err(|error| RunFileError::io(&path, "written", error))?;
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

/// A pipe or a device has nothing to sync or to cut off.
fn unless_no_file(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) })
}

impl Writer {
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
        unless_no_file(self.file.get_ref().sync_all()).map_err(|error| self.error(error))?;
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
        let head = self.file.write_all(&Head::of(kind, body));
        head.and_then(|()| self.file.write_all(body)).map_err(|error| self.error(error))
    }

    fn error(&self, error: io::Error) -> RunFileError {
        RunFileError::io(&self.path, "written", error)
    }
}
