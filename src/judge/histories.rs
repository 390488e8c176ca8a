//! Random histories to hold the judge against its model: a log, producers, workers that crash, and everything that can
//! go wrong with them.

use proptest::prelude::*;

use super::Scope;
use super::model::Told;
use crate::journal::{Entry, Reader};
use crate::stamp::Kind;

/// The run that is judged.
pub(super) const RUN: u64 = 0xfeed;
const PARTITIONS: usize = 3;
const PRODUCERS: u16 = 3;
const WORKERS: u32 = 3;

/// What is judged: with acknowledgements nearly always, because that is where most can go wrong.
pub(super) fn scopes() -> impl Strategy<Value = Scope> {
    let run = prop_oneof![8 => Just((Some(RUN), true)), 1 => Just((Some(RUN), false)), 2 => Just((None, false))];
    (run, any::<bool>(), 0..=PARTITIONS).prop_map(|((run, acknowledgements), from_start, partitions)| Scope {
        run,
        acknowledgements,
        from_start,
        partitions,
        shared: false,
    })
}

fn readers() -> impl Strategy<Value = Reader> {
    (0..WORKERS, 0..2_u32).prop_map(|(slot, process)| Reader { slot, process })
}

fn entries() -> impl Strategy<Value = Entry> {
    let place = (0..PARTITIONS as i32, 0..30_i64);
    let message = (0..PRODUCERS, 0..25_u64, prop_oneof![9 => Just(RUN), 1 => Just(5)]);
    let kind = prop_oneof![
        8 => Just(Kind::Regular), 2 => Just(Kind::Duplicate), 1 => Just(Kind::Corrupt), 1 => Just(Kind::Oversized)
    ];
    let odd = || prop::bool::weighted(0.05);
    (place, message, kind, odd(), odd(), odd(), odd()).prop_map(
        |((partition, offset), (producer, sequence, run), kind, plain, damaged, misplaced, failed)| {
            let (stamped, intact) = (!plain, !damaged);
            Entry { offset, sequence, run, partition, producer, kind, stamped, intact, misplaced, failed }
        },
    )
}

/// Anything, in any order: no log could have brought this about.
pub(super) fn chaos() -> impl Strategy<Value = Vec<Told>> {
    let place = || (0..PARTITIONS as i32, 0..30_i64);
    let told = prop_oneof![
        10 => (0..PRODUCERS, 0..25_u64, 0..PARTITIONS as i32, -1..30_i64).prop_map(
            |(producer, sequence, partition, offset)| Told::Acknowledged { producer, sequence, partition, offset }),
        2 => (0..PRODUCERS, 0..25_u64).prop_map(|(producer, sequence)| Told::Failed { producer, sequence }),
        2 => (readers(), place()).prop_map(|(reader, (partition, start))| Told::Assigned { reader, partition, start }),
        1 => (readers(), place()).prop_map(|(reader, (partition, offset))| Told::Committed { reader, partition, offset }),
        12 => (readers(), entries()).prop_map(|(reader, entry)| Told::Read { reader, entry }),
        1 => (readers(), any::<bool>()).prop_map(|(reader, clean)| Told::Ended { reader, clean }),
    ];
    prop::collection::vec(told, 0..150)
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Good,
    /// A second copy, made on purpose, in another partition.
    Copied,
    /// The brokers keep it twice.
    Twice,
    /// In the log, and never acknowledged.
    Unacknowledged,
    Failed,
    FailedButPresent,
    /// Acknowledged, and not in the log.
    Gone,
    /// Acknowledged elsewhere, so far away.
    AcknowledgedAt(i64),
    AcknowledgedInOtherPartition,
    AcknowledgedWithoutOffset,
    AcknowledgedTwice,
    Damaged,
    Foreign,
    OtherRun,
    Misplaced,
    /// It overtakes the one before.
    Overtakes,
    /// Behind it stands a transaction's marker.
    BeforeMarker,
    OnPurpose(Kind),
}

