//! The policy's part that starts workers and lets them go: because somebody asks for it, or one after the other to replace them.

use std::time::Duration;

use super::slot::{Phase, Slot, Why};
use super::{Action, MOST_WORKERS, Policy, Wish, random};
use crate::consumer::control::ToWorker;
use crate::settings::Watchdog;

/// How long a message in hand may hold up a planned end when nothing else says how long a message may take.
const UNWATCHED: Duration = Duration::from_secs(60);

impl Policy {
    pub(super) fn asked(&mut self, wish: Wish) {
        match wish {
            _ if self.stopping => {}
            Wish::Stop => {
                self.stopping = true;
                for number in 0..self.slots.len() {
                    match self.slots[number].phase {
                        Phase::Pausing { .. } => self.slots[number].phase = Phase::Ended,
                        _ => self.act(Action::Say(number, ToWorker::Stop)),
                    }
                }
            }
            Wish::Roll => {
                self.act(Action::Inform("all workers are replaced, one after the other".to_owned()));
                (0..self.slots.len()).for_each(|number| self.plan_replacement(number, Why::Roll));
            }
            Wish::Resume if !self.quiet => {}
            Wish::Quiet | Wish::Resume => {
                self.quiet = wish == Wish::Quiet;
                let text = if self.quiet { "quiet: no message is taken, partitions are kept" } else { "going on" };
                self.act(Action::Inform(text.to_owned()));
                let running: Vec<_> =
                    (0..self.slots.len()).filter(|number| self.slots[*number].may_be_running()).collect();
                for number in running {
                    self.ownership.of(number).iter().for_each(|partition| self.watchdog.excuse(partition, self.now));
                    self.act(Action::Say(number, ToWorker::Quiet(self.quiet)));
                }
            }
            Wish::More => self.one_more(),
            Wish::Fewer => self.one_less(),
        }
    }

    pub(super) fn one_more(&mut self) {
        let free = self.slots.iter().position(|slot| matches!(slot.phase, Phase::Removed | Phase::Parked));
        if free.is_none() && self.slots.len() >= MOST_WORKERS {
            self.act(Action::Warn(format!("{MOST_WORKERS} workers are the most that there can be")));
            return;
        }
        let number = free.unwrap_or(self.slots.len());
        if free.is_none() {
            self.slots.push(Slot::default());
        }
        self.slots[number] = Slot::default();
        self.act(Action::Inform(format!("worker {number} is added")));
        self.start(number);
        self.take_share(number);
    }

    pub(super) fn one_less(&mut self) {
        let stays: Vec<_> = (0..self.slots.len()).filter(|number| self.slots[*number].keeps_partitions()).collect();
        match stays[..] {
            [_, .., last] => {
                self.act(Action::Inform(format!("worker {last} is taken away")));
                if self.slots[last].may_be_running() {
                    self.leave_for(last, Why::Fewer);
                } else {
                    self.slots[last].phase = Phase::Removed;
                    self.redistribute(last);
                }
            }
            _ => self.act(Action::Warn("the last worker is not taken away".to_owned())),
        }
    }

    pub(super) fn start(&mut self, number: usize) {
        let jitter = random(&mut self.random);
        self.slots[number].begin(self.now, self.rules.limits.age, jitter);
        self.ownership.of(number).iter().for_each(|partition| self.watchdog.excuse(partition, self.now));
        self.act(Action::Start(number));
    }

    /// Asks a worker to end because something is wrong with it.
    pub(super) fn leave(&mut self, number: usize, why: Why) {
        self.act(Action::Warn(format!("worker {number}: {why}; asked to end")));
        self.leave_for(number, why);
    }

    pub(super) fn leave_for(&mut self, number: usize, why: Why) {
        let (patience, _) = self.patience(&why);
        self.slots[number].phase = Phase::Leaving { why, kill_at: self.now + patience };
        self.act(Action::Retire(number));
    }

    /// How long a worker may take to end, and the setting that says so. One that is well has time for the message in hand:
    /// as long as a message may take at all.
    pub(super) fn patience(&self, why: &Why) -> (Duration, &'static str) {
        let Watchdog { stall_timeout, grace, .. } = self.rules.watchdog;
        let for_a_message = if stall_timeout.is_zero() { UNWATCHED } else { stall_timeout };
        if why.is_planned() && for_a_message > grace {
            (for_a_message, "consumer.watchdog.stall_timeout")
        } else {
            (grace, "consumer.watchdog.grace")
        }
    }

    pub(super) fn plan_replacement(&mut self, number: usize, why: Why) {
        let waits = self.planned.iter().any(|(other, _)| *other == number);
        if !waits && matches!(self.slots[number].phase, Phase::Running) {
            self.planned.push_back((number, why));
        }
    }

    /// One at a time: the next when the last one's successor is ready.
    pub(super) fn replace_next(&mut self) {
        if let Some(number) = self.replacing {
            if !matches!(self.slots[number].phase, Phase::Parked | Phase::Removed) {
                return;
            }
            self.replacing = None;
        }
        while let Some((number, why)) = self.planned.pop_front() {
            if matches!(self.slots[number].phase, Phase::Running) {
                self.act(Action::Inform(format!("worker {number} is replaced: {why}")));
                self.replacing = Some(number);
                self.leave_for(number, why);
                return;
            }
        }
    }
}
