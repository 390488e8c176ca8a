//! The start offset in each partition.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The start offset in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StartOffset {
    /// The committed offset of the group; without one, as `auto_offset_reset`.
    Committed,
    /// The oldest message that still exists, regardless of committed offsets.
    Earliest,
    /// After the newest message, regardless of committed offsets.
    Latest,
    /// The first message with this timestamp or a later one, in milliseconds since 1970 UTC.
    Time(i64),
}

/// The smallest number that is read as milliseconds since 1970 (this one is in 1973); a smaller number was probably meant as
/// seconds.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;
/// The end of the year 9999, the last year that RFC 3339 supports.
const LAST_MILLISECONDS: i64 = 253_402_300_799_999;

impl TryFrom<String> for StartOffset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "committed" => Ok(Self::Committed),
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => milliseconds(digits),
            _ => humantime::parse_rfc3339(text.trim()).ok().and_then(since_1970).map(Self::Time).ok_or_else(|| {
                "allowed: committed, earliest, latest, a time in UTC such as 2026-11-23T10:00:00Z, or milliseconds since 1970"
                    .to_owned()
            }),
        }
    }
}

fn milliseconds(digits: &str) -> Result<StartOffset, String> {
    match digits.parse() {
        Ok(number @ FIRST_MILLISECONDS..=LAST_MILLISECONDS) => Ok(StartOffset::Time(number)),
        _ => Err(format!(
            "a time as a number is milliseconds since 1970, {FIRST_MILLISECONDS} to {LAST_MILLISECONDS}; or write it as \
             2026-11-23T10:00:00Z"
        )),
    }
}

fn since_1970(time: SystemTime) -> Option<i64> {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok())
}

impl From<StartOffset> for String {
    fn from(start: StartOffset) -> Self {
        match start {
            StartOffset::Committed => "committed".to_owned(),
            StartOffset::Earliest => "earliest".to_owned(),
            StartOffset::Latest => "latest".to_owned(),
            StartOffset::Time(number) => {
                // A time outside this range does not come from a setting, but a program could create it, and it must be
                // printable.
                let number = number.clamp(0, LAST_MILLISECONDS).unsigned_abs();
                humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(number)).to_string()
            }
        }
    }
}
