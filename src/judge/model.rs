//! The same verdict, by maps of every message and by the words of the definitions: slow, and plainly right. The judge
//! is held against it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judge, Scope, Verdict};
use crate::journal::{Entry, Reader};
use crate::stamp::Kind;

/// What a judge is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Acknowledged { producer: u16, sequence: u64, partition: i32, offset: i64 },
    Failed { producer: u16, sequence: u64 },
    Assigned { reader: Reader, partition: i32, start: i64 },
    Committed { reader: Reader, partition: i32, offset: i64 },
    Read { reader: Reader, entry: Entry },
    Ended { reader: Reader, clean: bool },
}

/// Tells a judge.
pub(super) fn tell(judge: &mut Judge, told: Told) {
    match told {
        Told::Acknowledged { producer, sequence, partition, offset } => {
            judge.acknowledged(producer, sequence, partition, offset);
        }
        Told::Failed { producer, sequence } => judge.failed(producer, sequence),
        Told::Assigned { reader, partition, start } => judge.assigned(reader, partition, start),
        Told::Committed { reader, partition, offset } => judge.committed(reader, partition, offset),
        Told::Read { reader, entry } => judge.read(reader, 1_700_000_000_000_000, &entry),
        Told::Ended { reader, clean } => judge.ended(reader, clean),
    }
}

type Message = (u64, u16, u64);
type Place = (i32, i64);

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stands {
    Message(Message),
    Corrupt(Message),
    Foreign,
}

fn stands(scope: &Scope, entry: &Entry) -> Stands {
    let message = (entry.run, entry.producer, entry.sequence);
    match entry {
        Entry { stamped: true, intact: false, .. } => Stands::Corrupt(message),
        Entry { stamped: true, run, .. } if scope.run.is_none_or(|judged| judged == *run) => Stands::Message(message),
        _ => Stands::Foreign,
    }
}

struct Stint {
    reader: Reader,
    next: Option<i64>,
    reads: Vec<i64>,
    committed: i64,
}

/// A reading, in the order that it was told.
struct Reading {
    stint: usize,
    entry: Entry,
    /// The same reader has read this offset or a higher one before.
    behind: bool,
}

