//! Numbers in human-readable form.

use std::fmt::Display;

/// `1,234,567`.
pub fn format_count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 restart`, `2 restarts`.
pub fn pluralize(number: u64, what: &str) -> String {
    format!("{} {what}{}", format_count(number), if number == 1 { "" } else { "s" })
}

/// A rate: `0.3/s`, `1,234/s`.
pub fn format_rate(rate: f64) -> String {
    match rate {
        rate if rate >= 9.95 => format!("{}/s", format_count(rate.round() as u64)),
        rate if rate >= 0.05 => format!("{rate:.1}/s"),
        // Negligible, or NaN.
        _ => "0/s".to_owned(),
    }
}

/// A rate with its unit: `1,234 messages/s`.
pub fn messages_per_second(rate: f64) -> String {
    let text = format_rate(rate);
    format!("{} messages/s", text.trim_end_matches("/s"))
}

/// A size: `12.3 MiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1_024 {
        return format!("{number} B");
    }
    let mut size = number as f64;
    let mut unit = UNITS[0];
    for larger in UNITS {
        (size, unit) = (size / 1_024.0, larger);
        // Larger sizes would be rounded to 1,024 or more.
        if size < 1_023.5 {
            break;
        }
    }
    if size < 9.95 { format!("{size:.1} {unit}") } else { format!("{size:.0} {unit}") }
}

/// A duration: `340 µs`, `5.2 ms`, `12 s`, `3m 07s`, `1h 02m`, `3d 04h`.
pub fn seconds(seconds: f64) -> String {
    let short = |number: f64, unit| match number < 9.95 {
        true => format!("{number:.1} {unit}"),
        false => format!("{number:.0} {unit}"),
    };
    match seconds {
        // The conversion saturates for larger durations.
        s if s >= 59.5 => minutes(s.round() as u64),
        s if s >= 0.999_5 => short(s, "s"),
        s if s >= 0.000_999_5 => short(s * 1e3, "ms"),
        s if s > 0.0 => format!("{:.0} µs", s * 1e6),
        // Negative, or NaN.
        _ => "0 s".to_owned(),
    }
}

fn minutes(seconds: u64) -> String {
    match seconds {
        0..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// The items, separated by commas.
pub fn join(items: impl IntoIterator<Item: Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(format_count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(format_count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn one_is_not_several() {
        let shown = [0, 1, 2_000].map(|number| pluralize(number, "restart"));
        assert_eq!(shown, ["0 restarts", "1 restart", "2,000 restarts"]);
    }

    #[test]
    fn rates_are_exact_where_they_are_small() {
        assert_eq!([0.0, 0.04, 0.3, 9.96, 1_234.4].map(format_rate), ["0/s", "0/s", "0.3/s", "10/s", "1,234/s"]);
        assert_eq!(format_rate(f64::NAN), "0/s");
        assert_eq!(messages_per_second(1_234.4), "1,234 messages/s");
    }

    #[test]
    fn bytes_have_the_unit_that_fits() {
        assert_eq!([0, 1_023, 1_024, 12_900_000].map(bytes), ["0 B", "1023 B", "1.0 KiB", "12 MiB"]);
        assert_eq!((bytes(1_048_575), bytes(u64::MAX)), ("1.0 MiB".to_owned(), "16 EiB".to_owned()));
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        let shown = [0.0, 0.000_34, 0.005_2, 0.34, 0.999_9, 2.5, 12.0, 59.9, 187.0, 3_720.0, 273_600.0].map(seconds);
        let expected =
            ["0 s", "340 µs", "5.2 ms", "340 ms", "1.0 s", "2.5 s", "12 s", "1m 00s", "3m 07s", "1h 02m", "3d 04h"];
        assert_eq!(shown, expected);
        assert_eq!((seconds(-1.0), seconds(f64::NAN)), ("0 s".to_owned(), "0 s".to_owned()));
        assert!(seconds(f64::MAX).ends_with('h'));
    }
}
