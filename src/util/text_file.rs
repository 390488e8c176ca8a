//! Text files with an optional byte order mark, as some editors write them.

use std::io;
use std::path::Path;

/// U+FEFF in UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The bytes after a byte order mark, if there is one.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Reads a text file without its byte order mark.
///
/// # Errors
/// An I/O error, or the file is not UTF-8; the text names the encoding that it seems to have.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    decode(std::fs::read(path)?)
}

/// Like [`read`], for bytes in memory.
pub(crate) fn decode(mut bytes: Vec<u8>) -> io::Result<String> {
    bytes.drain(..bytes.len() - without_mark(&bytes).len());
    String::from_utf8(bytes).map_err(|error| {
        let text = match error.as_bytes() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is in UTF-16; save it in UTF-8",
            _ => "it is not in UTF-8",
        };
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_without_its_mark() {
        let text = |bytes: &[u8]| decode(bytes.to_vec()).map_err(|error| error.to_string());
        assert_eq!(text("\u{feff}a\r\n\u{feff}".as_bytes()), Ok("a\r\n\u{feff}".to_owned()), "only the first one");
        assert_eq!(text(b""), Ok(String::new()));
        assert!(text(b"\xff\xfea\0").unwrap_err().contains("UTF-16"));
        assert!(text(b"a\xff").unwrap_err().contains("not in UTF-8"));
    }
}