/// The verdict, without examples.
pub(super) fn verdict(scope: &Scope, history: &[Told]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut acknowledged: BTreeMap<Place, Vec<Message>> = BTreeMap::new();
    let mut unplaced: BTreeSet<(i32, Message)> = BTreeSet::new();
    let mut failed: BTreeSet<Message> = BTreeSet::new();
    let mut clean: BTreeMap<Reader, bool> = BTreeMap::new();
    let mut stints: BTreeMap<i32, Vec<Stint>> = BTreeMap::new();
    let mut readings: Vec<Reading> = Vec::new();
    let mut starts: BTreeMap<i32, i64> = BTreeMap::new();
    let mut jumped: BTreeSet<Place> = BTreeSet::new();
    let run = scope.run.unwrap_or_default();

    fn latest(stints: &mut Vec<Stint>, reader: Reader) -> usize {
        stints.iter().rposition(|stint| stint.reader == reader).unwrap_or_else(|| {
            stints.push(Stint { reader, next: None, reads: vec![], committed: 0 });
            stints.len() - 1
        })
    }

    for told in history {
        match *told {
            Told::Acknowledged { .. } | Told::Failed { .. } if !scope.acknowledgements => {}
            Told::Acknowledged { producer, sequence, partition, offset } => {
                verdict.acknowledged += 1;
                if offset < 0 {
                    unplaced.insert((partition, (run, producer, sequence)));
                } else {
                    acknowledged.entry((partition, offset)).or_default().push((run, producer, sequence));
                }
            }
            Told::Failed { producer, sequence } => {
                verdict.failed += 1;
                failed.insert((run, producer, sequence));
            }
            Told::Assigned { reader, partition, start } => {
                clean.entry(reader).or_default();
                let furthest = starts.entry(partition).or_default();
                *furthest = start.max(*furthest);
                let stint = Stint { reader, next: Some(start), reads: vec![], committed: 0 };
                stints.entry(partition).or_default().push(stint);
            }
            Told::Committed { reader, partition, offset } => {
                clean.entry(reader).or_default();
                let of = stints.entry(partition).or_default();
                let at = latest(of, reader);
                of[at].committed = of[at].committed.max(offset);
            }
            Told::Ended { reader, clean: is } => {
                clean.insert(reader, is);
            }
            Told::Read { reader, entry } => {
                clean.entry(reader).or_default();
                let of = stints.entry(entry.partition).or_default();
                let at = latest(of, reader);
                let mine = of.iter().filter(|stint| stint.reader == reader);
                let behind = mine.flat_map(|stint| &stint.reads).any(|read| *read >= entry.offset);
                let next = of[at].next.unwrap_or(entry.offset);
                if entry.offset < next {
                    verdict.went_back += 1;
                }
                jumped.extend((next..entry.offset).map(|offset| (entry.partition, offset)));
                of[at].next = Some(entry.offset + 1);
                of[at].reads.push(entry.offset);
                readings.push(Reading { stint: at, entry, behind });
            }
        }
    }

    // The log, as far as it was read.
    let mut log: BTreeMap<Place, Stands> = BTreeMap::new();
    let mut seen: BTreeSet<(Message, bool)> = BTreeSet::new();
    let mut highest: BTreeMap<(i32, u64, u16), u64> = BTreeMap::new();
    for Reading { stint, entry, behind } in &readings {
        let (place, message) = ((entry.partition, entry.offset), (entry.run, entry.producer, entry.sequence));
        if log.contains_key(&place) {
            verdict.redelivered += 1;
            let explained = !behind && is_explained(&stints[&entry.partition], &clean, *stint, entry.offset);
            verdict.redelivered_unexplained += u64::from(!explained);
            continue;
        }
        let frontier = log.range(place..=(entry.partition, i64::MAX)).next().is_none();
        log.insert(place, stands(scope, entry));
        verdict.processed += 1;
        verdict.processing_failed += u64::from(entry.failed);
        match stands(scope, entry) {
            Stands::Corrupt(_) => verdict.corrupt += 1,
            Stands::Foreign => verdict.foreign += 1,
            Stands::Message(_) => {
                verdict.misplaced += u64::from(entry.misplaced);
                verdict.deliberate.corrupt += u64::from(entry.kind == Kind::Corrupt);
                verdict.deliberate.oversized += u64::from(entry.kind == Kind::Oversized);
                let copy = entry.kind == Kind::Duplicate;
                if !seen.insert((message, copy)) {
                    verdict.duplicated += 1;
                } else if copy {
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
            *stands == Stands::Message(*message) && !acknowledged.get(place).unwrap_or(&nothing).contains(message)
        })
    };
    let processed = |message: &Message| log.values().any(|stands| *stands == Stands::Message(*message));
    let reach = |partition: i32| {
        let read = log.range((partition, 0)..=(partition, i64::MAX)).next_back();
        let read = read.map_or(0, |((_, offset), _)| offset + 1);
        // Nobody reads what stands before a reader that has begun behind it.
        read.max(starts.get(&partition).copied().unwrap_or_default())
    };
    for ((partition, offset), messages) in &acknowledged {
        if let Some(stands) = log.get(&(*partition, *offset)) {
            let right = match stands {
                Stands::Corrupt(_) => true,
                Stands::Foreign => false,
                Stands::Message(message) => messages.contains(message),
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
    verdict.holds = verdict.findings().is_empty();
    verdict
}

fn is_explained(stints: &[Stint], clean: &BTreeMap<Reader, bool>, at: usize, offset: i64) -> bool {
    let died = |stint: &Stint| !clean[&stint.reader];
    let committed = |before: usize| {
        let others = stints[..before].iter().filter(|stint| stint.reader != stints[before].reader);
        others.map(|stint| stint.committed).max().unwrap_or_default()
    };
    let went_over = |stint: &Stint| {
        stint.reads.iter().any(|read| *read <= offset) && stint.reads.iter().any(|read| *read >= offset)
    };
    let mine = &stints[at];
    let others = |stint: &&Stint| stint.reader != mine.reader;
    if let Some(before) = stints[..at].iter().rev().filter(others).find(|stint| went_over(stint)) {
        return died(before) && offset >= committed(at);
    }
    let later = (at + 1..stints.len()).find(|later| stints[*later].reader != mine.reader);
    died(mine) && later.is_some_and(|later| offset >= committed(later))
}

fn gaps<'a>(scope: &Scope, log: impl Iterator<Item = &'a Stands> + Clone) -> u64 {
    let mut of: BTreeMap<(u64, u16), BTreeSet<u64>> = BTreeMap::new();
    for stands in log.clone() {
        if let Stands::Message((run, producer, sequence)) = *stands {
            of.entry((run, producer)).or_default().insert(sequence);
        }
    }
    let claimed: Vec<_> =
        log.filter_map(|it| if let Stands::Corrupt(message) = it { Some(*message) } else { None }).collect();
    let missing = |((run, producer), sequences): (&(u64, u16), &BTreeSet<u64>)| {
        let first = if scope.from_start { 0 } else { *sequences.first().unwrap() };
        let all = first..=*sequences.last().unwrap();
        all.filter(|it| !sequences.contains(it) && !claimed.contains(&(*run, *producer, *it))).count() as u64
    };
    of.iter().map(missing).sum()
}
