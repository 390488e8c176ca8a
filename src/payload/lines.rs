//! A file's lines as payloads, in turn over all threads, again from the beginning at its end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use crate::message::{GenerateError, Generator, Outgoing, Source};

/// The longest line, in bytes, since each thread holds one: far more than brokers take (1 MiB by their default).
const LONGEST: u64 = 64 << 20;
/// What is read at once.
const BUFFER: usize = 64 << 10;

/// Message `n` of the run is line `n` of the file. Each thread reads the file for itself and passes over the others'
/// lines: a file of any size takes 64 KiB of memory for each thread, and the longest line.
pub struct Lines {
    path: PathBuf,
    reader: Option<BufReader<File>>,
    /// The number of the next line, counted on when the file begins again.
    next: u64,
    line: Vec<u8>,
}

impl Lines {
    /// Those of this file, which is opened for the first message.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reader: None, next: 0, line: Vec::new() }
    }

    /// What is wrong with the file, if anything is.
    pub fn problem(path: &Path) -> Option<String> {
        match std::fs::metadata(path) {
            Err(error) => Some(format!("cannot be read: {error}")),
            Ok(metadata) if !metadata.is_file() => {
                Some("is no regular file; it is read by each thread, and again from its beginning".to_owned())
            }
            Ok(metadata) if metadata.len() == 0 => Some("is empty; each of its lines is a message".to_owned()),
            Ok(_) => File::open(path).err().map(|error| format!("cannot be read: {error}")),
        }
    }

    fn line(&mut self, number: u64) -> std::io::Result<()> {
        if self.reader.is_none() || number < self.next {
            self.reader = Some(BufReader::with_capacity(BUFFER, File::open(&self.path)?));
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

/// Reads the next line without its end, the first one after the last.
fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::{Error, ErrorKind};
    for again in [false, true] {
        line.clear();
        if again {
            reader.rewind()?;
        }
        if reader.by_ref().take(LONGEST + 1).read_until(b'\n', line)? == 0 {
            continue;
        }
        if line.len() as u64 > LONGEST {
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

impl Generator for Lines {
    fn generate(&mut self, source: &Source, message: &mut Outgoing) -> Result<(), GenerateError> {
        let number = source.number();
        self.line(number).map_err(|error| {
            // Half a line is behind it.
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

    fn dealt(text: &str, producers: usize, messages: u64) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let mut threads: Vec<_> = (0..producers).map(|_| Lines::new(file.path())).collect();
        let mut message = Outgoing::default();
        let made = (0..messages).map(|number| {
            let (producer, sequence) = (number as usize % producers, number / producers as u64);
            message.clear();
            threads[producer].generate(&Source { producer, producers, sequence, due_us: 0 }, &mut message).unwrap();
            String::from_utf8(message.payload.clone()).unwrap()
        });
        made.collect()
    }

    #[test]
    fn lines_are_dealt_in_turn_and_begin_again() {
        for producers in [1, 2, 3, 5, 9] {
            let made = dealt("a\nb\r\n\nd\n", producers, 13);
            assert_eq!(made.join(","), "a,b,,d,a,b,,d,a,b,,d,a", "{producers} threads");
        }
        assert_eq!(dealt("only", 2, 3), ["only"; 3], "a last line needs no end");
    }

    #[test]
    fn a_file_that_gives_no_lines_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Lines::problem(file.path()).unwrap().starts_with("is empty"));
        assert!(Lines::problem(Path::new("/no/such")).unwrap().starts_with("cannot be read: No such file"));
        assert!(Lines::problem(Path::new("/")).unwrap().starts_with("is no regular file"));
        let source = Source { producer: 0, producers: 1, sequence: 0, due_us: 0 };
        let error = Lines::new(file.path()).generate(&source, &mut Outgoing::default()).unwrap_err().to_string();
        assert!(error.contains("producer.lines_file") && error.ends_with("the file is empty"), "{error}");
        std::fs::write(&file, "a\n").unwrap();
        assert_eq!(Lines::problem(file.path()), None);
    }
}
