//! The policy's part that deals with deaths: who is started again, when, and which message is to blame.

use super::slot::{Phase, Why};
use super::{Action, Death, Policy, random};
use crate::consumer::control::{Condemned, ToWorker};
use crate::exit::Exit;
use crate::record::TopicPartition;
use crate::settings::Exceeded;

impl Policy {
    pub(super) fn died(&mut self, number: usize, death: &Death) {
        let slot = &mut self.slots[number];
        let life = slot.end(self.now);
        // Whatever was planned was planned for the process that is gone.
        self.planned.retain(|(planned, _)| *planned != number);
        if self.stopping {
            slot.phase = Phase::Ended;
            return;
        }
        if let Some(reason) = &death.lasting {
            slot.phase = Phase::Ended;
            self.act(Action::End(Exit::failed(format!("worker {number}: {reason}"))));
            return;
        }
        if life.why == Some(Why::Fewer) {
            slot.phase = Phase::Removed;
        }
        // What was to move from it has moved.
        let given = self.ownership.going_from(number);
        self.pass_on(given);
        let mut was_hung = None;
        match life.why {
            Some(Why::Fewer) => {
                // The others may have been parked meanwhile.
                if !self.end_without_workers(&format!("worker {number} was taken away")) {
                    self.redistribute(number);
                }
                return;
            }
            // What it needs at once is more than it may have: there is no end to replacing it.
            Some(Why::Memory { rss_mb, limit })
                if life.dealt_with == 0 && life.lived < self.rules.restart.healthy_after =>
            {
                self.act(Action::Warn(format!(
                    "worker {number} had {rss_mb} MiB of memory before it had dealt with any message: set consumer.limits.rss_mb \
                     ({limit}) to more"
                )));
                self.start_again(number, false);
                return;
            }
            // Whatever it had in hand was not done in time, by our clock or by its own; or it did not hear signals yet.
            Some(why) if why.is_planned() && (death.clean || death.forced || death.terminated || life.was_killed) => {
                self.start(number);
                return;
            }
            Some(Why::Hung { partition, offset, .. }) => was_hung = Some((partition, offset)),
            _ => {}
        }
        self.blame(number, death, was_hung, life.announced);
        let idle = !death.seen.iter().any(|seen| seen.has_work);
        let healthy = life.lived >= self.rules.restart.healthy_after && (life.dealt_with > 0 || idle);
        self.start_again(number, healthy);
    }

    /// Finds out whether a message has killed it.
    pub(super) fn blame(
        &mut self,
        number: usize,
        death: &Death,
        hung: Option<(TopicPartition, i64)>,
        announced: Option<(TopicPartition, i64)>,
    ) {
        // Somebody from outside has killed it: no message's fault. (Out of memory is.)
        let killed_from_outside = death.killed && !death.out_of_memory && hung.is_none();
        // It was asked to end, by whomever, and could: what it had in hand has not killed it.
        let ended_well = death.clean && hung.is_none();
        if killed_from_outside || ended_well || death.blameless {
            return;
        }
        // What is read no further has nothing to do with it.
        let seen: Vec<_> =
            death.seen.iter().filter(|seen| !self.ownership.is_quarantined(&seen.partition)).cloned().collect();
        // With several in hand any of them may hold up the others.
        let in_hand = seen.iter().filter(|seen| seen.in_flight.is_some()).count();
        let hung = hung.filter(|_| in_hand == 1);
        if let Some(condemned) = self.suspects.died(&seen, hung, announced, &death.cause) {
            let Condemned { partition, offset, reason } = condemned;
            self.act(Action::Warn(format!(
                "{partition}@{offset} is given up, it is processed no more (consumer.on_failure says what becomes of it): {reason}"
            )));
            let list = self.condemned();
            for other in 0..self.slots.len() {
                if other != number && matches!(self.slots[other].phase, Phase::Running) {
                    self.act(Action::Say(other, ToWorker::Condemned(list.clone())));
                }
            }
        }
        let seen: Vec<_> = seen.into_iter().map(|seen| seen.partition).collect();
        self.slots[number].cautious = self.suspects.is_any(&seen);
    }

    pub(super) fn start_again(&mut self, number: usize, healthy: bool) {
        let restart = &self.rules.restart;
        let slot = &mut self.slots[number];
        let deaths = slot.count_death(self.now, restart.within, healthy);
        if restart.most > 0 && deaths > restart.most as usize {
            let text = format!(
                "worker {number} has died {deaths} times within {:?} (consumer.restart.most = {}, within)",
                restart.within, restart.most
            );
            match restart.exceeded {
                Exceeded::End => self.act(Action::End(Exit::failed(text))),
                Exceeded::Park => self.park(number, &text),
            }
            return;
        }
        let pause = slot.pause(restart.backoff, restart.backoff_max, random(&mut self.random));
        slot.phase = Phase::Pausing { until: self.now + pause };
        let caution = if slot.cautious { ", one message at a time: it has died twice at the same place" } else { "" };
        self.act(Action::Inform(format!("worker {number} is started again in {pause:.0?}{caution}")));
    }

    pub(super) fn park(&mut self, number: usize, text: &str) {
        self.slots[number].phase = Phase::Parked;
        if self.replacing == Some(number) {
            self.replacing = None;
        }
        if self.end_without_workers(text) {
            return;
        }
        self.act(Action::Warn(format!("{text}: it is started no more, the others get its partitions")));
        self.redistribute(number);
    }

    /// Ends the program if nobody is left who could read anything; whether it does.
    fn end_without_workers(&mut self, text: &str) -> bool {
        let ends = self.slots.iter().all(|slot| matches!(slot.phase, Phase::Parked | Phase::Removed));
        if ends {
            self.act(Action::End(Exit::failed(format!("{text}, and no other worker is left"))));
        }
        ends
    }
}
