//! Lifecycle of workers: starts and stops them, on a command of the operator or one after the other as a rolling
//! restart.

use std::time::Duration;

use rand::RngExt;

use super::slot_state::{Lifecycle, SlotState, StopReason};
use super::{Action, ControlCommand, MOST_WORKERS, Policy};
use crate::consumer::protocol::WorkerCommand;
use crate::settings::Watchdog;

/// How long a message in flight may delay a planned stop when the settings do not limit its processing time.
const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(60);

impl Policy {
    pub(super) fn on_command(&mut self, command: ControlCommand) {
        match command {
            _ if self.stopping => {}
            ControlCommand::Stop => {
                self.stopping = true;
                for number in 0..self.slots.len() {
                    match self.slots[number].phase {
                        Lifecycle::Backoff { .. } => self.slots[number].phase = Lifecycle::Ended,
                        _ => self.act(Action::Send(number, WorkerCommand::Stop)),
                    }
                }
            }
            ControlCommand::RollingRestart => {
                self.act(Action::Info("all workers are replaced, one after the other".to_owned()));
                (0..self.slots.len()).for_each(|number| self.plan_restart(number, StopReason::Roll));
            }
            ControlCommand::Resume if !self.paused => {}
            ControlCommand::Pause | ControlCommand::Resume => {
                self.paused = command == ControlCommand::Pause;
                let text =
                    if self.paused { "paused: no messages are processed, partitions are kept" } else { "resumed" };
                self.act(Action::Info(text.to_owned()));
                let running: Vec<_> =
                    (0..self.slots.len()).filter(|number| self.slots[*number].may_be_running()).collect();
                for number in running {
                    self.partitions
                        .owned_by(number)
                        .iter()
                        .for_each(|partition| self.watchdog.reset_timer(partition, self.now));
                    self.act(Action::Send(number, WorkerCommand::Pause(self.paused)));
                }
            }
            ControlCommand::ScaleUp => self.scale_up(),
            ControlCommand::ScaleDown => self.scale_down(),
        }
    }

    pub(super) fn scale_up(&mut self) {
        if self.settings.max_messages > 0 {
            self.act(Action::Warn(
                "no worker is added: with max_messages one worker process reads all partitions".to_owned(),
            ));
            return;
        }
        let free = self.slots.iter().position(|slot| matches!(slot.phase, Lifecycle::ScaledDown | Lifecycle::Failed));
        if free.is_none() && self.slots.len() >= MOST_WORKERS {
            self.act(Action::Warn(format!("{MOST_WORKERS} workers are the most that there can be")));
            return;
        }
        let number = free.unwrap_or(self.slots.len());
        if free.is_none() {
            self.slots.push(SlotState::default());
        }
        self.slots[number] = SlotState::default();
        self.act(Action::Info(format!("worker {number} is added")));
        self.start(number);
        self.steal_fair_share(number);
    }

    pub(super) fn scale_down(&mut self) {
        let stays: Vec<_> = (0..self.slots.len()).filter(|number| self.slots[*number].keeps_partitions()).collect();
        match stays[..] {
            [_, .., last] => {
                self.act(Action::Info(format!("worker {last} is taken away")));
                if self.slots[last].may_be_running() {
                    self.request_stop(last, StopReason::Fewer);
                } else {
                    self.slots[last].phase = Lifecycle::ScaledDown;
                    self.redistribute(last);
                }
            }
            _ => self.act(Action::Warn("the last worker is not taken away".to_owned())),
        }
    }

    pub(super) fn start(&mut self, number: usize) {
        let jitter = self.rng.random();
        self.slots[number].begin(self.now, self.settings.recycle.max_age, jitter);
        self.partitions.owned_by(number).iter().for_each(|partition| self.watchdog.reset_timer(partition, self.now));
        self.act(Action::Start(number));
    }

    /// Requests a worker to stop because of a failure.
    pub(super) fn stop_failed(&mut self, number: usize, why: StopReason) {
        self.act(Action::Warn(format!("worker {number}: {why}; asked to end")));
        self.request_stop(number, why);
    }

    pub(super) fn request_stop(&mut self, number: usize, why: StopReason) {
        let (timeout, _) = self.stop_timeout(&why);
        self.slots[number].phase = Lifecycle::Stopping { why, kill_at: self.now + timeout };
        self.act(Action::Retire(number));
    }

    /// How long a worker may take to stop, and the setting that limits it. A healthy worker may finish its
    /// message in flight: the limit is the time that a message may take at all.
    pub(super) fn stop_timeout(&self, why: &StopReason) -> (Duration, &'static str) {
        let Watchdog { stall_timeout, kill_grace, .. } = self.settings.watchdog;
        let for_a_message = if stall_timeout.is_zero() { DEFAULT_STALL_TIMEOUT } else { stall_timeout };
        if why.is_planned() && for_a_message > kill_grace {
            (for_a_message, "consumer.watchdog.stall_timeout")
        } else {
            (kill_grace, "consumer.watchdog.kill_grace")
        }
    }
}
