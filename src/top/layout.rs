//! The layout of a screen of any size. Pure: no I/O, no state.

use ratatui::layout::Rect;

use super::app::{App, Pane};
use super::summary::{self, StyledText};

/// The height of the head.
const HEAD: u16 = 3;
/// The maximum height of the totals.
const TOTALS: usize = 6;
/// The height of the charts with their titles.
const CHARTS: u16 = 4;
/// The minimum height of a pane: its title, its header, and some rows.
const PANE: u16 = 5;

/// The areas of a screen, from top to bottom; an area without room is empty.
pub(super) struct Layout {
    pub(super) head: Rect,
    pub(super) totals: Rect,
    /// The lines of the totals.
    pub(super) texts: Vec<Vec<StyledText>>,
    pub(super) charts: Rect,
    /// All panes, or only the focused one.
    pub(super) panes: Vec<(Pane, Rect)>,
    pub(super) foot: Rect,
}

impl Layout {
    /// Returns the number of visible rows of the focused pane.
    pub(super) fn page(&self, state: &App) -> usize {
        let focus = state.focus();
        let pane = self.panes.iter().find(|(pane, _)| Some(*pane) == focus);
        pane.map_or(0, |(_, area)| rows(*area))
    }
}

/// Returns the number of visible rows of a pane.
pub(super) fn rows(area: Rect) -> usize {
    area.height.saturating_sub(2).into()
}

/// Divides the screen into areas.
pub(super) fn divide(area: Rect, state: &App) -> Layout {
    let mut rest = area;
    let head = take(&mut rest, HEAD.min(area.height));
    let foot_height = u16::from(rest.height > PANE);
    rest.height -= foot_height;
    let foot = Rect { y: rest.bottom(), height: foot_height, ..rest };
    let texts = totals(state, area.width, usize::from(rest.height.saturating_sub(PANE)).min(TOTALS));
    let totals = take(&mut rest, texts.len() as u16);
    let has_charts = state.status.as_ref().is_some_and(|status| status.history.len() > 1);
    let charts_height = if has_charts && rest.height >= CHARTS + 2 * PANE { CHARTS } else { 0 };
    let charts = take(&mut rest, charts_height);
    Layout { head, totals, texts, charts, panes: panes(rest, state), foot }
}

fn take(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    let taken = Rect { height, ..*rest };
    (rest.y, rest.height) = (rest.y + height, rest.height - height);
    taken
}

fn totals(state: &App, width: u16, most: usize) -> Vec<Vec<StyledText>> {
    let Some(status) = &state.status else { return Vec::new() };
    let produced = status.produce.as_ref().map(|produce| summary::produced(produce, &state.rates));
    let consumed = status.consume.as_ref().map(|consume| summary::consumed(consume, &state.rates));
    let sides = produced.into_iter().chain(consumed).map(|texts| summary::flow(texts, width.into()));
    let sides: Vec<_> = sides.collect();
    // The producer and the consumer get equal shares.
    let each = most / sides.len().max(1);
    sides.into_iter().flat_map(|lines| lines.into_iter().take(each)).collect()
}

/// Divides an area between the panes. Each gets its minimum height; the focused one, then the others, get what they can use; the
/// last one gets the rest.
fn panes(mut rest: Rect, state: &App) -> Vec<(Pane, Rect)> {
    let panes = state.panes();
    let Some(focus) = state.focus().filter(|_| rest.height > 0) else { return Vec::new() };
    let least = |pane: Pane| wanted(pane, state).min(PANE);
    let mut left = rest.height.saturating_sub(panes.iter().map(|pane| least(*pane)).sum());
    if left == 0 {
        return vec![(focus, rest)];
    }
    let mut heights: Vec<_> = panes.iter().map(|pane| (*pane, least(*pane))).collect();
    heights.sort_by_key(|(pane, _)| *pane != focus);
    for (pane, height) in &mut heights {
        let more = (wanted(*pane, state) - *height).min(left);
        (*height, left) = (*height + more, left - more);
    }
    heights.sort_by_key(|(pane, _)| *pane as usize);
    if let Some((_, height)) = heights.last_mut() {
        *height += left;
    }
    heights.into_iter().map(|(pane, height)| (pane, take(&mut rest, height))).collect()
}

fn wanted(pane: Pane, state: &App) -> u16 {
    u16::try_from(state.lines(pane)).unwrap_or(u16::MAX).saturating_add(2)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::monitoring::status::{ConsumeStatus, Event, PartitionStatus, RateSample, Status, WorkerStatus};

    fn state(partitions: usize) -> App {
        let mut state = App::new(String::new(), Instant::now());
        let consume = ConsumeStatus {
            workers: vec![WorkerStatus::default(); 2],
            partitions: vec![PartitionStatus::default(); partitions],
            ..ConsumeStatus::default()
        };
        state.status = Some(Status {
            consume: Some(consume),
            history: vec![RateSample::default(); 9],
            events: vec![Event::default(); 50],
            ..Status::default()
        });
        state
    }

    #[test]
    fn parts_never_overlap_nor_leave_the_screen() {
        for partitions in [0, 1, 100, 100_000] {
            let state = state(partitions);
            for (width, height) in (0..120).flat_map(|height| [(1, height), (80, height), (300, height)]) {
                let parts = divide(Rect::new(0, 0, width, height), &state);
                let mut next = 0;
                let panes = parts.panes.iter().map(|(_, area)| *area);
                for area in [parts.head, parts.totals, parts.charts].into_iter().chain(panes).chain([parts.foot]) {
                    assert!(area.y == next || area.height == 0, "{area:?} at {next} of {width}x{height}");
                    next += area.height;
                    assert!(next <= height);
                }
                assert_eq!(next, height, "nothing is left over");
            }
        }
    }

    #[test]
    fn a_small_screen_shows_the_focused_pane_alone_and_a_large_one_all() {
        let shown = |height| {
            let parts = divide(Rect::new(0, 0, 120, height), &state(100));
            parts.panes.iter().map(|(pane, area)| (*pane, area.height)).collect::<Vec<_>>()
        };
        assert_eq!(shown(15).iter().map(|(pane, _)| *pane).collect::<Vec<_>>(), [Pane::Partitions]);
        let large = shown(60);
        assert_eq!(
            large.iter().map(|(pane, _)| *pane).collect::<Vec<_>>(),
            [Pane::Workers, Pane::Partitions, Pane::Events]
        );
        assert!(large[1].1 > 30, "the focused one gets what is left: {large:?}");
        assert!(shown(3).is_empty() && shown(4).len() == 1);
    }
}
