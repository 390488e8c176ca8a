//! What became of the messages that were sent: counted, timed, and told to whoever wants to know.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::birth::Age;
use crate::latency::Latency;
use crate::stamp::Stamp;

/// Reasons that are told apart at most.
const REASONS: usize = 100;
/// What stands for all the others.
const OTHER_REASONS: &str = "other reasons";

/// What became of the messages that were sent.
#[derive(Default)]
pub struct Deliveries {
    acknowledged: AtomicU64,
    latencies: Mutex<Latencies>,
    failed: Mutex<BTreeMap<String, u64>>,
}

/// How long acknowledgements took.
#[derive(Clone, Default)]
pub struct Latencies {
    /// From the moment that a message was due (if there is a rate) or made.
    pub due: Latency,
    /// From the moment that it was sent.
    pub sent: Latency,
}

impl Latencies {
    /// Counts all of `other`.
    pub fn add(&mut self, other: &Self) {
        self.due.add(&other.due);
        self.sent.add(&other.sent);
    }
}

impl Deliveries {
    /// How many the brokers have acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Counts one, and how old it is, if that is asked for.
    pub(super) fn acknowledge(&self, age: Option<Age>) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        if let Some(age) = age
            && let Ok(mut latencies) = self.latencies.lock()
        {
            latencies.due.record(age.since_due);
            latencies.sent.record(age.since_sent);
        }
    }

    /// Adds how long the acknowledgements have taken.
    pub fn add_latencies_to(&self, total: &mut Latencies) {
        if let Ok(latencies) = self.latencies.lock() {
            total.add(&latencies);
        }
    }

    /// How many were given up, by reason.
    pub fn failed(&self) -> BTreeMap<String, u64> {
        self.failed.lock().map(|failed| failed.clone()).unwrap_or_default()
    }

    /// Counts one message that was given up.
    pub fn fail(&self, reason: String) {
        if let Ok(mut failed) = self.failed.lock() {
            // A generator's texts may be as many as its messages.
            let known = failed.len() < REASONS || failed.contains_key(&reason);
            *failed.entry(if known { reason } else { OTHER_REASONS.to_owned() }).or_default() += 1;
        }
    }
}

/// What became of a stamped message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which message.
    pub stamp: Stamp,
    /// Partition and offset where it was acknowledged; `None` if it was given up.
    pub place: Option<(i32, i64)>,
}

/// Who is told of every outcome: on the thread that serves the client's deliveries, or on the producer's own if the client
/// has refused the message. Waiting there is backpressure on the producer.
pub trait Outcomes: Send + Sync {
    /// One message is acknowledged or given up.
    fn tell(&self, outcome: Outcome);
    /// Nothing more will come for the moment: what is held back is to be handed on.
    fn flush(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_without_number_are_counted_as_others() {
        let deliveries = Deliveries::default();
        for number in 0..1_000 {
            deliveries.fail(format!("no {number}"));
            deliveries.fail("no 7".to_owned());
        }
        let failed = deliveries.failed();
        assert_eq!((failed.len(), failed["no 7"], failed[OTHER_REASONS]), (101, 1_001, 900));
        assert_eq!(failed.values().sum::<u64>(), 2_000);
    }
}
