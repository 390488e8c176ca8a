//! The coordinator's status and log events.

use std::time::Instant;

use slog::{info, warn};

use super::coordinator::ProducerCoordinator;
use super::thread_fleet::DeliveryTotals;
use crate::monitoring::status::{EventLevel, Phase, ProduceStatus, ThreadStatus};
use crate::throttle_log::ThrottlingChange;

impl ProducerCoordinator {
    /// Publishes the status, if monitoring is enabled.
    pub(super) fn publish_status(&mut self) {
        self.take_client_reports();
        if self.params.registry.is_watched() {
            self.params.registry.produce(self.status());
        }
    }

    /// Takes the reports of the threads' clients. Logs once when the brokers start to throttle them, and once when
    /// they stop.
    fn take_client_reports(&mut self) {
        let now = Instant::now();
        for thread in self.fleet.iter_mut() {
            let Some(client) = thread.client.upgrade() else { continue };
            thread.health = client.health();
            let Some(report) = client.take_report() else { continue };
            thread.client_status = Some(report.status);
            if let Some(throttled) = report.throttled {
                self.throttling.report(&throttled, now);
            }
        }
        let (level, text) = match self.throttling.change(now) {
            None => return,
            Some(ThrottlingChange::Began(brokers)) => {
                let text = format!(
                    "producers are throttled by broker {brokers}: a quota of the cluster limits this client; a message that waits \
                     for longer than producer.message_timeout fails"
                );
                warn!(self.params.logger, "{text}");
                (EventLevel::Warning, text)
            }
            Some(ThrottlingChange::Ended(time)) => {
                let text = format!("producers are no longer throttled, after {time:.1?}");
                info!(self.params.logger, "{text}");
                (EventLevel::Info, text)
            }
        };
        self.params.registry.event(level, "throttle", None, text);
    }

    pub(super) fn phase(&self, phase: Phase, text: &str) {
        self.params.registry.phase(phase, text);
        self.params.registry.event(EventLevel::Info, "phase", None, text);
    }

    /// The current status.
    pub(super) fn status(&self) -> ProduceStatus {
        let limit = self.requested().map(|_| self.limit());
        let DeliveryTotals { threads, acknowledged, unacknowledged, failed, latencies, .. } = self.fleet.totals();
        let threads = threads.into_iter().zip(self.fleet.iter()).map(|(report, thread)| ThreadStatus {
            producer: report.producer,
            requested: limit,
            // A batch reports its messages when it is finished; their acknowledgements may arrive before.
            sent: report.sent.max(report.acknowledged + report.unacknowledged),
            acknowledged: report.acknowledged,
            unacknowledged: report.unacknowledged,
            failed: report.failed,
            client: thread.client_status.clone(),
            health: thread.health.clone(),
        });
        let threads: Vec<_> = threads.collect();
        ProduceStatus {
            topic: self.params.settings.kafka.topic.clone(),
            requested: self.requested(),
            sent: threads.iter().map(|thread| thread.sent).sum(),
            sent_bytes: self.fleet.iter().map(|thread| thread.batches.bytes).sum(),
            acks: self.acks.word().to_owned(),
            acknowledged,
            unacknowledged,
            failed,
            threads,
            acknowledgement: (&latencies.due).into(),
        }
    }
}
