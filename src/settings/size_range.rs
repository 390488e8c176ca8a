//! A size, or a range of sizes.

use serde::{Deserialize, Serialize};

/// The maximum size of a message, in bytes: far above the default limit of brokers.
const MAX_MESSAGE_BYTES: usize = 100_000_000;

/// A range of sizes in bytes, both limits included; written `200` or `100..1000`. Zero: messages keep the size that the generator
/// creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SizeRange {
    /// The minimum.
    pub least: usize,
    /// The maximum.
    pub most: usize,
}

impl TryFrom<String> for SizeRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = |text: &str| text.trim().replace('_', "").parse::<usize>().ok();
        let (least, most) = text.split_once("..").unwrap_or((&text, &text));
        match (number(least), number(most)) {
            (Some(least), Some(most)) if least <= most && most <= MAX_MESSAGE_BYTES => Ok(Self { least, most }),
            _ => Err(format!(
                "allowed: a number of bytes, such as 200, or two of them, the smaller first, such as 100..1000; 0 to {MAX_MESSAGE_BYTES}"
            )),
        }
    }
}

impl From<SizeRange> for String {
    fn from(SizeRange { least, most }: SizeRange) -> Self {
        if least == most { least.to_string() } else { format!("{least}..{most}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_it_is_written() {
        for (text, least, most) in [("0", 0, 0), ("200", 200, 200), (" 1_00 .. 1_000", 100, 1_000), ("0..9", 0, 9)] {
            let size = SizeRange::try_from(text.to_owned()).unwrap();
            assert_eq!(size, SizeRange { least, most });
            assert_eq!(SizeRange::try_from(String::from(size)), Ok(size));
        }
        for text in ["", "x", "-1", "2..1", "1..", "..1", "1..2..3", "100000001", "1.5"] {
            assert!(SizeRange::try_from(text.to_owned()).unwrap_err().contains("such as 100..1000"), "{text}");
        }
    }
}
