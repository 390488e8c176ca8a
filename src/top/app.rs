//! The state of the screen: the last status of the run and the user's view of it. Pure: no I/O.

use std::time::{Duration, Instant};

use super::fetcher::FetchResult;
use super::keymap::Action;
use super::rates::Rates;
use crate::monitoring::status::Status;

/// A table of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    /// Worker processes.
    Workers,
    /// Partitions that the run consumes.
    Partitions,
    /// Producer threads.
    Threads,
    /// Events of the run.
    Events,
}

impl Pane {
    const ALL: [Self; 4] = [Self::Workers, Self::Partitions, Self::Threads, Self::Events];
}

/// The sort order of the partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// By topic and partition number.
    #[default]
    Name,
    /// By descending lag.
    Lag,
}

/// The state of the screen.
#[derive(Clone, Debug)]
pub(super) struct App {
    /// The URL of the run.
    pub(super) address: String,
    /// Whether the terminal may show colours.
    pub(super) colours: bool,
    /// The time for which the screen is drawn.
    pub(super) now: Instant,
    /// The last received status.
    pub(super) status: Option<Status>,
    /// The version of the status, if it is newer than [`STATUS_VERSION`](crate::monitoring::status::STATUS_VERSION).
    pub(super) newer: Option<u64>,
    /// When the last status was received.
    pub(super) reported: Option<Instant>,
    /// Why the last request failed.
    pub(super) trouble: Option<String>,
    /// The rates of the counters.
    pub(super) rates: Rates,
    /// Whether received statuses are ignored.
    pub(super) paused: bool,
    /// Whether the key bindings are shown.
    pub(super) help: bool,
    /// The sort order of the partitions.
    pub(super) sort: Sort,
    pane: Pane,
    /// The first visible line of each pane.
    scrolled: [usize; 4],
}

impl App {
    pub(super) fn new(address: String, now: Instant) -> Self {
        Self {
            address,
            colours: true,
            now,
            status: None,
            newer: None,
            reported: None,
            trouble: None,
            rates: Rates::default(),
            paused: false,
            help: false,
            sort: Sort::default(),
            pane: Pane::Partitions,
            scrolled: [0; 4],
        }
    }

