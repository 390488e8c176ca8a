//! A status as plain text, for pipes. Pure: no I/O, no state.

use super::app::{App, Pane};
use super::summary::{self, StyledText};
use super::tables::{self, DIFFERENCES};

/// The number of printed events.
const SHOWN_EVENTS: usize = 20;

/// Returns the status as text; lines are not wrapped or truncated.
pub(super) fn text(state: &App) -> String {
    let Some(status) = &state.status else { return String::new() };
    let mut lines =
        vec![format!("{}, {}", summary::title(status), summary::phase(status)), summary::readiness(status).1];
    lines.extend(state.newer.map(|_| summary::source(state).1));
    lines.extend(status.produce.as_ref().map(|produce| joined(summary::produced(produce, &state.rates))));
    lines.extend(status.consume.as_ref().map(|consume| joined(summary::consumed(consume, &state.rates))));
    for pane in state.panes() {
        let most = if pane == Pane::Events { SHOWN_EVENTS } else { usize::MAX };
        let table = tables::table(state, pane, 0..most);
        if !table.rows.is_empty() {
            lines.push(String::new());
            lines.extend(table.lines_without(DIFFERENCES, usize::MAX).into_iter().map(|(_, line)| line));
        }
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

fn joined(texts: Vec<StyledText>) -> String {
    texts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::monitoring::status::{ConsumeStatus, PartitionStatus, Status, WorkerStatus};

    #[test]
    fn everything_is_printed_in_whole_lines() {
        let topic = "t".repeat(200);
        let consume = ConsumeStatus {
            workers: vec![WorkerStatus { pid: Some(7), ..WorkerStatus::default() }],
            partitions: (0..500)
                .map(|partition| PartitionStatus { topic: topic.clone(), partition, ..Default::default() })
                .collect(),
            ..ConsumeStatus::default()
        };
        let mut state = App::new(String::new(), Instant::now());
        state.status = Some(Status { consume: Some(consume), ..Status::default() });
        let text = text(&state);
        assert_eq!(text.lines().filter(|line| line.starts_with("tttt")).count(), 500);
        assert!(text.contains("SLOT  STATE") && text.contains("LAST EXIT"), "{text}");
        assert!(!text.contains("RATE") && !text.contains("CPU"), "one status has no differences");
        assert!(text.lines().all(|line| line == line.trim_end()) && text.ends_with('\n'));
    }
}
