//! Reports of the workers' Kafka clients: their queues and connections for the status, and throttling by the
//! brokers. A throttled partition is neither stalled nor idle.

use std::time::Instant;

use actix::prelude::*;
use slog::{info, warn};

use super::actor::ConsumerSupervisor;
use super::policy::Event;
use crate::kafka::statistics::ClientReport;
use crate::monitoring::status::EventLevel as Level;
use crate::throttle_log::ThrottlingChange;

impl ConsumerSupervisor {
    pub(super) fn on_client_report(&mut self, slot: usize, report: ClientReport, context: &mut Context<Self>) {
        let ClientReport { status, throttled } = report;
        let Some(running) = &mut self.fleet.slots[slot].running else { return };
        running.counted = Some(status);
        let Some(throttled) = throttled else { return };
        let now = Instant::now();
        self.totals.throttling.report(&throttled, now);
        let until = self.clock.active_at(now) + throttled.remaining;
        if self.policy.partitions.throttle(slot, &throttled.partitions, until) {
            self.clock.hold(now, throttled.remaining);
        }
        self.apply_event(Event::Throttled(slot, throttled.partitions, throttled.remaining), context);
    }

    /// Logs once when the brokers begin to throttle the workers, and once when they no longer do.
    pub(super) fn log_throttling(&mut self) {
        let (level, text) = match self.totals.throttling.change(Instant::now()) {
            None => return,
            Some(ThrottlingChange::Began(brokers)) => {
                let text = format!(
                    "consumers are throttled by broker {brokers}: a quota of the cluster limits this client; what waits for it \
                     counts neither as stalled nor as idle"
                );
                warn!(self.params.logger, "{text}");
                (Level::Warning, text)
            }
            Some(ThrottlingChange::Ended(time)) => {
                let text = format!("consumers are no longer throttled, after {time:.1?}");
                info!(self.params.logger, "{text}");
                (Level::Info, text)
            }
        };
        self.event(level, "throttle", None, text);
    }
}
