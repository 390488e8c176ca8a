//! The same verdict, computed from maps of every message by the definitions of the anomalies: slow, but obviously
//! correct. The checker is compared with it.

use std::collections::{BTreeMap, BTreeSet};

use super::{CheckScope, Checker, Verdict};
use crate::history::{HistoryEntry, WorkerId};
use crate::stamp::StampKind;

/// An event for a checker.
#[derive(Clone, Copy, Debug)]
pub(super) enum ModelEvent {
    Acknowledged { producer: u16, sequence: u64, partition: i32, offset: i64 },
    Failed { producer: u16, sequence: u64 },
    Assigned { worker: WorkerId, partition: i32, start: i64 },
    Committed { worker: WorkerId, partition: i32, offset: i64 },
    Read { worker: WorkerId, entry: HistoryEntry },
    Ended { worker: WorkerId, clean: bool },
}

/// Passes the event to a checker.
pub(super) fn apply(checker: &mut Checker, event: ModelEvent) {
    match event {
        ModelEvent::Acknowledged { producer, sequence, partition, offset } => {
            checker.acknowledged(producer, sequence, partition, offset);
        }
        ModelEvent::Failed { producer, sequence } => checker.failed(producer, sequence),
        ModelEvent::Assigned { worker, partition, start } => checker.assigned(worker, partition, start),
        ModelEvent::Committed { worker, partition, offset } => checker.committed(worker, partition, offset),
        ModelEvent::Read { worker, entry } => checker.read(worker, 1_700_000_000_000_000, &entry),
        ModelEvent::Ended { worker, clean } => checker.ended(worker, clean),
    }
}

type Message = (u64, u16, u64);
type Place = (i32, i64);

/// The content of an offset.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Content {
    Message(Message),
    Corrupt(Message),
    Foreign,
}

fn stands(scope: &CheckScope, entry: &HistoryEntry) -> Content {
    let message = (entry.run, entry.producer, entry.sequence);
    match entry {
        HistoryEntry { stamped: true, intact: false, .. } => Content::Corrupt(message),
        HistoryEntry { stamped: true, run, .. } if scope.run.is_none_or(|checked| checked == *run) => {
            Content::Message(message)
        }
        _ => Content::Foreign,
    }
}

struct ModelSession {
    worker: WorkerId,
    next: Option<i64>,
    reads: Vec<i64>,
    committed: i64,
}

/// A processed message in event order.
struct Reading {
    session: usize,
    entry: HistoryEntry,
    /// The same worker process has processed this or a higher offset before.
    behind: bool,
}

