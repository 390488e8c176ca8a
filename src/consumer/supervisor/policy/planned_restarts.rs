//! Planned restarts, which are carried out one after the other: of all workers on a command, or of one that has
//! reached a recycle limit.

use std::collections::VecDeque;

use super::slot_state::{Lifecycle, StopReason};
use super::{Action, Policy};

/// The planned restarts: see the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct PlannedRestarts {
    queue: VecDeque<(usize, StopReason)>,
    /// The worker that is being restarted.
    current: Option<usize>,
}

impl PlannedRestarts {
    fn plan(&mut self, number: usize, why: StopReason) {
        if !self.queue.iter().any(|(other, _)| *other == number) {
            self.queue.push_back((number, why));
        }
    }

    /// A process has exited: a restart that was planned for it is not needed any more.
    pub(super) fn on_exit(&mut self, number: usize) {
        self.queue.retain(|(planned, _)| *planned != number);
    }

    /// Ends the current restart if it is that of this worker. Returns whether it was.
    pub(super) fn complete(&mut self, number: usize) -> bool {
        self.current.take_if(|current| *current == number).is_some()
    }
}

impl Policy {
    pub(super) fn plan_restart(&mut self, number: usize, why: StopReason) {
        if matches!(self.slots[number].phase, Lifecycle::Running) {
            self.planned.plan(number, why);
        }
    }

    /// Restarts one worker at a time: the next one when the successor of the last one is ready.
    pub(super) fn restart_next(&mut self) {
        if let Some(number) = self.planned.current {
            if !matches!(self.slots[number].phase, Lifecycle::Failed | Lifecycle::ScaledDown) {
                return;
            }
            self.planned.current = None;
        }
        while let Some((number, why)) = self.planned.queue.pop_front() {
            if matches!(self.slots[number].phase, Lifecycle::Running) {
                self.act(Action::Info(format!("worker {number} is replaced: {why}")));
                self.planned.current = Some(number);
                self.request_stop(number, why);
                return;
            }
        }
    }
}