fn fates() -> impl Strategy<Value = Fate> {
    let odd = prop::sample::select(vec![
        Fate::Copied,
        Fate::Twice,
        Fate::Unacknowledged,
        Fate::Failed,
        Fate::FailedButPresent,
        Fate::Gone,
        Fate::AcknowledgedAt(-1),
        Fate::AcknowledgedAt(1),
        Fate::AcknowledgedAt(300),
        Fate::AcknowledgedInOtherPartition,
        Fate::AcknowledgedWithoutOffset,
        Fate::AcknowledgedTwice,
        Fate::Damaged,
        Fate::Foreign,
        Fate::OtherRun,
        Fate::Misplaced,
        Fate::BeforeMarker,
        Fate::OnPurpose(Kind::Corrupt),
        Fate::OnPurpose(Kind::Oversized),
    ]);
    prop_oneof![12 => Just(Fate::Good), 1 => Just(Fate::Overtakes), 2 => odd]
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    Committed,
    Beginning,
    /// So far from what is committed.
    Off(i64),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Produce {
        producer: u16,
        partition: usize,
        fate: Fate,
    },
    /// The partition's owner reads on.
    Read {
        partition: usize,
        most: usize,
        fails: bool,
    },
    /// The owner's position moves without an assignment.
    Move {
        partition: usize,
        by: i64,
    },
    Commit {
        partition: usize,
        less: i64,
    },
    Assign {
        partition: usize,
        slot: u32,
        start: Start,
    },
    /// The process of a worker ends, and another takes its place.
    End {
        slot: u32,
        clean: bool,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let partition = || 0..PARTITIONS;
    let start = prop_oneof![
        6 => Just(Start::Committed), 1 => Just(Start::Beginning), 1 => (-6..6_i64).prop_map(Start::Off)
    ];
    prop_oneof![
        30 => (0..PRODUCERS, partition(), fates())
            .prop_map(|(producer, partition, fate)| Step::Produce { producer, partition, fate }),
        12 => (partition(), 1..12_usize, prop::bool::weighted(0.1))
            .prop_map(|(partition, most, fails)| Step::Read { partition, most, fails }),
        1 => (partition(), -5..6_i64).prop_map(|(partition, by)| Step::Move { partition, by }),
        4 => (partition(), 0..2_i64).prop_map(|(partition, less)| Step::Commit { partition, less }),
        3 => (partition(), 0..WORKERS, start)
            .prop_map(|(partition, slot, start)| Step::Assign { partition, slot, start }),
        1 => (0..WORKERS, any::<bool>()).prop_map(|(slot, clean)| Step::End { slot, clean }),
    ]
}

/// Who tells something: each producer and each process in order, but any of them may lag behind the others.
fn teller(told: &Told) -> u32 {
    match told {
        Told::Acknowledged { producer, .. } | Told::Failed { producer, .. } => u32::from(*producer),
        Told::Assigned { reader, .. }
        | Told::Committed { reader, .. }
        | Told::Read { reader, .. }
        | Told::Ended { reader, .. } => 100 + reader.slot + WORKERS * reader.process,
    }
}

/// A cluster, its producers and its workers.
struct World {
    log: Vec<Vec<Option<Entry>>>,
    sequences: Vec<u64>,
    owners: Vec<Option<Reader>>,
    positions: Vec<i64>,
    committed: Vec<i64>,
    processes: Vec<u32>,
    told: Vec<Told>,
}

impl World {
    fn append(&mut self, partition: usize, entry: Entry) -> i64 {
        let offset = self.log[partition].len() as i64;
        self.log[partition].push(Some(Entry { partition: partition as i32, offset, ..entry }));
        offset
    }

    fn produce(&mut self, producer: u16, partition: usize, fate: Fate) {
        let sequence = self.sequences[usize::from(producer)];
        self.sequences[usize::from(producer)] += 1;
        let good = Entry { run: RUN, producer, sequence, stamped: true, intact: true, ..Entry::default() };
        let (number, other) = (partition as i32, (partition + 1) % PARTITIONS);
        let acknowledged = |partition: i32, offset: i64| Told::Acknowledged { producer, sequence, partition, offset };
        let made = match fate {
            Fate::Damaged => Entry { intact: false, ..good },
            Fate::Foreign => Entry::default(),
            Fate::OtherRun => Entry { run: 5, ..good },
            Fate::Misplaced => Entry { misplaced: true, ..good },
            Fate::OnPurpose(kind) => Entry { kind, ..good },
            _ => good,
        };
        let absent = matches!(fate, Fate::Failed | Fate::Gone);
        let offset = if absent { self.log[partition].len() as i64 } else { self.append(partition, made) };
        let told = match fate {
            Fate::Unacknowledged | Fate::Foreign | Fate::OtherRun => None,
            Fate::Failed | Fate::FailedButPresent => Some(Told::Failed { producer, sequence }),
            Fate::AcknowledgedAt(by) => Some(acknowledged(number, (offset + by).max(0))),
            Fate::AcknowledgedInOtherPartition => Some(acknowledged(other as i32, offset)),
            Fate::AcknowledgedWithoutOffset => Some(acknowledged(number, -1)),
            _ => Some(acknowledged(number, offset)),
        };
        self.told.extend(told);
        match fate {
            Fate::Copied => {
                let offset = self.append(other, Entry { kind: Kind::Duplicate, ..good });
                self.told.push(acknowledged(other as i32, offset));
            }
            Fate::Twice => {
                self.append(partition, good);
            }
            Fate::AcknowledgedTwice => {
                self.told.push(Told::Acknowledged { producer, sequence: sequence + 1, partition: number, offset })
            }
            Fate::Gone | Fate::BeforeMarker => self.log[partition].push(None),
            Fate::Overtakes => {
                // Its acknowledgement changes places, too: nothing but the order is wrong.
                let log = &mut self.log[partition];
                let mine = |entry: &Option<Entry>| {
                    entry.is_some_and(|entry| entry.producer == producer && entry.run == RUN && entry.intact)
                };
                let last = log.len() - 1;
                let Some(before) = log[..last].iter().rposition(mine) else { return };
                let earlier = log[before].map_or(0, |entry| entry.sequence);
                for (at, sequence) in [(before, sequence), (last, earlier)] {
                    log[at].iter_mut().for_each(|entry| entry.sequence = sequence);
                    for told in &mut self.told {
                        if let Told::Acknowledged { sequence: said, partition, offset, producer: by } = told
                            && (*by, *partition, *offset) == (producer, number, at as i64)
                        {
                            *said = sequence;
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Produce { producer, partition, fate } => self.produce(producer, partition, fate),
            Step::Read { partition, most, fails } => {
                let Some(reader) = self.owners[partition] else { return };
                let from = self.positions[partition].max(0) as usize;
                let next: Vec<_> = self.log[partition].iter().skip(from).flatten().take(most).copied().collect();
                for entry in next {
                    self.positions[partition] = entry.offset + 1;
                    self.told.push(Told::Read { reader, entry: Entry { failed: fails, ..entry } });
                }
            }
            Step::Move { partition, by } => self.positions[partition] = (self.positions[partition] + by).max(0),
            Step::Commit { partition, less } => {
                let Some(reader) = self.owners[partition] else { return };
                let offset = (self.positions[partition] - less).max(0);
                self.committed[partition] = offset;
                self.told.push(Told::Committed { reader, partition: partition as i32, offset });
            }
            Step::Assign { partition, slot, start } => {
                let reader = Reader { slot, process: self.processes[slot as usize] };
                let start = match start {
                    Start::Committed => self.committed[partition],
                    Start::Beginning => 0,
                    Start::Off(by) => (self.committed[partition] + by).max(0),
                };
                self.owners[partition] = Some(reader);
                self.positions[partition] = start;
                self.told.push(Told::Assigned { reader, partition: partition as i32, start });
            }
            Step::End { slot, clean } => {
                let process = self.processes[slot as usize];
                self.processes[slot as usize] += 1;
                self.told.push(Told::Ended { reader: Reader { slot, process }, clean });
                for partition in 0..PARTITIONS {
                    if self.owners[partition] == Some(Reader { slot, process }) {
                        let start = Start::Committed;
                        self.step(Step::Assign { partition, slot, start });
                    }
                }
            }
        }
    }
}

/// What such a world tells, each teller with a lag of its own.
pub(super) fn histories() -> impl Strategy<Value = Vec<Told>> {
    let lags = prop::collection::vec(prop_oneof![2 => Just(0_usize), 1 => 0..400_usize], 16);
    (prop::collection::vec(steps(), 1..250), lags).prop_map(|(steps, lags)| {
        let mut world = World {
            log: vec![Vec::new(); PARTITIONS],
            sequences: vec![0; usize::from(PRODUCERS)],
            owners: vec![None; PARTITIONS],
            positions: vec![0; PARTITIONS],
            committed: vec![0; PARTITIONS],
            processes: vec![0; WORKERS as usize],
            told: Vec::new(),
        };
        for partition in 0..PARTITIONS {
            world.step(Step::Assign { partition, slot: partition as u32, start: Start::Beginning });
        }
        steps.into_iter().for_each(|step| world.step(step));
        let mut told: Vec<_> = world.told.into_iter().enumerate().collect();
        told.sort_by_key(|(at, told)| at + lags[teller(told) as usize % lags.len()]);
        told.into_iter().map(|(_, told)| told).collect()
    })
}