/// The verdict without samples.
pub(super) fn verdict(scope: &CheckScope, history: &[ModelEvent]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut acknowledged: BTreeMap<Place, Vec<Message>> = BTreeMap::new();
    let mut unplaced: BTreeSet<(i32, Message)> = BTreeSet::new();
    let mut failed: BTreeSet<Message> = BTreeSet::new();
    let mut clean: BTreeMap<WorkerId, bool> = BTreeMap::new();
    let mut sessions: BTreeMap<i32, Vec<ModelSession>> = BTreeMap::new();
    let mut readings: Vec<Reading> = Vec::new();
    let mut starts: BTreeMap<i32, i64> = BTreeMap::new();
    let mut jumped: BTreeSet<Place> = BTreeSet::new();
    let run = scope.run.unwrap_or_default();
    let mut partitions_added = false;

    fn latest(sessions: &mut Vec<ModelSession>, worker: WorkerId) -> usize {
        sessions.iter().rposition(|session| session.worker == worker).unwrap_or_else(|| {
            sessions.push(ModelSession { worker, next: None, reads: vec![], committed: 0 });
            sessions.len() - 1
        })
    }

    for event in history {
        match *event {
            ModelEvent::Acknowledged { .. } | ModelEvent::Failed { .. } if !scope.acknowledgements => {}
            ModelEvent::Acknowledged { producer, sequence, partition, offset } => {
                verdict.acknowledged += 1;
                partitions_added |= scope.partitions > 0 && partition >= scope.partitions as i32;
                if offset < 0 {
                    unplaced.insert((partition, (run, producer, sequence)));
                } else {
                    acknowledged.entry((partition, offset)).or_default().push((run, producer, sequence));
                }
            }
            ModelEvent::Failed { producer, sequence } => {
                verdict.failed += 1;
                failed.insert((run, producer, sequence));
            }
            ModelEvent::Assigned { worker, partition, start } => {
                clean.entry(worker).or_default();
                let furthest = starts.entry(partition).or_default();
                *furthest = start.max(*furthest);
                let session = ModelSession { worker, next: Some(start), reads: vec![], committed: 0 };
                sessions.entry(partition).or_default().push(session);
            }
            ModelEvent::Committed { worker, partition, offset } => {
                clean.entry(worker).or_default();
                let of = sessions.entry(partition).or_default();
                let at = latest(of, worker);
                of[at].committed = of[at].committed.max(offset);
            }
            ModelEvent::Ended { worker, clean: is } => {
                clean.insert(worker, is);
            }
            ModelEvent::Read { worker, entry } => {
                clean.entry(worker).or_default();
                let of = sessions.entry(entry.partition).or_default();
                let at = latest(of, worker);
                let mine = of.iter().filter(|session| session.worker == worker);
                let behind = mine.flat_map(|session| &session.reads).any(|read| *read >= entry.offset);
                let next = of[at].next.unwrap_or(entry.offset);
                if entry.offset < next {
                    verdict.went_back += 1;
                }
                jumped.extend((next..entry.offset).map(|offset| (entry.partition, offset)));
                of[at].next = Some(entry.offset + 1);
                of[at].reads.push(entry.offset);
                readings.push(Reading { session: at, entry, behind });
            }
        }
    }

    // The log as far as it was processed.
    let mut log: BTreeMap<Place, Content> = BTreeMap::new();
    let mut seen: BTreeSet<(Message, bool)> = BTreeSet::new();
    let mut highest: BTreeMap<(i32, u64, u16), u64> = BTreeMap::new();
    for Reading { session, entry, behind } in &readings {
        let (place, message) = ((entry.partition, entry.offset), (entry.run, entry.producer, entry.sequence));
        if log.contains_key(&place) {
            verdict.redelivered += 1;
            let explained = !behind && is_explained(&sessions[&entry.partition], &clean, *session, entry.offset);
            verdict.redelivered_unexplained += u64::from(!explained);
            continue;
        }
        let frontier = log.range(place..=(entry.partition, i64::MAX)).next().is_none();
        log.insert(place, stands(scope, entry));
        verdict.processed += 1;
        verdict.processing_failed += u64::from(entry.failed);
        match stands(scope, entry) {
            Content::Corrupt(_) => verdict.corrupt += 1,
            Content::Foreign => verdict.foreign += 1,
            Content::Message(_) => {
                verdict.misplaced += u64::from(entry.misplaced);
                verdict.deliberate.corrupt += u64::from(entry.kind == StampKind::Corrupt);
                verdict.deliberate.oversized += u64::from(entry.kind == StampKind::Oversized);
                let is_duplicate = entry.kind == StampKind::Duplicate;
                if !seen.insert((message, is_duplicate)) {
                    verdict.duplicated += 1;
                } else if is_duplicate {
                    verdict.deliberate.duplicated += 1;
                } else if frontier {
                    let highest = highest.entry((entry.partition, entry.run, entry.producer)).or_default();
                    verdict.reordered += u64::from(*highest > entry.sequence);
                    *highest = (*highest).max(entry.sequence);
                }
            }
        }
    }
    verdict.skipped =
        jumped.iter().filter(|place| acknowledged.contains_key(place) || log.contains_key(place)).count() as u64;

    let nothing = Vec::new();
    let unacknowledged = |message: &Message| {
        log.iter().any(|(place, stands)| {
            *stands == Content::Message(*message) && !acknowledged.get(place).unwrap_or(&nothing).contains(message)
        })
    };
    let processed = |message: &Message| log.values().any(|stands| *stands == Content::Message(*message));
    let reach = |partition: i32| {
        let read = log.range((partition, 0)..=(partition, i64::MAX)).next_back();
        let read = read.map_or(0, |((_, offset), _)| offset + 1);
        // No worker consumes the offsets before the highest start offset.
        read.max(starts.get(&partition).copied().unwrap_or_default())
    };
    for ((partition, offset), messages) in &acknowledged {
        if let Some(stands) = log.get(&(*partition, *offset)) {
            let right = match stands {
                Content::Corrupt(_) => true,
                Content::Foreign => false,
                Content::Message(message) => messages.contains(message),
            };
            verdict.offset_mismatch += messages.len() as u64 - u64::from(right);
            continue;
        }
        let elsewhere = messages.iter().filter(|message| unacknowledged(message)).count();
        let nowhere = messages.len() - elsewhere;
        verdict.offset_mismatch += elsewhere as u64 + nowhere.saturating_sub(1) as u64;
        let one = u64::from(nowhere > 0);
        if *offset < reach(*partition) { verdict.lost += one } else { verdict.unread += one }
    }
    for (partition, message) in &unplaced {
        let known = acknowledged.range((*partition, 0)..=(*partition, i64::MAX)).next_back();
        let all_read = reach(*partition) > known.map_or(0, |((_, offset), _)| *offset);
        match processed(message) {
            true => {}
            false if all_read => verdict.lost += 1,
            false => verdict.unread += 1,
        }
    }
    verdict.failed_but_present = failed.iter().filter(|message| unacknowledged(message)).count() as u64;
    if !scope.acknowledgements {
        verdict.gaps = Some(gaps(scope, log.values()));
    }
    verdict.readers = clean.len() as u64;
    verdict.holds = verdict.anomalies().is_empty();
    if partitions_added {
        verdict.misplaced = 0;
    }
    verdict
}

