//! Health checks of the policy: detects workers that hang and partitions that stall, and starts the remedy.

use std::time::Duration;

use super::slot_state::{Lifecycle, SlotState, StopReason};
use super::watchdog::Remediation;
use super::{Action, Policy};
use crate::consumer::protocol::{PartitionProgress, WorkerCommand};
use crate::exit::ExitStatus;
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;
use crate::settings::{LastResort, Watchdog};

/// A worker without a heartbeat for longer than this was probably suspended. A stall in that time is not its
/// fault.
const SUSPENDED_THRESHOLD: Duration = Duration::from_secs(3);

/// The minimum timeout for a worker's start, whatever `stall_timeout` is: its processor may have to load data.
const LEAST_START: Duration = Duration::from_secs(60);

impl Policy {
    pub(super) fn on_tick(&mut self) {
        let is_check_due = self.watchdog.is_check_due(self.now);
        for number in 0..self.slots.len() {
            match self.slots[number].phase {
                Lifecycle::Backoff { until } if until <= self.now && !self.stopping => self.start(number),
                Lifecycle::Stopping { .. } => self.check_stopping(number),
                Lifecycle::Running if !self.stopping => self.check_worker(number, is_check_due),
                _ => {}
            }
        }
        if !self.stopping {
            if !self.slots.iter().any(SlotState::may_be_running) {
                self.end_failed_trial();
            }
            self.restart_next();
        }
    }

    /// Ends the run if its processor has never worked. Returns whether it does.
    pub(super) fn end_failed_trial(&mut self) -> bool {
        let verdict = self.trial.verdict(self.now);
        let ends = verdict.is_some();
        verdict.into_iter().for_each(|text| self.act(Action::End(ExitStatus::failed(text))));
        ends
    }

    pub(super) fn on_first_result(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        (slot.has_result, slot.has_ever_result) = (true, true);
        self.trial.passed();
        self.suspects.replied();
    }

    /// Checks a worker that is stopping: kills it when the stop takes too long or heartbeats are missing.
    fn check_stopping(&mut self, number: usize) {
        let slot = &self.slots[number];
        let Lifecycle::Stopping { why, kill_at } = &slot.phase else { return };
        let silent = self.now.saturating_sub(slot.last_heartbeat);
        let Watchdog { heartbeat_timeout, kill_grace, .. } = self.settings.watchdog;
        let text = if *kill_at <= self.now {
            let (timeout, setting) = self.stop_timeout(why);
            format!("worker {number} has not ended within {timeout:?} ({setting}): killed")
        } else if silent >= heartbeat_timeout + kill_grace {
            format!(
                "worker {number} was asked to stop, and sent no heartbeat for {silent:.1?} \
                 (consumer.watchdog.heartbeat_timeout, kill_grace): killed"
            )
        } else {
            return;
        };
        self.slots[number].kill();
        self.act(Action::Warn(text));
        self.act(Action::Kill(number));
    }

    /// Checks a running worker: heartbeat timeout, stalled partitions, and recycle limits.
    fn check_worker(&mut self, number: usize, is_check_due: bool) {
        let silent = self.now.saturating_sub(self.slots[number].last_heartbeat);
        if silent >= self.settings.watchdog.heartbeat_timeout {
            self.stop_failed(number, StopReason::Silent(silent));
            return;
        }
        if let Some(time) = self.starts_for_too_long(number) {
            self.stop_failed(number, StopReason::NotReady(time));
            return;
        }
        if self.slots[number].is_old(self.now) {
            self.plan_restart(number, StopReason::Age);
        }
        if is_check_due && self.slots[number].ready && self.check_reach(number) {
            return;
        }
        // The partitions of a worker with a late heartbeat may have moved meanwhile.
        if !is_check_due || self.paused || !self.slots[number].ready || silent > SUSPENDED_THRESHOLD {
            return;
        }
        let owned = self.partitions.owned_by(number);
        let busy = self.watchdog.busy(&owned, self.now);
        for partition in owned {
            if let Some(remedy) = self.watchdog.check(&partition, busy, self.now)
                && self.remediate(number, partition, remedy)
            {
                return;
            }
        }
    }

    /// For how long a process has been starting, if that exceeds the limit. A start does not include the group's
    /// assignment: a worker is ready before the group has assigned anything.
    fn starts_for_too_long(&self, number: usize) -> Option<Duration> {
        let (slot, timeout) = (&self.slots[number], self.settings.watchdog.stall_timeout);
        let time = self.now.saturating_sub(slot.starting.filter(|_| !slot.ready)?);
        (!timeout.is_zero() && time >= timeout.max(LEAST_START)).then_some(time)
    }

    /// Handles the high watermarks from the brokers; `None` if the brokers did not reply.
    pub(super) fn on_watermarks(&mut self, ends: Option<&Offsets>) {
        self.watchdog.on_watermarks(ends, self.now);
        if ends.is_none() {
            // A worker that sends requests to the brokers during its start has to wait as well.
            let starting = self.slots.iter_mut().filter_map(|slot| slot.starting.as_mut());
            starting.for_each(|since| *since = self.now);
        }
    }

