//! A size, or a range of sizes.

use serde::{Deserialize, Serialize};

/// The largest message, in bytes: far more than brokers take by their default.
const LARGEST: usize = 100_000_000;

/// From so many bytes to so many, both included; written `200` or `100..1000`. Zero: whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size {
    /// The smallest.
    pub least: usize,
    /// The largest.
    pub most: usize,
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = |text: &str| text.trim().replace('_', "").parse::<usize>().ok();
        let (least, most) = text.split_once("..").unwrap_or((&text, &text));
        match (number(least), number(most)) {
            (Some(least), Some(most)) if least <= most && most <= LARGEST => Ok(Self { least, most }),
            _ => Err(format!(
                "allowed: a number of bytes, such as 200, or two of them, the smaller first, such as 100..1000; 0 to {LARGEST}"
            )),
        }
    }
}

impl From<Size> for String {
    fn from(Size { least, most }: Size) -> Self {
        if least == most { least.to_string() } else { format!("{least}..{most}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_it_is_written() {
        for (text, least, most) in [("0", 0, 0), ("200", 200, 200), (" 1_00 .. 1_000", 100, 1_000), ("0..9", 0, 9)] {
            let size = Size::try_from(text.to_owned()).unwrap();
            assert_eq!(size, Size { least, most });
            assert_eq!(Size::try_from(String::from(size)), Ok(size));
        }
        for text in ["", "x", "-1", "2..1", "1..", "..1", "1..2..3", "100000001", "1.5"] {
            assert!(Size::try_from(text.to_owned()).unwrap_err().contains("such as 100..1000"), "{text}");
        }
    }
}
