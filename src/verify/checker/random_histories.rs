//! Random histories for comparing the checker with its reference model: a log, producers, crashing workers, and all
//! kinds of faults.

use proptest::prelude::*;

use super::CheckScope;
use super::reference_model::ModelEvent;
use crate::history::{HistoryEntry, WorkerId};
use crate::stamp::StampKind;

/// The run that is checked.
pub(super) const RUN: u64 = 0xfeed;
const PARTITIONS: usize = 3;
const PRODUCERS: u16 = 3;
const WORKERS: u32 = 3;

/// The scopes to check, mostly with acknowledgements, where most can go wrong.
pub(super) fn scopes() -> impl Strategy<Value = CheckScope> {
    let run = prop_oneof![8 => Just((Some(RUN), true)), 1 => Just((Some(RUN), false)), 2 => Just((None, false))];
    (run, any::<bool>(), 0..=PARTITIONS).prop_map(|((run, acknowledgements), from_start, partitions)| CheckScope {
        run,
        acknowledgements,
        from_start,
        partitions,
        shared: false,
    })
}

fn workers() -> impl Strategy<Value = WorkerId> {
    (0..WORKERS, 0..2_u32).prop_map(|(slot, process)| WorkerId { slot, process })
}

fn entries() -> impl Strategy<Value = HistoryEntry> {
    let place = (0..PARTITIONS as i32, 0..30_i64);
    let message = (0..PRODUCERS, 0..25_u64, prop_oneof![9 => Just(RUN), 1 => Just(5)]);
    let kind = prop_oneof![
        8 => Just(StampKind::Regular), 2 => Just(StampKind::Duplicate), 1 => Just(StampKind::Corrupt), 1 => Just(StampKind::Oversized)
    ];
    let odd = || prop::bool::weighted(0.05);
    (place, message, kind, odd(), odd(), odd(), odd()).prop_map(
        |((partition, offset), (producer, sequence, run), kind, plain, damaged, misplaced, failed)| {
            let (stamped, intact) = (!plain, !damaged);
            HistoryEntry { offset, sequence, run, partition, producer, kind, stamped, intact, misplaced, failed }
        },
    )
}

/// Arbitrary events in any order, which no log could have produced.
pub(super) fn random_faults() -> impl Strategy<Value = Vec<ModelEvent>> {
    let place = || (0..PARTITIONS as i32, 0..30_i64);
    let event = prop_oneof![
        10 => (0..PRODUCERS, 0..25_u64, 0..PARTITIONS as i32, -1..30_i64).prop_map(
            |(producer, sequence, partition, offset)| ModelEvent::Acknowledged { producer, sequence, partition, offset }),
        2 => (0..PRODUCERS, 0..25_u64).prop_map(|(producer, sequence)| ModelEvent::Failed { producer, sequence }),
        2 => (workers(), place()).prop_map(|(worker, (partition, start))| ModelEvent::Assigned { worker, partition, start }),
        1 => (workers(), place()).prop_map(|(worker, (partition, offset))| ModelEvent::Committed { worker, partition, offset }),
        12 => (workers(), entries()).prop_map(|(worker, entry)| ModelEvent::Read { worker, entry }),
        1 => (workers(), any::<bool>()).prop_map(|(worker, clean)| ModelEvent::Ended { worker, clean }),
    ];
    prop::collection::vec(event, 0..150)
}

/// The fate of a message.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Good,
    /// An injected duplicate in another partition.
    Copied,
    /// The brokers keep the message twice.
    Twice,
    /// In the log, but not acknowledged.
    Unacknowledged,
    Failed,
    FailedButPresent,
    /// Acknowledged, but not in the log.
    Gone,
    /// Acknowledged at an offset this far away.
    AcknowledgedAt(i64),
    AcknowledgedInOtherPartition,
    AcknowledgedWithoutOffset,
    AcknowledgedTwice,
    Damaged,
    Foreign,
    OtherRun,
    Misplaced,
    /// It overtakes the previous message.
    Overtakes,
    /// A transaction marker follows it.
    BeforeMarker,
    OnPurpose(StampKind),
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
        Fate::OnPurpose(StampKind::Corrupt),
        Fate::OnPurpose(StampKind::Oversized),
    ]);
    prop_oneof![12 => Just(Fate::Good), 1 => Just(Fate::Overtakes), 2 => odd]
}

