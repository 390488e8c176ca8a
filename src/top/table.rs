//! Tables as aligned text; the terminal and pipes use the same format. Pure: no I/O, no state.

use ratatui::text::Span;

/// The number of blanks between two columns.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Whether cells are right-aligned, as numbers are.
    pub(super) right: bool,
    /// The minimum width: a growing number does not move the columns next to it.
    pub(super) least: usize,
    /// The priority: if the columns do not fit, those with the highest rank are dropped first; rank 0 is never dropped.
    pub(super) rank: u8,
    /// Whether this is the last column, which uses the remaining width.
    pub(super) open: bool,
}

impl Column {
    /// Creates a column of text.
    pub(super) const fn text(title: &'static str, least: usize, rank: u8) -> Self {
        Self { title, right: false, least, rank, open: false }
    }

    /// Creates a column of numbers.
    pub(super) const fn number(title: &'static str, least: usize, rank: u8) -> Self {
        Self { title, right: true, least, rank, open: false }
    }

    /// Creates the last column, of text.
    pub(super) const fn fill(title: &'static str, rank: u8) -> Self {
        Self { title, right: false, least: 12, rank, open: true }
    }
}

/// The severity of a row or a text, which determines its style. The text states it, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Severity {
    /// Neutral.
    #[default]
    Plain,
    /// Normal operation.
    Well,
    /// Not relevant at present.
    Faint,
    /// Needs attention.
    Warning,
    /// A failure.
    Bad,
}

/// A row, with one cell per column.
pub(super) type Row = (Severity, Vec<String>);

/// A table with its columns and rows.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Row>,
}

impl Table {
    /// Returns the header and the rows. Lines are at most `width` wide, unless the columns that are never dropped are wider.
    pub(super) fn lines(&self, width: usize) -> Vec<(Severity, String)> {
        self.lines_without(&[], width)
    }

    /// As [`Self::lines`], without the columns with these titles.
    pub(super) fn lines_without(&self, left_out: &[&str], width: usize) -> Vec<(Severity, String)> {
        let mut shown: Vec<_> = (0..self.columns.len())
            .filter(|at| !left_out.contains(&self.columns[*at].title))
            .map(|at| (at, self.width(at, width)))
            .collect();
        while total(&shown) > width {
            let Some(last) = shown.iter().map(|(at, _)| self.columns[*at].rank).max().filter(|rank| *rank > 0) else {
                break;
            };
            shown.retain(|(at, _)| self.columns[*at].rank < last);
        }
        let titles = |at: usize| self.columns[at].title.to_owned();
        let head = (Severity::Plain, self.line(&shown, titles));
        let row = |(mood, cells): &Row| (*mood, self.line(&shown, |at| cells.get(at).cloned().unwrap_or_default()));
        std::iter::once(head).chain(self.rows.iter().map(row)).collect()
    }

    fn width(&self, at: usize, all: usize) -> usize {
        let column = self.columns[at];
        let least = column.least.max(column.title.len());
        if column.open {
            return least;
        }
        let widest = self.rows.iter().filter_map(|(_, cells)| cells.get(at)).map(|cell| width_of(cell)).max();
        // A single long name must not use the whole width.
        widest.unwrap_or(0).min(all / 3).max(least)
    }

    fn line(&self, shown: &[(usize, usize)], cell: impl Fn(usize) -> String) -> String {
        let mut line = String::new();
        for (number, (at, width)) in shown.iter().enumerate() {
            let column = self.columns[*at];
            let cell = if column.open { cell(*at) } else { shortened(cell(*at), *width) };
            let room = " ".repeat(width.saturating_sub(width_of(&cell)));
            if number > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            if column.right {
                line.push_str(&room);
            }
            line.push_str(&cell);
            if !column.right && number + 1 < shown.len() {
                line.push_str(&room);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

fn total(shown: &[(usize, usize)]) -> usize {
    shown.iter().map(|(_, width)| width).sum::<usize>() + GAP * shown.len().saturating_sub(1)
}

/// Replaces the middle of a text by `…` if it is too long: the end of a partition's name, its number, matters most.
fn shortened(text: String, most: usize) -> String {
    if width_of(&text) <= most {
        return text;
    }
    let letters: Vec<_> = text.chars().collect();
    let kept = most.saturating_sub(1).min(letters.len());
    let (front, back) = (kept / 2, kept - kept / 2);
    letters[..front].iter().chain(&['…']).chain(&letters[letters.len() - back..]).collect()
}

/// Returns the width of a text in terminal cells.
pub(super) fn width_of(text: &str) -> usize {
    Span::raw(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column::text("NAME", 4, 0),
        Column::number("LAG", 5, 0),
        Column::number("PID", 3, 2),
        Column::fill("STATE", 1),
    ];

    fn lines(names: &[&str], width: usize) -> Vec<String> {
        let row = |name: &&str| {
            let cells = [name, "7", "123", "a long state, in words"].map(str::to_owned);
            (Severity::Plain, cells.to_vec())
        };
        let table = Table { columns: COLUMNS, rows: names.iter().map(row).collect() };
        table.lines(width).into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn numbers_stand_right_and_text_left() {
        let expected = ["NAME    LAG  PID  STATE", "a         7  123  a long state, in words"];
        assert_eq!(lines(&["a"], 80), expected);
        // Characters that are two terminal cells wide.
        assert_eq!(lines(&["世界世界"], 80)[1], "世界世界      7  123  a long state, in words");
    }

    #[test]
    fn what_matters_least_goes_first() {
        assert_eq!(lines(&["a"], 30)[0], "NAME    LAG  PID  STATE");
        assert_eq!(lines(&["a"], 29)[0], "NAME    LAG  STATE");
        assert_eq!(lines(&["a"], 20)[0], "NAME    LAG");
        assert_eq!(lines(&["a"], 0)[0], "NAME    LAG");
    }

    #[test]
    fn a_long_name_leaves_room_for_the_others() {
        let line = &lines(&[&format!("{}/17", "n".repeat(249))], 60)[1];
        assert!(line.starts_with("nnnnnnnnn…nnnnnnn/17      7  123  a long"), "{line}");
        assert!(lines(&[&"n".repeat(249)], usize::MAX)[1].starts_with(&"n".repeat(249)));
    }
}
