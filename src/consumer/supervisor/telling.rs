//! The supervisor tells how it goes.

use std::collections::BTreeMap;

use super::actor::ConsumerSupervisor;
use crate::monitoring::status::{ConsumeStatus, EventLevel as Level, Phase};
use crate::record::TopicPartition;
use crate::report::RestartReport;

impl ConsumerSupervisor {
    /// Puts up where the run stands, and where everything is, if somebody looks at it.
    pub(super) fn tell(&self) {
        let board = &self.order.board;
        if self.announced_ready {
            let quiet = self.policy.as_ref().is_some_and(|policy| policy.is_quiet());
            let (phase, text) = if quiet { (Phase::Quiet, "takes no messages") } else { (Phase::Running, "consuming") };
            board.phase(phase, text);
        }
        if board.is_watched() {
            board.consume(self.status());
        }
    }

    /// Something has happened.
    pub(super) fn event(&self, level: Level, kind: &str, worker: Option<usize>, text: impl Into<String>) {
        self.order.board.event(level, kind, worker, text);
    }

    pub(super) fn tell_of_death(&self, slot: usize, record: &RestartReport, planned: bool) {
        let hand = record
            .partitions
            .iter()
            .filter_map(|row| Some(format!("{}/{}@{}", row.topic, row.partition, row.in_flight?)));
        let hand: Vec<_> = hand.collect();
        let hand = if hand.is_empty() { String::new() } else { format!("; in processing: {}", hand.join(", ")) };
        let (level, kind) = if planned { (Level::Info, "restart") } else { (Level::Error, "death") };
        let text = format!("pid {} after {:.1} s: {}{hand}", record.pid, record.uptime, record.cause);
        self.event(level, kind, Some(slot), text);
    }

    /// Where everything is.
    pub(super) fn status(&self) -> ConsumeStatus {
        let consumer = &self.order.settings.consumer;
        let totals = self.partitions.totals();
        let mut partitions = self.partitions.status(self.is_group());
        for partition in partitions.iter_mut().filter(|partition| partition.still_seconds > 0.0) {
            let name = TopicPartition::new(&partition.topic, partition.partition);
            if self.policy.as_ref().is_some_and(|policy| policy.is_left_alone(&name)) {
                // What seems to wait there is a mark of a transaction.
                partition.still_seconds = 0.0;
            }
        }
        let mut owned = BTreeMap::new();
        for slot in partitions.iter().filter_map(|partition| partition.worker) {
            *owned.entry(slot).or_default() += 1;
        }
        let workers = self.workers.iter().enumerate().map(|(slot, worker)| {
            let own: usize = owned.get(&slot).copied().unwrap_or(0);
            let state = self.policy.as_ref().map(|policy| policy.state(slot, own > 0)).unwrap_or_default();
            worker.status(slot, state, own)
        });
        let workers = workers.collect();
        let mut restarts = BTreeMap::new();
        for (kind, count) in self.workers.iter().flat_map(|worker| &worker.kinds) {
            *restarts.entry(kind.clone()).or_default() += count;
        }
        ConsumeStatus {
            group: consumer.group.clone(),
            assignment: consumer.assignment.word().to_owned(),
            topics: self.order.settings.consumed_topics(),
            processed: totals.processed,
            failed: totals.failed,
            dead_lettered: totals.dead_lettered,
            retried: totals.retried,
            read_bytes: totals.read_bytes,
            lag: partitions.iter().map(|partition| partition.lag).sum(),
            rebalances: self.rebalances,
            restarts,
            workers,
            partitions,
            end_to_end: (&self.times.end_to_end).into(),
            processing: (&self.times.processing).into(),
            commit: (&self.times.commit).into(),
        }
    }
}
