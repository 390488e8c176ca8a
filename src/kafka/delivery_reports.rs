//! Delivery reports: counts, latencies and outcomes of sent messages.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::send_time::SendLatency;
use crate::latency::LatencyHistogram;
use crate::stamp::Stamp;

/// The maximum number of distinct failure reasons.
const REASONS: usize = 100;
/// The entry that counts all further reasons.
const OTHER_REASONS: &str = "other reasons";

/// The delivery statistics of a client.
#[derive(Default)]
pub struct DeliveryStats {
    acknowledged: AtomicU64,
    unacknowledged: AtomicU64,
    latencies: Mutex<Latencies>,
    failed: Mutex<BTreeMap<String, u64>>,
    topic_missing: AtomicBool,
}

/// Latency histograms of acknowledgements.
#[derive(Clone, Default)]
pub struct Latencies {
    /// From the scheduled time (with a rate) or the creation of a message to its acknowledgement.
    pub due: LatencyHistogram,
    /// From the send call to the acknowledgement.
    pub sent: LatencyHistogram,
}

impl Latencies {
    /// Merges `other` into this.
    pub fn add(&mut self, other: &Self) {
        self.due.add(&other.due);
        self.sent.add(&other.sent);
    }
}

impl DeliveryStats {
    /// The number of messages acknowledged by the brokers.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The number of messages sent with `acks=0`, whose delivery is unknown.
    pub fn unacknowledged(&self) -> u64 {
        self.unacknowledged.load(Ordering::Relaxed)
    }

    /// The number of messages that did not fail: acknowledged, or sent with `acks=0`.
    pub fn delivered(&self) -> u64 {
        self.acknowledged().saturating_add(self.unacknowledged())
    }

    /// Counts a message sent with `acks=0`.
    pub(super) fn send_unacknowledged(&self) {
        self.unacknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an acknowledged message and records its latency, if given.
    pub(super) fn record_ack(&self, age: Option<SendLatency>) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        if let Some(age) = age
            && let Ok(mut latencies) = self.latencies.lock()
        {
            latencies.due.record(age.since_due);
            latencies.sent.record(age.since_sent);
        }
    }

    /// Adds the recorded latencies to `total`.
    pub fn add_latencies_to(&self, total: &mut Latencies) {
        if let Ok(latencies) = self.latencies.lock() {
            total.add(&latencies);
        }
    }

    /// Returns whether the topic is missing, by the client's errors or a metadata request.
    pub fn is_topic_missing(&self) -> bool {
        self.topic_missing.load(Ordering::Relaxed)
    }

    /// Sets [`DeliveryStats::is_topic_missing`].
    pub fn set_topic_missing(&self, missing: bool) {
        self.topic_missing.store(missing, Ordering::Relaxed);
    }

    /// The number of failed messages by reason.
    pub fn failed(&self) -> BTreeMap<String, u64> {
        self.failed.lock().map(|failed| failed.clone()).unwrap_or_default()
    }

    /// Counts one failed message.
    pub fn fail(&self, reason: String) {
        if let Ok(mut failed) = self.failed.lock() {
            // A generator may return a different text for every message.
            let known = failed.len() < REASONS || failed.contains_key(&reason);
            *failed.entry(if known { reason } else { OTHER_REASONS.to_owned() }).or_default() += 1;
        }
    }
}

/// The delivery outcome of a stamped message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryOutcome {
    /// The message's stamp.
    pub stamp: Stamp,
    /// Partition and offset of the acknowledged message; `None` if it failed.
    pub place: Option<(i32, i64)>,
}

/// Receives every outcome, on the thread that serves delivery reports or, for a message that the client rejected, on
/// the producer thread. Blocking here is backpressure on the producer.
pub trait DeliveryObserver: Send + Sync {
    /// Reports one acknowledged or failed message.
    fn notify(&self, outcome: DeliveryOutcome);
    /// Forwards buffered outcomes; no more arrive for the moment.
    fn flush(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_without_number_are_counted_as_others() {
        let deliveries = DeliveryStats::default();
        for number in 0..1_000 {
            deliveries.fail(format!("no {number}"));
            deliveries.fail("no 7".to_owned());
        }
        let failed = deliveries.failed();
        assert_eq!((failed.len(), failed["no 7"], failed[OTHER_REASONS]), (101, 1_001, 900));
        assert_eq!(failed.values().sum::<u64>(), 2_000);
    }
}
