//! One partition: where reading it has come to, and what was counted.

use std::time::{Duration, Instant};

use crate::consumer::control::InFlight;
use crate::monitoring::status::{InFlightStatus, PartitionStatus};
use crate::record::TopicPartition;
use crate::report::PartitionReport;

/// One partition.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    /// Who reads it, or will; with a group it may be somebody on another host.
    pub(super) slot: Option<usize>,
    pub(super) first: i64,
    pub(super) until: Option<i64>,
    /// By earlier runs.
    pub(super) committed_before: Option<i64>,
    pub(super) next: i64,
    pub(super) committed: Option<i64>,
    pub(super) end: i64,
    /// By processes that are gone, or read it no more.
    pub(super) before: Counts,
    /// By the process that reads it now.
    pub(super) now: Counts,
    /// With the moment at which its worker has told of it.
    pub(super) in_flight: Option<(InFlight, Instant)>,
    pub(super) retrying: bool,
    /// As [`crate::consumer::control::PartitionProgress::read_up_to`], of the worker that reads it now.
    pub(super) read_up_to: Option<i64>,
    /// When it last moved, or had nothing to read.
    pub(super) moved: Instant,
    pub(super) abandoned: u64,
    /// Read no further, and why.
    pub(super) stopped: Option<String>,
}

/// What became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) processed: u64,
    /// And skipped.
    pub(super) failed: u64,
    pub(super) dead_lettered: u64,
    /// How often a message was tried again.
    pub(super) retried: u64,
    pub(super) read_bytes: u64,
}

impl Counts {
    /// Messages that are done with.
    pub(super) fn dealt_with(self) -> u64 {
        self.processed + self.failed + self.dead_lettered
    }

    pub(super) fn add(self, other: Self) -> Self {
        Self {
            processed: self.processed + other.processed,
            failed: self.failed + other.failed,
            dead_lettered: self.dead_lettered + other.dead_lettered,
            retried: self.retried + other.retried,
            read_bytes: self.read_bytes + other.read_bytes,
        }
    }
}

impl Partition {
    /// Nobody adds to what was counted: it stays.
    pub(super) fn fold(&mut self) {
        self.before = self.before.add(std::mem::take(&mut self.now));
        (self.in_flight, self.retrying, self.read_up_to) = (None, false, None);
    }

    /// Kafka's own idea of what is left: marks of transactions count, and so does what is not to be read.
    pub(super) fn lag(&self) -> u64 {
        distance(self.next, self.end)
    }

    /// The next offset at which there may be a message.
    pub(super) fn read(&self) -> i64 {
        self.read_up_to.map_or(self.next, |end| end.max(self.next))
    }

    /// Messages that should come.
    pub(super) fn waiting(&self) -> u64 {
        distance(self.read(), self.until.map_or(self.end, |until| until.min(self.end)))
    }

    /// For the status; `shared`: without a worker here it may be read elsewhere, and what is not known from there is not
    /// told.
    pub(super) fn status(&self, name: &TopicPartition, shared: bool) -> PartitionStatus {
        let counts = self.before.add(self.now);
        let is_elsewhere = shared && self.slot.is_none();
        let is_well = is_elsewhere || self.stopped.is_some() || self.waiting() == 0;
        PartitionStatus {
            topic: name.topic.clone(),
            partition: name.partition,
            worker: self.slot,
            first: self.first,
            next: self.next,
            committed: self.committed,
            end: self.end,
            until: self.until,
            lag: if is_elsewhere { 0 } else { self.lag() },
            processed: counts.processed,
            failed: counts.failed,
            dead_lettered: counts.dead_lettered,
            retried: counts.retried,
            read_bytes: counts.read_bytes,
            in_flight: self.in_flight.map(|(in_flight, told)| InFlightStatus {
                offset: in_flight.offset,
                age_seconds: (Duration::from_millis(in_flight.age_ms) + told.elapsed()).as_secs_f64(),
            }),
            retrying: self.retrying,
            still_seconds: if is_well { 0.0 } else { self.moved.elapsed().as_secs_f64() },
            stopped: self.stopped.clone(),
        }
    }

    /// For the report.
    pub(super) fn report(&self, name: &TopicPartition) -> PartitionReport {
        let counts = self.before.add(self.now);
        PartitionReport {
            topic: name.topic.clone(),
            partition: name.partition,
            worker: self.slot,
            first: self.first,
            next: self.next,
            committed: self.committed,
            end: self.end,
            lag: self.lag() as i64,
            processed: counts.processed,
            failed: counts.failed,
            dead_lettered: counts.dead_lettered,
            retried: counts.retried,
            abandoned: self.abandoned,
            stopped: self.stopped.clone(),
        }
    }
}

/// From one offset to another; 0 if that is behind it.
pub(super) fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}
