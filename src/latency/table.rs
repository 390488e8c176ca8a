//! Percentiles for people.

use super::{Latency, Percentiles};

/// A table of percentiles: a column for each histogram in which anything was counted, below its name (with blanks for
/// underscores). Empty if there is none.
pub fn table(columns: &[(&str, &Latency)]) -> String {
    let columns: Vec<Column> =
        columns.iter().filter_map(|(tag, latency)| Some((tag.replace('_', " "), latency.percentiles()?))).collect();
    if columns.is_empty() {
        return String::new();
    }
    let mut rows = vec![row("latency", &columns, |(name, _)| name.clone())];
    let times: [(&str, Figure); 9] = [
        ("p50", |of| of.p50),
        ("p75", |of| of.p75),
        ("p90", |of| of.p90),
        ("p95", |of| of.p95),
        ("p99", |of| of.p99),
        ("p99.9", |of| of.p99_9),
        ("p99.99", |of| of.p99_99),
        ("max", |of| of.max),
        ("mean", |of| of.mean),
    ];
    rows.extend(times.iter().map(|(name, of)| {
        // Without a time there are no percentiles.
        row(name, &columns, |(_, all)| if all.count == 0 { "-".to_owned() } else { readable(of(all)) })
    }));
    rows.push(row("count", &columns, |(_, all)| all.count.to_string()));
    if columns.iter().any(|(_, all)| all.negative > 0) {
        rows.push(row("negative", &columns, |(_, all)| all.negative.to_string()));
    }
    rows.concat()
}

/// A histogram's name and percentiles.
type Column = (String, Percentiles);
/// One of the percentiles.
type Figure = fn(&Percentiles) -> u64;

fn row(name: &str, columns: &[Column], cell: impl Fn(&Column) -> String) -> String {
    let cells: String = columns
        .iter()
        .map(|column| format!("  {:>width$}", cell(column), width = column.0.chars().count().max(10)))
        .collect();
    format!("{name:<8}{cells}\n")
}

/// Microseconds in the unit that fits, with the three digits that a histogram keeps.
fn readable(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        // From here on it would be rounded to a thousand.
        1_000..999_500 => format!("{} ms", three_digits(us as f64 / 1e3)),
        _ => format!("{} s", three_digits(us as f64 / 1e6)),
    }
}

fn three_digits(number: f64) -> String {
    let decimals = if number < 9.995 {
        2
    } else if number < 99.95 {
        1
    } else {
        0
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        let cases = [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_000, "1.00 ms"),
            (9_994, "9.99 ms"),
            (9_996, "10.0 ms"),
            (99_960, "100 ms"),
            (999_499, "999 ms"),
            (999_500, "1.00 s"),
            (62_345_678, "62.3 s"),
            (3_600_000_000, "3600 s"),
        ];
        for (us, text) in cases {
            assert_eq!(readable(us), text);
        }
    }

    #[test]
    fn each_histogram_has_a_column_and_empty_ones_have_none() {
        let (mut one, mut other) = (Latency::default(), Latency::default());
        (1..=100).for_each(|ms| one.record_us(ms * 1_000));
        other.record_signed_us(-1);
        let nothing = Latency::default();
        let text = table(&[("due_to_acknowledged", &one), ("nothing", &nothing), ("due_to_processed", &other)]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "latency   due to acknowledged  due to processed");
        assert_eq!(lines[1], "p50                   50.0 ms                 -");
        assert_eq!(lines[10], "count                     100                 0");
        assert_eq!(lines[11], "negative                    0                 1");
        assert_eq!(lines.len(), 12);
        assert_eq!(table(&[("nothing", &nothing)]), "");
        assert!(!table(&[("one", &one)]).contains("negative"));
    }
}
