//! Reads a run file.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::PathBuf;

use serde::Deserialize;

use super::block::{Codec, HEAD, Head, Kind};
use super::{Header, Record, RunFileError, Totals, VERSION};

/// The longest first line, in bytes: that of a million partitions has 20 MB.
const LONGEST_LINE: u64 = 32 << 20;

/// A run file that is being read.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// Where the next block begins.
    at: u64,
    line_checksum: u32,
}

/// What any version's first line has.
#[derive(Deserialize)]
struct AnyHeader {
    version: u32,
}

impl Reader {
    /// Opens a run file and reads its first line.
    ///
    /// # Errors
    /// If the file cannot be read, or if it is no run file of this version.
    pub fn open(path: impl Into<PathBuf>) -> Result<(Header, Self), RunFileError> {
        let path = path.into();
        let file = File::open(&path).map_err(|error| RunFileError::io(&path, "read", error))?;
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        let read = file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        read.map_err(|error| RunFileError::io(&path, "read", error))?;
        let none = |problem: String| RunFileError::NoRunFile { path: path.clone(), problem };
        if line.last() != Some(&b'\n') {
            return Err(none("it does not begin with a whole line of JSON".to_owned()));
        }
        let any: AnyHeader = serde_json::from_slice(&line)
            .map_err(|error| none(format!("its first line is not that of a run file: {error}")))?;
        if any.version != VERSION {
            return Err(RunFileError::Version { path, found: any.version });
        }
        let header: Header =
            serde_json::from_slice(&line).map_err(|error| none(format!("its first line does not hold: {error}")))?;
        if let Some(problem) = header.problem() {
            return Err(none(format!("its first line tells of {problem}")));
        }
        let mut reader = Self { path, file, at: line.len() as u64, line_checksum: crc32fast::hash(&line) };
        reader.check_line()?;
        Ok((header, reader))
    }

    /// The first block has the checksum of the first line.
    fn check_line(&mut self) -> Result<(), RunFileError> {
        let at = self.at;
        let mut body = Vec::new();
        match self.block(&mut body)? {
            // Cut off so early, there is nothing behind the line that could be believed wrongly.
            None => Ok(()),
            Some(Kind::FirstLine) if body == self.line_checksum.to_le_bytes() => Ok(()),
            Some(Kind::FirstLine) => Err(self.broken(0, "the checksum of its first line does not fit")),
            Some(_) => Err(self.broken(at, "the checksum of the first line is missing")),
        }
    }

    /// Tells `on` every record. A file that was cut off is read as far as it goes.
    ///
    /// # Errors
    /// If the file cannot be read, or was damaged. What was told before is good.
    pub fn feed(mut self, on: &mut impl FnMut(Record)) -> Result<Totals, RunFileError> {
        let (mut totals, mut codec, mut body) = (Totals::default(), Codec::default(), Vec::new());
        loop {
            let at = self.at;
            match self.block(&mut body)? {
                None => return Ok(totals),
                Some(Kind::Records) => {
                    codec.begin();
                    let mut rest = body.as_slice();
                    while !rest.is_empty() {
                        let record = codec.read(&mut rest);
                        let record = record.ok_or_else(|| self.broken(at, "a record that cannot be"))?;
                        match record {
                            Record::Acknowledged { .. } => totals.acknowledged += 1,
                            Record::Failed { .. } => totals.failed += 1,
                        }
                        on(record);
                    }
                }
                Some(Kind::End) => {
                    let told = [totals.acknowledged, totals.failed].map(u64::to_le_bytes);
                    if body != told.as_flattened() {
                        return Err(self.broken(at, "blocks are missing: its end tells of other numbers"));
                    }
                    let behind = self.file.fill_buf().map_err(|error| RunFileError::io(&self.path, "read", error))?;
                    if !behind.is_empty() {
                        return Err(self.broken(self.at, "something stands behind its end"));
                    }
                    return Ok(Totals { complete: true, ..totals });
                }
                Some(Kind::FirstLine) => return Err(self.broken(at, "a second checksum of the first line")),
            }
        }
    }

    /// Reads a block's body; `None` if the file ends before the block does.
    fn block(&mut self, body: &mut Vec<u8>) -> Result<Option<Kind>, RunFileError> {
        let mut head = [0; HEAD];
        if !self.read(&mut head)? {
            return Ok(None);
        }
        let head = Head::read(&head).map_err(|problem| self.broken(self.at, problem))?;
        body.resize(head.length, 0);
        if !self.read(body)? {
            return Ok(None);
        }
        if crc32fast::hash(body) != head.checksum {
            return Err(self.broken(self.at, "a block's checksum does not fit"));
        }
        self.at += (HEAD + head.length) as u64;
        Ok(Some(head.kind))
    }

    /// Fills `bytes`; `false` if the file ends before.
    fn read(&mut self, bytes: &mut [u8]) -> Result<bool, RunFileError> {
        match self.file.read_exact(bytes) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(RunFileError::io(&self.path, "read", error)),
        }
    }

    fn broken(&self, at: u64, problem: impl Into<String>) -> RunFileError {
        RunFileError::Broken { path: self.path.clone(), at, problem: problem.into() }
    }
}
