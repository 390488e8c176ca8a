//! Draws a state. Pure: the same state on a screen of the same size is the same picture.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, RenderDirection, Sparkline, Widget};

use super::layout::{self, Parts};
use super::rows;
use super::state::{Pane, Sort, State};
use super::summary::{self, Said};
use super::table::{Mood, width_of};
use crate::figures::{count, per_second};
use crate::monitoring::status::{Sample, Status};

/// What a sparkline's heights are relative to: fractions of a rate are seen, too.
const SCALE: f64 = 1_000.0;

const HELP: [&str; 9] = [
    "q Esc Ctrl+C  quit",
    "Tab           next pane (Shift: back)",
    "↑ ↓ k j       scroll by a line",
    "PgUp PgDn     scroll by a page",
    "Home End      scroll to the ends",
    "s             sort by lag, or by name",
    "p             pause, or go on",
    "?             hide this",
    "Rates are those of the last 5 s.",
];

/// Draws it all.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    let parts = layout::divide(area, state);
    let canvas = frame.buffer_mut();
    head(canvas, &parts, state);
    for (said, y) in parts.said.iter().zip(parts.totals.y..) {
        line(canvas, Rect { y, height: 1, ..parts.totals }, &spans(said, state));
    }
    if let Some(status) = &state.status {
        charts(canvas, parts.charts, status, state);
    }
    for (pane, area) in &parts.panes {
        draw_pane(canvas, *pane, *area, parts.panes.len() == 1, state);
    }
    foot(canvas, parts.foot, state);
    if state.help {
        help(canvas, area);
    }
}

/// What it is like, in colours that can be read on dark and on light, or without any.
fn style(mood: Mood, state: &State) -> Style {
    match (mood, state.colours) {
        (Mood::Plain, _) | (Mood::Well, false) => Style::new(),
        (Mood::Well, true) => Style::new().fg(Color::Green),
        (Mood::Faint, _) => Style::new().add_modifier(Modifier::DIM),
        (Mood::Warning, true) => Style::new().fg(Color::Yellow),
        (Mood::Warning, false) => Style::new().add_modifier(Modifier::UNDERLINED),
        (Mood::Bad, true) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        (Mood::Bad, false) => Style::new().add_modifier(Modifier::BOLD),
    }
}

fn spans(said: &[Said], state: &State) -> Line<'static> {
    said.iter().map(|(mood, text)| Span::styled(text.clone(), style(*mood, state))).collect()
}

/// One line in the first of an area's.
fn line(canvas: &mut Buffer, area: Rect, line: &Line<'_>) {
    if !area.is_empty() {
        line.render(Rect { height: 1, ..area }, canvas);
    }
}

/// The line of an area, if it has that many.
fn nth(area: Rect, number: u16) -> Rect {
    let there = u16::from(number < area.height);
    Rect { y: area.y + number * there, height: there, ..area }
}

fn head(canvas: &mut Buffer, parts: &Parts, state: &State) {
    let first = nth(parts.head, 0);
    let (left, right) = match &state.status {
        Some(status) => (summary::title(status), summary::phase(status)),
        None => ("kafka-actors top".to_owned(), String::new()),
    };
    let room = usize::from(first.width).saturating_sub(width_of(&left) + width_of(&right));
    let title = if room > 0 { format!("{left}{}{right}", " ".repeat(room)) } else { format!("{right}  {left}") };
    let reversed = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
    canvas.set_style(first, reversed);
    line(canvas, first, &Line::styled(title, reversed));
    if let Some(status) = &state.status {
        line(canvas, nth(parts.head, 1), &spans(&[summary::readiness(status)], state));
    }
    let last = if state.status.is_some() { 2 } else { 1 };
    line(canvas, nth(parts.head, last), &spans(&[summary::source(state)], state));
}

