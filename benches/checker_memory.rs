//! Time and memory of the checker for 10,000,000 clean messages of 4 producers in 12 partitions, consumed 100,000 messages behind
//! the acknowledgements, or only after all acknowledgements, as with a run file. `cargo bench --bench checker_memory`.

#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::time::Instant;

use kafka_actors::internal::checker::{CheckScope, Checker, RunFacts};
use kafka_actors::internal::{HistoryEntry, WorkerId};

const MESSAGES: u64 = 10_000_000;
const PRODUCERS: u64 = 4;
const PARTITIONS: u64 = 12;
const RUN: u64 = 1;

/// Returns the resident memory of this process, in KB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// The partitions and offsets of the messages, in the order of their acknowledgements.
struct Stream {
    batch: u64,
    keyed: bool,
    at: u64,
    sequences: [u64; PRODUCERS as usize],
    ends: [i64; PARTITIONS as usize],
    waiting: std::vec::IntoIter<HistoryEntry>,
}

impl Stream {
    fn new(batch: u64, keyed: bool) -> Self {
        let (sequences, ends) = ([0; PRODUCERS as usize], [0; PARTITIONS as usize]);
        Self { batch, keyed, at: 0, sequences, ends, waiting: Vec::new().into_iter() }
    }

    /// Creates the next batches of one producer: one batch for a single partition, or with keys one batch for each partition.
    fn refill(&mut self) {
        let producer = self.at % PRODUCERS;
        let sticky = self.at / PRODUCERS % PARTITIONS;
        self.at += 1;
        let mut batch = Vec::new();
        for _ in 0..if self.keyed { self.batch * PARTITIONS } else { self.batch } {
            let sequence = self.sequences[producer as usize];
            self.sequences[producer as usize] += 1;
            // A multiplicative hash distributes the sequence numbers over the partitions as keys do.
            let key = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let partition = if self.keyed { key % PARTITIONS } else { sticky } as i32;
            let message =
                HistoryEntry { run: RUN, producer: producer as u16, sequence, partition, ..HistoryEntry::default() };
            batch.push(HistoryEntry { stamped: true, intact: true, ..message });
        }
        // Brokers acknowledge each partition separately.
        batch.sort_by_key(|entry| entry.partition);
        for entry in &mut batch {
            let end = &mut self.ends[entry.partition as usize];
            entry.offset = *end;
            *end += 1;
        }
        self.waiting = batch.into_iter();
    }

    fn next(&mut self) -> HistoryEntry {
        loop {
            if let Some(entry) = self.waiting.next() {
                return entry;
            }
            self.refill();
        }
    }
}

fn run(name: &str, batch: u64, keyed: bool, lag: u64) {
    let before = memory();
    let mut checker = Checker::new(CheckScope {
        run: Some(RUN),
        acknowledgements: true,
        from_start: true,
        partitions: PARTITIONS as usize,
        shared: false,
    });
    let (mut acknowledged, mut read) = (Stream::new(batch, keyed), Stream::new(batch, keyed));
    let (mut highest, mut at) = (0, 0);
    let began = Instant::now();
    while at < MESSAGES + lag {
        // In blocks, as they arrive from sockets and channels.
        for _ in at..at + 1_000 {
            if at < MESSAGES {
                let HistoryEntry { producer, sequence, partition, offset, .. } = acknowledged.next();
                checker.acknowledged(producer, sequence, partition, offset);
            }
        }
        for _ in at..at + 1_000 {
            if at >= lag {
                let entry = read.next();
                checker.read(WorkerId { slot: entry.partition as u32 % 2, process: 1 }, at, &entry);
            }
        }
        at += 1_000;
        if at % 1_000_000 == 0 {
            highest = highest.max(memory().saturating_sub(before));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let verdict = checker.verdict(RunFacts::default());
    let million = MESSAGES as f64 / 1e6;
    let after = memory().saturating_sub(before);
    println!(
        "{name:<50} {:>5.2} M messages/s  memory at most {:>5.1} MB, at the end {:>5.1} MB  {}",
        million / seconds,
        highest as f64 / 1e3,
        after as f64 / 1e3,
        if verdict.holds { "holds" } else { "DOES NOT HOLD" },
    );
}

/// The cases: name, batch size, keyed, lag. Each runs in a dedicated process: memory that an earlier case freed would hide what
/// the next one allocates.
const CASES: [(&str, u64, bool, u64); 5] = [
    ("batches of 500, read 100,000 behind", 500, false, 100_000),
    ("batches of 10, read 100,000 behind", 10, false, 100_000),
    ("keyed, batches of some 40, read 100,000 behind", 40, true, 100_000),
    ("batches of 500, all acknowledged first", 500, false, MESSAGES),
    ("keyed, batches of some 40, all acknowledged first", 40, true, MESSAGES),
];

fn main() -> std::io::Result<()> {
    let named = std::env::args().find_map(|argument| CASES.into_iter().find(|case| case.0 == argument));
    if let Some((name, batch, keyed, lag)) = named {
        run(name, batch, keyed, lag);
        return Ok(());
    }
    for (name, ..) in CASES {
        std::process::Command::new(std::env::current_exe()?).arg(name).status()?;
    }
    Ok(())
}