    /// The brokers throttle the client: these partitions receive nothing for this time, and no worker is at
    /// fault.
    pub(super) fn on_throttled(&mut self, number: usize, partitions: &[TopicPartition], time: Duration) {
        for partition in partitions.iter().filter(|partition| self.partitions.owner(partition) == Some(number)) {
            self.watchdog.on_throttled(partition, self.now + time);
        }
    }

    pub(super) fn on_output_blocked(&mut self, stalled: bool, stderr: bool) {
        self.watchdog.on_output_blocked(stalled, self.now);
        for slot in self.slots.iter_mut().filter(|slot| stderr && matches!(slot.phase, Lifecycle::Running)) {
            slot.last_heartbeat = self.now;
            slot.starting.iter_mut().for_each(|since| *since = self.now);
        }
    }

    /// Starts the remedy for a stalled partition. Returns whether its worker stops for it.
    pub(super) fn remediate(&mut self, number: usize, partition: TopicPartition, remedy: Remediation) -> bool {
        match remedy {
            Remediation::Restart(text) => {
                self.stop_failed(number, StopReason::Stuck(partition, text));
                true
            }
            Remediation::Hung { offset, age } => {
                self.stop_failed(number, StopReason::Hung { partition, offset, age });
                true
            }
            Remediation::LastResort(text) => {
                self.last_resort(number, partition, text);
                false
            }
        }
    }

    pub(super) fn last_resort(&mut self, number: usize, partition: TopicPartition, text: String) {
        if self.is_group() {
            // The group assigns the partitions: the supervisor cannot give this one to another worker, and a
            // restart did not help.
            self.act(Action::Warn(format!(
                "{partition}: {text}; a new worker did not help, it is left alone until it moves"
            )));
            self.watchdog.leave_alone(&partition);
            return;
        }
        let was_moved = self.watchdog.was_moved(&partition);
        let other = self
            .least_loaded(Some(number))
            .filter(|_| self.settings.watchdog.last_resort == LastResort::Move && !was_moved);
        match other {
            Some(to) => {
                self.act(Action::Warn(format!("{partition}: {text}; worker {to} gets it")));
                self.watchdog.on_move(&partition, self.now);
                self.move_to(number, vec![partition], to);
            }
            None => {
                self.quarantine(&partition);
                self.act(Action::Quarantine(partition, text));
            }
        }
    }

    pub(super) fn on_ready(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        let was_ready = std::mem::replace(&mut slot.ready, true);
        slot.last_heartbeat = self.now;
        if !was_ready {
            // The worker could not consume during its start, however long that took.
            self.partitions
                .owned_by(number)
                .iter()
                .for_each(|partition| self.watchdog.reset_timer(partition, self.now));
            let going = self.partitions.going_from(number);
            self.send_revoke(number, going.into_iter().map(|(partition, _)| partition).collect());
        }
        if matches!(self.slots[number].phase, Lifecycle::Running) && self.planned.complete(number) {
            self.restart_next();
        }
    }

    pub(super) fn on_heartbeat(&mut self, number: usize, progress: &[PartitionProgress]) {
        let slot = &mut self.slots[number];
        if self.now.saturating_sub(slot.last_heartbeat) > SUSPENDED_THRESHOLD {
            // The worker did not run meanwhile, so it had no time to process anything.
            self.partitions
                .owned_by(number)
                .iter()
                .for_each(|partition| self.watchdog.reset_timer(partition, self.now));
        }
        slot.last_heartbeat = self.now;
        for progress in progress {
            slot.record_progress(progress);
            if slot
                .requested
                .as_ref()
                .is_some_and(|(partition, offset)| *partition == progress.partition && progress.next > *offset)
            {
                slot.requested = None;
            }
            // The last report about a partition that has another owner by now is ignored.
            if self.partitions.owner(&progress.partition) == Some(number) {
                self.watchdog.on_progress(progress, self.now);
                self.suspects.progressed(&progress.partition, progress.next);
            }
        }
        let owned = self.partitions.owned_by(number);
        // A worker without an assignment has not passed the suspect message.
        if slot.isolated && !owned.is_empty() && !self.suspects.is_any(&owned) {
            slot.isolated = false;
            self.act(Action::Info(format!("worker {number} has come past what killed it: it goes on at full speed")));
            self.act(Action::Send(number, WorkerCommand::SetIsolation(false)));
        }
        let limit = self.settings.recycle.max_messages;
        if limit > 0 && self.slots[number].handled >= limit {
            self.plan_restart(number, StopReason::Messages(self.slots[number].handled));
        }
    }

    pub(super) fn on_process_requested(&mut self, number: usize, partition: TopicPartition, offset: i64) {
        let slot = &mut self.slots[number];
        slot.requested = Some((partition.clone(), offset));
        self.act(Action::Send(number, WorkerCommand::AllowProcess(partition, offset)));
    }

    pub(super) fn on_rss_sampled(&mut self, number: usize, rss_mb: u64) {
        self.slots[number].starting.get_or_insert(self.now);
        let limit = self.settings.recycle.max_rss_mb;
        if limit > 0 && rss_mb > limit {
            self.plan_restart(number, StopReason::Memory { rss_mb, limit });
        }
    }
}
