//! One partition: its position and its counters.

use std::time::Duration;

use super::messages::DiscoveredPartition;
use crate::consumer::protocol::InFlight;
use crate::kafka::topic_id::TopicId;
use crate::monitoring::status::{InFlightStatus, PartitionStatus};
use crate::partition_counts::PartitionCounts;
use crate::record::TopicPartition;
use crate::report::PartitionReport;

/// The offset from which a worker continues after another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResumeFrom {
    /// The committed offset of this run, or its start offset if it has committed nothing.
    Committed,
    /// The position in the last heartbeat of the other worker: this run commits nothing.
    Position,
}

/// The last known position of an exited worker in one of its partitions, from its last heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastPosition {
    pub(super) partition: TopicPartition,
    pub(super) position: i64,
    /// The committed offset, where its successor starts.
    pub(super) committed: i64,
    pub(super) in_flight: Option<i64>,
    /// Whether the partition had messages to process.
    pub(super) has_work: bool,
}

/// The owner of a partition. A partition never has two owners: it moves to another worker after its owner has
/// released it or has exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The worker in this slot owns the partition.
    Slot(usize),
    /// `from` owns the partition until it releases it; then `to` owns it.
    Moving { from: usize, to: usize },
    /// The partition has no owner for the rest of the run; the worker that had it may have yet to release it.
    Quarantined { from: Option<usize> },
}

impl Owner {
    /// The worker that may consume the partition now.
    pub(super) fn current(self) -> Option<usize> {
        match self {
            Self::Slot(slot) | Self::Moving { from: slot, .. } => Some(slot),
            Self::Quarantined { .. } => None,
        }
    }

    /// The owner after all pending moves.
    pub(super) fn final_owner(self) -> Option<usize> {
        match self {
            Self::Slot(slot) | Self::Moving { to: slot, .. } => Some(slot),
            Self::Quarantined { .. } => None,
        }
    }
}

/// The state of one partition.
#[derive(Clone, Debug)]
pub(super) struct PartitionEntry {
    /// Its owner in this run; with a group it may be on another host.
    pub(super) owner: Option<Owner>,
    pub(super) start_offset: i64,
    /// The id of the topic that all offsets here refer to.
    pub(super) topic_id: Option<TopicId>,
    /// Its worker has received a restart for that topic id: what it reports until it confirms refers to the
    /// previous topic.
    pub(super) is_restarting: bool,
    pub(super) stop_offset: Option<i64>,
    /// The committed offset of earlier runs.
    pub(super) committed_before: Option<i64>,
    pub(super) position: i64,
    pub(super) committed: Option<i64>,
    /// The offset up to which messages can be consumed: under `isolation.level = read_committed` the last stable
    /// offset.
    pub(super) high_watermark: i64,
    /// The high watermark that its worker has received with messages; it may include transactions that are still
    /// open.
    pub(super) reported_high_watermark: i64,
    /// The high watermark that was known when the last request for watermarks was sent.
    pub(super) high_watermark_at_request: i64,
    /// The last offset from the brokers was not below the high watermark: no transaction was open.
    pub(super) is_stable: bool,
    /// Counters of processes that have exited or do not consume it any more.
    pub(super) before: PartitionCounts,
    /// Counters of the process that consumes it now.
    pub(super) now: PartitionCounts,
    /// The message in flight, with the time of its worker's report.
    pub(super) in_flight: Option<(InFlight, Duration)>,
    pub(super) retrying: bool,
    /// As [`crate::consumer::protocol::PartitionProgress::waits_for_turn`].
    pub(super) waits_for_turn: bool,
    /// When the position last moved or the partition had no messages; in the future while the brokers throttle.
    pub(super) moved: Duration,
    pub(super) abandoned: u64,
    /// Offsets that an exited worker has committed without a report that they were handled.
    pub(super) unreported: u64,
    /// The reason for which it is not consumed any further.
    pub(super) stopped: Option<String>,
}

impl PartitionEntry {
    /// The worker that consumes it, or will; also one that has yet to release it although it is quarantined.
    pub(super) fn consumer(&self) -> Option<usize> {
        match self.owner? {
            Owner::Quarantined { from } => from,
            owner => owner.current(),
        }
    }

    /// Adds the counters of the current process to those of earlier processes.
    pub(super) fn merge_progress(&mut self) {
        self.before = self.before + std::mem::take(&mut self.now);
        (self.in_flight, self.retrying, self.waits_for_turn) = (None, false, false);
        self.is_restarting = false;
    }

