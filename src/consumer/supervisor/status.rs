//! Publishes the status and the events of the supervisor.

use std::collections::BTreeMap;
use std::time::Duration;

use super::actor::ConsumerSupervisor;
use super::exit_record::in_flight;
use super::worker_slot::RunningWorker;
use crate::monitoring::status::{ConsumeStatus, EventLevel as Level, Phase};
use crate::report::RestartReport;

/// A coordinator that is unavailable for less time may only be moving to another broker.
const LOST: Duration = Duration::from_secs(5);

impl ConsumerSupervisor {
    /// Publishes the phase of the run, and the full status if a client reads it.
    pub(super) fn publish_status(&self) {
        let registry = &self.params.registry;
        if self.fleet.is_ready_logged {
            let paused = self.policy.is_paused();
            let (phase, text) = if paused { (Phase::Paused, "paused") } else { (Phase::Running, "consuming") };
            registry.phase(phase, text);
        }
        if registry.is_watched() {
            registry.consume(self.status());
        }
    }

    /// Publishes an event.
    pub(super) fn event(&self, level: Level, kind: &str, worker: Option<usize>, text: impl Into<String>) {
        self.params.registry.event(level, kind, worker, text);
    }

    pub(super) fn publish_exit(&self, slot: usize, record: &RestartReport, planned: bool) {
        let in_flight = in_flight(&record.partitions);
        let in_flight = if in_flight.is_empty() { in_flight } else { format!("; in flight: {in_flight}") };
        let (level, kind) = if planned { (Level::Info, "restart") } else { (Level::Error, "exit") };
        let text = format!("pid {} after {:.1} s: {}{in_flight}", record.pid, record.uptime, record.cause);
        self.event(level, kind, Some(slot), text);
    }

    /// Whether no worker reaches the group coordinator: partitions without a worker here may then have no
    /// consumer at all.
    fn has_lost_group(&self) -> bool {
        let lost = |running: &RunningWorker| {
            let (health, _) = running.health.as_ref()?;
            Some(health.client.as_ref()?.coordinator_unavailable_seconds > LOST.as_secs_f64())
        };
        let mut running = self.fleet.slots.iter().filter_map(|worker| worker.running.as_ref()).peekable();
        running.peek().is_some() && running.all(|running| lost(running).unwrap_or(false))
    }

    /// The full status.
    pub(super) fn status(&self) -> ConsumeStatus {
        let consumer = &self.params.settings.consumer;
        let totals = self.policy.partitions.totals();
        let partitions = self.policy.partitions.status(self.is_group() && !self.has_lost_group(), self.policy.now());
        let mut owned = BTreeMap::new();
        for slot in partitions.iter().filter_map(|partition| partition.worker) {
            *owned.entry(slot).or_default() += 1;
        }
        let workers = self.fleet.slots.iter().enumerate().map(|(slot, worker)| {
            let count: usize = owned.get(&slot).copied().unwrap_or(0);
            let state = self.policy.state(slot, count > 0);
            worker.status(slot, state, count)
        });
        let workers = workers.collect();
        let mut restarts = BTreeMap::new();
        for (kind, count) in self.fleet.slots.iter().flat_map(|worker| &worker.kinds) {
            *restarts.entry(kind.clone()).or_default() += count;
        }
        ConsumeStatus {
            group: if consumer.read_only { String::new() } else { consumer.group_id.clone() },
            read_only: consumer.read_only,
            assignment: consumer.assignment.word().to_owned(),
            commit_interval_seconds: consumer.commit_interval.as_secs_f64(),
            topics: self.params.settings.consumed_topics(),
            processed: totals.processed,
            failed: totals.failed,
            dead_lettered: totals.dead_lettered,
            retried: totals.retried,
            read_bytes: totals.read_bytes,
            lag: partitions.iter().map(|partition| partition.lag).sum(),
            failures: self.totals.latency.failures.by_reason().clone(),
            rebalances: self.totals.rebalances,
            restarts,
            workers,
            partitions,
            end_to_end: (&self.totals.latency.end_to_end).into(),
            processing: (&self.totals.latency.processing).into(),
            commit: (&self.totals.latency.commit).into(),
        }
    }
}