fn is_explained(sessions: &[ModelSession], clean: &BTreeMap<WorkerId, bool>, at: usize, offset: i64) -> bool {
    let died = |session: &ModelSession| !clean[&session.worker];
    let committed = |before: usize| {
        let others = sessions[..before].iter().filter(|session| session.worker != sessions[before].worker);
        others.map(|session| session.committed).max().unwrap_or_default()
    };
    let went_over = |session: &ModelSession| {
        session.reads.iter().any(|read| *read <= offset) && session.reads.iter().any(|read| *read >= offset)
    };
    let mine = &sessions[at];
    let others = |session: &&ModelSession| session.worker != mine.worker;
    if let Some(before) = sessions[..at].iter().rev().filter(others).find(|session| went_over(session)) {
        return died(before) && offset >= committed(at);
    }
    let later = (at + 1..sessions.len()).find(|later| sessions[*later].worker != mine.worker);
    died(mine) && later.is_some_and(|later| offset >= committed(later))
}

fn gaps<'a>(scope: &CheckScope, log: impl Iterator<Item = &'a Content> + Clone) -> u64 {
    let mut of: BTreeMap<(u64, u16), BTreeSet<u64>> = BTreeMap::new();
    for stands in log.clone() {
        if let Content::Message((run, producer, sequence)) = *stands {
            of.entry((run, producer)).or_default().insert(sequence);
        }
    }
    let claimed: Vec<_> =
        log.filter_map(|it| if let Content::Corrupt(message) = it { Some(*message) } else { None }).collect();
    let missing = |((run, producer), sequences): (&(u64, u16), &BTreeSet<u64>)| {
        let first = if scope.from_start { 0 } else { *sequences.first().unwrap() };
        let all = first..=*sequences.last().unwrap();
        all.filter(|it| !sequences.contains(it) && !claimed.contains(&(*run, *producer, *it))).count() as u64
    };
    of.iter().map(missing).sum()
}