    /// Applies the result of a request.
    pub(super) fn update(&mut self, reply: FetchResult) {
        if self.paused {
            return;
        }
        match reply.reported {
            Ok(reported) => {
                self.rates.note(&reported.status);
                (self.status, self.newer) = (Some(reported.status), reported.newer);
                (self.reported, self.trouble) = (Some(reply.at), None);
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    /// Returns the age of the shown status.
    pub(super) fn age(&self) -> Option<Duration> {
        self.reported.map(|reported| self.now.saturating_duration_since(reported))
    }

    /// Returns the panes that apply to the status.
    pub(super) fn panes(&self) -> Vec<Pane> {
        let consumes = self.status.as_ref().is_some_and(|status| status.consume.is_some());
        let produces = self.status.as_ref().is_some_and(|status| status.produce.is_some());
        let shown = |pane: &Pane| match pane {
            Pane::Workers | Pane::Partitions => consumes,
            Pane::Threads => produces,
            Pane::Events => self.status.is_some(),
        };
        Pane::ALL.into_iter().filter(shown).collect()
    }

    /// Returns the focused pane: the selected one, or the first one if the selected pane does not apply.
    pub(super) fn focus(&self) -> Option<Pane> {
        let panes = self.panes();
        panes.iter().find(|pane| **pane == self.pane).or(panes.first()).copied()
    }

    /// Returns the number of lines of a pane.
    pub(super) fn lines(&self, pane: Pane) -> usize {
        let Some(status) = &self.status else { return 0 };
        let (consume, produce) = (status.consume.as_ref(), status.produce.as_ref());
        match pane {
            Pane::Workers => consume.map_or(0, |consume| consume.workers.len()),
            Pane::Partitions => consume.map_or(0, |consume| consume.partitions.len()),
            Pane::Threads => produce.map_or(0, |produce| produce.threads.len()),
            Pane::Events => status.events.len(),
        }
    }

    /// Returns the first visible line of a pane with `page` visible lines. It is limited so that no line stays empty.
    pub(super) fn first(&self, pane: Pane, page: usize) -> usize {
        self.scrolled[pane as usize].min(self.lines(pane).saturating_sub(page))
    }

    /// Executes a key's action; `page` is the number of visible lines of the focused pane. Returns whether to continue.
    pub(super) fn act(&mut self, action: Action, page: usize) -> bool {
        match action {
            Action::Quit => return false,
            Action::Leave if !self.help => return false,
            Action::Leave => self.help = false,
            Action::Help => self.help = !self.help,
            Action::Pause => self.paused = !self.paused,
            Action::Sort => {
                self.sort = if self.sort == Sort::Name { Sort::Lag } else { Sort::Name };
                self.scrolled[Pane::Partitions as usize] = 0;
            }
            Action::NextPane => self.cycle_pane(1),
            Action::PaneBefore => self.cycle_pane(-1),
            Action::Up => self.scroll(page, |first| first.saturating_sub(1)),
            Action::Down => self.scroll(page, |first| first.saturating_add(1)),
            Action::PageUp => self.scroll(page, |first| first.saturating_sub(page.max(1))),
            Action::PageDown => self.scroll(page, |first| first.saturating_add(page.max(1))),
            Action::Home => self.scroll(page, |_| 0),
            Action::End => self.scroll(page, |_| usize::MAX),
        }
        true
    }

    fn cycle_pane(&mut self, by: isize) {
        let panes = self.panes();
        let Some(at) = self.focus().and_then(|pane| panes.iter().position(|other| *other == pane)) else { return };
        let next = (at as isize + by).rem_euclid(panes.len() as isize);
        self.pane = panes[next as usize];
    }

    fn scroll(&mut self, page: usize, to: impl FnOnce(usize) -> usize) {
        let Some(pane) = self.focus() else { return };
        self.scrolled[pane as usize] = to(self.first(pane, page));
        self.scrolled[pane as usize] = self.first(pane, page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::status::{ConsumeStatus, PartitionStatus, ProduceStatus};
    use crate::top::fetcher::FetchedStatus;

    fn reply(reported: Result<Status, &str>) -> FetchResult {
        let reported = reported.map(|status| FetchedStatus { status, newer: None }).map_err(str::to_owned);
        FetchResult { at: Instant::now(), reported }
    }

    fn consuming(partitions: usize) -> App {
        let consume = ConsumeStatus { partitions: vec![PartitionStatus::default(); partitions], ..Default::default() };
        let mut state = App::new("http://x".to_owned(), Instant::now());
        state.update(reply(Ok(Status { consume: Some(consume), ..Status::default() })));
        state
    }

    #[test]
    fn what_was_known_stays_when_the_run_is_gone() {
        let mut state = consuming(1);
        state.update(reply(Err("connection refused")));
        assert!(state.status.is_some());
        assert_eq!(state.trouble.as_deref(), Some("connection refused"));
        state.now += Duration::from_secs(7);
        assert!(state.age().unwrap() >= Duration::from_secs(6));
        state.update(reply(Ok(Status::default())));
        assert_eq!(state.trouble, None);
    }

    #[test]
    fn a_pause_leaves_answers_aside() {
        let mut state = consuming(3);
        state.act(Action::Pause, 1);
        state.update(reply(Ok(Status::default())));
        state.update(reply(Err("gone")));
        assert_eq!((state.lines(Pane::Partitions), &state.trouble), (3, &None));
        state.act(Action::Pause, 1);
        state.update(reply(Ok(Status::default())));
        assert_eq!(state.lines(Pane::Partitions), 0);
    }

    #[test]
    fn scrolling_ends_where_the_last_line_is_shown() {
        let mut state = consuming(100);
        let mut at = |action| {
            assert!(state.act(action, 10));
            state.first(Pane::Partitions, 10)
        };
        assert_eq!([Action::Up, Action::Down, Action::PageDown, Action::PageUp].map(&mut at), [0, 1, 11, 1]);
        assert_eq!([Action::End, Action::Down, Action::Up, Action::Home].map(&mut at), [90, 90, 89, 0]);
        // The window has grown: no line stays empty, and the next key scrolls from the visible position.
        state.act(Action::End, 10);
        assert_eq!(state.first(Pane::Partitions, 60), 40);
        state.act(Action::Up, 60);
        assert_eq!(state.first(Pane::Partitions, 60), 39);
    }

    #[test]
    fn keys_are_for_panes_that_are_there() {
        let mut state = consuming(1);
        let seen: Vec<_> = (0..4)
            .map(|_| {
                state.act(Action::NextPane, 1);
                state.focus().unwrap()
            })
            .collect();
        assert_eq!(seen, [Pane::Events, Pane::Workers, Pane::Partitions, Pane::Events]);
        state.update(reply(Ok(Status { produce: Some(ProduceStatus::default()), ..Status::default() })));
        state.act(Action::PaneBefore, 1);
        assert_eq!(state.focus(), Some(Pane::Threads));
        let mut nothing = App::new(String::new(), Instant::now());
        for action in [Action::NextPane, Action::Down, Action::End, Action::Sort] {
            assert!(nothing.act(action, 0));
        }
        assert_eq!(nothing.focus(), None);
    }

    #[test]
    fn leaving_the_help_is_not_leaving() {
        let mut state = consuming(1);
        state.act(Action::Help, 1);
        assert!(state.act(Action::Leave, 1) && !state.help);
        assert!(!state.act(Action::Leave, 1));
        state.act(Action::Help, 1);
        assert!(!state.act(Action::Quit, 1));
    }
}
