//! Detects poison messages: messages that kill or hang every process that processes them. The supervisor detects
//! them, since the counters of a worker are lost with its process.
//!
//! If a partition's worker exits, and its successor exits before it has passed the position of the first one, a
//! message there may be the cause, and the next worker is isolated: it requests permission for each message and
//! processes one at a time. A message that was the requested one at two exits is poison. So is a message that
//! was the only one in processing, and for too long, at two exits in a row.
//!
//! An external program that exits without any reply in its lifetime is weak evidence: it may fail with any
//! message. The next worker therefore processes the suspect message after others, if there are any. Without a
//! reply an exit counts only if programs of this worker have replied before, and as long as all that exited like
//! that since the last reply had this same message.

use std::collections::{BTreeMap, BTreeSet};

use super::super::partition::LastPosition;
use crate::consumer::protocol::PoisonMessage;
use crate::record::TopicPartition;

/// The number of exits at one position after which the next worker is isolated.
const EXITS_UNTIL_ISOLATION: u32 = 2;
/// The number of exits with one requested message that make it poison.
const EXITS_OF_POISON: u32 = 2;
/// The largest progress that a worker may have left unreported. The last heartbeat is a tenth of a second old: a
/// worker may have processed this number of further messages before it exited. A slow worker has processed fewer.
const MAX_UNREPORTED: i64 = 1_000;

/// How strongly an exit is evidence against the message that was in processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Other messages were processed in this process, or only the worker's own code was involved.
    Strong,
    /// An external program has exited that had not replied to any message in its lifetime.
    ProgramNeverReplied,
}

/// Detects poison messages: see the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct PoisonDetector {
    suspects: BTreeMap<TopicPartition, Suspect>,
    /// The message of each partition that was requested when its worker exited, and the number of such exits.
    requested: BTreeMap<TopicPartition, (i64, u32)>,
    /// The messages with which programs exited without a reply, since the last reply of any program.
    unreplied: BTreeSet<(TopicPartition, i64)>,
    poison_messages: Vec<PoisonMessage>,
}

#[derive(Clone, Debug)]
struct Suspect {
    exits: u32,
    /// The message that was in processing for too long, if that was the reason.
    hung: Option<i64>,
    /// The highest position that any of the partition's workers is known to have reached.
    reached: i64,
}

/// The exit of a worker that a message may have caused.
#[derive(Clone, Debug)]
pub(super) struct Suspicion<'a> {
    pub(super) last_positions: &'a [LastPosition],
    /// The only message in processing, if it was in processing for too long.
    pub(super) hung: Option<(TopicPartition, i64)>,
    pub(super) requested: Option<(TopicPartition, i64)>,
    pub(super) evidence: Evidence,
    /// Whether external programs of this worker have replied to any message.
    pub(super) has_replied: bool,
    pub(super) cause: &'a str,
}

impl PoisonDetector {
    /// Handles the exit of a worker that a message may have caused. Returns the poison message, if it is known
    /// now.
    pub(super) fn on_exit(&mut self, suspicion: &Suspicion<'_>) -> Option<PoisonMessage> {
        let (partition, offset, times) = self.find(suspicion)?;
        self.suspects.remove(&partition);
        self.requested.remove(&partition);
        let reason = format!("it has killed its worker {times}, at last with: {}", suspicion.cause);
        let poison_message = PoisonMessage { partition, offset, reason };
        if !self
            .poison_messages
            .iter()
            .any(|known| (&known.partition, known.offset) == (&poison_message.partition, offset))
        {
            self.poison_messages.push(poison_message.clone());
        }
        Some(poison_message)
    }

    fn find(&mut self, suspicion: &Suspicion<'_>) -> Option<(TopicPartition, i64, &'static str)> {
        let (hung, requested) = (&suspicion.hung, &suspicion.requested);
        if let (Evidence::ProgramNeverReplied, Some(had)) = (suspicion.evidence, requested.as_ref().or(hung.as_ref())) {
            self.unreplied.insert(had.clone());
        }
        let mut named = requested.as_ref().and_then(|(partition, offset)| {
            let known = self.requested.entry(partition.clone()).or_insert((*offset, 0));
            *known = if known.0 == *offset { (*offset, known.1 + 1) } else { (*offset, 1) };
            (known.1 >= EXITS_OF_POISON).then(|| (partition.clone(), *offset, "each time that it was processed alone"))
        });
        for last in suspicion.last_positions.iter().filter(|last| last.has_work) {
            let hung = hung.as_ref().filter(|(partition, _)| *partition == last.partition).map(|(_, offset)| *offset);
            let suspect = self.suspects.entry(last.partition.clone()).or_insert(Suspect {
                exits: 0,
                hung: None,
                reached: last.position,
            });
            if hung.is_some() && suspect.hung == hung {
                named = named.or(hung.map(|offset| (last.partition.clone(), offset, "twice")));
            }
            suspect.exits += 1;
            suspect.hung = hung;
            // The rate is unknown: assume the distance since the start once more, and a little in addition.
            let ahead = last.position.saturating_sub(last.committed).saturating_add(MAX_UNREPORTED);
            suspect.reached = suspect.reached.max(last.position.saturating_add(ahead));
        }
        let is_proven = match suspicion.evidence {
            Evidence::Strong => true,
            Evidence::ProgramNeverReplied => suspicion.has_replied && self.unreplied.len() == 1,
        };
        named.filter(|_| is_proven)
    }

    /// An external program has replied for the first time in its lifetime: programs work.
    pub(super) fn replied(&mut self) {
        self.unreplied.clear();
    }

    /// Whether one of these partitions has a message that may be poison.
    pub(super) fn is_any(&self, partitions: &[TopicPartition]) -> bool {
        let suspicious = |partition| {
            self.requested.contains_key(partition)
                || self.suspects.get(partition).is_some_and(|suspect| suspect.exits >= EXITS_UNTIL_ISOLATION)
        };
        partitions.iter().any(suspicious)
    }

    /// Records the position of a partition.
    pub(super) fn progressed(&mut self, partition: &TopicPartition, next: i64) {
        if self.suspects.get(partition).is_some_and(|suspect| next > suspect.reached) {
            self.suspects.remove(partition);
        }
        if self.requested.get(partition).is_some_and(|(offset, _)| next > *offset) {
            self.requested.remove(partition);
        }
        self.poison_messages
            .retain(|known| known.partition != *partition || known.offset + FORGET_AFTER_OFFSETS > next);
    }

    /// The messages that were requested when a worker exited and are not processed yet.
    pub(super) fn requested(&self) -> Vec<(TopicPartition, i64)> {
        self.requested.iter().map(|(partition, (offset, _))| (partition.clone(), *offset)).collect()
    }

    pub(super) fn poison_messages(&self) -> &[PoisonMessage] {
        &self.poison_messages
    }
}

/// A poison message is dropped from the list when its partition has advanced by this number of offsets: by then
/// it is committed.
const FORGET_AFTER_OFFSETS: i64 = 1_000_000;