/// The start offset of a worker.
#[derive(Clone, Copy, Debug)]
enum Start {
    Committed,
    Beginning,
    /// This far from the committed offset.
    Off(i64),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Produce {
        producer: u16,
        partition: usize,
        fate: Fate,
    },
    /// The partition's owner consumes further.
    Read {
        partition: usize,
        max: usize,
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
    /// A worker process exits, and another one replaces it.
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
            .prop_map(|(partition, max, fails)| Step::Read { partition, max, fails }),
        1 => (partition(), -5..6_i64).prop_map(|(partition, by)| Step::Move { partition, by }),
        4 => (partition(), 0..2_i64).prop_map(|(partition, less)| Step::Commit { partition, less }),
        3 => (partition(), 0..WORKERS, start)
            .prop_map(|(partition, slot, start)| Step::Assign { partition, slot, start }),
        1 => (0..WORKERS, any::<bool>()).prop_map(|(slot, clean)| Step::End { slot, clean }),
    ]
}

/// The source of an event: the events of each producer and each process are in order, but sources may lag behind each
/// other.
fn source_of(event: &ModelEvent) -> u32 {
    match event {
        ModelEvent::Acknowledged { producer, .. } | ModelEvent::Failed { producer, .. } => u32::from(*producer),
        ModelEvent::Assigned { worker, .. }
        | ModelEvent::Committed { worker, .. }
        | ModelEvent::Read { worker, .. }
        | ModelEvent::Ended { worker, .. } => 100 + worker.slot + WORKERS * worker.process,
    }
}

/// A cluster with its producers and workers.
struct ClusterModel {
    log: Vec<Vec<Option<HistoryEntry>>>,
    sequences: Vec<u64>,
    owners: Vec<Option<WorkerId>>,
    positions: Vec<i64>,
    committed: Vec<i64>,
    processes: Vec<u32>,
    event: Vec<ModelEvent>,
}

impl ClusterModel {
    fn append(&mut self, partition: usize, entry: HistoryEntry) -> i64 {
        let offset = self.log[partition].len() as i64;
        self.log[partition].push(Some(HistoryEntry { partition: partition as i32, offset, ..entry }));
        offset
    }

