//! The policy's part that looks whether workers live and partitions move, and helps those that do not.

use std::time::Duration;

use super::slot::{Phase, Why};
use super::watchdog::Remedy;
use super::{Action, Policy};
use crate::consumer::control::{PartitionProgress, ToWorker};
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;
use crate::settings::{LastResort, Watchdog};

/// A worker that was silent for longer than this has probably not run: nothing that stood still meanwhile is its fault.
const SILENCE_HIDES: Duration = Duration::from_secs(3);

/// How often the partitions are looked at, of which there may be thousands. What stands still is found so much later.
const LOOKS: Duration = Duration::from_millis(500);

/// The least time for a worker's start, whatever a message may take: its processor may have to load something.
const LEAST_START: Duration = Duration::from_secs(60);

impl Policy {
    pub(super) fn tick(&mut self) {
        let looks = self.now.saturating_sub(self.looked) >= LOOKS;
        if looks {
            self.looked = self.now;
        }
        for number in 0..self.slots.len() {
            match self.slots[number].phase {
                Phase::Pausing { until } if until <= self.now && !self.stopping => self.start(number),
                Phase::Leaving { .. } => self.look_after_end(number),
                Phase::Running if !self.stopping => self.look_after(number, looks),
                _ => {}
            }
        }
        if !self.stopping {
            self.replace_next();
        }
    }

    /// A worker that was asked to end: does it take too long, or has it fallen silent over it?
    fn look_after_end(&mut self, number: usize) {
        let slot = &self.slots[number];
        let Phase::Leaving { why, kill_at } = &slot.phase else { return };
        let silent = self.now.saturating_sub(slot.heard);
        let Watchdog { silence_timeout, grace, .. } = self.rules.watchdog;
        let text = if *kill_at <= self.now {
            let (patience, setting) = self.patience(why);
            format!("worker {number} has not ended within {patience:?} ({setting}): killed")
        } else if silent >= silence_timeout + grace {
            format!(
                "worker {number} was to end, and nothing was heard of it for {silent:.1?} \
                 (consumer.watchdog.silence_timeout, grace): killed"
            )
        } else {
            return;
        };
        self.slots[number].kill();
        self.act(Action::Warn(text));
        self.act(Action::Kill(number));
    }

    /// A worker that runs: is it silent, stuck, too old?
    pub(super) fn look_after(&mut self, number: usize, looks: bool) {
        let silent = self.now.saturating_sub(self.slots[number].heard);
        if silent >= self.rules.watchdog.silence_timeout {
            self.leave(number, Why::Silent(silent));
            return;
        }
        if let Some(time) = self.starts_for_too_long(number) {
            self.leave(number, Why::NotReady(time));
            return;
        }
        if self.slots[number].is_old(self.now) {
            self.plan_replacement(number, Why::Age);
        }
        // One that has just not been heard of may have moved meanwhile.
        if !looks || self.quiet || !self.slots[number].ready || silent > SILENCE_HIDES {
            return;
        }
        let own = self.ownership.of(number);
        let busy = self.watchdog.busy(&own, self.now);
        for partition in own {
            if let Some(remedy) = self.watchdog.look(&partition, busy, self.now)
                && self.apply(number, partition, remedy)
            {
                return;
            }
        }
    }

    /// For how long a process has been there that is not ready, if that is too long. It does not wait for its
    /// group: it is ready before that has dealt anything.
    fn starts_for_too_long(&self, number: usize) -> Option<Duration> {
        let (slot, timeout) = (&self.slots[number], self.rules.watchdog.stall_timeout);
        let time = self.now.saturating_sub(slot.starting.filter(|_| !slot.ready)?);
        (!timeout.is_zero() && time >= timeout.max(LEAST_START)).then_some(time)
    }

    /// The brokers' ends, or that they did not answer.
    pub(super) fn ends(&mut self, ends: Option<&Offsets>) {
        self.watchdog.ends(ends, self.now);
        if ends.is_none() {
            // Whoever asks them for anything while it starts has to wait as well.
            let starting = self.slots.iter_mut().filter_map(|slot| slot.starting.as_mut());
            starting.for_each(|since| *since = self.now);
        }
    }

    pub(super) fn output_full(&mut self, still: bool, log: bool) {
        self.watchdog.output_full(still, self.now);
        for slot in self.slots.iter_mut().filter(|slot| log && matches!(slot.phase, Phase::Running)) {
            slot.heard = self.now;
            slot.starting.iter_mut().for_each(|since| *since = self.now);
        }
    }

