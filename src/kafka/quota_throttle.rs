//! Quotas: the brokers that throttle a client, and the partitions that wait.
//!
//! A throttling broker responds at once, with the time for which it reads nothing more from this connection.
//! librdkafka's statistics have these times. Until such a time is over no messages of that broker's partitions
//! arrive, and neither client nor handler has failed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

use crate::record::TopicPartition;

/// The throttling of a client at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttled {
    /// The ids of the throttling brokers.
    pub brokers: Vec<i32>,
    /// The time until the last of them stops throttling.
    #[serde(deserialize_with = "bounded")]
    pub remaining: Duration,
    /// The partitions that the client consumes from these brokers.
    pub partitions: Vec<TopicPartition>,
}

/// The protocol's maximum: 31 bits of milliseconds.
pub(super) const MAX_THROTTLE_TIME: Duration = Duration::from_millis(i32::MAX as u64);

/// Limits a received duration, so that adding it to a time cannot overflow.
fn bounded<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Ok(Duration::deserialize(from)?.min(MAX_THROTTLE_TIME))
}

/// The throttling of one broker in the last interval of the statistics.
#[derive(Clone, Debug)]
pub(super) struct Throttle {
    pub(super) broker: i32,
    /// The longest throttle time of its responses.
    pub(super) time: Duration,
    pub(super) partitions: Vec<TopicPartition>,
}

/// The throttle times of a client that are not over yet.
#[derive(Debug, Default)]
pub(super) struct Throttles(BTreeMap<i32, (Throttle, Instant)>);

impl Throttles {
    /// Adds the statistics of the last `interval`. A response may be as old as that, and the next statistics arrive
    /// one interval later: a time counts from now and is extended by one interval.
    pub(super) fn add(&mut self, throttles: impl IntoIterator<Item = Throttle>, interval: Duration, now: Instant) {
        self.0.retain(|_, (_, until)| *until > now);
        for throttle in throttles {
            let until = now + throttle.time + interval;
            self.0.insert(throttle.broker, (throttle, until));
        }
    }

    /// The throttle time of a broker; zero if it does not throttle.
    pub(super) fn time(&self, broker: i32, now: Instant) -> Duration {
        self.0.get(&broker).filter(|(_, until)| *until > now).map_or(Duration::ZERO, |(throttle, _)| throttle.time)
    }

    /// The current throttling, if any.
    pub(super) fn current(&self, now: Instant) -> Option<Throttled> {
        let current: Vec<_> = self.0.values().filter(|(_, until)| *until > now).collect();
        let remaining = current.iter().map(|(_, until)| *until - now).max()?;
        let brokers = current.iter().map(|(throttle, _)| throttle.broker).collect();
        let partitions = current.iter().flat_map(|(throttle, _)| throttle.partitions.clone()).collect();
        Some(Throttled { brokers, remaining, partitions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_throttles_until_its_time_and_an_interval_are_over() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let partition = TopicPartition::new("t", 7);
        let throttle = |broker, time| Throttle { broker, time, partitions: vec![partition.clone()] };
        let mut throttles = Throttles::default();
        assert_eq!(throttles.current(start), None);
        throttles.add([throttle(1, 10 * second), throttle(2, second)], second, start);
        let both = throttles.current(start).unwrap();
        assert_eq!((both.brokers, both.remaining, both.partitions.len()), (vec![1, 2], 11 * second, 2));
        // The statistics of the muted connection have nothing new.
        throttles.add([], second, start + 5 * second);
        let one = throttles.current(start + 5 * second).unwrap();
        assert_eq!((one.brokers, one.remaining, one.partitions), (vec![1], 6 * second, vec![partition.clone()]));
        assert_eq!(throttles.time(1, start + 5 * second), 10 * second);
        assert_eq!(throttles.time(2, start + 5 * second), Duration::ZERO);
        assert_eq!(throttles.current(start + 11 * second), None);
    }
}