    /// Resets the offsets after the topic was created again. The counters stay.
    pub(super) fn restart(&mut self, found: &DiscoveredPartition, now: Duration) {
        let DiscoveredPartition { start, end, committed } = found;
        self.before = self.before + std::mem::take(&mut self.now);
        (self.start_offset, self.position, self.stop_offset) = (start.start, start.start, start.until);
        self.topic_id.clone_from(&start.topic_id);
        (self.committed, self.committed_before) = (None, *committed);
        (self.high_watermark, self.reported_high_watermark, self.high_watermark_at_request, self.is_stable) =
            (*end, 0, 0, true);
        (self.in_flight, self.retrying, self.waits_for_turn) = (None, false, false);
        (self.is_restarting, self.moved) = (self.consumer().is_some(), now);
    }

    /// The start offset of its next worker.
    pub(super) fn resume_at(&self, from: ResumeFrom) -> i64 {
        match from {
            ResumeFrom::Committed => self.committed.unwrap_or(self.start_offset),
            ResumeFrom::Position => self.position,
        }
    }

    /// The counters of all its processes.
    pub(super) fn counts(&self) -> PartitionCounts {
        self.before + self.now
    }

    /// The lag as Kafka counts it: includes transaction markers, and offsets beyond the stop offset.
    pub(super) fn lag(&self) -> u64 {
        distance(self.position, self.high_watermark)
    }

    /// The number of offsets that remain up to the stop offset.
    pub(super) fn remaining(&self) -> u64 {
        distance(self.position, self.stop_offset.map_or(self.high_watermark, |until| until.min(self.high_watermark)))
    }

    /// Records the high watermark that its worker has reported. It is the readable end only while no transaction
    /// is open.
    pub(super) fn see_high_watermark(&mut self, high_watermark: Option<i64>) {
        self.reported_high_watermark = high_watermark.unwrap_or(self.reported_high_watermark);
        let end = if self.is_stable { self.reported_high_watermark } else { 0 };
        self.high_watermark = self.high_watermark.max(self.position).max(end);
    }

    /// Records the offset that the brokers have returned. If it is below the high watermark that was known
    /// before the request, it is the last stable offset.
    pub(super) fn set_end(&mut self, end: i64) {
        self.is_stable = end >= self.high_watermark_at_request;
        self.high_watermark = if self.is_stable { self.high_watermark.max(end) } else { end.max(self.position) };
    }

    /// Whether its worker has no message in flight and waits for messages that should be available.
    pub(super) fn is_starved(&self) -> bool {
        self.consumer().is_some()
            && self.stopped.is_none()
            && self.remaining() > 0
            && self.in_flight.is_none()
            && !self.retrying
            && !self.waits_for_turn
    }

    /// The partition's status. With `shared`, a partition without a worker here may be consumed elsewhere:
    /// unknown values are left out.
    pub(super) fn status(&self, name: &TopicPartition, shared: bool, now: Duration) -> PartitionStatus {
        let is_elsewhere = shared && self.consumer().is_none();
        let is_well = is_elsewhere || self.stopped.is_some() || self.remaining() == 0;
        PartitionStatus {
            topic: name.topic.clone(),
            partition: name.partition,
            worker: self.consumer(),
            start_offset: self.start_offset,
            position: self.position,
            committed: self.committed,
            high_watermark: self.high_watermark,
            stop_offset: self.stop_offset,
            lag: if is_elsewhere { 0 } else { self.lag() },
            counts: self.counts(),
            in_flight: self.in_flight.map(|(in_flight, reported)| InFlightStatus {
                offset: in_flight.offset,
                age_seconds: (Duration::from_millis(in_flight.age_ms) + now.saturating_sub(reported)).as_secs_f64(),
            }),
            retrying: self.retrying,
            stalled_seconds: if is_well { 0.0 } else { now.saturating_sub(self.moved).as_secs_f64() },
            stopped: self.stopped.clone(),
        }
    }

    /// The partition's part of the report.
    pub(super) fn report(&self, name: &TopicPartition, read_only: bool) -> PartitionReport {
        PartitionReport {
            topic: name.topic.clone(),
            partition: name.partition,
            worker: self.consumer(),
            start_offset: self.start_offset,
            position: self.position,
            committed: self.committed,
            high_watermark: self.high_watermark,
            lag: (!read_only).then(|| self.lag() as i64),
            counts: self.counts(),
            abandoned: self.abandoned,
            stopped: self.stopped.clone(),
        }
    }
}

/// The distance from one offset to another; 0 if that is behind it.
pub(super) fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}
