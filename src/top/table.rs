//! Rows in columns, as text: the same in a window and in a pipe. Pure.

use ratatui::text::Span;

/// Between two columns.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Where the next column begins does not hang on the cells' ends: numbers.
    pub(super) right: bool,
    /// At least so wide, so that a number that grows does not move what stands beside it.
    pub(super) least: usize,
    /// Where there is no room for all columns, the highest go first; 0 stays.
    pub(super) rank: u8,
    /// The last one, as wide as there is room.
    pub(super) open: bool,
}

impl Column {
    /// A column of text.
    pub(super) const fn text(title: &'static str, least: usize, rank: u8) -> Self {
        Self { title, right: false, least, rank, open: false }
    }

    /// A column of numbers.
    pub(super) const fn number(title: &'static str, least: usize, rank: u8) -> Self {
        Self { title, right: true, least, rank, open: false }
    }

    /// The last column, of text.
    pub(super) const fn rest(title: &'static str, rank: u8) -> Self {
        Self { title, right: false, least: 12, rank, open: true }
    }
}

/// What a row is like at a glance. The same stands in its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing to say.
    #[default]
    Plain,
    /// As it should be.
    Well,
    /// Of no interest now.
    Faint,
    /// To be looked at.
    Warning,
    /// Not as it should be.
    Bad,
}

/// A row; as many cells as there are columns.
pub(super) type Row = (Mood, Vec<String>);

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Row>,
}

impl Table {
    /// The head and the rows, at most so wide unless the columns that always stay are wider.
    pub(super) fn lines(&self, width: usize) -> Vec<(Mood, String)> {
        self.lines_without(&[], width)
    }

    /// The same without the columns of these titles.
    pub(super) fn lines_without(&self, left_out: &[&str], width: usize) -> Vec<(Mood, String)> {
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
        let head = (Mood::Plain, self.line(&shown, titles));
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
        // One name may not take all the room.
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

/// Without its middle, if it is too long: of a partition's name, the number is what matters.
fn shortened(text: String, most: usize) -> String {
    if width_of(&text) <= most {
        return text;
    }
    let letters: Vec<_> = text.chars().collect();
    let kept = most.saturating_sub(1).min(letters.len());
    let (front, back) = (kept / 2, kept - kept / 2);
    letters[..front].iter().chain(&['…']).chain(&letters[letters.len() - back..]).collect()
}

/// In a terminal's cells.
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
        Column::rest("STATE", 1),
    ];

    fn lines(names: &[&str], width: usize) -> Vec<String> {
        let row = |name: &&str| {
            let cells = [name, "7", "123", "a long state, in words"].map(str::to_owned);
            (Mood::Plain, cells.to_vec())
        };
        let table = Table { columns: COLUMNS, rows: names.iter().map(row).collect() };
        table.lines(width).into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn numbers_stand_right_and_text_left() {
        let expected = ["NAME    LAG  PID  STATE", "a         7  123  a long state, in words"];
        assert_eq!(lines(&["a"], 80), expected);
        // Letters that take two cells of a terminal.
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
