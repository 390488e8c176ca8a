//! Detects workers whose Kafka clients do not reach the cluster although a new client does: a client may keep an
//! address at which there is no broker any more. A new process has a new client.

use std::time::Duration;

use super::slot_state::StopReason;
use super::{Action, Policy};
use crate::consumer::protocol::WorkerHealth;
use crate::settings::Consumer;

/// How often a new client is tried while a worker does not reach the cluster.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How long new clients have to reach the cluster before a worker is restarted for it, at most: the worker's own
/// client may only have to notice that the brokers are back.
const RECONNECT_TIME: Duration = Duration::from_secs(10);

/// The results of new clients while a worker does not reach the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    probing: bool,
    probed: Duration,
    /// Since when every new client has reached the cluster and the group coordinator.
    reachable_since: Option<Duration>,
}

/// What a worker does not reach, and for how long; `None` if it reaches everything.
fn cut_off(rules: &Consumer, health: &WorkerHealth) -> Option<String> {
    let timeout = rules.watchdog.stall_timeout;
    if timeout.is_zero() {
        return None;
    }
    let uncommitted = Duration::from_millis(health.uncommitted_ms).saturating_sub(rules.commit_interval);
    if uncommitted >= timeout {
        return Some(format!("what it has processed has not been committed for {uncommitted:.1?}"));
    }
    let client = health.client.as_ref()?;
    let age = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    let over = |seconds| Some(age(seconds)).filter(|age| *age >= timeout);
    if let Some(age) = over(client.coordinator_unavailable_seconds) {
        return Some(format!("its client has not reached its group's coordinator for {age:.1?}"));
    }
    over(client.last_response_age_seconds).map(|age| format!("no broker has answered its client for {age:.1?}"))
}

impl Policy {
    /// Handles a worker's report about its client.
    pub(super) fn on_health(&mut self, number: usize, health: &WorkerHealth) {
        self.slots[number].cut_off = cut_off(&self.settings, health);
        if self.slots.iter().all(|slot| slot.cut_off.is_none()) {
            self.reach.reachable_since = None;
        }
    }

    /// Handles the result of a probe: whether a new client has reached the cluster and the group coordinator.
    pub(super) fn on_probed(&mut self, reached: bool) {
        self.reach.probing = false;
        self.reach.reachable_since = if reached { self.reach.reachable_since.or(Some(self.now)) } else { None };
    }

    /// Checks a worker that may not reach the cluster. Returns whether it does not. The worker is restarted once
    /// new clients have reached the cluster for long enough.
    pub(super) fn check_reach(&mut self, number: usize) -> bool {
        let Some(text) = self.slots[number].cut_off.clone() else { return false };
        let timeout = self.settings.watchdog.stall_timeout.min(RECONNECT_TIME);
        if self.reach.reachable_since.is_some_and(|since| self.now.saturating_sub(since) >= timeout) {
            self.stop_failed(number, StopReason::CutOff(text));
            return true;
        }
        let due = self.now.saturating_sub(self.reach.probed) >= PROBE_INTERVAL;
        if due && !std::mem::replace(&mut self.reach.probing, true) {
            self.reach.probed = self.now;
            self.act(Action::Probe);
        }
        true
    }
}
