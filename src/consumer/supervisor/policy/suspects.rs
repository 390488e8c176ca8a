//! Messages that kill their worker. Found across processes: what a worker counts dies with it.
//!
//! Where a worker starts after its death is known: the committed offset. If it dies there twice, one of the messages behind
//! it may have killed it. Its third process announces each message before it processes it: the one that it has announced
//! when it dies is the one.

use std::collections::BTreeMap;

use super::Seen;
use crate::consumer::control::Condemned;
use crate::record::TopicPartition;

/// Deaths at one place that make it suspicious.
const SUSPICIOUS: u32 = 2;
/// A worker's last words are a tenth of a second old: it may have come so many messages further before it died, and a
/// slow one certainly not.
const UNHEARD: i64 = 1_000;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Suspects {
    places: BTreeMap<TopicPartition, Place>,
    condemned: Vec<Condemned>,
}

#[derive(Clone, Debug)]
struct Place {
    committed: i64,
    deaths: u32,
    /// The message that was in hand for too long, if that is why.
    hung: Option<i64>,
    /// The furthest that any of its workers is known to have come.
    reached: i64,
}

impl Suspects {
    /// A worker has died, and nobody else has killed it; the message that did it, if it is known now.
    pub(super) fn died(
        &mut self,
        seen: &[Seen],
        hung: Option<(TopicPartition, i64)>,
        announced: Option<(TopicPartition, i64)>,
        cause: &str,
    ) -> Option<Condemned> {
        let mut named = announced.map(|(partition, offset)| (partition, offset, "each time"));
        for seen in seen.iter().filter(|seen| seen.has_work) {
            let hung = hung.as_ref().filter(|(partition, _)| *partition == seen.partition).map(|(_, offset)| *offset);
            let place = self.places.entry(seen.partition.clone()).or_insert(Place {
                committed: seen.committed,
                deaths: 0,
                hung: None,
                reached: seen.next,
            });
            if hung.is_some() && place.hung == hung {
                named = named.or(hung.map(|offset| (seen.partition.clone(), offset, "twice")));
            }
            let same = place.committed == seen.committed;
            place.deaths = if same { place.deaths + 1 } else { 1 };
            place.committed = seen.committed;
            place.hung = hung;
            // At a speed that is not known: as far again as it came since its start, and a little more.
            place.reached = place.reached.max(seen.next + (seen.next - seen.committed) + UNHEARD);
        }
        let (partition, offset, times) = named?;
        let reason = format!("it has killed its worker {times}, at last with: {cause}");
        let condemned = Condemned { partition, offset, reason };
        self.places.remove(&condemned.partition);
        if !self.condemned.iter().any(|known| (&known.partition, known.offset) == (&condemned.partition, offset)) {
            self.condemned.push(condemned.clone());
        }
        Some(condemned)
    }

    /// Whether any of these is suspicious.
    pub(super) fn is_any(&self, partitions: &[TopicPartition]) -> bool {
        let suspicious = |partition| self.places.get(partition).is_some_and(|place| place.deaths >= SUSPICIOUS);
        partitions.iter().any(suspicious)
    }

    /// A partition has come so far.
    pub(super) fn progressed(&mut self, partition: &TopicPartition, next: i64) {
        if self.places.get(partition).is_some_and(|place| next > place.reached) {
            self.places.remove(partition);
        }
        self.condemned.retain(|condemned| condemned.partition != *partition || condemned.offset + KEPT > next);
    }

    pub(super) fn condemned(&self) -> &[Condemned] {
        &self.condemned
    }
}

/// A condemned message is forgotten when its partition is so many messages further: by then it is committed.
const KEPT: i64 = 1_000_000;
