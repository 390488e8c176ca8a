//! Rendering of the state. Pure: the same state on a screen of the same size results in the same output.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, RenderDirection, Sparkline, Widget};

use super::app::{App, Pane, Sort};
use super::layout::{self, Layout};
use super::summary::{self, StyledText};
use super::table::{Severity, width_of};
use super::tables;
use crate::monitoring::status::{RateSample, Status};
use crate::util::format::{format_count, format_rate};

/// The factor between values and sparkline heights, which are integers: it makes rates below 1 visible.
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

/// Renders the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, state: &App) {
    let area = frame.area();
    let parts = layout::divide(area, state);
    let canvas = frame.buffer_mut();
    head(canvas, &parts, state);
    for (texts, y) in parts.texts.iter().zip(parts.totals.y..) {
        line(canvas, Rect { y, height: 1, ..parts.totals }, &spans(texts, state));
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

/// Returns the style of a severity. Its colours are readable on dark and light backgrounds; without colours, modifiers replace
/// them.
fn style(mood: Severity, state: &App) -> Style {
    match (mood, state.colours) {
        (Severity::Plain, _) | (Severity::Well, false) => Style::new(),
        (Severity::Well, true) => Style::new().fg(Color::Green),
        (Severity::Faint, _) => Style::new().add_modifier(Modifier::DIM),
        (Severity::Warning, true) => Style::new().fg(Color::Yellow),
        (Severity::Warning, false) => Style::new().add_modifier(Modifier::UNDERLINED),
        (Severity::Bad, true) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        (Severity::Bad, false) => Style::new().add_modifier(Modifier::BOLD),
    }
}

fn spans(texts: &[StyledText], state: &App) -> Line<'static> {
    texts.iter().map(|(mood, text)| Span::styled(text.clone(), style(*mood, state))).collect()
}

/// Renders a line in the first row of an area.
fn line(canvas: &mut Buffer, area: Rect, line: &Line<'_>) {
    if !area.is_empty() {
        line.render(Rect { height: 1, ..area }, canvas);
    }
}

/// Returns a row of an area; empty if the area has fewer rows.
fn nth(area: Rect, number: u16) -> Rect {
    let there = u16::from(number < area.height);
    Rect { y: area.y + number * there, height: there, ..area }
}

fn head(canvas: &mut Buffer, parts: &Layout, state: &App) {
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

/// Renders rates and lag of the last minutes, the newest on the right.
fn charts(canvas: &mut Buffer, area: Rect, status: &Status, state: &App) {
    let mut charts: Vec<([String; 2], Vec<f64>)> = Vec::new();
    if let Some(produce) = &status.produce {
        let rates = rates(&status.history, RateSample::delivered);
        charts.push((with_peak(produce.delivery(), &rates, format_rate), rates));
    }
    if status.consume.is_some() {
        let rates = rates(&status.history, |sample| sample.processed);
        charts.push((with_peak("processed", &rates, format_rate), rates));
        let lag: Vec<_> = status.history.iter().rev().map(|sample| sample.lag as f64).collect();
        charts.push((with_peak("lag", &lag, |lag| format_count(lag as u64)), lag));
    }
    if area.is_empty() || charts.is_empty() {
        return;
    }
    let each = area.width / charts.len() as u16;
    for (number, (title, values)) in charts.into_iter().enumerate() {
        let space = Rect { x: area.x + each * number as u16, width: each.saturating_sub(1), ..area };
        let [now, peak] = title;
        let title = if width_of(&now) + width_of(&peak) <= space.width.into() { now + &peak } else { now };
        line(canvas, nth(space, 0), &Line::styled(title, Style::new().add_modifier(Modifier::DIM)));
        let below = Rect { y: space.y + 1, height: space.height - 1, ..space };
        let heights = values.into_iter().take(usize::from(each)).map(|value| (value * SCALE) as u64);
        let style = style(Severity::Well, state);
        Sparkline::default().data(heights).direction(RenderDirection::RightToLeft).style(style).render(below, canvas);
    }
}

/// Returns the rates of the history, the newest first.
fn rates(history: &[RateSample], count: impl Fn(&RateSample) -> u64) -> Vec<f64> {
    let rate = |pair: &[RateSample]| {
        let passed = pair[1].at - pair[0].at;
        // The system clock may have been set back.
        if passed > 0.0 { count(&pair[1]).saturating_sub(count(&pair[0])) as f64 / passed } else { 0.0 }
    };
    history.windows(2).rev().map(rate).collect()
}

fn with_peak(what: &str, newest_first: &[f64], text: impl Fn(f64) -> String) -> [String; 2] {
    let now = newest_first.first().copied().unwrap_or(0.0);
    let peak = newest_first.iter().copied().fold(0.0, f64::max);
    [format!("{what} {}", text(now)), format!(", peak {}", text(peak))]
}

fn draw_pane(canvas: &mut Buffer, pane: Pane, area: Rect, alone: bool, state: &App) {
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
    let table = tables::table(state, pane, first..first.saturating_add(page));
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

fn foot(canvas: &mut Buffer, area: Rect, state: &App) {
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