/// Rates and lag over the last minutes, the newest to the right.
fn charts(canvas: &mut Buffer, area: Rect, status: &Status, state: &State) {
    let mut charts: Vec<([String; 2], Vec<f64>)> = Vec::new();
    if status.produce.is_some() {
        let rates = rates(&status.history, |sample| sample.acknowledged);
        charts.push((with_most("acknowledged", &rates, per_second), rates));
    }
    if status.consume.is_some() {
        let rates = rates(&status.history, |sample| sample.processed);
        charts.push((with_most("processed", &rates, per_second), rates));
        let lag: Vec<_> = status.history.iter().rev().map(|sample| sample.lag as f64).collect();
        charts.push((with_most("lag", &lag, |lag| count(lag as u64)), lag));
    }
    if area.is_empty() || charts.is_empty() {
        return;
    }
    let each = area.width / charts.len() as u16;
    for (number, (title, values)) in charts.into_iter().enumerate() {
        let space = Rect { x: area.x + each * number as u16, width: each.saturating_sub(1), ..area };
        let [now, most] = title;
        let title = if width_of(&now) + width_of(&most) <= space.width.into() { now + &most } else { now };
        line(canvas, nth(space, 0), &Line::styled(title, Style::new().add_modifier(Modifier::DIM)));
        let below = Rect { y: space.y + 1, height: space.height - 1, ..space };
        let heights = values.into_iter().take(usize::from(each)).map(|value| (value * SCALE) as u64);
        let style = style(Mood::Well, state);
        Sparkline::default().data(heights).direction(RenderDirection::RightToLeft).style(style).render(below, canvas);
    }
}

/// The newest first.
fn rates(history: &[Sample], count: impl Fn(&Sample) -> u64) -> Vec<f64> {
    let rate = |pair: &[Sample]| {
        let passed = pair[1].at - pair[0].at;
        // A wall clock may have been set.
        if passed > 0.0 { count(&pair[1]).saturating_sub(count(&pair[0])) as f64 / passed } else { 0.0 }
    };
    history.windows(2).rev().map(rate).collect()
}

fn with_most(what: &str, newest_first: &[f64], text: impl Fn(f64) -> String) -> [String; 2] {
    let now = newest_first.first().copied().unwrap_or(0.0);
    let most = newest_first.iter().copied().fold(0.0, f64::max);
    [format!("{what} {}", text(now)), format!(", most {}", text(most))]
}

fn draw_pane(canvas: &mut Buffer, pane: Pane, area: Rect, alone: bool, state: &State) {
    let focused = state.focus() == Some(pane);
    let page = layout::rows(area);
    let (first, all) = (state.first(pane, page), state.lines(pane));
    let mark = if focused { "▸ " } else { "  " };
    let mut title = format!("{mark}{} ", name(pane));
    if all > page {
        title.push_str(&format!("{}-{} of {all}", first + 1, first + page));
    } else {
        title.push_str(&all.to_string());
    }
    if pane == Pane::Partitions {
        title.push_str(if state.sort == Sort::Lag { ", by lag" } else { ", by name" });
    }
    let others: Vec<_> = state.panes().into_iter().filter(|other| *other != pane).map(name).collect();
    if alone && !others.is_empty() {
        title.push_str(&format!("   Tab: {}", others.join(", ")));
    }
    let bold = Style::new().add_modifier(if focused { Modifier::BOLD | Modifier::REVERSED } else { Modifier::BOLD });
    let mut under = nth(area, 0);
    canvas.set_style(under, if focused { bold } else { Style::new().add_modifier(Modifier::UNDERLINED) });
    line(canvas, under, &Line::styled(title, bold));
    let table = rows::table(state, pane, first..first.saturating_add(page));
    for (number, (mood, text)) in table.lines(area.width.into()).into_iter().enumerate() {
        under = nth(area, u16::try_from(number + 1).unwrap_or(u16::MAX));
        let style = if number == 0 { Style::new().add_modifier(Modifier::DIM) } else { style(mood, state) };
        line(canvas, under, &Line::styled(text, style));
    }
}

fn name(pane: Pane) -> &'static str {
    match pane {
        Pane::Workers => "Workers",
        Pane::Partitions => "Partitions",
        Pane::Threads => "Threads",
        Pane::Events => "Events",
    }
}

fn foot(canvas: &mut Buffer, area: Rect, state: &State) {
    let pause = if state.paused { "p go on" } else { "p pause" };
    let text = format!("q quit  ? help  Tab pane  ↑↓ PgUp PgDn scroll  s sort  {pause}");
    line(canvas, area, &Line::styled(text, Style::new().add_modifier(Modifier::DIM)));
}

fn help(canvas: &mut Buffer, area: Rect) {
    let (width, height) = (42.min(area.width), (HELP.len() as u16 + 2).min(area.height));
    let window = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(window, canvas);
    canvas.set_style(window, Style::new().add_modifier(Modifier::REVERSED));
    let inner = Rect { x: window.x + 2.min(width), width: width.saturating_sub(4), ..window };
    for (number, text) in HELP.iter().enumerate() {
        line(canvas, nth(inner, number as u16 + 1), &Line::raw(*text));
    }
}

#[cfg(test)]
mod tests;
