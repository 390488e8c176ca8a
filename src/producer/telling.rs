//! The coordinator tells how it goes.

use std::collections::BTreeMap;

use super::coordinator::ProducerCoordinator;
use crate::kafka::deliveries::Latencies;
use crate::monitoring::status::{EventLevel, Phase, ProduceStatus, ThreadStatus};

impl ProducerCoordinator {
    /// Puts up where everything is, if somebody looks at it.
    pub(super) fn tell(&mut self) {
        if !self.order.board.is_watched() {
            return;
        }
        for thread in &mut self.threads {
            if let Some(counted) = thread.sender.upgrade().and_then(|sender| sender.take_counted()) {
                thread.counted = Some(counted);
            }
        }
        self.order.board.produce(self.status());
    }

    pub(super) fn phase(&self, phase: Phase, text: &str) {
        self.order.board.phase(phase, text);
        self.order.board.event(EventLevel::Info, "phase", None, text);
    }

    /// Where everything is.
    pub(super) fn status(&self) -> ProduceStatus {
        let limit = self.requested().map(|_| self.limit());
        let (mut failed, mut latencies) = (BTreeMap::new(), Latencies::default());
        let threads = self.threads.iter().enumerate().map(|(producer, thread)| {
            let (acknowledged, failures) = thread.outcomes();
            let failures_sum = failures.values().sum();
            for (reason, count) in failures {
                *failed.entry(reason).or_default() += count;
            }
            thread.deliveries.add_latencies_to(&mut latencies);
            // What is sent is known when its slice is done; acknowledgements may come before.
            let sent = thread.handed().max(acknowledged);
            ThreadStatus {
                producer,
                requested: limit,
                sent,
                acknowledged,
                failed: failures_sum,
                client: thread.counted.clone(),
            }
        });
        let threads: Vec<_> = threads.collect();
        ProduceStatus {
            topic: self.order.settings.kafka.topic.clone(),
            requested: self.requested(),
            sent: threads.iter().map(|thread| thread.sent).sum(),
            sent_bytes: self.threads.iter().map(|thread| thread.bytes).sum(),
            acknowledged: threads.iter().map(|thread| thread.acknowledged).sum(),
            failed,
            threads,
            acknowledgement: (&latencies.due).into(),
        }
    }
}
