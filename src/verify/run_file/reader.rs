//! Reads a run file.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::PathBuf;

use serde::Deserialize;

use super::block::{BlockHeader, Codec, HEAD, Kind};
use super::{Header, RUN_FILE_VERSION, RunFileError, RunFileRecord, Totals};
use crate::util::text_file::BYTE_ORDER_MARK;

/// The maximum length of the first line in bytes: that of a million partitions has 20 MB.
const MAX_LINE_BYTES: u64 = 32 << 20;

/// A reader of a run file.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// The offset of the next block.
    at: u64,
    line_checksum: u32,
}

/// The part of the first line that all versions have.
#[derive(Deserialize)]
struct AnyHeader {
    version: u32,
}

impl Reader {
    /// Opens a run file and parses its first line.
    ///
    /// # Errors
    /// The file cannot be read, or is no run file of this version.
    pub fn open(path: impl Into<PathBuf>) -> Result<(Header, Self), RunFileError> {
        let path = path.into();
        let file = File::open(&path).map_err(|error| RunFileError::io(&path, "read", error))?;
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        let read = file.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        read.map_err(|error| RunFileError::io(&path, "read", error))?;
        let none = |problem: String| RunFileError::NoRunFile { path: path.clone(), problem };
        if line.last() != Some(&b'\n') {
            return Err(none("it does not begin with a whole line of JSON".to_owned()));
        }
        if line.starts_with(BYTE_ORDER_MARK) {
            return Err(none("it begins with a byte order mark: a text editor has changed it".to_owned()));
        }
        let any: AnyHeader = serde_json::from_slice(&line)
            .map_err(|error| none(format!("its first line is not that of a run file: {error}")))?;
        if any.version != RUN_FILE_VERSION {
            return Err(RunFileError::Version { path, found: any.version });
        }
        let header: Header =
            serde_json::from_slice(&line).map_err(|error| none(format!("its first line is invalid: {error}")))?;
        if let Some(problem) = header.problem() {
            return Err(none(format!("its first line has {problem}")));
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
            // A file that ends here has no records that could be wrong.
            None => Ok(()),
            Some(Kind::FirstLine) if body == self.line_checksum.to_le_bytes() => Ok(()),
            Some(Kind::FirstLine) => Err(self.broken(0, "the checksum of its first line does not match")),
            Some(_) => Err(self.broken(at, "the checksum of the first line is missing")),
        }
    }

    /// Calls `on` for every record, up to the end of an incomplete file.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged. The records before that are valid.
    pub fn feed(mut self, on: &mut impl FnMut(RunFileRecord)) -> Result<Totals, RunFileError> {
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
                        let record = record.ok_or_else(|| self.broken(at, "an invalid record"))?;
                        match record {
                            RunFileRecord::Acknowledged { .. } => totals.acknowledged += 1,
                            RunFileRecord::Failed { .. } => totals.failed += 1,
                        }
                        on(record);
                    }
                }
                Some(Kind::End) => {
                    let totals_body = [totals.acknowledged, totals.failed].map(u64::to_le_bytes);
                    if body != totals_body.as_flattened() {
                        return Err(self.broken(at, "blocks are missing: its end block has other totals"));
                    }
                    let behind = self.file.fill_buf().map_err(|error| RunFileError::io(&self.path, "read", error))?;
                    if !behind.is_empty() {
                        return Err(self.broken(self.at, "unexpected data after its end block"));
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
        let head = BlockHeader::read(&head).map_err(|problem| self.broken(self.at, problem))?;
        body.resize(head.length, 0);
        if !self.read(body)? {
            return Ok(None);
        }
        if crc32fast::hash(body) != head.checksum {
            return Err(self.broken(self.at, "a block's checksum does not match"));
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
