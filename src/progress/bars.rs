//! Rows at the bottom of a terminal, each whole at any width.

use std::sync::{Mutex, MutexGuard, PoisonError};

use console::{Term, measure_text_width};
use indicatif::{ProgressBar, ProgressStyle};

use crate::screen::Screen;

/// Where the terminal does not say how wide it is.
const WIDTH: usize = 80;
/// Columns of a row's name: `producer 12`.
const NAME: usize = 11;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its number, from 0.
    pub(super) number: usize,
    /// How far it is, and of how much, if that is known: only then it has a bar.
    pub(super) done: Option<(u64, u64)>,
    /// What is to be said, the most important first: as much of it as there is room for.
    pub(super) said: Vec<String>,
}

/// All rows. They are touched on the screen's thread only: it may be held up, and nobody else.
#[derive(Clone)]
pub(super) struct Bars {
    screen: Screen,
    name: &'static str,
    colour: &'static str,
    /// Never dropped: a bar that is takes the lock that the screen's thread holds while it writes, and panics if that is
    /// poisoned.
    drawn: &'static Mutex<Vec<ProgressBar>>,
}

impl Bars {
    /// So many rows to begin with, which stand above those of who comes later.
    pub(super) fn new(screen: &Screen, name: &'static str, colour: &'static str, count: usize) -> Self {
        // There are few of these in a process, one for each side.
        let drawn: &Mutex<Vec<_>> = Box::leak(Box::default());
        let shown = screen.clone();
        screen.draw(move || add(&mut locked(drawn), count, &shown));
        Self { screen: screen.clone(), name, colour, drawn }
    }

    /// Whether there is a terminal to draw on.
    pub(super) fn are_shown(&self) -> bool {
        self.screen.progress().is_some()
    }

    /// Draws these rows; there may be more of them than before.
    pub(super) fn draw(&self, rows: Vec<Row>) {
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
                bar.set_message(fitting(&row.said, room(length, width)));
            }
        });
    }

    /// Takes them away.
    pub(super) fn clear(&self) {
        let drawn = self.drawn;
        self.screen.draw_last(move || locked(drawn).iter().for_each(ProgressBar::finish_and_clear));
    }
}

fn locked(bars: &Mutex<Vec<ProgressBar>>) -> MutexGuard<'_, Vec<ProgressBar>> {
    bars.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds what is missing to so many.
fn add(bars: &mut Vec<ProgressBar>, count: usize, screen: &Screen) {
    let Some(progress) = screen.progress() else { return };
    while bars.len() < count {
        bars.push(progress.add(ProgressBar::new(0)));
    }
}

/// How long a bar is on a terminal so wide; 0: there is none.
fn bar_length(done: Option<(u64, u64)>, width: usize) -> usize {
    match (done, width) {
        (None, _) | (_, 0..36) => 0,
        (_, 36..60) => 6,
        (_, 60..90) => 12,
        (_, 90..) => 24,
    }
}

/// A template that does not parse is our own mistake; the default bar shows the same numbers.
fn style(bar_length: usize, colour: &str) -> ProgressStyle {
    let template = match bar_length {
        0 => format!("{{prefix:>{NAME}}} {{msg}}"),
        length => format!("{{prefix:>{NAME}}} {{bar:{length}.{colour}}} {{msg}}"),
    };
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

/// Columns for what is said: none of a row may go to the next line, and the last column stays free.
fn room(bar_length: usize, width: usize) -> usize {
    width.saturating_sub(NAME + 1 + if bar_length > 0 { bar_length + 1 } else { 0 } + 1)
}

/// As much as there is room for: what comes after something that is too long is left out, too.
fn fitting(said: &[String], room: usize) -> String {
    let mut text = String::new();
    for said in said {
        let gap = if text.is_empty() { "" } else { "  " };
        if measure_text_width(&text) + gap.len() + measure_text_width(said) > room {
            break;
        }
        text.push_str(gap);
        text.push_str(said);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let said = [" 45%", "1,234/s", "lag 12", "pid 4711"].map(str::to_owned);
        assert_eq!(fitting(&said, 80), " 45%  1,234/s  lag 12  pid 4711");
        assert_eq!(fitting(&said, 30), " 45%  1,234/s  lag 12");
        assert_eq!(fitting(&said, 13), " 45%  1,234/s");
        assert_eq!((fitting(&said, 12).as_str(), fitting(&said, 0).as_str()), (" 45%", ""));
    }

    #[test]
    fn a_narrow_terminal_has_room_for_how_far_and_how_fast() {
        let at = |width| {
            let length = bar_length(Some((1, 2)), width);
            (length, room(length, width))
        };
        assert_eq!(at(40), (6, 20));
        assert_eq!(at(80), (12, 54));
        assert_eq!(at(120), (24, 82));
        assert_eq!((at(20), at(0)), ((0, 7), (0, 0)));
        assert_eq!(bar_length(None, 120), 0);
    }
}
