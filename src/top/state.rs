//! What is on the screen: what the run has told, and what the user has chosen to see of it. Pure.

use std::time::{Duration, Instant};

use super::fetch::Answer;
use super::keys::Action;
use super::rates::Rates;
use crate::monitoring::status::Status;

/// A table of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    /// Worker processes.
    Workers,
    /// Partitions that are read.
    Partitions,
    /// Producer threads.
    Threads,
    /// What has happened.
    Events,
}

impl Pane {
    const ALL: [Self; 4] = [Self::Workers, Self::Partitions, Self::Threads, Self::Events];
}

/// What partitions are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// By topic and number.
    #[default]
    Name,
    /// Those that are furthest behind first.
    Lag,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Where it is asked.
    pub(super) address: String,
    /// The terminal may show colours.
    pub(super) colours: bool,
    /// The moment that is drawn.
    pub(super) now: Instant,
    /// What was told last.
    pub(super) status: Option<Status>,
    /// Its version, if that is newer than what is known here.
    pub(super) newer: Option<u64>,
    /// When it was told.
    pub(super) told: Option<Instant>,
    /// Why there was no answer to the last question.
    pub(super) trouble: Option<String>,
    /// How fast its counts grow.
    pub(super) rates: Rates,
    /// Answers are left aside.
    pub(super) paused: bool,
    /// The keys are explained.
    pub(super) help: bool,
    /// What partitions are sorted by.
    pub(super) sort: Sort,
    pane: Pane,
    /// The first line that is shown of each pane.
    scrolled: [usize; 4],
}

impl State {
    pub(super) fn new(address: String, now: Instant) -> Self {
        Self {
            address,
            colours: true,
            now,
            status: None,
            newer: None,
            told: None,
            trouble: None,
            rates: Rates::default(),
            paused: false,
            help: false,
            sort: Sort::default(),
            pane: Pane::Partitions,
            scrolled: [0; 4],
        }
    }

    /// An answer has come.
    pub(super) fn hear(&mut self, answer: Answer) {
        if self.paused {
            return;
        }
        match answer.told {
            Ok(told) => {
                self.rates.note(&told.status);
                (self.status, self.newer) = (Some(told.status), told.newer);
                (self.told, self.trouble) = (Some(answer.at), None);
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    /// How old what is shown is.
    pub(super) fn age(&self) -> Option<Duration> {
        self.told.map(|told| self.now.saturating_duration_since(told))
    }

    /// The panes that there is something for.
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

    /// The pane that keys are for: the chosen one, or the first if there is nothing for that.
    pub(super) fn focus(&self) -> Option<Pane> {
        let panes = self.panes();
        panes.iter().find(|pane| **pane == self.pane).or(panes.first()).copied()
    }

    /// How many lines a pane has.
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

    /// The first line of a pane that is shown if `page` lines are: never so far down that some stay empty.
    pub(super) fn first(&self, pane: Pane, page: usize) -> usize {
        self.scrolled[pane as usize].min(self.lines(pane).saturating_sub(page))
    }

    /// Does what a key asks for, with so many lines of the focused pane on the screen; whether to go on.
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
            Action::NextPane => self.turn(1),
            Action::PaneBefore => self.turn(-1),
            Action::Up => self.scroll(page, |first| first.saturating_sub(1)),
            Action::Down => self.scroll(page, |first| first.saturating_add(1)),
            Action::PageUp => self.scroll(page, |first| first.saturating_sub(page.max(1))),
            Action::PageDown => self.scroll(page, |first| first.saturating_add(page.max(1))),
            Action::Home => self.scroll(page, |_| 0),
            Action::End => self.scroll(page, |_| usize::MAX),
        }
        true
    }

    fn turn(&mut self, by: isize) {
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
    use crate::top::fetch::Told;

    fn answer(told: Result<Status, &str>) -> Answer {
        let told = told.map(|status| Told { status, newer: None }).map_err(str::to_owned);
        Answer { at: Instant::now(), told }
    }

    fn consuming(partitions: usize) -> State {
        let consume = ConsumeStatus { partitions: vec![PartitionStatus::default(); partitions], ..Default::default() };
        let mut state = State::new("http://x".to_owned(), Instant::now());
        state.hear(answer(Ok(Status { consume: Some(consume), ..Status::default() })));
        state
    }

    #[test]
    fn what_was_known_stays_when_the_run_is_gone() {
        let mut state = consuming(1);
        state.hear(answer(Err("nobody listens there")));
        assert!(state.status.is_some());
        assert_eq!(state.trouble.as_deref(), Some("nobody listens there"));
        state.now += Duration::from_secs(7);
        assert!(state.age().unwrap() >= Duration::from_secs(6));
        state.hear(answer(Ok(Status::default())));
        assert_eq!(state.trouble, None);
    }

    #[test]
    fn a_pause_leaves_answers_aside() {
        let mut state = consuming(3);
        state.act(Action::Pause, 1);
        state.hear(answer(Ok(Status::default())));
        state.hear(answer(Err("gone")));
        assert_eq!((state.lines(Pane::Partitions), &state.trouble), (3, &None));
        state.act(Action::Pause, 1);
        state.hear(answer(Ok(Status::default())));
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
        // The window has grown: nothing stays empty, and the next key begins from what is seen.
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
        state.hear(answer(Ok(Status { produce: Some(ProduceStatus::default()), ..Status::default() })));
        state.act(Action::PaneBefore, 1);
        assert_eq!(state.focus(), Some(Pane::Threads));
        let mut nothing = State::new(String::new(), Instant::now());
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
