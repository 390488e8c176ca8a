//! The committed offsets of the partitions: where the next worker of a partition starts, and whether everything that
//! was processed is committed.

use std::time::Duration;

use super::messages::CommittedOffsets;
use super::partition::{PartitionEntry, ResumeFrom, distance};
use super::partition_table::PartitionTable;
use crate::consumer::protocol::PartitionAssignment;
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;

/// The last known commit of a partition.
pub(super) struct CommittedPosition<'a> {
    pub(super) name: &'a TopicPartition,
    pub(super) consumer: Option<usize>,
    /// The partition is not consumed any further.
    pub(super) is_stopped: bool,
    pub(super) offset: i64,
}

impl PartitionTable {
    /// The start offsets of the next worker of these partitions.
    pub(super) fn starts(&self, names: &[TopicPartition], from: ResumeFrom) -> Vec<PartitionAssignment> {
        let start = |name: &TopicPartition| {
            let partition = self.entries.get(name)?;
            let (start, topic_id) = (partition.resume_at(from), partition.topic_id.clone());
            Some(PartitionAssignment { partition: name.clone(), start, until: partition.stop_offset, topic_id })
        };
        names.iter().filter_map(start).collect()
    }

    /// Whether none of these partitions has been consumed yet.
    pub(super) fn is_untouched(&self, names: &[TopicPartition]) -> bool {
        let untouched =
            |partition: &PartitionEntry| partition.position == partition.start_offset && partition.committed.is_none();
        names.iter().filter_map(|name| self.entries.get(name)).all(untouched)
    }

    /// Records the committed offsets of these partitions before a worker starts there. A commit from before this
    /// run is ignored: the run may have started at another offset.
    pub(super) fn resume(&mut self, names: &[TopicPartition], committed: &Offsets) {
        for name in names {
            let Some(partition) = self.entries.get_mut(name) else { continue };
            let reply = committed.get(name).copied();
            if partition.committed.is_some() || reply != partition.committed_before {
                partition.committed = reply.or(partition.committed);
            }
        }
    }

    /// Counts messages as handled that an exited worker has committed, although its last report did not arrive.
    pub(super) fn count_unreported(&mut self, names: &[TopicPartition]) {
        for name in names {
            let Some(partition) = self.entries.get_mut(name) else { continue };
            let committed = partition.committed.unwrap_or(0);
            partition.unreported += distance(partition.position, committed);
            partition.position = partition.position.max(committed);
        }
    }

    /// The number of committed offsets without a report; gaps in the log count, too.
    pub(super) fn unreported(&self) -> u64 {
        self.entries.values().map(|partition| partition.unreported).sum()
    }

    /// The last known commit of this run; with manual assignment it commits each partition's start offset.
    pub(super) fn last_commit(&self, name: &TopicPartition) -> i64 {
        self.entries.get(name).map_or(0, |partition| partition.committed.unwrap_or(partition.start_offset))
    }

    /// The last commit of each partition, with its worker.
    pub(super) fn committed_positions(&self) -> impl Iterator<Item = CommittedPosition<'_>> {
        self.entries.iter().map(|(name, partition)| CommittedPosition {
            name,
            consumer: partition.consumer(),
            is_stopped: partition.stopped.is_some(),
            offset: self.last_commit(name),
        })
    }

    /// Records the committed offsets and high watermarks that were read back at the end.
    pub(super) fn read_back(&mut self, reply: &CommittedOffsets, now: Duration) {
        // No worker has sent a report since.
        self.on_watermarks_requested();
        self.set_high_watermarks(&reply.ends, now);
        for (name, partition) in self.entries.iter_mut().filter(|(name, _)| !reply.unknown.contains(name)) {
            partition.committed = reply.committed.get(name).copied();
        }
    }

    /// Partitions whose committed offset is below their position, with that position.
    pub(super) fn commit_lag(&self) -> Offsets {
        let is_behind = |partition: &&PartitionEntry| {
            partition.position != partition.start_offset
                && partition.committed.is_none_or(|committed| committed < partition.position)
        };
        let behind = self.entries.iter().filter(|(_, partition)| is_behind(partition));
        behind.map(|(name, partition)| (name.clone(), partition.position)).collect()
    }

    /// A description of the first partition whose committed offset differs from its position. With `shared`
    /// other members commit, too, and the committed offset may be higher.
    pub(super) fn uncommitted(&self, shared: bool) -> Option<String> {
        let wrong = |partition: &&PartitionEntry| match partition.committed {
            _ if partition.position == partition.start_offset => false,
            Some(committed) if shared => committed < partition.position,
            committed => committed != Some(partition.position),
        };
        self.entries.iter().find(|(_, partition)| wrong(partition)).map(|(name, partition)| match partition.committed {
            Some(committed) => format!("{name}: processed up to {}, committed up to {committed}", partition.position),
            None => format!("{name}: processed up to {}, nothing is committed", partition.position),
        })
    }
}
