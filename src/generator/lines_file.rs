//! Uses the lines of a file as payloads, distributed over all threads in turn; starts over at the end of the file.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use crate::generator::{GenerateError, Generator, MessageBuffer, MessageContext};
use crate::util::text_file::BYTE_ORDER_MARK;

/// The maximum line length in bytes, because each thread holds one line; far more than brokers accept (1 MiB by
/// default).
const MAX_LINE_BYTES: u64 = 64 << 20;
/// The read buffer size.
const BUFFER: usize = 64 << 10;

/// A generator that sends line `n` of the file as message `n` of the run. Each thread reads the whole file and skips
/// the lines of the others, so a file of any size needs 64 KiB of memory per thread plus the longest line.
pub struct LinesFile {
    path: PathBuf,
    reader: Option<BufReader<File>>,
    /// The number of the next line; it continues to count when the file starts over.
    next: u64,
    line: Vec<u8>,
}

impl LinesFile {
    /// Creates a generator for the file, which is opened for the first message.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reader: None, next: 0, line: Vec::new() }
    }

    /// The problem with the file, if any.
    pub fn problem(path: &Path) -> Option<String> {
        match std::fs::metadata(path) {
            Err(error) => Some(format!("cannot be read: {error}")),
            Ok(metadata) if !metadata.is_file() => {
                Some("is no regular file; each thread reads it repeatedly from its start".to_owned())
            }
            Ok(metadata) if metadata.len() == 0 => Some("is empty; each of its lines is a message".to_owned()),
            Ok(_) => File::open(path).err().map(|error| format!("cannot be read: {error}")),
        }
    }

    fn line(&mut self, number: u64) -> std::io::Result<()> {
        if self.reader.is_none() || number < self.next {
            let mut reader = BufReader::with_capacity(BUFFER, File::open(&self.path)?);
            skip_mark(&mut reader)?;
            self.reader = Some(reader);
            self.next = 0;
        }
        let Some(reader) = &mut self.reader else { return Ok(()) };
        while self.next <= number {
            next_line(reader, &mut self.line)?;
            self.next += 1;
        }
        Ok(())
    }
}

/// Skips a byte order mark at the start of the file.
fn skip_mark(reader: &mut BufReader<File>) -> std::io::Result<()> {
    if reader.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    Ok(())
}

/// Reads the next line without its line end; after the last line it starts over.
fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::{Error, ErrorKind};
    for again in [false, true] {
        line.clear();
        if again {
            reader.rewind()?;
            skip_mark(reader)?;
        }
        if reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', line)? == 0 {
            continue;
        }
        if line.len() as u64 > MAX_LINE_BYTES {
            return Err(Error::new(ErrorKind::InvalidData, "a line is longer than 64 MiB"));
        }
        let end = line.strip_suffix(b"\n").map_or(line.len(), <[u8]>::len);
        line.truncate(end);
        let end = line.strip_suffix(b"\r").map_or(line.len(), <[u8]>::len);
        line.truncate(end);
        return Ok(());
    }
    Err(Error::new(ErrorKind::UnexpectedEof, "the file is empty"))
}

impl Generator for LinesFile {
    fn generate(&mut self, source: &MessageContext, message: &mut MessageBuffer) -> Result<(), GenerateError> {
        let number = source.number();
        self.line(number).map_err(|error| {
            // The reader is in the middle of a line.
            self.reader = None;
            GenerateError::Other(format!("producer.lines_file {}: {error}", self.path.display()))
        })?;
        message.payload.extend_from_slice(&self.line);
        Ok(())
    }

    fn clone_boxed(&self) -> Box<dyn Generator> {
        Box::new(Self::new(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribute(text: &str, producers: usize, messages: u64) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let mut threads: Vec<_> = (0..producers).map(|_| LinesFile::new(file.path())).collect();
        let mut message = MessageBuffer::default();
        let lines = (0..messages).map(|number| {
            let (producer, sequence) = (number as usize % producers, number / producers as u64);
            message.clear();
            threads[producer]
                .generate(&MessageContext { producer, producers, sequence, due_us: 0 }, &mut message)
                .unwrap();
            String::from_utf8(message.payload.clone()).unwrap()
        });
        lines.collect()
    }

    #[test]
    fn lines_are_distributed_in_turn_and_start_over() {
        for producers in [1, 2, 3, 5, 9] {
            let lines = distribute("a\nb\r\n\nd\n", producers, 13);
            assert_eq!(lines.join(","), "a,b,,d,a,b,,d,a,b,,d,a", "{producers} threads");
        }
        assert_eq!(distribute("only", 2, 3), ["only"; 3], "a last line needs no end");
        assert_eq!(
            distribute("\u{feff}a\r\nb\r\n", 1, 5),
            ["a", "b", "a", "b", "a"],
            "a byte order mark is no part of a line"
        );
    }

    #[test]
    fn a_file_without_lines_is_rejected() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(LinesFile::problem(file.path()).unwrap().starts_with("is empty"));
        assert!(LinesFile::problem(Path::new("/no/such")).unwrap().starts_with("cannot be read: No such file"));
        assert!(LinesFile::problem(Path::new("/")).unwrap().starts_with("is no regular file"));
        let source = MessageContext { producer: 0, producers: 1, sequence: 0, due_us: 0 };
        let error =
            LinesFile::new(file.path()).generate(&source, &mut MessageBuffer::default()).unwrap_err().to_string();
        assert!(error.contains("producer.lines_file") && error.ends_with("the file is empty"), "{error}");
        std::fs::write(&file, "a\n").unwrap();
        assert_eq!(LinesFile::problem(file.path()), None);
    }
}
