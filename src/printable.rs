//! Text of strangers, made fit to be shown: what stands in a message, a topic's name or a program's output may be anything,
//! and nothing of it may reach a terminal as more than letters.

/// Letters as they are; what is none, or would do something to a terminal (control characters, marks that turn text
/// around, bytes that are no text), as an escape.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' | '\'' => text.push(letter),
                _ => text.extend(letter.escape_debug()),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// At most `most` characters of it, the last of which says that there were more.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_letter_is_an_escape() {
        assert_eq!(printable("ü \"x\"".as_bytes()), "ü \"x\"");
        assert_eq!(printable(b"\x1b[2J\xff"), "\\u{1b}[2J\\xff");
        assert_eq!(printable("\u{202e}\u{9b}".as_bytes()), "\\u{202e}\\u{9b}");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!((cut("üüü", 3).as_str(), cut("üüü", 2).as_str(), cut("ü", 0).as_str()), ("üüü", "ü…", "…"));
    }
}
