//! All worker slots of a supervisor, and the state that their processes share.

use super::exit_record::OomKillCounter;
use super::worker_slot::{RunningWorker, WorkerSlot};
use crate::consumer::protocol::WorkerCommand;
use crate::settings::Secret;

/// The worker slots.
pub(super) struct WorkerFleet {
    pub(super) slots: Vec<WorkerSlot>,
    pub(super) oom_kills: OomKillCounter,
    /// The password that new processes log in with.
    pub(super) password: Secret,
    /// Whether it was logged that all workers are ready.
    pub(super) is_ready_logged: bool,
}

impl WorkerFleet {
    pub(super) fn new(password: Secret) -> Self {
        Self { slots: Vec::new(), oom_kills: OomKillCounter::new(), password, is_ready_logged: false }
    }

    /// Sends a command to every worker.
    pub(super) fn broadcast(&self, command: &WorkerCommand) {
        self.slots.iter().for_each(|slot| slot.send(command.clone()));
    }

    /// The running processes.
    pub(super) fn running(&self) -> impl Iterator<Item = &RunningWorker> {
        self.slots.iter().filter_map(|slot| slot.running.as_ref())
    }

    /// Whether every process was reaped.
    pub(super) fn is_reaped(&self) -> bool {
        self.running().next().is_none()
    }
}
