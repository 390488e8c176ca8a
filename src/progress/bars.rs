//! Progress bars at the bottom of a terminal, each on one row at any width.

use std::sync::{Mutex, MutexGuard, PoisonError};

use console::{Term, measure_text_width};
use indicatif::{ProgressBar, ProgressStyle};

use crate::console::Console;

/// The width if the terminal does not report it.
const WIDTH: usize = 80;
/// The width of a row's name: `producer 12`.
const NAME: usize = 11;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarRow {
    /// Its number, from 0.
    pub number: usize,
    /// The progress and its end, if known; otherwise the row has no bar.
    pub done: Option<(u64, u64)>,
    /// The texts, most important first; as many as fit are shown.
    pub texts: Vec<String>,
}

/// All rows. They are accessed only on the console's thread, which a blocked terminal may hold up.
#[derive(Clone)]
pub(super) struct ProgressBars {
    screen: Console,
    name: &'static str,
    colour: &'static str,
    /// Never dropped: dropping a bar takes the lock that the console's thread holds while it writes, and panics if it
    /// is poisoned.
    drawn: &'static Mutex<Vec<ProgressBar>>,
}

impl ProgressBars {
    /// Creates the rows, which are above those created later.
    pub(super) fn new(screen: &Console, name: &'static str, colour: &'static str, count: usize) -> Self {
        // There are few of these per process, one per side.
        let drawn: &Mutex<Vec<_>> = Box::leak(Box::default());
        let shown = screen.clone();
        screen.draw(move || add(&mut locked(drawn), count, &shown));
        Self { screen: screen.clone(), name, colour, drawn }
    }

    /// Returns whether there is a terminal to draw on.
    pub(super) fn are_shown(&self) -> bool {
        self.screen.progress().is_some()
    }

    /// Draws the rows; there may be more than before.
    pub(super) fn draw(&self, rows: Vec<BarRow>) {
        let Self { screen, name, colour, drawn } = self.clone();
        self.screen.draw(move || {
            let width = Term::stderr().size_checked().map_or(WIDTH, |(_, width)| width.into());
            let mut bars = locked(drawn);
            add(&mut bars, rows.len(), &screen);
            for (bar, row) in bars.iter().zip(rows) {
                let length = bar_length(row.done, width);
                bar.set_style(style(length, colour));
                bar.set_prefix(format!("{name} {}", row.number));
                let (position, of) = row.done.unwrap_or_default();
                bar.set_length(of);
                bar.set_position(position);
                bar.set_message(fit_to_width(&row.texts, available_width(length, width)));
            }
        });
    }

    /// Removes the rows.
    pub(super) fn clear(&self) {
        let (drawn, screen) = (self.drawn, self.screen.clone());
        self.screen.draw_final(move || {
            let bars = locked(drawn);
            bars.iter().for_each(ProgressBar::finish_and_clear);
            screen.add_rows(-isize::try_from(bars.len()).unwrap_or(0));
        });
    }
}

fn locked(bars: &Mutex<Vec<ProgressBar>>) -> MutexGuard<'_, Vec<ProgressBar>> {
    bars.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds rows up to `count`.
fn add(bars: &mut Vec<ProgressBar>, count: usize, screen: &Console) {
    let Some(progress) = screen.progress() else { return };
    while bars.len() < count {
        bars.push(progress.add(ProgressBar::new(0)));
        screen.add_rows(1);
    }
}

/// The length of a bar on a terminal of this width; 0: no bar.
fn bar_length(done: Option<(u64, u64)>, width: usize) -> usize {
    match (done, width) {
        (None, _) | (_, 0..36) => 0,
        (_, 36..60) => 6,
        (_, 60..90) => 12,
        (_, 90..) => 24,
    }
}

/// An invalid template would be a bug; the default bar shows the same numbers.
fn style(bar_length: usize, colour: &str) -> ProgressStyle {
    let template = match bar_length {
        0 => format!("{{prefix:>{NAME}}} {{msg}}"),
        length => format!("{{prefix:>{NAME}}} {{bar:{length}.{colour}}} {{msg}}"),
    };
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

/// The columns for texts: a row must not wrap, and the last column stays free.
fn available_width(bar_length: usize, width: usize) -> usize {
    width.saturating_sub(NAME + 1 + if bar_length > 0 { bar_length + 1 } else { 0 } + 1)
}

/// As many texts as fit; after the first that is too long, the rest is left out.
fn fit_to_width(texts: &[String], room: usize) -> String {
    let mut text = String::new();
    for next in texts {
        let gap = if text.is_empty() { "" } else { "  " };
        if measure_text_width(&text) + gap.len() + measure_text_width(next) > room {
            break;
        }
        text.push_str(gap);
        text.push_str(next);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let texts = [" 45%", "1,234/s", "lag 12", "pid 4711"].map(str::to_owned);
        assert_eq!(fit_to_width(&texts, 80), " 45%  1,234/s  lag 12  pid 4711");
        assert_eq!(fit_to_width(&texts, 30), " 45%  1,234/s  lag 12");
        assert_eq!(fit_to_width(&texts, 13), " 45%  1,234/s");
        assert_eq!((fit_to_width(&texts, 12).as_str(), fit_to_width(&texts, 0).as_str()), (" 45%", ""));
    }

    #[test]
    fn a_narrow_terminal_has_room_for_how_far_and_how_fast() {
        let at = |width| {
            let length = bar_length(Some((1, 2)), width);
            (length, available_width(length, width))
        };
        assert_eq!(at(40), (6, 20));
        assert_eq!(at(80), (12, 54));
        assert_eq!(at(120), (24, 82));
        assert_eq!((at(20), at(0)), ((0, 7), (0, 0)));
        assert_eq!(bar_length(None, 120), 0);
    }
}
