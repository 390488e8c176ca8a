//! The unread bytes of a pipe.

use std::os::fd::AsFd;

/// The number of bytes written to a pipe and not yet read, queried at either end. Also available after the reader has
/// exited, while this end is open. `None` if the system does not report it.
pub fn unread_bytes(pipe: impl AsFd) -> Option<u64> {
    rustix::io::ioctl_fionread(pipe).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn bytes_that_are_not_read_are_counted_at_the_writing_end() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"one\ntwo\n").unwrap();
        assert_eq!(unread_bytes(&writer), Some(8));
        reader.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(unread_bytes(&writer), Some(4));
        drop(reader);
        assert_eq!(unread_bytes(&writer), Some(4), "also when nobody will ever read them");
    }
}