    /// Helps a stuck partition; whether its worker ends for it.
    pub(super) fn apply(&mut self, number: usize, partition: TopicPartition, remedy: Remedy) -> bool {
        match remedy {
            Remedy::Rebuild(text) => {
                self.act(Action::Warn(format!("{partition}: {text}; worker {number} gets a new Kafka client")));
                self.act(Action::Say(number, ToWorker::Rebuild));
                false
            }
            Remedy::Restart(text) => {
                self.leave(number, Why::Stuck(partition, text));
                true
            }
            Remedy::Hung { offset, age } => {
                self.leave(number, Why::Hung { partition, offset, age });
                true
            }
            Remedy::LastResort(text) => {
                self.last_resort(number, partition, text);
                false
            }
        }
    }

    pub(super) fn last_resort(&mut self, number: usize, partition: TopicPartition, text: String) {
        if self.is_group() {
            // The group deals the partitions, and its readers do not know of ends: a transaction's mark at the end of a log
            // looks like this. A new client and a new worker have been tried.
            self.act(Action::Warn(format!(
                "{partition}: {text}; a new worker did not help, it is left alone until it moves"
            )));
            self.watchdog.leave_alone(&partition);
            return;
        }
        let was_moved = self.watchdog.was_moved(&partition);
        let other = self
            .least_loaded(Some(number))
            .filter(|_| self.rules.watchdog.last_resort == LastResort::Move && !was_moved);
        match other {
            Some(to) => {
                self.act(Action::Warn(format!("{partition}: {text}; worker {to} gets it")));
                self.watchdog.moving(&partition, self.now);
                self.move_to(number, vec![partition], to);
            }
            None => {
                self.quarantine(&partition);
                self.act(Action::Quarantine(partition, text));
            }
        }
    }

    pub(super) fn ready(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        let was_ready = std::mem::replace(&mut slot.ready, true);
        slot.heard = self.now;
        if !was_ready {
            // However long its start took: it could not read yet.
            self.ownership.of(number).iter().for_each(|partition| self.watchdog.excuse(partition, self.now));
            let going = self.ownership.going_from(number);
            self.ask_for(number, going.into_iter().map(|(partition, _)| partition).collect());
        }
        if self.replacing == Some(number) && matches!(self.slots[number].phase, Phase::Running) {
            self.replacing = None;
            self.replace_next();
        }
    }

    pub(super) fn heard(&mut self, number: usize, progress: &[PartitionProgress]) {
        let slot = &mut self.slots[number];
        if self.now.saturating_sub(slot.heard) > SILENCE_HIDES {
            // It did not run meanwhile: that was no time to process anything.
            self.ownership.of(number).iter().for_each(|partition| self.watchdog.excuse(partition, self.now));
        }
        slot.heard = self.now;
        for progress in progress {
            slot.note(progress);
            if slot
                .announced
                .as_ref()
                .is_some_and(|(partition, offset)| *partition == progress.partition && progress.next > *offset)
            {
                slot.announced = None;
            }
            // Last words about a partition that is somebody else's by now say nothing about it.
            if self.ownership.owner(&progress.partition) == Some(number) {
                self.watchdog.progress(progress, self.now);
                self.suspects.progressed(&progress.partition, progress.next);
            }
        }
        let own = self.ownership.of(number);
        // One that its group has dealt nothing yet has come past nothing.
        if slot.cautious && !own.is_empty() && !self.suspects.is_any(&own) {
            slot.cautious = false;
            self.act(Action::Inform(format!("worker {number} has come past what killed it: it goes on at full speed")));
            self.act(Action::Say(number, ToWorker::Cautious(false)));
        }
        let limit = self.rules.limits.messages;
        if limit > 0 && self.slots[number].dealt_with >= limit {
            self.plan_replacement(number, Why::Messages(self.slots[number].dealt_with));
        }
    }

    pub(super) fn announced(&mut self, number: usize, partition: TopicPartition, offset: i64) {
        let slot = &mut self.slots[number];
        slot.announced = Some((partition.clone(), offset));
        self.act(Action::Say(number, ToWorker::Proceed(partition, offset)));
    }

    pub(super) fn measured(&mut self, number: usize, rss_mb: u64) {
        self.slots[number].starting.get_or_insert(self.now);
        let limit = self.rules.limits.rss_mb;
        if limit > 0 && rss_mb > limit {
            self.plan_replacement(number, Why::Memory { rss_mb, limit });
        }
    }
}
