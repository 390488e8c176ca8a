//! Whether stdout and stderr take anything: a pipe that nobody reads is full, and so is a terminal after Ctrl+S.

use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Which of them are full. One that is closed is not: writing to it fails, and waits for nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Full {
    /// Where messages are printed.
    pub stdout: bool,
    /// Where the log goes.
    pub stderr: bool,
}

impl Full {
    /// A look at them, which does not wait.
    pub fn now() -> Self {
        Self { stdout: is_full(std::io::stdout().as_fd()), stderr: is_full(std::io::stderr().as_fd()) }
    }
}

fn is_full(output: BorrowedFd<'_>) -> bool {
    // Room for a page is what Linux asks of a pipe before it says that it takes something.
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
        assert!(!is_full(writer.as_fd()));
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let error = loop {
            if let Err(error) = writer.write(&[0; 4_096]) {
                break error;
            }
        };
        assert_eq!((error.kind(), is_full(writer.as_fd())), (ErrorKind::WouldBlock, true));
        reader.read_exact(&mut [0; 8_192]).unwrap();
        assert!(!is_full(writer.as_fd()));
        while writer.write(&[0; 4_096]).is_ok() {}
        assert!(is_full(writer.as_fd()));
        drop(reader);
        assert!(!is_full(writer.as_fd()), "writing fails at once");
    }

    #[test]
    fn a_file_takes_everything() {
        let file = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert!(!is_full(file.as_fd()));
    }
}
