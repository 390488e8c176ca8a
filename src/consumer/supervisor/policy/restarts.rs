//! Handles exits of workers: which worker is restarted, when, and which message is the culprit.

use rand::RngExt;

use super::poison_messages::{Evidence, Suspicion};
use super::slot_state::{Lifecycle, ProcessLifetime, StopReason};
use super::{Action, Policy, WorkerExit};
use crate::consumer::protocol::{PoisonMessage, WorkerCommand};
use crate::exit::ExitStatus;
use crate::record::TopicPartition;
use crate::settings::OnExceeded;
use crate::util::backoff;

impl Policy {
    pub(super) fn on_exit(&mut self, number: usize, exit: &WorkerExit) {
        let slot = &mut self.slots[number];
        let life = slot.end(self.now);
        self.planned.on_exit(number);
        if self.stopping {
            slot.phase = Lifecycle::Ended;
            return;
        }
        if let Some(reason) = &exit.permanent {
            slot.phase = Lifecycle::Ended;
            self.act(Action::End(ExitStatus::failed(format!("worker {number}: {reason}"))));
            return;
        }
        if life.why == Some(StopReason::Fewer) {
            slot.phase = Lifecycle::ScaledDown;
        }
        // The exit completes the moves from this worker.
        let given = self.partitions.going_from(number);
        self.transfer(given);
        let mut hung = None;
        match life.why.clone() {
            Some(StopReason::Fewer) => {
                // The other workers may have failed meanwhile.
                if !self.end_without_workers(&format!("worker {number} was taken away")) {
                    self.redistribute(number);
                }
                return;
            }
            // A new process needs more memory than the limit allows: restarts would never end.
            Some(StopReason::Memory { rss_mb, limit })
                if life.handled == 0 && life.lived < self.settings.restart.healthy_after =>
            {
                self.act(Action::Warn(format!(
                    "worker {number} had {rss_mb} MiB of memory before it had handled any message: set \
                     consumer.recycle.max_rss_mb ({limit}) to more"
                )));
                self.schedule_restart(number, false, &exit.text);
                return;
            }
            // The messages in flight were not finished in time, by the supervisor's clock or the worker's own;
            // or the process had not installed its signal handlers yet.
            Some(why) if why.is_planned() && (exit.has_obeyed() || life.was_killed) => {
                self.start(number);
                return;
            }
            Some(StopReason::Hung { partition, offset, .. }) => hung = Some((partition, offset)),
            _ => {}
        }
        if !life.has_result && (exit.has_failed_processor() || (hung.is_some() && self.has_program())) {
            self.trial.failed(self.now, &exit.text);
            if self.end_failed_trial() {
                self.slots[number].phase = Lifecycle::Ended;
                return;
            }
        }
        let (lived, handled) = (life.lived, life.handled);
        self.attribute_crash(number, exit, hung, life);
        let idle = !exit.last_positions.iter().any(|last| last.has_work);
        let healthy = lived >= self.settings.restart.healthy_after && (handled > 0 || idle);
        self.schedule_restart(number, healthy, &exit.text);
    }

    /// Whether an external program processes the messages.
    pub(super) fn has_program(&self) -> bool {
        self.settings.processor == "command"
    }

    /// Determines whether a message has killed the worker.
    pub(super) fn attribute_crash(
        &mut self,
        number: usize,
        exit: &WorkerExit,
        hung: Option<(TopicPartition, i64)>,
        life: ProcessLifetime,
    ) {
        // SIGKILL comes from outside, or from the kernel because of the memory that the whole worker uses. A
        // worker that was requested to stop, by the supervisor or from outside, did not die of its messages in
        // flight. One that was not ready had none.
        if !life.was_ready || (exit.was_ended() && hung.is_none()) || exit.is_blameless() {
            return;
        }
        // A quarantined partition cannot be the cause.
        let last_positions: Vec<_> = exit
            .last_positions
            .iter()
            .filter(|last| !self.partitions.is_quarantined(&last.partition))
            .cloned()
            .collect();
        // With several messages in flight any of them may block the others.
        let in_flight = last_positions.iter().filter(|last| last.in_flight.is_some()).count();
        let hung = hung.filter(|_| in_flight == 1);
        let is_weak = self.has_program() && !life.has_result;
        let suspicion = Suspicion {
            last_positions: &last_positions,
            hung,
            requested: life.requested,
            evidence: if is_weak { Evidence::ProgramNeverReplied } else { Evidence::Strong },
            has_replied: self.slots[number].has_ever_result,
            cause: &exit.text,
        };
        if let Some(poison_message) = self.suspects.on_exit(&suspicion) {
            let PoisonMessage { partition, offset, reason } = poison_message;
            self.act(Action::Warn(format!(
                "{partition}@{offset} is a poison message, it is not processed any more (consumer.on_failure decides what follows): {reason}"
            )));
            let list = self.poison_messages();
            for other in 0..self.slots.len() {
                if other != number && matches!(self.slots[other].phase, Lifecycle::Running) {
                    self.act(Action::Send(other, WorkerCommand::PoisonMessages(list.clone())));
                }
            }
        }
        let partitions: Vec<_> = last_positions.into_iter().map(|last| last.partition).collect();
        self.slots[number].isolated = self.suspects.is_any(&partitions);
    }

    pub(super) fn schedule_restart(&mut self, number: usize, healthy: bool, cause: &str) {
        let restart = &self.settings.restart;
        let slot = &mut self.slots[number];
        let exits = slot.count_exit(self.now, restart.window, healthy);
        if restart.max_restarts > 0 && exits > restart.max_restarts as usize {
            let text = format!(
                "worker {number} has died {exits} times within {:?} (consumer.restart.max_restarts = {}, window), \
                 at last with: {cause}",
                restart.window, restart.max_restarts
            );
            match restart.on_exceeded {
                OnExceeded::Exit => self.act(Action::End(ExitStatus::failed(text))),
                OnExceeded::FailWorker => self.fail_worker(number, &text),
            }
            return;
        }
        let pause = backoff::delay(restart.backoff, restart.backoff_max, slot.unhealthy(), self.rng.random());
        slot.phase = Lifecycle::Backoff { until: self.now + pause };
        let caution = if slot.isolated { ", one message at a time: it has died twice at the same place" } else { "" };
        self.act(Action::Info(format!("worker {number} is started again in {pause:.0?}{caution}")));
    }

    pub(super) fn fail_worker(&mut self, number: usize, text: &str) {
        self.slots[number].phase = Lifecycle::Failed;
        self.planned.complete(number);
        if self.end_without_workers(text) {
            return;
        }
        self.act(Action::Warn(format!("{text}: it is started no more, the others get its partitions")));
        self.redistribute(number);
    }

    /// Exits the program if no worker is left that could consume anything. Returns whether it does.
    fn end_without_workers(&mut self, text: &str) -> bool {
        let ends = self.slots.iter().all(|slot| matches!(slot.phase, Lifecycle::Failed | Lifecycle::ScaledDown));
        if ends {
            self.act(Action::End(ExitStatus::failed(format!("{text}, and no other worker is left"))));
        }
        ends
    }
}