    fn produce(&mut self, producer: u16, partition: usize, fate: Fate) {
        let sequence = self.sequences[usize::from(producer)];
        self.sequences[usize::from(producer)] += 1;
        let good =
            HistoryEntry { run: RUN, producer, sequence, stamped: true, intact: true, ..HistoryEntry::default() };
        let (number, other) = (partition as i32, (partition + 1) % PARTITIONS);
        let acknowledged =
            |partition: i32, offset: i64| ModelEvent::Acknowledged { producer, sequence, partition, offset };
        let made = match fate {
            Fate::Damaged => HistoryEntry { intact: false, ..good },
            Fate::Foreign => HistoryEntry::default(),
            Fate::OtherRun => HistoryEntry { run: 5, ..good },
            Fate::Misplaced => HistoryEntry { misplaced: true, ..good },
            Fate::OnPurpose(kind) => HistoryEntry { kind, ..good },
            _ => good,
        };
        let absent = matches!(fate, Fate::Failed | Fate::Gone);
        let offset = if absent { self.log[partition].len() as i64 } else { self.append(partition, made) };
        let event = match fate {
            Fate::Unacknowledged | Fate::Foreign | Fate::OtherRun => None,
            Fate::Failed | Fate::FailedButPresent => Some(ModelEvent::Failed { producer, sequence }),
            Fate::AcknowledgedAt(by) => Some(acknowledged(number, (offset + by).max(0))),
            Fate::AcknowledgedInOtherPartition => Some(acknowledged(other as i32, offset)),
            Fate::AcknowledgedWithoutOffset => Some(acknowledged(number, -1)),
            _ => Some(acknowledged(number, offset)),
        };
        self.event.extend(event);
        match fate {
            Fate::Copied => {
                let offset = self.append(other, HistoryEntry { kind: StampKind::Duplicate, ..good });
                self.event.push(acknowledged(other as i32, offset));
            }
            Fate::Twice => {
                self.append(partition, good);
            }
            Fate::AcknowledgedTwice => self.event.push(ModelEvent::Acknowledged {
                producer,
                sequence: sequence + 1,
                partition: number,
                offset,
            }),
            Fate::Gone | Fate::BeforeMarker => self.log[partition].push(None),
            Fate::Overtakes => {
                // Its acknowledgement moves, too: only the order is wrong.
                let log = &mut self.log[partition];
                let mine = |entry: &Option<HistoryEntry>| {
                    entry.is_some_and(|entry| entry.producer == producer && entry.run == RUN && entry.intact)
                };
                let last = log.len() - 1;
                let Some(before) = log[..last].iter().rposition(mine) else { return };
                let earlier = log[before].map_or(0, |entry| entry.sequence);
                for (at, sequence) in [(before, sequence), (last, earlier)] {
                    log[at].iter_mut().for_each(|entry| entry.sequence = sequence);
                    for event in &mut self.event {
                        if let ModelEvent::Acknowledged { sequence: acknowledged, partition, offset, producer: by } =
                            event
                            && (*by, *partition, *offset) == (producer, number, at as i64)
                        {
                            *acknowledged = sequence;
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
            Step::Read { partition, max, fails } => {
                let Some(worker) = self.owners[partition] else { return };
                let from = self.positions[partition].max(0) as usize;
                let next: Vec<_> = self.log[partition].iter().skip(from).flatten().take(max).copied().collect();
                for entry in next {
                    self.positions[partition] = entry.offset + 1;
                    self.event.push(ModelEvent::Read { worker, entry: HistoryEntry { failed: fails, ..entry } });
                }
            }
            Step::Move { partition, by } => self.positions[partition] = (self.positions[partition] + by).max(0),
            Step::Commit { partition, less } => {
                let Some(worker) = self.owners[partition] else { return };
                let offset = (self.positions[partition] - less).max(0);
                self.committed[partition] = offset;
                self.event.push(ModelEvent::Committed { worker, partition: partition as i32, offset });
            }
            Step::Assign { partition, slot, start } => {
                let worker = WorkerId { slot, process: self.processes[slot as usize] };
                let start = match start {
                    Start::Committed => self.committed[partition],
                    Start::Beginning => 0,
                    Start::Off(by) => (self.committed[partition] + by).max(0),
                };
                self.owners[partition] = Some(worker);
                self.positions[partition] = start;
                self.event.push(ModelEvent::Assigned { worker, partition: partition as i32, start });
            }
            Step::End { slot, clean } => {
                let process = self.processes[slot as usize];
                self.processes[slot as usize] += 1;
                self.event.push(ModelEvent::Ended { worker: WorkerId { slot, process }, clean });
                for partition in 0..PARTITIONS {
                    if self.owners[partition] == Some(WorkerId { slot, process }) {
                        let start = Start::Committed;
                        self.step(Step::Assign { partition, slot, start });
                    }
                }
            }
        }
    }
}

/// The events of such a cluster, each source with its own lag.
pub(super) fn histories() -> impl Strategy<Value = Vec<ModelEvent>> {
    let lags = prop::collection::vec(prop_oneof![2 => Just(0_usize), 1 => 0..400_usize], 16);
    (prop::collection::vec(steps(), 1..250), lags).prop_map(|(steps, lags)| {
        let mut world = ClusterModel {
            log: vec![Vec::new(); PARTITIONS],
            sequences: vec![0; usize::from(PRODUCERS)],
            owners: vec![None; PARTITIONS],
            positions: vec![0; PARTITIONS],
            committed: vec![0; PARTITIONS],
            processes: vec![0; WORKERS as usize],
            event: Vec::new(),
        };
        for partition in 0..PARTITIONS {
            world.step(Step::Assign { partition, slot: partition as u32, start: Start::Beginning });
        }
        steps.into_iter().for_each(|step| world.step(step));
        let mut event: Vec<_> = world.event.into_iter().enumerate().collect();
        event.sort_by_key(|(at, event)| at + lags[source_of(event) as usize % lags.len()]);
        event.into_iter().map(|(_, event)| event).collect()
    })
}
