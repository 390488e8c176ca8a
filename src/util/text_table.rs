//! Tables as aligned text.

use std::fmt;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

/// The number of blanks between two columns.
const GAP: u16 = 2;

/// A table of text without borders and colours: a header and rows, one line each.
pub struct TextTable(Table);

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers, in at least this number of characters: a growing number does not move the columns next to it.
    Right(u16),
}

impl TextTable {
    /// Creates a table with these columns.
    pub fn new<T: fmt::Display>(columns: impl IntoIterator<Item = (T, Align)>) -> Self {
        let (titles, aligns): (Vec<_>, Vec<_>) =
            columns.into_iter().map(|(title, align)| (title.to_string(), align)).unzip();
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(titles);
        for (number, (column, align)) in table.column_iter_mut().zip(aligns).enumerate() {
            let gap = if number == 0 { 0 } else { GAP };
            column.set_padding((gap, 0));
            if let Align::Right(width) = align {
                column.set_cell_alignment(CellAlignment::Right);
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(gap + width)));
            }
        }
        Self(table)
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().collect::<Vec<_>>());
    }
}

impl fmt::Display for TextTable {
    /// Writes the lines, each with its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.trim_fmt().lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_text_left() {
        let mut table = TextTable::new([("name", Align::Left), ("lag", Align::Right(5)), ("state", Align::Left)]);
        table.row(["a", "7", ""].map(str::to_owned));
        table.row(["a long name", "1234567", "in words"].map(str::to_owned));
        let expected = "name             lag  state\na                  7\na long name  1234567  in words\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        let table = TextTable::new([("worker", Align::Right(8)), ("lag", Align::Right(3))]);
        assert_eq!(table.to_string(), "  worker  lag\n");
    }
}
