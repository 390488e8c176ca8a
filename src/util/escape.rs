//! Escapes untrusted text for a terminal: a message, a topic name or a program's output may contain control
//! characters.

use std::fmt::Write;

/// Returns whether a terminal interprets the character: control characters (C0, DEL and C1, where U+009B starts an
/// escape sequence), bidirectional marks, and line separators.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Keeps printable characters and escapes everything else, including [`is_unsafe`] characters.
pub fn escape_control(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' => text.push(character),
                _ => text.extend(character.escape_debug()),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// The text as one line: line breaks and tabs become spaces, other unsafe characters are escaped (`\u{9b}`).
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => line.push(' '),
            character if is_unsafe(character) => line.extend(character.escape_unicode()),
            character => line.push(character),
        }
    }
    line
}

/// Applies [`one_line`] to each line.
pub fn lines(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => one_line(line) + "\n",
            None => one_line(line),
        })
        .collect()
}

/// Escapes a line of another program's stderr: colours (SGR sequences) and tabs stay; other unsafe characters and
/// invalid UTF-8 are escaped.
pub fn terminal_line(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(character) = rest.chars().next() {
            let colour = if character == '\u{1b}' { colour_sequence(rest) } else { 0 };
            if colour > 0 {
                line.push_str(&rest[..colour]);
                rest = &rest[colour..];
                continue;
            }
            match character {
                '\t' => line.push(character),
                character if is_unsafe(character) => line.extend(character.escape_debug()),
                character => line.push(character),
            }
            rest = &rest[character.len_utf8()..];
        }
        chunk.invalid().iter().for_each(|byte| _ = write!(line, "\\x{byte:02x}"));
    }
    line
}

/// The length of the SGR sequence (`ESC [ 1 ; 31 m`) at the start of the text; 0 if there is none.
fn colour_sequence(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else { return 0 };
    let length = parameters.bytes().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':')).count();
    if parameters.as_bytes().get(length) == Some(&b'm') { length + 3 } else { 0 }
}

/// Escapes unsafe characters of a JSON text from `from` on. They occur only in strings, where `\u009b` is the same
/// character.
pub fn escape_json(json: &mut Vec<u8>, from: usize) {
    // These characters are not ASCII, except DEL; JSON strings contain no raw control characters below it.
    let Some(first) = json.iter().skip(from).position(|byte| *byte >= 0x7f) else { return };
    let tail = json.split_off(from + first);
    match std::str::from_utf8(&tail) {
        Ok(text) => text.chars().for_each(|character| {
            if is_unsafe(character) && !character.is_ascii_whitespace() {
                json.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            } else {
                json.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }),
        Err(_) => json.extend_from_slice(&tail),
    }
}

/// At most `max` characters, the last of which is `…` if the text is longer.
pub fn truncate_chars(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSAFE: &str = "\u{9b}\u{85}\u{7f}\u{1b}\u{61c}\u{200e}\u{200f}\u{2028}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
        \u{2066}\u{2067}\u{2068}\u{2069}";

    #[test]
    fn what_is_no_letter_is_an_escape() {
        assert_eq!(escape_control("ü \"x\"".as_bytes()), "ü \"x\"");
        assert_eq!(escape_control(b"\x1b[2J\xff"), "\\u{1b}[2J\\xff");
        assert_eq!(escape_control("\u{202e}\u{9b}".as_bytes()), "\\u{202e}\\u{9b}");
    }

    #[test]
    fn no_unsafe_letter_passes_anywhere() {
        assert!(UNSAFE.chars().all(is_unsafe) && !"aü€😀\u{301}".chars().any(is_unsafe));
        let quoted = serde_json::to_string(UNSAFE).unwrap();
        let mut json = quoted.clone().into_bytes();
        escape_json(&mut json, 0);
        let json = String::from_utf8(json).unwrap();
        for shown in
            [one_line(UNSAFE), terminal_line(UNSAFE.as_bytes()), escape_control(UNSAFE.as_bytes()), json.clone()]
        {
            assert!(!shown.chars().any(is_unsafe), "{shown:?}");
        }
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), UNSAFE, "the value is the same");
    }

    #[test]
    fn json_keeps_what_is_safe_and_what_stands_before() {
        let mut json = "\u{9b}{\"ä\":\"x\u{202e}\"}\n".as_bytes().to_vec();
        escape_json(&mut json, 2);
        assert_eq!(String::from_utf8(json).unwrap(), "\u{9b}{\"ä\":\"x\\u202e\"}\n");
    }

    #[test]
    fn a_line_of_a_program_keeps_its_colours_and_nothing_else() {
        assert_eq!(terminal_line(b"\x1b[1;31mred\x1b[0m\tx\xff"), "\u{1b}[1;31mred\u{1b}[0m\tx\\xff");
        assert_eq!(terminal_line(b"\x1b[2J\x1b]0;title\x07\r"), "\\u{1b}[2J\\u{1b}]0;title\\u{7}\\r");
        assert_eq!(terminal_line("a\u{9b}31m".as_bytes()), "a\\u{9b}31m");
    }

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(lines("a\u{9b}\nb\n"), "a\\u{9b}\nb\n");
        assert_eq!(one_line("failed:\n12:00 ERROR forged\r\u{1b}[2J"), "failed: 12:00 ERROR forged \\u{1b}[2J");
    }

    #[test]
    fn what_is_truncated_is_marked() {
        assert_eq!(
            (truncate_chars("üüü", 3).as_str(), truncate_chars("üüü", 2).as_str(), truncate_chars("ü", 0).as_str()),
            ("üüü", "ü…", "…")
        );
    }
}
