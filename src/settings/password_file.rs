//! The password from a file. It is read whenever a client is created: a changed password is used without a restart.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Secret;
use crate::util::text_file;

/// The maximum size of a password file, in bytes. A larger file is not a password file.
const MAX_BYTES: u64 = 65_536;

/// Reads a password: the file's text without a byte order mark at its beginning and one newline at its end.
///
/// # Errors
/// If the file cannot be read or does not contain a valid password.
pub(super) fn read(path: &Path) -> Result<Secret, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("is no password: it has more than {MAX_BYTES} bytes"));
    }
    let text = text_file::decode(bytes).map_err(|error| format!("cannot be read: {error}"))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err("is empty; expected a password".to_owned());
    }
    let password = Secret::new(text);
    password.problem().map_or(Ok(password.clone()), |problem| Err(problem.to_owned()))
}

/// Whether the file can be read more than once: the content of a pipe (`<(pass show kafka)`) is consumed by the first read. A
/// missing file may appear again.
pub(super) fn can_be_read_again(path: &str) -> bool {
    std::fs::metadata(path).map_or(true, |metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8]) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, bytes).unwrap();
        read(file.path()).map(|password| password.reveal().to_owned())
    }

    #[test]
    fn a_password_is_all_but_one_newline_and_a_byte_order_mark() {
        for (bytes, password) in [
            ("geheim", "geheim"),
            ("geheim\n", "geheim"),
            ("geheim\r\n", "geheim"),
            ("geheim\n\n", "geheim\n"),
            ("geheim\r", "geheim\r"),
            ("ge,h'e\"i$m=ü€ \n", "ge,h'e\"i$m=ü€ "),
            ("\u{feff}geheim\r\n", "geheim"),
            ("1e5\n", "1e5"),
        ] {
            assert_eq!(read_bytes(bytes.as_bytes()).as_deref(), Ok(password));
        }
    }

    #[test]
    fn what_is_no_password_is_refused_with_the_reason() {
        let cases: [(&[u8], &str); 6] = [
            (b" geheim", "begins with a blank"),
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"a\0b", "has a NUL character"),
            (b"\xff\xfe", "UTF-16"),
            (&[b'a'; 65_537], "more than 65536 bytes"),
        ];
        for (bytes, problem) in cases {
            assert!(read_bytes(bytes).unwrap_err().contains(problem), "{problem}");
        }
        assert!(read(Path::new("/dev/zero")).unwrap_err().contains("more than"));
        assert!(read(Path::new("/")).unwrap_err().contains("cannot be read"));
        assert!(!can_be_read_again("/dev/null") && can_be_read_again("/no/such") && can_be_read_again("Cargo.toml"));
    }
}
