//! Maps sequences of signals to actions. Pure, except for the state of this process at its start.

use std::time::{Duration, Instant};

use super::{ControlSignal, Role};
use crate::os::job_control;

/// Terminating signals within this time after the first one are repetitions: `timeout` signals a process and then its
/// group, and a shell and the kernel both report the end of a terminal.
const REPEAT_WINDOW: Duration = Duration::from_secs(1);
/// How long after a suspension SIGCONT is the one that ended it.
const CONTINUE_WINDOW: Duration = Duration::from_millis(500);

/// The action of SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangUp {
    /// The process exits.
    Ends,
    /// A rolling restart of the workers.
    Rolls,
    /// None.
    Ignored,
}

impl HangUp {
    /// With a controlling terminal it means that the terminal is closed; under `nohup` the process ignores it.
    pub(super) fn of_this_process(role: Role) -> Self {
        match (role, job_control::ignores_hang_up()) {
            (Role::Worker, _) | (Role::Alone, true) => Self::Ignored,
            (Role::Alone, false) => Self::Ends,
            (Role::Supervisor, true) => Self::Rolls,
            (Role::Supervisor, false) if job_control::has_controlling_terminal() => Self::Ends,
            (Role::Supervisor, false) => Self::Rolls,
        }
    }
}

/// A received signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Terminate,
    Quit,
    HangUp,
    Status,
    Pause,
    More,
    Fewer,
    Suspend,
    Continue,
}

/// Maps sequences of signals to actions. Pure.
#[derive(Debug)]
pub(super) struct Meaning {
    role: Role,
    hang_up: HangUp,
    /// When the exit was requested.
    ending: Option<Instant>,
    continued: Option<Instant>,
}

impl Meaning {
    pub(super) fn new(role: Role, hang_up: HangUp) -> Self {
        Self { role, hang_up, ending: None, continued: None }
    }

    /// `None`: no action.
    pub(super) fn of(&mut self, signal: Received, now: Instant) -> Option<ControlSignal> {
        match signal {
            Received::Terminate => match self.ending {
                None => self.end(now),
                Some(first) => {
                    let is_repeated = now.saturating_duration_since(first) <= REPEAT_WINDOW;
                    (!is_repeated && self.role != Role::Worker).then_some(ControlSignal::AtOnce)
                }
            },
            Received::Quit => Some(ControlSignal::AtOnce),
            // It does not force an exit: a graceful shutdown continues.
            Received::HangUp => match self.hang_up {
                HangUp::Ends if self.ending.is_none() => self.end(now),
                HangUp::Ends | HangUp::Ignored => None,
                HangUp::Rolls => Some(ControlSignal::Roll),
            },
            Received::Status => Some(ControlSignal::Status),
            _ if self.role != Role::Supervisor => None,
            Received::Pause => Some(ControlSignal::Pause),
            Received::More => Some(ControlSignal::More),
            Received::Fewer => Some(ControlSignal::Fewer),
            Received::Suspend => None,
            Received::Continue => {
                let own = self.continued.is_some_and(|at| now.saturating_duration_since(at) <= CONTINUE_WINDOW);
                (!own).then_some(ControlSignal::Resume)
            }
        }
    }

    /// Records that this process was suspended and runs again.
    pub(super) fn continued(&mut self, now: Instant) -> ControlSignal {
        self.continued = Some(now);
        ControlSignal::Continued
    }

    fn end(&mut self, now: Instant) -> Option<ControlSignal> {
        self.ending = Some(now);
        Some(ControlSignal::Terminate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPERVISOR: fn() -> Meaning = || Meaning::new(Role::Supervisor, HangUp::Ends);

    /// The actions of these signals, each with its time in milliseconds.
    fn actions(mut meaning: Meaning, signals: &[(Received, u64)]) -> Vec<Option<ControlSignal>> {
        let begun = Instant::now();
        signals.iter().map(|(signal, at)| meaning.of(*signal, begun + Duration::from_millis(*at))).collect()
    }

    #[test]
    fn two_signals_within_a_second_are_one_and_a_later_one_ends_at_once() {
        use Received::{HangUp, Quit, Terminate};
        let (graceful, at_once) = (Some(ControlSignal::Terminate), Some(ControlSignal::AtOnce));
        let repeated = [(Terminate, 0), (Terminate, 1), (Terminate, 1_000)];
        assert_eq!(actions(SUPERVISOR(), &repeated), [graceful, None, None]);
        let third = [(Terminate, 0), (Terminate, 900), (Terminate, 1_001)];
        assert_eq!(actions(SUPERVISOR(), &third), [graceful, None, at_once]);
        assert_eq!(actions(SUPERVISOR(), &[(Terminate, 0), (Quit, 1)]), [graceful, at_once]);
        let closed = [(HangUp, 0), (HangUp, 10), (Terminate, 20), (HangUp, 5_000), (Terminate, 6_000)];
        assert_eq!(actions(SUPERVISOR(), &closed), [graceful, None, None, None, at_once]);
        let worker = Meaning::new(Role::Worker, super::HangUp::Ignored);
        assert_eq!(actions(worker, &[(Terminate, 0), (Terminate, 5_000), (HangUp, 6_000)]), [graceful, None, None]);
    }

    #[test]
    fn a_hang_up_without_a_terminal_rolls_and_a_command_without_workers_has_nothing_to_scale() {
        use Received::{Continue, Fewer, HangUp, More, Pause, Status};
        let rolls = Meaning::new(Role::Supervisor, super::HangUp::Rolls);
        assert_eq!(actions(rolls, &[(HangUp, 0), (HangUp, 10)]), [Some(ControlSignal::Roll); 2]);
        let alone = Meaning::new(Role::Alone, super::HangUp::Ends);
        let signals = [(Pause, 0), (More, 0), (Fewer, 0), (Continue, 0), (Status, 0), (HangUp, 0)];
        let expected = [None, None, None, None, Some(ControlSignal::Status), Some(ControlSignal::Terminate)];
        assert_eq!(actions(alone, &signals), expected);
    }

    #[test]
    fn the_continue_of_a_suspension_does_not_end_a_pause() {
        let mut meaning = SUPERVISOR();
        let now = Instant::now();
        assert_eq!(meaning.continued(now), ControlSignal::Continued);
        let at = |milliseconds| now + Duration::from_millis(milliseconds);
        assert_eq!(meaning.of(Received::Continue, at(10)), None);
        assert_eq!(meaning.of(Received::Continue, at(5_000)), Some(ControlSignal::Resume));
    }
}
