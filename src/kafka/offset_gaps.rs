//! Finds ranges of a log that hold no message: transaction markers, aborted batches, compacted records.
//!
//! A group member does not report partition ends (librdkafka 2.12 would lose a message at a rebalance, see
//! [`Consumer::new`]), so its position alone does not show whether a message is late or will never come. This client
//! reads the same partition from the same position, outside the group.

use std::time::{Duration, Instant};

use slog::Logger;

use super::consumer::{Consumer, ConsumerError, ConsumerRole, MessageQueue, PollResult};
use super::error::KafkaError;
use super::offsets::Offsets;
use crate::record::TopicPartition;
use crate::settings::Settings;

/// The maximum interval between two polls of the queues.
const POLL: Duration = Duration::from_millis(10);

/// A consumer that commits nothing and is in no group.
pub struct GapFinder(Consumer);

/// What the log holds at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message at this offset or later.
    Message,
    /// No message before this offset, the last stable one.
    GapUntil(i64),
}

impl GapFinder {
    /// Creates the client with the consumers' own properties, so that it skips the same messages as they do.
    ///
    /// # Errors
    /// [`KafkaError::Settings`].
    pub fn new(settings: &Settings, logger: &Logger) -> Result<Self, KafkaError> {
        let reports_ends = true;
        Consumer::new(settings, ConsumerRole::Manual, usize::MAX, reports_ends, logger, |_nothing_is_stored| ())
            .map(Self)
    }

    /// What the log holds at each of these positions; a position without a result within `timeout` is left out.
    ///
    /// # Errors
    /// The client has failed.
    pub fn find(&self, positions: &Offsets, timeout: Duration) -> Result<Vec<(TopicPartition, Found)>, KafkaError> {
        let names: Vec<_> = positions.keys().cloned().collect();
        let found = self.read(positions, Instant::now() + timeout);
        // The queues are dropped by now.
        let unassigned = self.0.unassign(&names);
        let found = found?;
        unassigned.map(|()| found)
    }

    fn read(&self, positions: &Offsets, deadline: Instant) -> Result<Vec<(TopicPartition, Found)>, KafkaError> {
        let mut streams = positions
            .iter()
            .map(|(name, start)| Ok((self.0.split_partition_queue(name, None)?, *start)))
            .collect::<Result<Vec<_>, KafkaError>>()?;
        let starts: Vec<_> = positions.iter().map(|(name, start)| (name.clone(), *start)).collect();
        self.0.assign(&starts)?;
        let mut found = Vec::with_capacity(streams.len());
        while !streams.is_empty() && Instant::now() < deadline {
            self.0.poll(POLL).map_err(|broken| KafkaError::Request {
                what: "the log could not be read".to_owned(),
                reason: match broken {
                    ConsumerError::Permanent(reason)
                    | ConsumerError::Transient(reason)
                    | ConsumerError::InstanceIdInUse(reason) => reason,
                },
            })?;
            streams.retain_mut(|(stream, start)| {
                let outcome = match stream.poll_next() {
                    PollResult::Message(_) => Found::Message,
                    PollResult::End(end) if end > *start => Found::GapUntil(end),
                    // Transient errors are ignored; the worker reports permanent ones.
                    PollResult::End(_)
                    | PollResult::Empty
                    | PollResult::OutOfRange
                    | PollResult::Trouble(_)
                    | PollResult::Unreadable(_)
                    | PollResult::Broken(_) => return true,
                };
                found.push((stream.partition().clone(), outcome));
                false
            });
        }
        Ok(found)
    }
}
