//! A readable table of percentiles.

use super::{LatencyHistogram, Percentiles};
use crate::util::format::format_count;
use crate::util::text_table::{Align, TextTable};

/// Returns a table of percentiles with a column for each non-empty histogram, titled as by [`column_title`]; empty if all are
/// empty.
pub fn table(columns: &[(&str, &LatencyHistogram)]) -> String {
    let columns: Vec<(String, Percentiles)> =
        columns.iter().filter_map(|(tag, latency)| Some((column_title(tag), latency.percentiles()?))).collect();
    if columns.is_empty() {
        return String::new();
    }
    let titles = columns.iter().map(|(title, _)| (title.as_str(), Align::Right(10)));
    let mut table = TextTable::new([("latency ", Align::Left)].into_iter().chain(titles));
    let mut row = |name: &str, cell: &dyn Fn(&Percentiles) -> String| {
        table.row([name.to_owned()].into_iter().chain(columns.iter().map(|(_, all)| cell(all))));
    };
    let times: [(&str, PercentileFn); 9] = [
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
    for (name, of) in times {
        // Without values there are no percentiles.
        row(name, &|all| if all.count == 0 { "-".to_owned() } else { readable(of(all)) });
    }
    row("count", &|all| format_count(all.count));
    if columns.iter().any(|(_, all)| all.negative > 0) {
        row("negative", &|all| format_count(all.negative));
    }
    table.to_string()
}

/// Selects one of the percentiles.
type PercentileFn = fn(&Percentiles) -> u64;

/// Returns `scheduled → acked` for the tag `scheduled_to_acked`.
fn column_title(tag: &str) -> String {
    tag.replace("_to_", " → ").replace('_', " ")
}

/// Formats microseconds in a suitable unit, with the three digits of a histogram.
fn readable(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        // From here on, the value would be rounded to 1000 ms.
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
        let (mut one, mut other) = (LatencyHistogram::default(), LatencyHistogram::default());
        (1..=100).for_each(|ms| one.record_us(ms * 1_000));
        other.record_signed_us(-1);
        let nothing = LatencyHistogram::default();
        let text = table(&[("scheduled_to_acked", &one), ("nothing", &nothing), ("scheduled_to_processed", &other)]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "latency   scheduled → acked  scheduled → processed");
        assert_eq!(lines[1], "p50                 50.0 ms                      -");
        assert_eq!(lines[10], "count                   100                      0");
        assert_eq!(lines[11], "negative                  0                      1");
        assert_eq!(lines.len(), 12);
        assert_eq!(table(&[("nothing", &nothing)]), "");
        assert!(!table(&[("one", &one)]).contains("negative"));
    }
}
