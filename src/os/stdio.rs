//! Whether writing to stdout and stderr would block: a pipe without a reading process fills up, and a terminal blocks
//! after Ctrl+S.

use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Which of the two would block. A closed one does not: writing fails at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StdioBlocked {
    /// The output of messages.
    pub stdout: bool,
    /// The log.
    pub stderr: bool,
}

impl StdioBlocked {
    /// Checks both without waiting.
    pub fn now() -> Self {
        Self {
            stdout: is_write_blocked(std::io::stdout().as_fd()),
            stderr: is_write_blocked(std::io::stderr().as_fd()),
        }
    }
}

fn is_write_blocked(output: BorrowedFd<'_>) -> bool {
    // On Linux a pipe is writable if it has room for a page.
    poll(&mut [PollFd::new(output, PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    #[test]
    fn a_pipe_is_full_until_it_is_read_or_its_reader_is_gone() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        assert!(!is_write_blocked(writer.as_fd()));
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let error = loop {
            if let Err(error) = writer.write(&[0; 4_096]) {
                break error;
            }
        };
        assert_eq!((error.kind(), is_write_blocked(writer.as_fd())), (ErrorKind::WouldBlock, true));
        reader.read_exact(&mut [0; 8_192]).unwrap();
        assert!(!is_write_blocked(writer.as_fd()));
        while writer.write(&[0; 4_096]).is_ok() {}
        assert!(is_write_blocked(writer.as_fd()));
        drop(reader);
        assert!(!is_write_blocked(writer.as_fd()), "writing fails at once");
    }

    #[test]
    fn a_file_takes_everything() {
        let file = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert!(!is_write_blocked(file.as_fd()));
    }
}
